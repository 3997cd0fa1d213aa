//! Init segments: told once, then named.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use headwater_media::{Init, InitId};

use super::{Malformed, value, wire};

/// Init segments that one end of a connection remembers, and the other does not send again. Beyond so many both forget all:
/// a session has one per rendition, and a new one where a source changes.
const KNOWN_MAX: usize = 128;

/// What one end has told.
#[derive(Debug, Default)]
pub(in super::super) struct SentInits {
    sent: HashSet<InitId>,
    unsent: Vec<wire::Init>,
}

impl SentInits {
    /// `init` is about to be named.
    pub(in super::super) fn send(&mut self, init: &Init) {
        if self.sent.insert(init.id) {
            self.unsent.push(init.into());
        }
    }

    /// What has to be told before anything that names it.
    pub(in super::super) fn take(&mut self) -> Vec<wire::Init> {
        if self.sent.len() > KNOWN_MAX {
            // The other end keeps those that came last.
            self.sent.clear();
        }
        std::mem::take(&mut self.unsent)
    }
}

/// What the other end knows: the last ones.
#[derive(Debug, Default)]
pub(in super::super) struct KnownInits(VecDeque<Arc<Init>>);

impl KnownInits {
    /// Takes what is told before anything that names it.
    pub(in super::super) fn take(&mut self, inits: Vec<wire::Init>) -> Result<(), Malformed> {
        for init in inits {
            let init = Init::try_from(init)?;
            if self.0.iter().all(|known| known.id != init.id) {
                self.0.push_back(Arc::new(init));
            }
        }
        // Between two times that the sender forgets there are up to as many, and those of one message.
        let too_many = self.0.len().saturating_sub(4 * KNOWN_MAX);
        self.0.drain(..too_many);
        Ok(())
    }

    /// The one with this name.
    pub(super) fn find(&self, id: InitId) -> Result<Arc<Init>, Malformed> {
        let found = self.0.iter().rev().find(|known| known.id == id).cloned();
        found.map_or_else(|| value("init", id, "one that was told before"), Ok)
    }
}
