//! Publishers that cost next to nothing: one thread writes what is due, a system call for each picture.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use headwater_media::{Clock, Instant};

use super::wire::Wire;

/// A socket that did not take everything is tried again after this.
const RETRY: Duration = Duration::from_millis(2);
/// What is due within this time is written together: waking up costs, too.
const TICK: Duration = Duration::from_millis(1);
/// Pieces between two looks at what the server has to say.
const LISTEN_EVERY: u64 = 30;

/// What became of the publishers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sent {
    /// Bytes that sockets took.
    pub(crate) bytes: u64,
    /// Publishers whose connection was closed.
    pub(crate) lost: usize,
    /// The longest that a publisher was behind its time when the last of a picture was taken.
    pub(crate) latest: Duration,
}

struct Publisher {
    socket: TcpStream,
    since: Instant,
    piece: u64,
    /// Bytes of the piece that the socket has taken.
    taken: usize,
}

/// What came of one try.
enum Outcome {
    Sent { late: Duration },
    Later,
    Lost,
}

/// Sends for every accepted publisher that comes in, until the other end of the channel is gone.
pub(crate) fn send(wire: &Wire, clock: &Arc<dyn Clock>, accepted: &Receiver<Order>) -> Sent {
    let (mut sent, mut publishers, mut due) = (Sent::default(), Vec::new(), BinaryHeap::new());
    loop {
        loop {
            match accepted.try_recv() {
                Ok(Order::Publish(socket)) => {
                    due.push(Reverse((clock.now(), publishers.len())));
                    publishers.push(Publisher { socket, since: clock.now(), piece: 0, taken: 0 });
                }
                // What came late up to now was the start's.
                Ok(Order::Measure) => sent.latest = Duration::ZERO,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return sent,
            }
        }
        let now = clock.now();
        while let Some(Reverse((_, index))) = due.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            due.pop();
            let publisher: &mut Publisher = &mut publishers[index];
            match publisher.send(wire, clock, &mut sent.bytes) {
                Outcome::Sent { late } => {
                    sent.latest = sent.latest.max(late);
                    due.push(Reverse((publisher.since + Wire::due(publisher.piece), index)));
                }
                Outcome::Later => due.push(Reverse((now + RETRY, index))),
                Outcome::Lost => sent.lost += 1,
            }
        }
        std::thread::sleep(TICK);
    }
}

/// What the sending thread is told.
pub(crate) enum Order {
    /// One more publisher, whose stream begins now.
    Publish(TcpStream),
    /// The time that is measured begins.
    Measure,
}

impl Publisher {
    fn send(&mut self, wire: &Wire, clock: &Arc<dyn Clock>, bytes: &mut u64) -> Outcome {
        let piece = wire.piece(self.piece);
        match self.socket.write(&piece[self.taken..]) {
            Ok(0) => return Outcome::Lost,
            Ok(length) => {
                *bytes += length as u64;
                self.taken += length;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return Outcome::Lost,
        }
        if self.taken < piece.len() {
            return Outcome::Later;
        }
        let late = clock.now().saturating_since(self.since + Wire::due(self.piece));
        self.piece += 1;
        self.taken = 0;
        if self.piece.is_multiple_of(LISTEN_EVERY) && !self.listen() {
            return Outcome::Lost;
        }
        Outcome::Sent { late }
    }

    /// Takes acknowledgements away. `false` when the server has closed.
    fn listen(&mut self) -> bool {
        match self.socket.read(&mut [0; 4096]) {
            Ok(length) => length > 0,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}
