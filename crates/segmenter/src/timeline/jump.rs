//! Frames whose times are on another clock than those before them, until it is known whose fault that is.

use headwater_media::Instant;

use super::clock::Unwrap;

/// A frame that is this far behind its track has jumped.
const BACK_MILLIS: i64 = 1000;
/// A frame that is this far ahead of its track has jumped.
const AHEAD_MILLIS: i64 = 10_000;
/// So many frames in a row on another clock make it the clock.
const CONFIRMED: usize = 5;

/// Whether a frame at `millis` is on another clock than the one before it.
pub(super) fn jumped(last: Option<i64>, millis: i64) -> bool {
    last.is_some_and(|last| millis - last < -BACK_MILLIS || millis - last > AHEAD_MILLIS)
}

/// Whether frames of two tracks can be of one clock: they are sent at most 10 s apart.
pub(super) fn near(one: i64, other: i64) -> bool {
    (one - other).abs() <= AHEAD_MILLIS
}

/// Frames of one track on a clock of their own, held until it is confirmed.
#[derive(Debug)]
pub(super) struct Suspects<T> {
    clock: Unwrap,
    frames: Vec<Suspect<T>>,
}

#[derive(Debug)]
pub(super) struct Suspect<T> {
    pub(super) at: Instant,
    /// Its time as sent.
    sent: u32,
    /// Its time on the suspects' clock.
    pub(super) millis: i64,
    pub(super) frame: T,
}

impl<T> Default for Suspects<T> {
    fn default() -> Self {
        Self { clock: Unwrap::default(), frames: Vec::new() }
    }
}

impl<T> Suspects<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// When the first of them came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.frames.first().map(|first| first.at)
    }

    /// The newest time on their clock.
    pub(super) fn newest(&self) -> Option<i64> {
        self.frames.last().map(|last| last.millis)
    }

    /// The newest time as it was sent.
    pub(super) fn newest_sent(&self) -> Option<u32> {
        self.frames.last().map(|last| last.sent)
    }

    /// A time as sent, on their clock.
    pub(super) fn peek(&self, millis: u32) -> i64 {
        self.clock.peek(millis)
    }

    /// Whether a frame of this time goes on after those held. True when none is.
    pub(super) fn goes_on(&self, millis: u32) -> bool {
        !jumped(self.newest(), self.peek(millis))
    }

    /// There are enough of them.
    pub(super) fn are_confirmed(&self) -> bool {
        self.frames.len() >= CONFIRMED
    }

    pub(super) fn push(&mut self, at: Instant, millis: u32, frame: T) {
        let (sent, millis) = (millis, self.clock.step(millis));
        self.frames.push(Suspect { at, sent, millis, frame });
    }

    /// Their clock and all of them; none is held any more.
    pub(super) fn take(&mut self) -> (Unwrap, Vec<Suspect<T>>) {
        let taken = std::mem::take(self);
        (taken.clock, taken.frames)
    }
}
