//! Delivery directives: what a playlist request asks for and whether it must wait. Checklist section 4.

use headwater_media::{MediaSequence, PartIndex};

use crate::{Seconds, Window};

/// The directives of a playlist request. All else in a query is ignored (H-44).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Directives {
    /// `_HLS_msn`, and `_HLS_part` if it was there.
    pub after: Option<(MediaSequence, Option<PartIndex>)>,
    /// `_HLS_skip`.
    pub skip: Option<Skip>,
}

/// `_HLS_skip` with a value that is known; others are ignored (H-41).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Skip {
    /// `YES`: a delta without old segments.
    Segments,
    /// `v2`: also without old date ranges.
    SegmentsAndDateRanges,
}

/// Why a playlist request is answered with 400 (H-39).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// A value is not a decimal integer of 64 bits (32 for `_HLS_part`).
    #[error("{name} is not a decimal integer")]
    NotANumber {
        /// The parameter.
        name: &'static str,
    },
    /// A parameter is there twice.
    #[error("{name} is given twice")]
    Repeated {
        /// The parameter.
        name: &'static str,
    },
    /// `_HLS_part` without `_HLS_msn`.
    #[error("_HLS_part is given without _HLS_msn")]
    PartWithoutSegment,
    /// More than two segments after the last complete one.
    #[error("_HLS_msn is {asked}, the last complete segment is {last}")]
    SegmentTooFarAhead {
        /// Segment asked for.
        asked: u64,
        /// The last complete one.
        last: u64,
    },
    /// Further ahead of the newest part than the advance part limit.
    #[error("part {part} of segment {segment} is {ahead} parts ahead of the newest one")]
    PartTooFarAhead {
        /// Segment asked for, after the end of complete ones is taken into account.
        segment: u64,
        /// Part asked for.
        part: u32,
        /// Parts between the newest one and it, itself included.
        ahead: u64,
    },
}

impl DirectiveError {
    /// Whether the same request may be a good one in a while.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::SegmentTooFarAhead { .. } | Self::PartTooFarAhead { .. })
    }
}

/// What to do with a playlist request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Answer with the current playlist.
    Ready,
    /// Ask again after the next push.
    Wait,
    /// Answer 400.
    BadRequest(DirectiveError),
}

const MSN: &str = "_HLS_msn";
const PART: &str = "_HLS_part";
const SKIP: &str = "_HLS_skip";

impl Directives {
    /// Reads a query, what follows the `?`.
    pub fn parse(query: Option<&str>) -> Result<Self, DirectiveError> {
        let (mut msn, mut part, mut skip) = (None, None, None);
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (slot, name) = match name {
                MSN => (&mut msn, MSN),
                PART => (&mut part, PART),
                SKIP => (&mut skip, SKIP),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(DirectiveError::Repeated { name });
            }
        }
        let msn = msn.map(|value| integer(MSN, value)).transpose()?.map(MediaSequence);
        let part = part.map(|value| integer(PART, value)).transpose()?.map(PartIndex);
        let after = match (msn, part) {
            (None, Some(_)) => return Err(DirectiveError::PartWithoutSegment),
            (None, None) => None,
            (Some(msn), part) => Some((msn, part)),
        };
        let skip = match skip {
            Some("YES") => Some(Skip::Segments),
            Some("v2") => Some(Skip::SegmentsAndDateRanges),
            _ => None,
        };
        Ok(Self { after, skip })
    }
}

fn integer<N: std::str::FromStr>(name: &'static str, value: &str) -> Result<N, DirectiveError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    number.ok_or(DirectiveError::NotANumber { name })
}

impl Window {
    /// The directives in `query`. An ended playlist ignores them all, wrong ones included (H-39).
    pub fn directives(&self, query: Option<&str>) -> Result<Directives, DirectiveError> {
        if self.has_ended() { Ok(Directives::default()) } else { Directives::parse(query) }
    }

    /// What to do with a request for the playlist (H-39, H-40). A rendition without a whole segment makes everybody
    /// wait: players that know nothing of parts find its playlist empty and give up, and hls.js and Shaka Player, which
    /// do, do not begin with it either.
    pub fn decide(&self, directives: &Directives) -> Decision {
        match self.decide_begun(directives) {
            Decision::Ready if !self.has_whole_segment() => Decision::Wait,
            decision => decision,
        }
    }

    fn decide_begun(&self, directives: &Directives) -> Decision {
        if self.has_ended() {
            return Decision::Ready;
        }
        let Some(last) = self.last_complete() else { return Decision::Wait };
        let Some((msn, part)) = directives.after else { return Decision::Ready };
        if msn.0 > last.0.saturating_add(2) {
            return Decision::BadRequest(DirectiveError::SegmentTooFarAhead { asked: msn.0, last: last.0 });
        }
        match part {
            None if msn <= last => Decision::Ready,
            None => Decision::Wait,
            Some(part) => self.decide_part(last, msn, part),
        }
    }

    /// Whether a request for this part would wait.
    pub(crate) fn waits_for(&self, msn: MediaSequence, part: PartIndex) -> bool {
        self.decide(&Directives { after: Some((msn, Some(part))), skip: None }) == Decision::Wait
    }

    fn decide_part(&self, last: MediaSequence, mut msn: MediaSequence, mut part: PartIndex) -> Decision {
        while msn <= last {
            match self.part_count(msn) {
                // A part past the end of its segment means the first of the next one.
                Some(count) if part.0 >= count => (msn, part) = (msn.next(), PartIndex(0)),
                _ => return Decision::Ready,
            }
        }
        let open = last.next();
        let listed = self.part_count(open).unwrap_or(0);
        if msn == open && part.0 < listed {
            return Decision::Ready;
        }
        let ahead = if msn == open {
            u64::from(part.0 - listed) + 1
        } else {
            self.parts_per_segment().saturating_sub(u64::from(listed)) + u64::from(part.0) + 1
        };
        if self.is_past_the_limit(ahead) {
            return Decision::BadRequest(DirectiveError::PartTooFarAhead { segment: msn.0, part: part.0, ahead });
        }
        Decision::Wait
    }

    /// The advance part limit: 3 parts, or as many as fit into 3 s when they are shorter than a second.
    fn is_past_the_limit(&self, parts_ahead: u64) -> bool {
        let second = Seconds::whole(1).centi_millis.unsigned_abs();
        let part = self.part_target().centi_millis.clamp(1, Seconds::whole(1).centi_millis).unsigned_abs();
        parts_ahead.saturating_mul(part) > 3 * second
    }

    /// ceil(TARGETDURATION / PART-TARGET): as many parts as a segment may be assumed to have.
    fn parts_per_segment(&self) -> u64 {
        let length = Seconds::whole(self.config().target_duration).centi_millis.max(0).unsigned_abs();
        length.div_ceil(self.part_target().centi_millis.max(1).unsigned_abs())
    }
}
