//! Everybody together, one happening after another.

use headwater_router::NodeId;
use headwater_router::claim::PeerReply;

use crate::bug::Bug;
use crate::checks::Stats;
use crate::clock::{Clock, SECOND};
use crate::context::{
    Address, Caller, Context, EDGES, Happening, Message, NODES, Network, PUBLISHERS, REGISTRY, WORKERS,
};
use crate::edge::Edge;
use crate::node::{Node, address_of};
use crate::plan::{self, END, HEALED, Strike, Victim};
use crate::publisher::Publisher;
use crate::registry::Registry;
use crate::worker::Worker;

pub(crate) struct World {
    pub(crate) cx: Context,
    registry: Registry,
    nodes: Vec<Node>,
    workers: Vec<Worker>,
    edges: Vec<Edge>,
    publishers: Vec<Publisher>,
    /// Processes that are down and whose machine says so.
    refusing: Vec<Address>,
}

/// Runs one seed. `Err` has what went wrong and what happened before it.
pub(crate) fn run(seed: u64, bug: Bug) -> Result<Stats, String> {
    let mut world = World::new(seed, bug, false);
    match world.run() {
        Ok(()) => Ok(world.cx.checks.stats),
        Err(what) => Err(what),
    }
}

/// Runs a world in which only these faults happen, at these times.
pub(crate) fn run_with(seed: u64, bug: Bug, strikes: &[(u64, Strike)]) -> Result<Stats, String> {
    let mut world = World::quiet(seed, bug, false);
    for (at, strike) in strikes {
        world.cx.at(*at, Happening::Strike(*strike));
    }
    world.run().map(|()| world.cx.checks.stats)
}

/// Runs it again and keeps what happened.
pub(crate) fn trace(seed: u64, bug: Bug) -> String {
    let mut world = World::new(seed, bug, true);
    let end = world.run();
    format!("{}{}", world.cx.traced(), end.err().unwrap_or_else(|| "nothing is wrong".to_owned()))
}

impl World {
    pub(crate) fn new(seed: u64, bug: Bug, tracing: bool) -> Self {
        let mut world = Self::quiet(seed, bug, tracing);
        plan::draw(&mut world.cx);
        world
    }

