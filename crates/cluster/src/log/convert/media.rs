//! Cuts, part ends, init segments, parts.

use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{
    ByteRange, Cut, CutKind, Init, Instant, Part, PartEnd, PartPayload, Pieces, RenditionState, Timestamp, VideoRange,
    VideoSlot,
};

use super::{
    KnownInits, Malformed, SentInits, at_most, count, init_id, msn, part_index, rendition_name, slot, text, ticks,
    timescale, value, wall, wire,
};

/// Renditions that a cut says something of, or that a session has.
pub(super) const RENDITIONS_MAX: usize = 256;
/// Pieces of a part.
const PIECES_MAX: usize = 1 << 16;
/// Bytes of an init segment.
const INIT_BYTES_MAX: usize = 256 << 10;
/// Pixels either way.
const SIDE_MAX: u32 = 1 << 16;

impl From<&Cut> for wire::Cut {
    fn from(cut: &Cut) -> Self {
        let renditions = cut.renditions.iter().map(|(name, state)| wire::CutRendition {
            name: name.to_string(),
            off: match state {
                RenditionState::On => None,
                RenditionState::Off(reason) => Some(reason.to_string()),
            },
        });
        Self {
            msn: cut.msn.0,
            start: cut.start.ticks,
            discontinuity: cut.discontinuity,
            date_unix_millis: cut.program_date_time.unix_millis,
            gap: cut.kind == CutKind::Gap,
            renditions: renditions.collect(),
        }
    }
}

impl TryFrom<wire::Cut> for Cut {
    type Error = Malformed;

