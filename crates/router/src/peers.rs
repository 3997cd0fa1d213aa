//! Homes on other nodes, as a newcomer's node reaches them, and this node's, as others do (architecture 8).

use std::sync::Arc;

use headwater_media::{Part, RenditionName, SessionId, StreamName};
use tokio::sync::mpsc;

use crate::claim::{PeerReply, Yield};
use crate::{BoxFuture, NodeId};

/// The way to homes on other nodes.
pub trait Peers: Send + Sync + 'static {
    /// Asks `home` to yield `stream`. Waits for as long as the home needs to decide; `None` when it did not answer.
    /// Dropping the future withdraws the question.
    fn ask<'a>(&'a self, home: &'a NodeId, stream: &'a StreamName, asked: Yield) -> BoxFuture<'a, Option<PeerReply>>;

    /// Fetches what a sealed home has of a session's window: each rendition's parts in order. Ends when all is sent or the
    /// home is lost; what was sent until then counts.
    fn fetch<'a>(
        &'a self,
        home: &'a NodeId,
        stream: &'a StreamName,
        session: SessionId,
        into: mpsc::Sender<(RenditionName, Arc<Part>)>,
    ) -> BoxFuture<'a, ()>;
}

/// This node's homes.
pub trait Holders: Send + Sync + 'static {
    /// A newcomer elsewhere asks for `stream`. Waits until the home has decided; `None` when nothing is to be answered.
    fn asked<'a>(&'a self, stream: &'a StreamName, asked: Yield) -> BoxFuture<'a, Option<PeerReply>>;
}
