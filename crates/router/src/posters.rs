//! Posters, made on demand: the edge asks, a transcoder makes them one by one, the stream's log keeps the newest.
//!
//! A stream whose poster nobody asks for costs nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use headwater_media::{Instant, VideoSlot};
use tokio::sync::Notify;

use crate::StreamLog;

/// What came of the newest request for a stream's poster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Poster {
    /// When somebody last looked for a newer picture.
    pub looked: Instant,
    /// The IDR that it was made of, or that could not be decoded; `None` when there was none.
    pub slot: Option<VideoSlot>,
    /// The picture as a JPEG; `None` while no IDR could be decoded.
    pub jpeg: Option<Bytes>,
    /// IDRs of the session that could not be decoded.
    pub failures: u32,
}

/// Streams whose poster is wanted, in the order in which they were asked for.
#[derive(Debug)]
pub struct Posters {
    interval: Option<Duration>,
    wanted: Mutex<VecDeque<Arc<StreamLog>>>,
    posted: Notify,
}

impl Posters {
    /// Posters are at most so old when they are asked for. `None`: there are none.
    pub fn new(interval: Option<Duration>) -> Self {
        Self { interval, wanted: Mutex::default(), posted: Notify::new() }
    }

    /// How old posters may be; `None` when there are none.
    pub fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether the stream's poster is too old, or not there.
    pub fn is_due(&self, log: &StreamLog, now: Instant) -> bool {
        let age = log.poster().borrow().as_ref().map(|poster| now.saturating_since(poster.looked));
        self.interval.is_some_and(|interval| age.is_none_or(|age| age >= interval))
    }

    /// Asks for a poster, which the log will have. A stream waits in one place, whoever asks.
    pub fn want(&self, log: &Arc<StreamLog>) {
        let mut wanted = self.wanted();
        if !wanted.iter().any(|waiting| Arc::ptr_eq(waiting, log)) {
            wanted.push_back(log.clone());
        }
        drop(wanted);
        self.posted.notify_one();
    }

    /// Waits for the next stream whose poster is wanted. One maker at a time.
    pub async fn next(&self) -> Arc<StreamLog> {
        loop {
            let next = self.wanted().pop_front();
            if let Some(log) = next {
                return log;
            }
            self.posted.notified().await;
        }
    }

    fn wanted(&self) -> MutexGuard<'_, VecDeque<Arc<StreamLog>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
