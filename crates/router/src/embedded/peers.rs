//! A node that is alone.

use std::sync::Arc;

use headwater_media::{Part, RenditionName, SessionId, StreamName};
use tokio::sync::mpsc;

use crate::claim::{PeerReply, Yield};
use crate::{BoxFuture, NodeId, Peers};

/// No other node can be reached: what a record names is an earlier process of this one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Peers for Alone {
    fn ask<'a>(&'a self, _: &'a NodeId, _: &'a StreamName, _: Yield) -> BoxFuture<'a, Option<PeerReply>> {
        Box::pin(std::future::ready(Some(PeerReply::Unreachable)))
    }

    fn fetch<'a>(
        &'a self,
        _: &'a NodeId,
        _: &'a StreamName,
        _: SessionId,
        _: mpsc::Sender<(RenditionName, Arc<Part>)>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
