//! Rules that every playlist must keep, ours and others': one playlist (H-92), two versions of it (H-11, H-93), two
//! renditions of a stream (H-92).

mod i_frames;

use std::fmt;

pub use i_frames::trick_play;

use crate::{Lead, MediaPlaylist, PartLine, Seconds, Segment};

/// A rule that a playlist breaks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The checklist's item: `H-25`.
    pub item: &'static str,
    /// The segment, when it is about one.
    pub msn: Option<u64>,
    /// What was found and what was expected.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.item)?;
        if let Some(msn) = self.msn {
            write!(f, "segment {msn}: ")?;
        }
        f.write_str(&self.found)
    }
}

/// A millisecond in the unit of [`Seconds`].
const MILLISECOND: i64 = 100;

/// How far two dates may be from the media between them. H-92 says 1 ms; but dates are in whole milliseconds, and the
/// date of an audio segment is rounded twice: the cut's, and the way from the cut to the first frame.
const DATE_TOLERANCE: i64 = 2 * MILLISECOND;

#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn expect(&mut self, holds: bool, item: &'static str, msn: Option<u64>, found: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { item, msn, found: found() });
        }
    }
}

impl MediaPlaylist {
    /// Segments with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (u64, &Segment)> {
        (self.media_sequence..).zip(&self.segments)
    }

    /// Number of the segment after the last complete one.
    fn open_msn(&self) -> u64 {
        self.media_sequence + self.segments.len() as u64
    }

    /// The segment with this number, if it is listed and complete.
    pub fn segment(&self, msn: u64) -> Option<&Segment> {
        self.segments.get(usize::try_from(msn.checked_sub(self.media_sequence)?).ok()?)
    }

    /// The lines of segment `msn` before its end, open or not.
    fn lead(&self, msn: u64) -> Option<&Lead> {
        let open = (msn == self.open_msn() && !self.open.is_empty()).then_some(&self.open);
        self.segment(msn).map(|segment| &segment.lead).or(open)
    }

    /// All leads with their numbers.
    fn leads(&self) -> impl Iterator<Item = (u64, &Lead)> {
        let open = (!self.open.is_empty()).then_some(&self.open);
        (self.media_sequence..).zip(self.segments.iter().map(|segment| &segment.lead).chain(open))
    }

    /// Discontinuity number and URI of the init segment in force, for each listed segment.
    fn in_force(&self) -> impl Iterator<Item = (u64, u64, Option<&str>)> {
        self.leads().scan((self.discontinuity_sequence, None), |(discontinuity, map), (msn, lead)| {
            *discontinuity += u64::from(lead.discontinuity);
            *map = lead.map.as_deref().or(*map);
            Some((msn, *discontinuity, *map))
        })
    }
}

/// What is wrong with one playlist by itself: H-8, H-15, H-16, H-19, H-24, H-25, H-29, H-30, H-32, H-35, H-92;
/// of an I-frame playlist H-38 and H-74 too.
pub fn playlist(playlist: &MediaPlaylist) -> Vec<Violation> {
    let mut findings = Findings::default();
    check_limits(playlist, &mut findings);
    check_leads(playlist, &mut findings);
    check_dates(playlist, &mut findings);
    check_age_of_parts(playlist, &mut findings);
    if playlist.i_frames_only {
        i_frames::check_i_frames(playlist, &mut findings);
    }
    let has_parts = playlist.leads().any(|(_, lead)| !lead.parts.is_empty());
    if playlist.ended {
        findings.expect(playlist.preload_hint.is_none(), "H-19", None, || "ended with a preload hint".to_owned());
        findings.expect(playlist.open.is_empty(), "H-19", None, || "ended with an open segment".to_owned());
    } else if has_parts {
        findings.expect(playlist.preload_hint.is_some(), "H-32", None, || "parts without a preload hint".to_owned());
    }
    findings.0
}

fn check_limits(playlist: &MediaPlaylist, findings: &mut Findings) {
    let target = Seconds::whole(playlist.target_duration);
    for (msn, segment) in playlist.numbered() {
        let within = segment.duration.nearest_second() <= i64::from(playlist.target_duration);
        findings.expect(within, "H-8", Some(msn), || format!("EXTINF {} above TARGETDURATION", segment.duration));
    }
    let Some(control) = &playlist.server_control else { return };
    let at_least = |value: Option<Seconds>, limit: Seconds| value.is_none_or(|value| value >= limit);
    if let Some(part_target) = playlist.part_target {
        let hold_back = control.part_hold_back.unwrap_or_default();
        findings.expect(hold_back >= part_target.times(3), "H-35", None, || format!("PART-HOLD-BACK {hold_back}"));
    }
    let message = || format!("{control}");
    findings.expect(at_least(control.hold_back, target.times(3)), "H-35", None, message);
    findings.expect(at_least(control.can_skip_until, target.times(6)), "H-35", None, message);
}

