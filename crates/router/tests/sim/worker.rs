//! A transcoder: makes the gear's parts of the newest turn that it was given, some time after their source.

use std::collections::HashMap;

use headwater_media::Turn;

use crate::checks::Place;
use crate::clock::{MILLI, SECOND};
use crate::context::{Address, Context, Happening, Message};
use crate::log::Piece;
use crate::rng::mix;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) address: Address,
    pub(crate) up: bool,
    pub(crate) paused_until: u64,
    instance: u64,
    turn: Turn,
    /// When a part of the turn was sent last.
    made: HashMap<Place, u64>,
}

impl Worker {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, up: true, paused_until: 0, instance: 0, turn: Turn::default(), made: HashMap::new() }
    }

    pub(crate) fn crash(&mut self) {
        *self = Self { up: false, instance: self.instance + 1, ..Self::new(self.address) };
    }

    pub(crate) fn handle(&mut self, cx: &mut Context, from: Address, message: Message) {
        let Message::Work { turn, session, pieces } = message else { return };
        if turn < self.turn {
            return;
        }
        if turn > self.turn {
            self.turn = turn;
            self.made.clear();
        }
        for (place, source) in pieces {
            let sent = self.made.get(&place).copied();
            if sent.is_some_and(|sent| cx.now < sent + SECOND / 2) {
                continue;
            }
            self.made.insert(place, cx.now);
            let writer = mix(self.address as u64 * 1000 + self.instance);
            let bytes = Some(mix(writer
                ^ mix(turn.epoch.0)
                ^ mix(u64::from(turn.counter) << 40)
                ^ mix(place.0 * 64 + u64::from(place.1))));
            let piece = Piece { bytes, turn, writer, ..source };
            let time = if sent.is_some() { MILLI } else { cx.rng.range(50 * MILLI, 400 * MILLI) };
            let put = Message::Put { session, place, piece };
            // It comes out of the encoder, and is then sent: a stopped process sends it later.
            cx.after(
                time,
                Happening::Deliver {
                    from: self.address,
                    to: self.address,
                    message: Message::Made { to: from, put: Box::new(put) },
                },
            );
        }
    }

    pub(crate) fn handle_made(&mut self, cx: &mut Context, to: Address, put: Message) {
        cx.send(self.address, to, put);
    }
}
