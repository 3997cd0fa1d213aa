//! The life of one stream: a publisher, what befalls it, and its players.

use std::time::Duration;

use super::Scene;
use super::publishers::Kind;
use super::random::Random;
use crate::clock::{Stopwatch, poll};
use crate::follow::Follower;
use crate::program::Program;

/// Players of a stream at once.
const PLAYERS: usize = 3;
/// How many publishers a stream is ahead of the one before it, so that each has other programs and recordings.
const APART: usize = 18;
/// Starting takes a moment on a busy machine; who waits for a takeover waits two seconds more.
const START: Duration = Duration::from_secs(20);
/// An encoder that was asked to end, or was refused, has so long to do so.
const END: Duration = Duration::from_secs(6);
/// A player that stays longer than this goes, so that what players remember stays small.
const STAY_MAX: Duration = Duration::from_secs(60);

/// What befalls a publisher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Act {
    /// Ctrl-C; the next comes soon or later.
    Leave,
    /// SIGKILL; the next comes within the reconnect window or after it.
    Kill,
    /// SIGSTOP for a moment, then it goes on.
    Freeze,
    /// SIGSTOP, and another one takes its place.
    Displace,
    /// Another one tries while it publishes.
    Rival,
    /// Nothing.
    Peace,
}

const ACTS: [Act; 8] =
    [Act::Leave, Act::Kill, Act::Kill, Act::Freeze, Act::Displace, Act::Rival, Act::Peace, Act::Peace];

/// Lives until the scene is over.
pub(super) fn live(scene: &Scene<'_>, index: usize, random: Random) {
    let name = format!("soak/{}", char::from(b'a' + u8::try_from(index).unwrap()));
    // Each stream begins with another kind, so that a short soak has all of them.
    let mut life = Life { scene, name, random, next_kind: index * APART, accepted: 0, players: Vec::new() };
    let mut publisher = None;
    let mut acts = 0;
    while !scene.is_over() {
        let Some(mut current) = publisher.take().or_else(|| life.publish()) else { continue };
        life.change_players();
        scene.rest(life.random.millis(1000, 4000));
        // The first is killed, so that a short soak has a return.
        let act = if acts == 0 { Act::Kill } else { life.random.pick(&ACTS) };
        acts += 1;
        publisher = if scene.is_over() {
            Some(current)
        } else if current.is_running() {
            life.befall(act, current)
        } else {
            // The server's log says whether it was the server's doing.
            let said = current.finish(END).err;
            scene.note(format!("{}: a publisher ended by itself: {said}", life.name));
            None
        };
    }
    if let Some(publisher) = publisher {
        life.leave(publisher);
    }
    life.dismiss(|_| true);
}

struct Life<'a> {
    scene: &'a Scene<'a>,
    name: String,
    random: Random,
    next_kind: usize,
    /// Publishers that the server's log calls accepted.
    accepted: usize,
    players: Vec<(Follower, Stopwatch)>,
}

impl Life<'_> {
    fn start(&mut self) -> Program {
        let (round, kind) = (self.next_kind / Kind::ALL.len(), Kind::ALL[self.next_kind % Kind::ALL.len()]);
        self.next_kind += 1;
        *self.scene.counts().publishers.entry(kind).or_default() += 1;
        kind.start(&self.scene.server.publish_url(&self.name), round)
    }

    /// Whether the server accepts one more publisher within `limit`.
    fn is_accepted(&mut self, limit: Duration) -> bool {
        let stream = format!("stream={} ", self.name);
        let found = self.scene.log().nth(&["publisher accepted", &stream], self.accepted, limit).is_some();
        self.accepted += usize::from(found);
        found
    }

    /// A publisher that was accepted.
    fn publish(&mut self) -> Option<Program> {
        let publisher = self.start();
        if self.is_accepted(START) {
            return Some(publisher);
        }
        let said = publisher.err.text();
        self.scene.broken([format!("{}: no publisher within {} s: {said}", self.name, START.as_secs())]);
        publisher.kill();
        None
    }

    /// Gives who publishes afterwards.
    fn befall(&mut self, act: Act, mut publisher: Program) -> Option<Program> {
        match act {
            Act::Leave => {
                self.leave(publisher);
                self.pause(0, 3000)
            }
            Act::Kill => {
                self.scene.counts().killed += 1;
                publisher.kill();
                self.pause(0, 6000)
            }
            Act::Freeze => {
                self.scene.counts().frozen += 1;
                publisher.freeze();
                self.scene.rest(self.random.millis(500, 4000));
                publisher.thaw();
                Some(publisher)
            }
            Act::Displace => {
                self.scene.counts().frozen += 1;
                publisher.freeze();
                let newcomer = self.publish();
                publisher.thaw();
                self.expect_end(publisher, "was displaced");
                newcomer
            }
            Act::Rival => {
                let mut rival = self.start();
                poll(END, || (!rival.is_running() || !publisher.is_running()).then_some(()));
                if publisher.is_running() {
                    self.expect_end(rival, "was to be refused");
                    return Some(publisher);
                }
                // On a starved machine the publisher may be silent for two seconds, and lose its stream.
                self.expect_end(publisher, "was taken over");
                if self.is_accepted(START) { Some(rival) } else { None }
            }
            Act::Peace => Some(publisher),
        }
    }

    fn pause(&mut self, from: u64, to: u64) -> Option<Program> {
        self.scene.rest(self.random.millis(from, to));
        None
    }

    /// Ctrl-C, as an operator ends an encoder.
    fn leave(&self, mut publisher: Program) {
        if !publisher.is_running() {
            return;
        }
        self.scene.counts().left += 1;
        publisher.interrupt();
        self.expect_end(publisher, "was asked to end");
    }

    fn expect_end(&self, mut publisher: Program, why: &str) {
        if poll(END, || (!publisher.is_running()).then_some(())).is_none() {
            // An encoder's own fault; what the server did is in its log.
            self.scene.note(format!("{}: a publisher that {why} still ran after {} s", self.name, END.as_secs()));
            publisher.kill();
        }
    }

    /// Some go, some come.
    fn change_players(&mut self) {
        let whim = self.random.below(3) == 0;
        let mut one_goes = whim;
        self.dismiss(|(player, watch)| {
            player.is_finished() || watch.elapsed() > STAY_MAX || std::mem::take(&mut one_goes)
        });
        let come = 1 + self.random.below(2);
        for _ in 0..come {
            if self.players.len() < PLAYERS
                && let Some(player) = Follower::join(self.scene.server, &self.name, &self.scene.seen)
            {
                self.scene.counts().players += 1;
                self.players.push((player, Stopwatch::start()));
            }
        }
    }

    /// Those that `goes` names stop, and say what they found.
    fn dismiss(&mut self, mut goes: impl FnMut(&(Follower, Stopwatch)) -> bool) {
        let players = std::mem::take(&mut self.players);
        let (gone, kept): (Vec<_>, Vec<_>) = players.into_iter().partition(|player| goes(player));
        self.players = kept;
        for (player, _) in gone {
            self.scene.broken(player.stop());
        }
    }
}
