//! A stream's poster, and what it is made of.

use std::sync::Arc;

use headwater_media::StampedVideo;
use tokio::sync::watch;

use super::StreamLog;
use crate::Poster;

impl StreamLog {
    /// The newest poster, now and later; `None` while none was asked for.
    pub fn poster(&self) -> watch::Receiver<Option<Arc<Poster>>> {
        self.poster.subscribe()
    }

    /// Replaces the poster.
    pub fn put_poster(&self, poster: Poster) {
        self.poster.send_replace(Some(Arc::new(poster)));
    }

    /// The newest IDR of the source that is kept.
    pub fn newest_idr(&self) -> Option<StampedVideo> {
        self.inner().ring.newest_idr().cloned()
    }
}