fn check_leads(playlist: &MediaPlaylist, findings: &mut Findings) {
    let mut mapped = false;
    for (place, (msn, lead)) in playlist.leads().enumerate() {
        mapped |= lead.map.is_some();
        // Nobody reads a gap.
        let is_gap = playlist.segment(msn).is_some_and(|segment| segment.gap);
        if !(mapped || is_gap) {
            findings.expect(false, "H-15", Some(msn), || "no EXT-X-MAP before the first segment".to_owned());
            mapped = true;
        }
        let dated = lead.program_date_time.is_some() || !(place == 0 || lead.discontinuity);
        findings.expect(dated, "H-16", Some(msn), || "no EXT-X-PROGRAM-DATE-TIME".to_owned());
        let complete = playlist.segment(msn);
        check_parts(playlist.part_target, msn, &lead.parts, complete.is_some(), findings);
        if let Some(segment) = complete.filter(|segment| !segment.gap && !lead.parts.is_empty()) {
            let sum = lead.parts.iter().fold(Seconds::default(), |sum, part| sum.plus(part.duration));
            // Each length is rounded once.
            let slack = i64::try_from(lead.parts.len()).unwrap_or(i64::MAX).saturating_add(1);
            let equal = (sum.centi_millis - segment.duration.centi_millis).abs() <= slack;
            findings.expect(equal, "H-29", Some(msn), || format!("parts of {sum} in EXTINF {}", segment.duration));
        }
    }
}

fn check_parts(target: Option<Seconds>, msn: u64, parts: &[PartLine], complete: bool, findings: &mut Findings) {
    if parts.is_empty() {
        return;
    }
    let Some(target) = target else {
        return findings.expect(false, "H-24", Some(msn), || "parts without PART-TARGET".to_owned());
    };
    for (place, part) in parts.iter().enumerate() {
        let Seconds { centi_millis } = part.duration;
        let found = || format!("part {} of {}, PART-TARGET {target}", part.uri, part.duration);
        findings.expect(part.duration <= target, "H-25", Some(msn), found);
        let next = parts.get(place + 1);
        let may_be_short = part.independent || part.gap || next.is_none_or(|next| next.gap);
        // The newest part of the open segment may turn out to be its last.
        let may_be_short = may_be_short || (next.is_none() && !complete);
        let long_enough = centi_millis.saturating_mul(100) >= target.centi_millis.saturating_mul(85);
        findings.expect(may_be_short || long_enough, "H-25", Some(msn), found);
    }
}

fn check_dates(playlist: &MediaPlaylist, findings: &mut Findings) {
    for (msn, segment) in playlist.numbered() {
        let Some(next) = playlist.lead(msn + 1).filter(|next| !next.discontinuity) else { continue };
        let (Some(start), Some(end)) = (segment.lead.program_date_time, next.program_date_time) else { continue };
        let passed = (end.unix_millis - start.unix_millis).saturating_mul(MILLISECOND);
        let apart = (passed - segment.duration.centi_millis).abs();
        findings.expect(apart <= DATE_TOLERANCE, "H-92", Some(msn), || {
            format!("EXTINF {}, but the next segment is dated {passed} x 10 us later", segment.duration)
        });
    }
}

/// Parts of segments that end more than 3 x TARGETDURATION before the end of the playlist must be gone (H-30).
fn check_age_of_parts(playlist: &MediaPlaylist, findings: &mut Findings) {
    let limit = Seconds::whole(playlist.target_duration).times(3);
    let open = playlist.open.parts.iter().fold(Seconds::default(), |sum, part| sum.plus(part.duration));
    let mut age = open;
    let mut newest_first: Vec<_> = playlist.numbered().collect();
    newest_first.reverse();
    for (msn, segment) in newest_first {
        // Other writers may round each length by itself, so that they add up to a little more than the media.
        let slack = Seconds { centi_millis: 100 };
        let young = age <= limit.plus(slack);
        findings.expect(young || segment.lead.parts.is_empty(), "H-30", Some(msn), || format!("parts {age} old"));
        age = age.plus(segment.duration);
    }
}

