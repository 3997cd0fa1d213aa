//! The board of one process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{BoxFuture, Job, JobId, Queue};

/// A queue for one process: first come, first served.
#[derive(Debug, Default)]
pub struct EmbeddedQueue {
    board: Mutex<Board>,
    posted: Notify,
}

#[derive(Debug, Default)]
struct Board {
    next: u64,
    jobs: BTreeMap<JobId, Job>,
    waiting: VecDeque<JobId>,
}

impl EmbeddedQueue {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_now(&self) -> Option<(JobId, Job)> {
        let mut board = self.board();
        let id = board.waiting.pop_front()?;
        let job = board.jobs.get(&id)?.clone();
        Some((id, job))
    }
}

impl Queue for EmbeddedQueue {
    fn post(&self, job: Job) -> BoxFuture<'_, JobId> {
        Box::pin(async move {
            let mut board = self.board();
            board.next += 1;
            let id = JobId(board.next);
            board.jobs.insert(id, job);
            board.waiting.push_back(id);
            drop(board);
            self.posted.notify_one();
            id
        })
    }

    fn take(&self) -> BoxFuture<'_, (JobId, Job)> {
        Box::pin(async move {
            loop {
                if let Some(taken) = self.take_now() {
                    // `notify_one` keeps one permit only: pass it on when more jobs wait.
                    if !self.board().waiting.is_empty() {
                        self.posted.notify_one();
                    }
                    return taken;
                }
                self.posted.notified().await;
            }
        })
    }

    fn release(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut board = self.board();
            if board.jobs.contains_key(&id) && !board.waiting.contains(&id) {
                board.waiting.push_front(id);
            }
            drop(board);
            self.posted.notify_one();
        })
    }

    fn complete(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut board = self.board();
            board.jobs.remove(&id);
            board.waiting.retain(|waiting| *waiting != id);
        })
    }

    fn withdraw(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut board = self.board();
            let before = board.waiting.len();
            board.waiting.retain(|waiting| *waiting != id);
            if board.waiting.len() < before {
                board.jobs.remove(&id);
            }
        })
    }

    fn waiting(&self) -> BoxFuture<'_, usize> {
        Box::pin(async move { self.board().waiting.len() })
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::{Epoch, SessionId};

    use super::*;

    fn job(name: &str) -> Job {
        Job {
            stream: name.parse().unwrap(),
            session: SessionId::from_random([0; 10]),
            epoch: Epoch(1),
            waking: 1,
            gears: [].into(),
            standby: None,
            audio: [].into(),
        }
    }

    #[tokio::test]
    async fn a_job_is_taken_once_and_again_after_it_was_released() {
        let queue = EmbeddedQueue::default();
        let id = queue.post(job("live/a")).await;
        queue.post(job("live/b")).await;
        assert_eq!(queue.take().await.0, id);
        assert_eq!(queue.waiting().await, 1);
        queue.release(id).await;
        assert_eq!(queue.take().await, (id, job("live/a")));
        queue.complete(id).await;
        queue.release(id).await;
        let (second, taken) = queue.take().await;
        assert_eq!(taken, job("live/b"));
        assert_eq!(queue.waiting().await, 0);
        queue.withdraw(second).await;
        queue.release(second).await;
        assert_eq!(queue.waiting().await, 1, "a worker had it");
        queue.withdraw(second).await;
        queue.release(second).await;
        assert_eq!(queue.waiting().await, 0);
    }
}
