//! What all actors share: time, chance, the network and the checks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use headwater_media::{Epoch, SessionId, Turn};
use headwater_router::NodeId;
use headwater_router::claim::{PeerReply, RegistryReply, RegistryRequest, RequestId, Yield};

use crate::bug::Bug;
use crate::checks::{Checks, Place};
use crate::clock::MILLI;
use crate::log::{Feed, Piece};
use crate::plan::Strike;
use crate::rng::Rng;

/// Everybody has one: 0 is the registry.
pub(crate) type Address = usize;
pub(crate) const REGISTRY: Address = 0;
pub(crate) const NODES: std::ops::Range<Address> = 1..4;
pub(crate) const WORKERS: std::ops::Range<Address> = 4..6;
pub(crate) const EDGES: std::ops::Range<Address> = 6..9;
pub(crate) const PUBLISHERS: std::ops::Range<Address> = 9..12;

/// Who at a node waits for an answer of the registry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Caller {
    /// The claim of a connection.
    Claimant(u64),
    Holder(Epoch),
    Ending,
    Edge,
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Ask {
        caller: Caller,
        id: RequestId,
        request: RegistryRequest,
    },
    Answer {
        caller: Caller,
        id: RequestId,
        reply: RegistryReply,
    },
    KeepAlive {
        node: NodeId,
        number: u64,
    },
    KeptAlive {
        node: NodeId,
        number: u64,
        lives: bool,
    },
    Yield {
        question: u64,
        asked: Yield,
    },
    Yielded {
        epoch: Epoch,
        reply: PeerReply,
    },
    Fetch {
        epoch: Epoch,
    },
    Fetched {
        epoch: Epoch,
        whole_from: [u64; 2],
        pieces: [BTreeMap<Place, Piece>; 2],
    },
    Work {
        turn: Turn,
        session: SessionId,
        pieces: Vec<(Place, Piece)>,
    },
    Put {
        session: SessionId,
        place: Place,
        piece: Piece,
    },
    /// A worker has made a part for a home.
    Made {
        to: Address,
        put: Box<Self>,
    },
    /// `process` is the edge's: what it asked before it was restarted is not for the next one.
    Pull {
        process: u64,
        epoch: Epoch,
        version: usize,
    },
    Fed {
        process: u64,
        feed: Arc<Feed>,
    },
    Publish {
        connection: u64,
        priority: i32,
    },
    Media {
        connection: u64,
    },
    Leave {
        connection: u64,
        clean: bool,
    },
    Accepted {
        connection: u64,
    },
    Closed {
        connection: u64,
    },
}

#[derive(Debug)]
pub(crate) enum Happening {
    Deliver { from: Address, to: Address, message: Message },
    Wake(Address),
    Strike(Strike),
}

#[derive(Debug)]
pub(crate) struct Context {
    /// Microseconds.
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) bug: Bug,
    pub(crate) checks: Checks,
    pub(crate) network: Network,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    last: u64,
    tracing: bool,
    trace: VecDeque<String>,
}

/// How messages fare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    pub(crate) loss_permille: u64,
    pub(crate) twice_permille: u64,
    pub(crate) late_permille: u64,
    /// How late a late message is at most.
    pub(crate) late_max: u64,
    /// Pairs between which nothing goes, in this direction.
    pub(crate) blocked: Vec<(Address, Address)>,
}

impl Context {
    pub(crate) fn new(seed: u64, bug: Bug, tracing: bool) -> Self {
        Self {
            now: 0,
            rng: Rng::new(seed),
            bug,
            checks: Checks::default(),
            network: Network::default(),
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            last: 0,
            tracing,
            trace: VecDeque::new(),
        }
    }

    /// Over the network: lost, doubled, late and overtaken by others.
    pub(crate) fn send(&mut self, from: Address, to: Address, message: Message) {
        if from != to {
            if self.network.blocked.contains(&(from, to)) || self.rng.chance(self.network.loss_permille) {
                return;
            }
            if self.rng.chance(self.network.twice_permille) {
                let delay = self.delay();
                self.after(delay, Happening::Deliver { from, to, message: message.clone() });
            }
        }
        let delay = if from == to { 1 } else { self.delay() };
        self.after(delay, Happening::Deliver { from, to, message });
    }

    /// Over a connection between an encoder and its node: in order and whole.
    pub(crate) fn send_in_order(&mut self, from: Address, to: Address, message: Message) {
        self.after(2 * MILLI, Happening::Deliver { from, to, message });
    }

    pub(crate) fn after(&mut self, micros: u64, happening: Happening) {
        self.at(self.now + micros, happening);
    }

    pub(crate) fn at(&mut self, micros: u64, happening: Happening) {
        self.last += 1;
        self.queue.push(Reverse((micros.max(self.now), self.last)));
        self.happenings.insert(self.last, happening);
    }

    /// Goes on to the next thing that happens before `until`.
    pub(crate) fn next(&mut self, until: u64) -> Option<Happening> {
        let Reverse((time, id)) = *self.queue.peek()?;
        if time > until {
            return None;
        }
        self.queue.pop();
        self.now = time;
        self.happenings.remove(&id)
    }

    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            if self.trace.len() > 600 {
                self.trace.pop_front();
            }
            self.trace.push_back(format!("{:>10.3} {}", self.now as f64 / 1e6, line()));
        }
    }

    pub(crate) fn traced(&self) -> String {
        self.trace.iter().map(|line| format!("{line}\n")).collect()
    }

    fn delay(&mut self) -> u64 {
        if self.rng.chance(self.network.late_permille) {
            return self.rng.range(MILLI, self.network.late_max.max(2 * MILLI));
        }
        self.rng.range(MILLI / 2, 15 * MILLI)
    }
}