    /// Nothing goes wrong but what encoders do.
    fn quiet(seed: u64, bug: Bug, tracing: bool) -> Self {
        let mut cx = Context::new(seed, bug, tracing);
        let registry = Registry::new(Clock::random(&mut cx.rng));
        let nodes = NODES.map(|address| Node::new(address, Clock::random(&mut cx.rng))).collect();
        let publishers = PUBLISHERS.map(|address| Publisher::new(&mut cx, address, HEALED)).collect();
        let first = NODES.chain(EDGES);
        first.for_each(|address| cx.at(0, Happening::Wake(address)));
        Self {
            cx,
            registry,
            nodes,
            workers: WORKERS.map(Worker::new).collect(),
            edges: EDGES.map(Edge::new).collect(),
            publishers,
            refusing: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        while let Some(happening) = self.cx.next(END) {
            match happening {
                Happening::Deliver { from, to, message } => self.deliver(from, to, message),
                Happening::Wake(address) => self.wake(address),
                Happening::Strike(strike) => self.strike(strike),
            }
            if let Some(violation) = self.cx.checks.violation.take() {
                return Err(violation);
            }
        }
        self.everybody_is_back()
    }

    /// Nothing is proven by a stream that stands still.
    fn everybody_is_back(&self) -> Result<(), String> {
        if !self.nodes.iter().any(Node::is_home_with_publisher) {
            return Err("liveness: no home has a publisher at the end".to_owned());
        }
        for publisher in &self.publishers {
            if let Some((node, connection)) = publisher.live()
                && !self.nodes[node - NODES.start].knows(connection)
            {
                return Err(format!("liveness: node {node} ignores publisher {}", publisher.address));
            }
        }
        match self.edges.iter().find(|edge| edge.grown + 3 * SECOND < self.cx.now) {
            Some(edge) => Err(format!(
                "liveness: the playlist of edge {} stands still since {} s, in {:?}",
                edge.address,
                edge.grown / SECOND,
                edge.epoch
            )),
            None => Ok(()),
        }
    }

    fn deliver(&mut self, from: Address, to: Address, message: Message) {
        let cx = &mut self.cx;
        if to == REGISTRY {
            if cx.now < self.registry.down_until {
                return;
            }
            let answer = match message {
                Message::Ask { caller, id, request } => {
                    let reply = self.registry.handle(cx, request, matches!(caller, Caller::Claimant(_)));
                    Message::Answer { caller, id, reply }
                }
                Message::KeepAlive { node, number } => {
                    let lives = self.registry.keep_alive(cx, &node);
                    Message::KeptAlive { node, number, lives }
                }
                _ => return,
            };
            cx.send(REGISTRY, from, answer);
        } else if NODES.contains(&to) {
            let node = &mut self.nodes[to - NODES.start];
            if !node.up {
                let refused = match message {
                    Message::Yield { asked, .. } if self.refusing.contains(&to) => {
                        Message::Yielded { epoch: asked.epoch, reply: PeerReply::Unreachable }
                    }
                    Message::Publish { connection, .. } | Message::Media { connection } => {
                        Message::Closed { connection }
                    }
                    _ => return,
                };
                cx.send(to, from, refused);
            } else if cx.now < node.paused_until {
                cx.at(node.paused_until, Happening::Deliver { from, to, message });
            } else {
                node.handle(cx, from, message);
            }
        } else if WORKERS.contains(&to) {
            let worker = &mut self.workers[to - WORKERS.start];
            match message {
                _ if !worker.up => {}
                message if cx.now < worker.paused_until => {
                    cx.at(worker.paused_until, Happening::Deliver { from, to, message });
                }
                Message::Made { to, put } => worker.handle_made(cx, to, *put),
                message => worker.handle(cx, from, message),
            }
        } else if EDGES.contains(&to) {
            let edge = &mut self.edges[to - EDGES.start];
            if edge.up && cx.now < edge.paused_until {
                cx.at(edge.paused_until, Happening::Deliver { from, to, message });
            } else if edge.up {
                edge.handle(cx, message);
            }
        } else {
            self.publishers[to - PUBLISHERS.start].handle(cx, message);
        }
    }

    fn wake(&mut self, address: Address) {
        let cx = &mut self.cx;
        if NODES.contains(&address) {
            let node = &mut self.nodes[address - NODES.start];
            if node.up && cx.now < node.paused_until {
                cx.at(node.paused_until, Happening::Wake(address));
            } else if node.up {
                node.handle_wake(cx);
            }
        } else if EDGES.contains(&address) {
            let edge = &mut self.edges[address - EDGES.start];
            if edge.up && cx.now < edge.paused_until {
                cx.at(edge.paused_until, Happening::Wake(address));
            } else if edge.up {
                edge.handle_wake(cx);
            }
        } else {
            self.publishers[address - PUBLISHERS.start].handle_wake(cx);
        }
    }

    /// The address of a victim, and the id of the node there.
    fn find(&self, victim: Victim) -> Option<Address> {
        match victim {
            Victim::Home => self.registry.record.as_ref().map(|record| address_of(&record.home)),
            Victim::Address(address) => Some(address),
        }
    }

    pub(crate) fn strike(&mut self, strike: Strike) {
        self.cx.trace(|| format!("{strike:?}"));
        match strike {
            Strike::Crash(victim, time) => {
                let Some(address) = self.find(victim) else { return };
                if NODES.contains(&address) {
                    self.nodes[address - NODES.start].crash(&mut self.cx);
                    self.refusing.retain(|known| *known != address);
                    if self.cx.rng.chance(500) {
                        self.refusing.push(address);
                    }
                } else if WORKERS.contains(&address) {
                    self.workers[address - WORKERS.start].crash();
                } else if EDGES.contains(&address) {
                    self.edges[address - EDGES.start].crash(&mut self.cx);
                }
                self.cx.after(time, Happening::Strike(Strike::Restart(address)));
            }
            Strike::Restart(address) => {
                if NODES.contains(&address) {
                    self.nodes[address - NODES.start].restart(&mut self.cx);
                } else if WORKERS.contains(&address) {
                    self.workers[address - WORKERS.start].up = true;
                } else if EDGES.contains(&address) {
                    self.edges[address - EDGES.start].up = true;
                    self.cx.at(self.cx.now, Happening::Wake(address));
                }
            }
            Strike::Pause(victim, time) => {
                let Some(address) = self.find(victim) else { return };
                let until = self.cx.now + time;
                if NODES.contains(&address) {
                    self.nodes[address - NODES.start].paused_until = until;
                } else if WORKERS.contains(&address) {
                    self.workers[address - WORKERS.start].paused_until = until;
                } else if EDGES.contains(&address) {
                    self.edges[address - EDGES.start].paused_until = until;
                }
            }
            Strike::PauseWorkers(time) => {
                for worker in &mut self.workers {
                    worker.paused_until = self.cx.now + time;
                }
            }
            Strike::Drain(victim) => {
                if let Some(address) = self.find(victim).filter(|address| NODES.contains(address)) {
                    let node = &mut self.nodes[address - NODES.start];
                    if node.up && self.cx.now >= node.paused_until {
                        node.drain(&mut self.cx);
                        // What it was drained for may come too early.
                        if self.cx.rng.chance(300) {
                            let later = self.cx.rng.range(0, 2 * SECOND);
                            let crash = Strike::Crash(Victim::Address(address), 3 * SECOND);
                            self.cx.after(later, Happening::Strike(crash));
                        }
                    }
                }
            }
            Strike::Cut { from, to, both, time } => {
                let (Some(from), Some(to)) = (self.find(from), self.find(to)) else { return };
                for (from, to) in [(from, to), (to, from)].into_iter().take(if both { 2 } else { 1 }) {
                    self.cx.network.blocked.push((from, to));
                    self.cx.after(time, Happening::Strike(Strike::Join(from, to)));
                }
            }
            Strike::Join(from, to) => {
                if let Some(place) = self.cx.network.blocked.iter().position(|pair| *pair == (from, to)) {
                    self.cx.network.blocked.swap_remove(place);
                }
            }
            Strike::RegistryDown(time) => self.registry.down_until = self.cx.now + time,
            Strike::RegistryFull(time) => self.registry.full_until = self.cx.now + time,
            Strike::Revoke(victim) => {
                let id: Option<NodeId> = match self.find(victim) {
                    Some(address) if NODES.contains(&address) => Some(self.nodes[address - NODES.start].id.clone()),
                    _ => None,
                };
                if let Some(id) = id {
                    self.registry.revoke(&mut self.cx, &id);
                }
            }
            Strike::Heal => {
                self.cx.network = Network::default();
                self.registry.full_until = 0;
                self.registry.down_until = 0;
            }
        }
    }
}