    fn try_from(cut: wire::Cut) -> Result<Self, Malformed> {
        let renditions = at_most(cut.renditions, RENDITIONS_MAX, "renditions of a cut")?.into_iter().map(|known| {
            let state = match known.off {
                None => RenditionState::On,
                Some(reason) => RenditionState::Off(text(reason, "why a rendition is off")?.into()),
            };
            Ok((rendition_name(&known.name)?, state))
        });
        Ok(Self {
            msn: msn(cut.msn)?,
            start: Timestamp::video(ticks(cut.start, "start of a cut")?),
            discontinuity: count(cut.discontinuity, "discontinuity")?,
            program_date_time: wall(cut.date_unix_millis)?,
            kind: if cut.gap { CutKind::Gap } else { CutKind::Media },
            renditions: renditions.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&PartEnd> for wire::PartEnd {
    fn from(end: &PartEnd) -> Self {
        let PartEnd { msn, index, start, end, last } = *end;
        Self { msn: msn.0, index: index.0, start_slot: start.0, end_slot: end.0, last }
    }
}

impl TryFrom<wire::PartEnd> for PartEnd {
    type Error = Malformed;

    fn try_from(end: wire::PartEnd) -> Result<Self, Malformed> {
        Ok(Self {
            msn: msn(end.msn)?,
            index: part_index(end.index)?,
            start: VideoSlot(slot(end.start_slot, "start of a part")?),
            end: VideoSlot(slot(end.end_slot, "end of a part")?),
            last: end.last,
        })
    }
}

impl From<&Init> for wire::Init {
    fn from(init: &Init) -> Self {
        let range = match init.range {
            VideoRange::Sdr => wire::VideoRange::Sdr,
            VideoRange::Pq => wire::VideoRange::Pq,
            VideoRange::Hlg => wire::VideoRange::Hlg,
        };
        Self {
            data: init.data.clone(),
            codecs: init.codecs.to_string(),
            resolution: init.resolution.map(|(width, height)| wire::Size { width, height }),
            range: range.into(),
        }
    }
}

impl TryFrom<wire::Init> for Init {
    type Error = Malformed;

    fn try_from(init: wire::Init) -> Result<Self, Malformed> {
        let (found, limit) = (init.data.len(), INIT_BYTES_MAX);
        if found > limit {
            return Err(Malformed::TooLong { field: "init segment", found, limit });
        }
        let range = match wire::VideoRange::try_from(init.range) {
            Ok(wire::VideoRange::Sdr) => VideoRange::Sdr,
            Ok(wire::VideoRange::Pq) => VideoRange::Pq,
            Ok(wire::VideoRange::Hlg) => VideoRange::Hlg,
            Err(unknown) => return value("dynamic range", unknown, "SDR, PQ or HLG"),
        };
        let resolution = init.resolution.map(size).transpose()?;
        // Not a piece of the whole message: it is kept for longer than what it came with.
        let data = Bytes::copy_from_slice(&init.data);
        Ok(Self::new(data, &text(init.codecs, "codecs")?, resolution).in_range(range))
    }
}

/// Width and height in pixels.
pub(super) fn size(size: wire::Size) -> Result<(u32, u32), Malformed> {
    let side = |side| if (1..=SIDE_MAX).contains(&side) { Ok(side) } else { value("side", side, "1 to 65536 pixels") };
    Ok((side(size.width)?, side(size.height)?))
}

/// A part as it is told at `now`; what it needs beside itself goes to `inits`.
pub(in super::super) fn part(part: &Part, now: Instant, inits: &mut SentInits) -> wire::Part {
    let media = match &part.payload {
        PartPayload::Gap => None,
        PartPayload::Media { data, independent, intra, init, received } => {
            inits.send(init);
            Some(wire::PartMedia {
                data: data.iter().cloned().collect(),
                independent: *independent,
                intra: intra.map(|ByteRange { offset, length }| wire::ByteRange { offset, length }),
                init: init.id.to_string(),
                age_micros: age(*received, now),
            })
        }
    };
    wire::Part {
        msn: part.msn.0,
        index: part.index.0,
        start: part.start.ticks,
        end: part.end.ticks,
        timescale: part.start.timescale.units_per_second(),
        media,
    }
}

/// A part that came in at `now`, with one of `inits`.
pub(in super::super) fn read_part(part: wire::Part, now: Instant, inits: &KnownInits) -> Result<Part, Malformed> {
    let scale = timescale(part.timescale)?;
    let (start, end) = (ticks(part.start, "start of a part")?, ticks(part.end, "end of a part")?);
    if end < start {
        return value("end of a part", end, "not before its start");
    }
    let payload = match part.media {
        None => PartPayload::Gap,
        Some(media) => {
            let data: Pieces = at_most(media.data, PIECES_MAX, "pieces of a part")?.into_iter().collect();
            let intra = media.intra.map(|range| ByteRange { offset: range.offset, length: range.length });
            let length = data.len() as u64;
            if let Some(range) = intra
                && range.offset.checked_add(range.length).is_none_or(|end| end > length)
            {
                return value("range of an IDR", range, "within its part");
            }
            PartPayload::Media {
                data,
                independent: media.independent,
                intra,
                init: inits.find(init_id(&media.init)?)?,
                received: received(media.age_micros, now),
            }
        }
    };
    Ok(Part {
        msn: msn(part.msn)?,
        index: part_index(part.index)?,
        start: Timestamp::new(start, scale),
        end: Timestamp::new(end, scale),
        payload,
    })
}

/// Clocks of two machines have nothing in common: a time is told by how long ago it was. That leaves out how long the
/// message is on its way.
pub(super) fn age(received: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_since(received).as_micros()).unwrap_or(u64::MAX)
}

/// The time that was [told](age), on this machine's clock.
pub(super) fn received(age_micros: u64, now: Instant) -> Instant {
    Instant::from_nanos(now.as_nanos().saturating_sub(age_micros.saturating_mul(1000)))
}

pub(super) fn cuts(cuts: Vec<wire::Cut>, limit: usize) -> Result<Vec<Arc<Cut>>, Malformed> {
    at_most(cuts, limit, "cuts")?.into_iter().map(|cut| Cut::try_from(cut).map(Arc::new)).collect()
}
