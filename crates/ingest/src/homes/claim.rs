//! Newcomers: one claim per stream at a time, the others wait for their turn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_media::{Epoch, StreamName};
use headwater_router::BoxFuture;
use headwater_router::claim::{Claimant, Claimed, Denied, Newcomer, Outcome, PeerReply, Yield};

use super::drive::{Pending, at};
use super::{Homes, random_session};
use crate::home::Asker;

/// The claims that are under way.
#[derive(Debug, Default)]
pub(super) struct Claims {
    streams: Arc<Mutex<HashMap<StreamName, Arc<Queue>>>>,
}

/// The newcomers of one stream.
#[derive(Debug, Default)]
struct Queue {
    turn: tokio::sync::Mutex<()>,
    claimant: Mutex<Option<Claimant>>,
    /// How many got the stream since somebody waits.
    won: AtomicU64,
}

/// A newcomer's place in the queue.
pub(super) struct Place {
    stream: StreamName,
    streams: Arc<Mutex<HashMap<StreamName, Arc<Queue>>>>,
    queue: Arc<Queue>,
}

impl Claims {
    pub(super) fn enter(&self, stream: &StreamName) -> Place {
        let queue = locked(&self.streams).entry(stream.clone()).or_default().clone();
        Place { stream: stream.clone(), streams: self.streams.clone(), queue }
    }

    /// Whether this node may hold `epoch` of the stream, or a later one, without having a home for it yet. To be asked before
    /// looking for that home.
    pub(super) fn may_have_won(&self, stream: &StreamName, epoch: Epoch) -> bool {
        let queue = locked(&self.streams).get(stream).cloned();
        queue.is_some_and(|queue| locked(&queue.claimant).as_ref().is_some_and(|claimant| claimant.may_have_won(epoch)))
    }
}

impl Place {
    /// Waits until nobody else of this node claims the stream.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.queue.turn.lock().await
    }

    /// How many got the stream while somebody waited.
    pub(super) fn won(&self) -> u64 {
        self.queue.won.load(Ordering::Relaxed)
    }

    /// This one got it.
    pub(super) fn win(&self) {
        self.queue.won.fetch_add(1, Ordering::Relaxed);
    }

    /// Claims the stream, when it is this newcomer's turn. The claim that was won is to be kept until the home is there.
    pub(super) async fn claim(
        &self,
        homes: &Homes,
        stream: &StreamName,
        priority: i32,
    ) -> Result<(Claimed, Claim<'_>), Denied> {
        let deps = &homes.deps;
        let now = deps.clock.now();
        if !deps.registry.lease().borrow().holds(now) {
            return Err(Denied::Unavailable);
        }
        let newcomer = Newcomer { node: deps.registry.node().clone(), fresh: random_session(), priority };
        *locked(&self.queue.claimant) = Some(Claimant::new(now, deps.clock.wall(), newcomer));
        let claim = Claim(self);
        let mut request = Pending::default();
        let mut question: Pending<'_, (Yield, Option<PeerReply>)> = Pending::default();
        let mut asks = None;
        loop {
            let step = claim.step(|claimant| {
                (claimant.poll_outcome(), claimant.poll_request(), claimant.poll_question(), claimant.poll_timeout())
            });
            let Some((outcome, asked, wanted, timeout)) = step else { return Err(Denied::Unavailable) };
            match outcome {
                Some(Outcome::Won(claimed)) => return Ok((claimed, claim)),
                Some(Outcome::Denied(denied)) => return Err(denied),
                None => {}
            }
            if let Some((id, asked)) = asked {
                request.set(async move { (id, deps.registry.request(stream, asked).await) });
            }
            // A question that is being asked is not asked again: who carries it sees to that.
            if let Some((home, asked)) = wanted
                && asks != Some(asked.epoch)
            {
                asks = Some(asked.epoch);
                question.set(async move {
                    let answer: BoxFuture<'_, _> = if home == *deps.registry.node() {
                        Box::pin(homes.asked(Asker::Here, stream, asked))
                    } else {
                        deps.peers.ask(&home, stream, asked)
                    };
                    (asked, answer.await)
                });
            }
            tokio::select! {
                (id, reply) = request.next() => {
                    claim.step(|claimant| claimant.handle_reply(deps.clock.now(), id, reply));
                }
                (asked, reply) = question.next() => {
                    asks = None;
                    if let Some(reply) = reply {
                        claim.step(|claimant| claimant.handle_peer(deps.clock.now(), asked.epoch, reply));
                    }
                }
                () = at(&*deps.clock, timeout) => {
                    claim.step(|claimant| claimant.handle_timeout(deps.clock.now()));
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = locked(&self.streams);
        // The map's and this one's.
        if Arc::strong_count(&self.queue) == 2 {
            streams.remove(&self.stream);
        }
    }
}

/// A claimant while it runs, and until its home is there: whoever leaves takes it along.
pub(super) struct Claim<'a>(&'a Place);

impl Claim<'_> {
    fn step<T>(&self, step: impl FnOnce(&mut Claimant) -> T) -> Option<T> {
        locked(&self.0.queue.claimant).as_mut().map(step)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        *locked(&self.0.queue.claimant) = None;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
