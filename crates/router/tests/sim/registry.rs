//! The registry: a linearizable compare-and-set with revisions, and leases by its own clock.

use std::collections::{HashMap, HashSet};

use headwater_router::claim::{Lease, RegistryReply, RegistryRequest};
use headwater_router::{NodeId, Record};

use crate::bug::Bug;
use crate::clock::Clock;
use crate::context::Context;

#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) record: Option<Record>,
    clock: Clock,
    revision: u64,
    leases: HashMap<NodeId, headwater_media::Instant>,
    /// Leases that ended; no keepalive brings them back.
    dead: HashSet<NodeId>,
    /// It answers nothing until then.
    pub(crate) down_until: u64,
    /// It takes no writes until then; leases go on.
    pub(crate) full_until: u64,
}

impl Registry {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            record: None,
            clock,
            revision: 0,
            leases: HashMap::new(),
            dead: HashSet::new(),
            down_until: 0,
            full_until: 0,
        }
    }

    pub(crate) fn handle(&mut self, cx: &mut Context, request: RegistryRequest, is_claim: bool) -> RegistryReply {
        match request {
            RegistryRequest::Read => {
                let lives = self.record.as_ref().is_some_and(|record| self.lives(cx, &record.home.clone()));
                RegistryReply::Record { record: self.record.clone(), home_lives: lives }
            }
            RegistryRequest::Write { .. } if cx.now < self.full_until => RegistryReply::Refused,
            RegistryRequest::Write { expected, record } => {
                let there = self.record.as_ref().map_or(0, |record| record.revision);
                let same_epoch = self.record.as_ref().is_some_and(|known| known.epoch == record.epoch);
                let may = match cx.bug {
                    Bug::WritesCompareEpoch if !is_claim => same_epoch,
                    Bug::ClaimWithoutCompare if is_claim => true,
                    _ => there == expected,
                };
                if !may {
                    return RegistryReply::Conflict;
                }
                self.revision += 1;
                let record = Record { revision: self.revision, ..record };
                cx.checks.written(self.record.as_ref(), &record);
                cx.trace(|| {
                    let cuts = record.outline.iter().flat_map(|outline| &outline.cuts);
                    let cuts: Vec<_> = cuts.map(|cut| (cut.msn.0, cut.discontinuity, cut.kind)).collect();
                    format!(
                        "registry: r{} {:?} {} {:?} reserved {} cuts {:?}",
                        record.revision, record.epoch, record.home.0, record.state, record.reserved, cuts
                    )
                });
                self.record = Some(record);
                RegistryReply::Written { revision: self.revision }
            }
        }
    }

    /// `false`: the lease is gone, and the node has to come back as another instance.
    pub(crate) fn keep_alive(&mut self, cx: &mut Context, node: &NodeId) -> bool {
        if self.dead.contains(node) || (self.leases.contains_key(node) && !self.lives(cx, node)) {
            self.dead.insert(node.clone());
            return false;
        }
        let ends = self.clock.now(cx.now) + Lease::AT_REGISTRY;
        self.leases.insert(node.clone(), ends);
        cx.checks.lease(node, self.clock.when(ends));
        true
    }

    /// Takes a lease away before its time.
    pub(crate) fn revoke(&mut self, cx: &mut Context, node: &NodeId) {
        self.dead.insert(node.clone());
        self.leases.remove(node);
        cx.checks.lease(node, u64::MAX);
    }

    fn lives(&self, cx: &Context, node: &NodeId) -> bool {
        self.leases.get(node).is_some_and(|ends| self.clock.now(cx.now) < *ends)
    }
}
