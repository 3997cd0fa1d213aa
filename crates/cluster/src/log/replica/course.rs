//! Whom a replica follows, as the stream's record says, and when it is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_media::{Cut, Epoch, Instant};
use headwater_router::{NodeId, RecordState};
use tokio::sync::watch;
use tokio::time::{Instant as Deadline, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::info;

use super::Link;
use crate::etcd::Watched;
use crate::log::cluster_log::Shared;

/// What a home had before its session's end may come for so long after the end was recorded.
const END_GRACE: Duration = Duration::from_millis(2500);
/// A session that has ended can be read for so long.
const ENDED_KEPT: Duration = Duration::from_secs(60);
/// A replica that nobody used for so long is dropped.
const UNUSED: Duration = Duration::from_secs(30);
/// How often it is looked whether it is used.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a replica does next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// It follows this home, whose epoch is known from the record.
    Follow(NodeId, Epoch),
    /// There is nobody to follow now.
    Wait,
    /// It is done, for the reason given.
    Leave(&'static str),
}

/// A replica's way from home to home.
pub(super) struct Course {
    shared: Arc<Shared>,
    link: Arc<Link>,
    record: watch::Receiver<Option<Watched>>,
    looks: Interval,
    /// The home that had the session last.
    last: Option<(NodeId, Epoch)>,
    /// Its record says that the session is over. Its home may tell more until then.
    ending: Option<Deadline>,
    /// The cuts with which the record says that it ended.
    recorded: Option<Vec<Arc<Cut>>>,
    /// It is over here, too, and forgotten then.
    forgotten: Option<Deadline>,
    /// Nothing more comes of it from anybody.
    done: bool,
    /// Nobody uses the replica.
    unused: bool,
}

impl Course {
    pub(super) fn new(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let record = shared.records.watch(&link.stream);
        Self {
            shared,
            link,
            record,
            looks,
            last: None,
            ending: None,
            recorded: None,
            forgotten: None,
            done: false,
            unused: false,
        }
    }

    /// What to do now.
    pub(super) fn next(&mut self) -> Next {
        if self.unused {
            return Next::Leave("nobody uses it");
        }
        if self.forgotten.is_some_and(|at| at <= Deadline::now()) {
            return Next::Leave("its session is over");
        }
        if self.done {
            return Next::Wait;
        }
        let record = match &*self.record.borrow_and_update() {
            None => return Next::Wait,
            Some(Watched { record, .. }) => record.clone(),
        };
        let Some(record) = record else { return self.over(None) };
        let home = (record.home, record.epoch);
        if record.session != self.link.session {
            return self.over(Some(home));
        }
        if record.state == RecordState::Ended {
            self.recorded = record.outline.map(|outline| outline.cuts.clone());
            return self.over(Some(home));
        }
        self.last = Some(home.clone());
        self.follow(home)
    }

    fn follow(&self, (home, epoch): (NodeId, Epoch)) -> Next {
        // What the record says before the node itself knows: it will take the log over.
        if home == self.shared.node { Next::Wait } else { Next::Follow(home, epoch) }
    }

    /// The session is over. `home` is the stream's, which may have more of it, or still have an older session.
    fn over(&mut self, home: Option<(NodeId, Epoch)>) -> Next {
        if self.link.log().is_none() {
            // The epoch is that of the session that the stream has now.
            let first = |(home, _)| self.follow((home, Epoch::default()));
            return home.map_or(Next::Leave("there is no such session"), first);
        }
        if self.ending.is_none() && self.forgotten.is_none() {
            self.ending = Some(Deadline::now() + END_GRACE);
        }
        // Whoever had it last tells the rest.
        let now = home.map(|(home, _)| (home, Epoch::default()));
        self.last.clone().or(now).map_or(Next::Wait, |home| self.follow(home))
    }

    /// Waits until there may be something else to do than `current`, but not longer than `most`.
    pub(super) async fn changed(&mut self, current: &Next, most: Option<Duration>) {
        let most = most.map(|most| Deadline::now() + most);
        loop {
            tokio::select! {
                () = at(most) => return,
                () = at(self.ending) => self.end(),
                _ = self.looks.tick() => self.look(),
                changed = self.record.changed() => {
                    if changed.is_err() {
                        self.unused = true;
                    }
                }
            }
            if self.next() != *current {
                return;
            }
        }
    }

    /// The home that is followed cannot be heard. Of a session that it said has ended it will not be asked again.
    pub(super) fn lost(&mut self) {
        if self.link.has_ended() {
            self.finish();
        }
    }

    /// The record has said for long enough that the session is over.
    fn end(&mut self) {
        self.ending = None;
        self.forgotten.get_or_insert(Deadline::now() + ENDED_KEPT);
        if !self.link.has_ended() {
            info!(stream = %self.link.stream, session = %self.link.session, "the session is over, as its record says");
            self.finish();
        }
    }

    /// Ends the session here with what is known.
    fn finish(&mut self) {
        self.done = true;
        self.forgotten.get_or_insert(Deadline::now() + ENDED_KEPT);
        let Some(log) = self.link.log() else { return };
        match &self.recorded {
            // Its home has said all that it had, but for what is not whole.
            None if self.link.has_ended() => log.abandon(),
            recorded => log.end_as_recorded(recorded.as_deref().unwrap_or_default()),
        }
    }

    fn look(&mut self) {
        if self.link.has_ended() {
            self.forgotten.get_or_insert(Deadline::now() + ENDED_KEPT);
            return;
        }
        let looked = Instant::from_nanos(self.link.used_nanos.load(Ordering::Relaxed));
        let (watched, is_sampled) = match self.link.log() {
            Some(log) => (log.last_watched(), log.wished().samples.is_some()),
            None => (Instant::default(), false),
        };
        self.unused |= !is_sampled && self.shared.clock.now().saturating_since(watched.max(looked)) >= UNUSED;
    }
}

async fn at(deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
