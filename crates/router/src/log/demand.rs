//! Whether anybody watches: a stream that nobody watches has no gears (architecture 6).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use headwater_media::Instant;
use tokio::sync::watch;

/// Whether a session's gears are wanted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// How often the ladder was woken in the session. What was begun for an earlier waking is over.
    pub waking: u64,
    /// When it was woken; `None` while it is cold.
    pub since: Option<Instant>,
}

impl Demand {
    /// Whether the ladder is awake, and still for the same waking.
    pub fn is_awake_for(&self, waking: u64) -> bool {
        self.since.is_some() && self.waking == waking
    }
}

/// Remembers when the session was last watched.
#[derive(Debug)]
pub(super) struct Watched {
    demand: watch::Sender<Demand>,
    last_nanos: AtomicU64,
    /// In a replica: somebody watches since it was cold, and the home has not said that it knows.
    unconfirmed: AtomicBool,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            demand: watch::Sender::new(Demand::default()),
            last_nanos: AtomicU64::new(0),
            unconfirmed: AtomicBool::new(false),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Demand> {
        self.demand.subscribe()
    }

    pub(super) fn last(&self) -> Instant {
        Instant::from_nanos(self.last_nanos.load(Ordering::SeqCst))
    }

    /// Somebody watches at `now`. Wakes a cold ladder; `woken` runs before anybody sees that it is awake.
    pub(super) fn mark(&self, now: Instant, woken: impl FnOnce()) {
        // Before the demand is looked at: whoever lets the ladder go cold looks at it while it holds the demand.
        self.last_nanos.fetch_max(now.as_nanos(), Ordering::SeqCst);
        if self.demand.borrow().since.is_some() {
            return;
        }
        self.demand.send_if_modified(|demand| {
            let cold = demand.since.is_none();
            if cold {
                woken();
                *demand = Demand { waking: demand.waking + 1, since: Some(now) };
            }
            cold
        });
    }

    /// Somebody watches the replica of a session at `now`. Its ladder is the home's to wake, but who looks here waits for it
    /// from now on. Whether it was cold.
    pub(super) fn mark_replica(&self, now: Instant) -> bool {
        self.last_nanos.fetch_max(now.as_nanos(), Ordering::SeqCst);
        if self.demand.borrow().since.is_some() {
            return false;
        }
        self.demand.send_if_modified(|demand| {
            let cold = demand.since.is_none();
            if cold {
                self.unconfirmed.store(true, Ordering::SeqCst);
                demand.since = Some(now);
            }
            cold
        })
    }

    /// The home says how it is. That it is cold may be older than what it has been told of somebody who watches.
    pub(super) fn mirror(&self, waking: u64, awake: bool, now: Instant) {
        self.demand.send_if_modified(|demand| {
            let pending = self.unconfirmed.load(Ordering::SeqCst);
            let before = *demand;
            if awake {
                let same = pending || demand.waking == waking;
                *demand = Demand { waking, since: Some(demand.since.filter(|_| same).unwrap_or(now)) };
            } else if !pending || demand.waking != waking {
                *demand = Demand { waking, since: demand.since.filter(|_| pending) };
            }
            if awake {
                self.unconfirmed.store(false, Ordering::SeqCst);
            }
            before != *demand
        });
    }

    /// Does something while nobody can wake the ladder or let it go cold; it is told whether it is cold.
    pub(super) fn while_nothing_changes(&self, act: impl FnOnce(bool)) {
        self.demand.send_if_modified(|demand| {
            act(demand.since.is_none());
            false
        });
    }

    /// Lets the ladder go cold, unless somebody has watched after `limit`; `stopped` runs while nobody can wake it.
    pub(super) fn cool(&self, limit: Instant, stopped: impl FnOnce()) -> bool {
        self.demand.send_if_modified(|demand| {
            let cools = demand.since.is_some() && self.last() <= limit;
            if cools {
                demand.since = None;
                stopped();
            }
            cools
        })
    }
}
