//! Cursors into a log.

use std::sync::Arc;

use std::time::Duration;

use headwater_media::MediaSequence;
use tokio::sync::watch;

use super::ring::Ring;
use super::{FeedItem, Item, StreamLog};

/// Why a reader gets nothing more from where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The reader was too slow and what it wanted has been dropped. The next read goes on further ahead: samples at the
    /// newest cut with a keyframe, parts at the oldest that are kept.
    #[error("the reader fell behind the log")]
    Lagged,
    /// The session is over and everything was read.
    #[error("the session is over")]
    Ended,
    /// The rendition stopped because nobody watched. It begins anew when it is asked for.
    #[error("nobody watched, and so the rendition stopped")]
    Cold,
}

/// Reads the stamped samples of a session.
#[derive(Debug)]
pub struct SampleReader {
    log: Arc<StreamLog>,
    cursor: u64,
    /// Where it begins, as long as there is nothing to read.
    start: Option<Start>,
    wake: watch::Receiver<()>,
}

/// Where a reader of samples begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// With the newest cut that begins with a keyframe.
    Newest,
    /// With the cut of this segment, or of the first later one.
    From(MediaSequence),
    /// Where pictures of this segment become right, not longer back than so.
    For(MediaSequence, Duration),
}

impl Start {
    fn cursor(self, ring: &Ring) -> u64 {
        match self {
            Self::Newest => ring.newest_keyframe_cut(),
            Self::From(msn) => ring.cut(msn),
            Self::For(msn, back) => ring.keyframe_cut(msn, back).unwrap_or_else(|| ring.newest_keyframe_cut()),
        }
    }
}

impl SampleReader {
    pub(super) fn new(log: Arc<StreamLog>, cursor: u64, wake: watch::Receiver<()>) -> Self {
        Self { log, cursor, start: None, wake }
    }

    /// A reader that begins at `start`; in a replica to which no samples have come yet, when they do.
    pub(super) fn starting(log: Arc<StreamLog>, start: Start, wake: watch::Receiver<()>) -> Self {
        let inner = log.inner();
        let waits = inner.ring.is_empty().then_some(start);
        let cursor = start.cursor(&inner.ring);
        drop(inner);
        Self { log, cursor, start: waits, wake }
    }

    /// Number of the next item, counted from the session's first.
    pub fn position(&self) -> u64 {
        self.cursor
    }

    /// The next item, without waiting; `Ok(None)` when it is not there yet.
    pub fn try_next(&mut self) -> Result<Option<Item>, ReadError> {
        let inner = self.log.inner();
        if let Some(start) = self.start.take_if(|_| !inner.ring.is_empty()) {
            self.cursor = start.cursor(&inner.ring);
        }
        match inner.ring.item(self.cursor) {
            Ok(Some(item)) => {
                self.cursor += 1;
                Ok(Some(item.clone()))
            }
            Ok(None) if inner.ended || inner.retired => Err(ReadError::Ended),
            Ok(None) => Ok(None),
            // It has not begun, and nothing is there.
            Err(()) if self.start.is_some() && !inner.retired => {
                self.cursor = inner.ring.end();
                Ok(None)
            }
            Err(()) => {
                self.cursor = inner.ring.newest_keyframe_cut();
                Err(ReadError::Lagged)
            }
        }
    }

    /// Waits until more may be there than was read. Cancel safe.
    pub async fn changed(&mut self) {
        // The sender lives in the log, which this reader holds: waiting cannot fail.
        let _ = self.wake.changed().await;
    }

    /// Waits for the next item. Cancel safe.
    pub async fn next(&mut self) -> Result<Item, ReadError> {
        loop {
            self.wake.borrow_and_update();
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
            // The sender lives in the log, which this reader holds: waiting cannot fail.
            let _ = self.wake.changed().await;
        }
    }
}

/// Reads the cuts and parts of one rendition, from the oldest that is kept.
#[derive(Debug)]
pub struct PartReader {
    log: Arc<StreamLog>,
    rendition: usize,
    stops: u64,
    cursor: u64,
    wake: watch::Receiver<()>,
}

impl PartReader {
    pub(super) fn new(
        log: Arc<StreamLog>,
        rendition: usize,
        stops: u64,
        cursor: u64,
        wake: watch::Receiver<()>,
    ) -> Self {
        Self { log, rendition, stops, cursor, wake }
    }

    /// The next item, without waiting; `Ok(None)` when it is not there yet.
    pub fn try_next(&mut self) -> Result<Option<FeedItem>, ReadError> {
        let inner = self.log.inner();
        let Some(making) = inner.renditions.get(self.rendition) else { return Err(ReadError::Ended) };
        if making.stops != self.stops {
            return Err(ReadError::Cold);
        }
        match making.feed.item(self.cursor) {
            Ok(Some(item)) => {
                self.cursor += 1;
                Ok(Some(item.clone()))
            }
            Ok(None) if inner.is_complete(making) => Err(ReadError::Ended),
            Ok(None) => Ok(None),
            Err(first) => {
                self.cursor = first;
                Err(ReadError::Lagged)
            }
        }
    }

    /// Waits for the next item. Cancel safe.
    pub async fn next(&mut self) -> Result<FeedItem, ReadError> {
        loop {
            self.wake.borrow_and_update();
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
            let _ = self.wake.changed().await;
        }
    }
}
