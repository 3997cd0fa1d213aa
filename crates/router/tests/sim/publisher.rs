//! An encoder that wants to publish the stream, and comes back when it is closed.

use crate::clock::{MILLI, SECOND};
use crate::context::{Address, Context, Happening, Message, NODES, PUBLISHERS};

/// A message of media stands for as much.
const MEDIA_EVERY: u64 = 500 * MILLI;
/// How long it waits to be accepted.
const PATIENCE: u64 = 15 * SECOND;

#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) address: Address,
    state: State,
    connection: u64,
    /// When it sends, or tries, next.
    next: u64,
    silent_until: u64,
    /// It only comes when this says so: the second and third are rivals of the first.
    pub(crate) until: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Away,
    Asking { node: Address },
    Live { node: Address },
}

impl Publisher {
    pub(crate) fn new(cx: &mut Context, address: Address, until: u64) -> Self {
        let first = address == PUBLISHERS.start;
        let next = if first { SECOND } else { cx.rng.range(SECOND, 20 * SECOND) };
        cx.at(next, Happening::Wake(address));
        Self { address, state: State::Away, connection: 0, next, silent_until: 0, until }
    }

    pub(crate) fn handle(&mut self, cx: &mut Context, message: Message) {
        match (message, self.state) {
            (Message::Accepted { connection }, State::Asking { node }) if connection == self.connection => {
                self.state = State::Live { node };
                self.set(cx, cx.now);
            }
            (Message::Closed { connection }, _) if connection == self.connection => self.away(cx),
            _ => {}
        }
    }

    pub(crate) fn handle_wake(&mut self, cx: &mut Context) {
        if cx.now < self.next {
            return;
        }
        match self.state {
            State::Away if self.is_rival() && cx.now >= self.until => {}
            State::Away => {
                let node = NODES.start + cx.rng.index(NODES.len());
                let priority = i32::from(cx.rng.chance(150));
                self.connection = cx.rng.next();
                self.state = State::Asking { node };
                cx.send_in_order(self.address, node, Message::Publish { connection: self.connection, priority });
                self.set(cx, cx.now + PATIENCE);
            }
            State::Asking { node } => self.leave(cx, node, false),
            State::Live { node } => {
                if cx.now >= self.until && self.address != PUBLISHERS.start {
                    return self.leave(cx, node, true);
                }
                if cx.now < self.until {
                    if cx.rng.chance(8) {
                        let clean = cx.rng.chance(400);
                        return self.leave(cx, node, clean);
                    }
                    if cx.rng.chance(10) {
                        self.silent_until = cx.now + cx.rng.range(SECOND, 6 * SECOND);
                    }
                }
                if cx.now >= self.silent_until {
                    cx.send_in_order(self.address, node, Message::Media { connection: self.connection });
                }
                self.set(cx, cx.now + MEDIA_EVERY);
            }
        }
    }

    /// Its connection, and the node that accepted it.
    pub(crate) fn live(&self) -> Option<(Address, u64)> {
        match self.state {
            State::Live { node } => Some((node, self.connection)),
            State::Away | State::Asking { .. } => None,
        }
    }

    /// It makes trouble, and stays away once all works.
    fn is_rival(&self) -> bool {
        self.address != PUBLISHERS.start
    }

    fn leave(&mut self, cx: &mut Context, node: Address, clean: bool) {
        cx.trace(|| format!("publisher {} leaves {node}, clean: {clean}", self.address));
        cx.send_in_order(self.address, node, Message::Leave { connection: self.connection, clean });
        self.away(cx);
    }

    fn away(&mut self, cx: &mut Context) {
        self.state = State::Away;
        self.connection = 0;
        self.silent_until = 0;
        let wait = if self.is_rival() {
            cx.rng.range(2 * SECOND, 12 * SECOND)
        } else if cx.rng.chance(100) && cx.now < self.until {
            cx.rng.range(5 * SECOND, 16 * SECOND)
        } else {
            cx.rng.range(SECOND / 2, 3 * SECOND)
        };
        self.set(cx, cx.now + wait);
    }

    fn set(&mut self, cx: &mut Context, at: u64) {
        self.next = at;
        cx.at(at, Happening::Wake(self.address));
    }
}
