//! One attempt to take a job.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use headwater_router::{Job, JobId};
use tokio::time::sleep;

use super::super::failure::Failure;
use super::{Grip, RETRY_PAUSE, RETRY_PAUSE_MAX, Shared, What, absent};

pub(super) struct Attempt {
    shared: Arc<Shared>,
    id: JobId,
}

/// What a reply says.
enum Outcome {
    Ours,
    Theirs,
}

impl Attempt {
    pub(super) fn new(shared: Arc<Shared>, id: JobId) -> Self {
        Self { shared, id }
    }

    /// The job, if it is ours: nobody had it, and it was still on the board. Ends only when that is known: a request of
    /// unknown outcome is made again, and finds its own value where it was done.
    pub(super) async fn run(self) -> Option<Grip> {
        let shared = &self.shared;
        let lease = shared.lease().await;
        let hold = format!("{} {}", shared.node.0, shared.attempts.fetch_add(1, Ordering::Relaxed));
        let mut pause = RETRY_PAUSE;
        loop {
            match shared.ask(self.transaction(&hold, lease)).await {
                Ok(reply) => {
                    return match self.outcome(&reply, &hold) {
                        Outcome::Ours => self.take(hold).await,
                        Outcome::Theirs => None,
                    };
                }
                Err(Failure::NoLease) => return None,
                Err(failure) => shared.complain("a job was not taken", &failure),
            }
            sleep(pause).await;
            pause = (2 * pause).min(RETRY_PAUSE_MAX);
            // What was taken under another lease is nobody's.
            if *shared.lease.borrow() != Some(lease) {
                return None;
            }
        }
    }

    fn transaction(&self, hold: &str, lease: i64) -> Txn {
        let (job, taken) = (self.shared.job_key(self.id), self.shared.taken_key(self.id));
        let is_there = Compare::version(job.clone(), CompareOp::Greater, 0);
        let put = TxnOp::put(taken.clone(), hold, Some(PutOptions::new().with_lease(lease)));
        Txn::new()
            .when([is_there, absent(taken.clone())])
            .and_then([put])
            .or_else([TxnOp::get(job, None), TxnOp::get(taken, None)])
    }

    /// Reads a reply, and tells the board what it says.
    fn outcome(&self, reply: &TxnResponse, hold: &str) -> Outcome {
        let revision = reply.header().map_or(0, etcd_client::ResponseHeader::revision);
        let mut board = self.shared.board();
        if reply.succeeded() {
            board.set_taken(self.id, revision, true);
            return Outcome::Ours;
        }
        let [TxnOpResponse::Get(job), TxnOpResponse::Get(taken)] = &reply.op_responses()[..] else {
            return Outcome::Theirs;
        };
        match taken.kvs().first() {
            Some(key) => {
                board.set_taken(self.id, key.mod_revision(), true);
                if key.value() == hold.as_bytes() {
                    return Outcome::Ours;
                }
            }
            None if job.kvs().is_empty() => board.remove(self.id),
            // It was given back in the same moment.
            None => {}
        }
        Outcome::Theirs
    }

    async fn take(&self, hold: String) -> Option<Grip> {
        let job = self.shared.board().job(self.id);
        let Some(job) = job else {
            // Its home has taken it off the board meanwhile.
            self.shared.insist(self.id, What::Release(Some(hold))).await;
            return None;
        };
        self.shared.held().insert(self.id, hold);
        Some(Grip { shared: self.shared.clone(), taken: Some((self.id, Job::clone(&job))) })
    }
}
