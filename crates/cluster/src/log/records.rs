//! Where a node sees who has a stream.

use headwater_media::StreamName;
use tokio::sync::watch;

use crate::etcd::{EtcdRegistry, Watched};

/// Records as they change.
pub trait Records: Send + Sync + 'static {
    /// The record of `stream`, now and later, as long as somebody has the receiver; `None` until it is known. Never goes back
    /// to an older one.
    fn watch(&self, stream: &StreamName) -> watch::Receiver<Option<Watched>>;
}

impl Records for EtcdRegistry {
    fn watch(&self, stream: &StreamName) -> watch::Receiver<Option<Watched>> {
        self.watch(stream)
    }
}
