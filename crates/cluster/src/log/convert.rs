//! Between messages and the words of the other crates. Whatever a peer sends is checked here, once: numbers have limits below
//! which the arithmetic of the log cannot overflow, texts and lists have lengths.

mod codec;
mod inits;
mod media;
mod reply;
mod samples;
mod sealed;
mod session;

use headwater_media::{
    Epoch, InitId, MediaSequence, PartIndex, RenditionName, SessionId, StreamName, Timescale, Timestamp, Turn, WallTime,
};

use super::wire;

pub(super) use inits::{KnownInits, SentInits};
pub(super) use media::{part, read_part};
pub(super) use reply::{ReadSnapshot, Wishes, demand, feed_item, read_batch, read_snapshot, snapshot};
pub(super) use samples::{ReadSamples, Sampled, WriteSamples};
pub(super) use session::{read_state, state};

/// Why a message cannot be used: what was found in it, and what was expected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A field without which the message says nothing is not there.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("{field} is {found}, expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value, cut to 80 characters.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// A list or a text is too long.
    #[error("{field} has {found} entries or bytes, at most {limit} are taken")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        found: usize,
        /// The most that is taken.
        limit: usize,
    },
}

/// Numbers of segments, counts of discontinuities, wakings and the like.
const COUNT_MAX: u64 = 1 << 62;
/// Parts of a segment.
const PART_INDEX_MAX: u32 = 1 << 20;
/// Times in whatever timescale, either way.
const TICKS_MAX: i64 = 1 << 56;
/// Slots, either way: times in slots stay below [`TICKS_MAX`].
const SLOTS_MAX: i64 = 1 << 42;
/// Milliseconds since 1970: up to the year 9999.
const UNIX_MILLIS_MAX: i64 = 253_402_300_799_999;
/// Units per second.
const TIMESCALE_MAX: u32 = 1_000_000_000;
/// Texts for the operator, and names of presets and codecs.
const TEXT_BYTES_MAX: usize = 1024;

fn value<T>(field: &'static str, found: impl ToString, expected: &'static str) -> Result<T, Malformed> {
    Err(Malformed::Value { field, found: found.to_string().chars().take(80).collect(), expected })
}

fn required<T>(found: Option<T>, field: &'static str) -> Result<T, Malformed> {
    found.ok_or(Malformed::Missing { field })
}

fn at_most<T>(list: Vec<T>, limit: usize, field: &'static str) -> Result<Vec<T>, Malformed> {
    if list.len() > limit { Err(Malformed::TooLong { field, found: list.len(), limit }) } else { Ok(list) }
}

pub(super) fn text(text: String, field: &'static str) -> Result<String, Malformed> {
    let (found, limit) = (text.len(), TEXT_BYTES_MAX);
    if found > limit { Err(Malformed::TooLong { field, found, limit }) } else { Ok(text) }
}

fn count(found: u64, field: &'static str) -> Result<u64, Malformed> {
    if found > COUNT_MAX { value(field, found, "at most 2^62") } else { Ok(found) }
}

fn ticks(found: i64, field: &'static str) -> Result<i64, Malformed> {
    if (-TICKS_MAX..=TICKS_MAX).contains(&found) { Ok(found) } else { value(field, found, "at most 2^56 either way") }
}

fn slot(found: i64, field: &'static str) -> Result<i64, Malformed> {
    if (-SLOTS_MAX..=SLOTS_MAX).contains(&found) { Ok(found) } else { value(field, found, "at most 2^42 either way") }
}

fn timescale(found: u32) -> Result<Timescale, Malformed> {
    match Timescale::new(found).filter(|_| found <= TIMESCALE_MAX) {
        Some(timescale) => Ok(timescale),
        None => value("timescale", found, "1 to 10^9"),
    }
}

fn byte(found: u32, field: &'static str) -> Result<u8, Malformed> {
    u8::try_from(found).or_else(|_| value(field, found, "at most 255"))
}

fn wall(unix_millis: i64) -> Result<WallTime, Malformed> {
    if (0..=UNIX_MILLIS_MAX).contains(&unix_millis) {
        Ok(WallTime { unix_millis })
    } else {
        value("wall time", unix_millis, "milliseconds since 1970, up to the year 9999")
    }
}

pub(super) fn stream(found: &str) -> Result<StreamName, Malformed> {
    found.parse().or_else(|_| value("stream", found, "app/name"))
}

pub(super) fn session_id(found: &str) -> Result<SessionId, Malformed> {
    found.parse().or_else(|()| value("session", found, "~ and 16 base32 characters"))
}

pub(super) fn rendition_name(found: &str) -> Result<RenditionName, Malformed> {
    RenditionName::new(found).map_or_else(|| value("rendition", found, "1 to 32 of a-z 0-9 -"), Ok)
}

fn init_id(found: &str) -> Result<InitId, Malformed> {
    found.parse().or_else(|()| value("init", found, "16 hex digits"))
}

pub(super) fn msn(found: u64) -> Result<MediaSequence, Malformed> {
    count(found, "segment").map(MediaSequence)
}

pub(super) fn epoch(found: u64) -> Result<Epoch, Malformed> {
    count(found, "epoch").map(Epoch)
}

fn part_index(found: u32) -> Result<PartIndex, Malformed> {
    if found > PART_INDEX_MAX { value("part", found, "at most 2^20") } else { Ok(PartIndex(found)) }
}

/// A part's address.
pub(super) type Place = (MediaSequence, PartIndex);

impl From<Place> for wire::Place {
    fn from((msn, index): Place) -> Self {
        Self { msn: msn.0, index: index.0 }
    }
}

impl TryFrom<wire::Place> for Place {
    type Error = Malformed;

    fn try_from(place: wire::Place) -> Result<Self, Malformed> {
        Ok((msn(place.msn)?, part_index(place.index)?))
    }
}

impl From<Turn> for wire::Turn {
    fn from(turn: Turn) -> Self {
        Self { epoch: turn.epoch.0, counter: turn.counter }
    }
}

impl TryFrom<wire::Turn> for Turn {
    type Error = Malformed;

    fn try_from(turn: wire::Turn) -> Result<Self, Malformed> {
        // A log counts its turns on.
        let counter =
            if turn.counter > TURNS_MAX { value("turn", turn.counter, "at most 2^30") } else { Ok(turn.counter) };
        Ok(Self { epoch: epoch(turn.epoch)?, counter: counter? })
    }
}

/// Turns of one rendition in an epoch.
const TURNS_MAX: u32 = 1 << 30;

impl From<Timestamp> for wire::Time {
    fn from(time: Timestamp) -> Self {
        Self { ticks: time.ticks, timescale: time.timescale.units_per_second() }
    }
}

impl TryFrom<wire::Time> for Timestamp {
    type Error = Malformed;

    fn try_from(time: wire::Time) -> Result<Self, Malformed> {
        Ok(Self::new(ticks(time.ticks, "time")?, timescale(time.timescale)?))
    }
}

#[cfg(test)]
mod tests;