/// What has changed between two versions of a playlist that must not (H-11): `new` may only have more at its end and
/// less at its front, and no parts where they are old.
pub fn successor(old: &MediaPlaylist, new: &MediaPlaylist) -> Vec<Violation> {
    let mut findings = Findings::default();
    let constants = |playlist: &MediaPlaylist| {
        (playlist.i_frames_only, playlist.target_duration, playlist.part_target, playlist.server_control)
    };
    findings.expect(constants(old) == constants(new), "H-11", None, || "the header changed".to_owned());
    let rises = new.media_sequence >= old.media_sequence;
    findings.expect(rises, "H-9", None, || format!("MEDIA-SEQUENCE fell to {}", new.media_sequence));
    if !rises || (old.segments.is_empty() && old.open.is_empty()) {
        return findings.0;
    }
    if old.ended {
        findings.expect(new.ended && new.open_msn() == old.open_msn(), "H-11", None, || {
            "it went on after ENDLIST".to_owned()
        });
    }
    check_discontinuity_sequence(old, new, &mut findings);
    for (msn, before) in old.leads().skip_while(|(msn, _)| *msn < new.media_sequence) {
        match new.lead(msn) {
            Some(after) => check_grown(old, new, msn, before, after, &mut findings),
            None => findings.expect(false, "H-11", Some(msn), || "it left the end of the playlist".to_owned()),
        }
    }
    let shared = |(msn, ..): &(u64, u64, Option<&str>)| *msn >= new.media_sequence;
    for (before, after) in old.in_force().filter(shared).zip(new.in_force()) {
        findings.expect(before == after, "H-11", Some(before.0), || {
            format!("discontinuity number and EXT-X-MAP were {before:?}, are {after:?}")
        });
    }
    findings.0
}

/// It rises by one for each EXT-X-DISCONTINUITY that left with its segment (H-9).
fn check_discontinuity_sequence(old: &MediaPlaylist, new: &MediaPlaylist, findings: &mut Findings) {
    let removed = old.leads().take_while(|(msn, _)| *msn < new.media_sequence);
    let tags = removed.filter(|(_, lead)| lead.discontinuity).count() as u64;
    let least = old.discontinuity_sequence + tags;
    let unseen = new.media_sequence > old.open_msn();
    let holds = new.discontinuity_sequence == least || (unseen && new.discontinuity_sequence > least);
    findings.expect(holds, "H-9", None, || {
        format!("DISCONTINUITY-SEQUENCE is {}, {least} by what was removed", new.discontinuity_sequence)
    });
}

fn check_grown(
    old: &MediaPlaylist,
    new: &MediaPlaylist,
    msn: u64,
    before: &Lead,
    after: &Lead,
    findings: &mut Findings,
) {
    let tags = |lead: &Lead| (lead.discontinuity, lead.program_date_time);
    findings.expect(tags(before) == tags(after), "H-11", Some(msn), || {
        format!("its tags were {:?}, are {:?}", tags(before), tags(after))
    });
    let ends = (old.segment(msn), new.segment(msn));
    let parts_may_change = match ends {
        (Some(closed), Some(now)) => {
            let end = |segment: &Segment| (segment.gap, segment.duration, segment.byte_range, segment.uri.clone());
            findings.expect(end(closed) == end(now), "H-11", Some(msn), || {
                format!("its end was {:?}, is {:?}", end(closed), end(now))
            });
            after.parts == before.parts || after.parts.is_empty()
        }
        (Some(_), None) => {
            findings.expect(false, "H-11", Some(msn), || "it was complete and is open again".to_owned());
            true
        }
        (None, Some(_)) => after.parts.is_empty() || after.parts.starts_with(&before.parts),
        (None, None) => after.parts.starts_with(&before.parts),
    };
    findings.expect(parts_may_change, "H-11", Some(msn), || {
        format!("its parts were {:?}, are {:?}", before.parts, after.parts)
    });
}

/// Whether two renditions of a stream agree where both list a segment: the same discontinuity number, and starts that
/// are at most `tolerance` apart: nothing for two video renditions, one audio frame otherwise (H-92).
pub fn aligned(one: &MediaPlaylist, other: &MediaPlaylist, tolerance: Seconds) -> Vec<Violation> {
    let mut findings = Findings::default();
    for (msn, discontinuity, _) in one.in_force() {
        let Some((_, found, _)) = other.in_force().find(|(number, ..)| *number == msn) else { continue };
        findings.expect(discontinuity == found, "H-92", Some(msn), || {
            format!("discontinuity number {discontinuity} in one rendition, {found} in another")
        });
        let date = |playlist: &MediaPlaylist| playlist.lead(msn).and_then(|lead| lead.program_date_time);
        let (Some(here), Some(there)) = (date(one), date(other)) else { continue };
        let apart = here.unix_millis.abs_diff(there.unix_millis);
        let allowed = tolerance.centi_millis.max(0).unsigned_abs().div_ceil(MILLISECOND.unsigned_abs());
        findings.expect(apart <= allowed, "H-92", Some(msn), || format!("starts {apart} ms apart in two renditions"));
    }
    findings.0
}
