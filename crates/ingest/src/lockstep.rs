//! A publisher's other video tracks, which show the same picture in other sizes: each picture gets the place that the
//! first track's picture of the same time got, so that all have the same segments and parts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use headwater_media::{AccessUnit, Instant, MediaSequence, PartEnd, SentTimes, StampedVideo, VideoConfig, VideoSlot};

/// Tracks beside the first.
pub(crate) const TRACKS_MAX: usize = 8;
/// Pictures of a track that wait for the first one's, and bytes in them: the session may settle for a second.
const WAITING_MAX: usize = 512;
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Places that are remembered, for tracks that come late.
const PLACES_MAX: usize = 512;
/// Parts that wait for a track's pictures. One that is so late is closed with what there is.
const ENDS_MAX: usize = 32;
/// A track that is so much behind, in 1/120000 s, has stopped.
const LATE_TICKS: i64 = 2 * 120_000;

/// Why a track's rendition is off.
const NOT_IN_STEP: &str = "its keyframes are not where those of the first track are";
const STOPPED: &str = "its track has stopped";

/// What becomes of a track's pictures.
#[derive(Clone, Debug)]
pub(crate) enum Laid {
    /// A picture in its place.
    Video(StampedVideo),
    /// All that belongs into this part has come.
    PartEnd(PartEnd),
    /// A segment has begun without an IDR of this track, or none of its pictures come. The text says which.
    Off(&'static str),
    /// One has begun with an IDR again.
    On,
}

/// All tracks but the first.
#[derive(Debug, Default)]
pub(crate) struct Lockstep {
    tracks: BTreeMap<u8, Track>,
    places: VecDeque<Place>,
    newest: MediaSequence,
    laid: VecDeque<(u8, Laid)>,
}

#[derive(Debug, Default)]
struct Track {
    waiting: VecDeque<Sent>,
    waiting_bytes: usize,
    ends: VecDeque<PartEnd>,
    /// The segment of the newest picture, and the slot behind it.
    msn: MediaSequence,
    covered: i64,
    off: bool,
}

#[derive(Debug)]
struct Sent {
    unit: AccessUnit,
    config: Arc<VideoConfig>,
    received: Instant,
}

/// Where a picture of the first track is.
#[derive(Clone, Copy, Debug)]
struct Place {
    sent: SentTimes,
    msn: MediaSequence,
    slot: i64,
    composition_slots: i32,
    /// Length of a slot in 1/120000 s.
    slot_ticks: i64,
    /// It is the first of its segment.
    opens: bool,
}

impl Lockstep {
    /// What goes on with `tracks` of a session that another home began.
    pub(crate) fn of(tracks: impl Iterator<Item = u8>) -> Self {
        Self { tracks: tracks.map(|track| (track, Track::default())).collect(), ..Self::default() }
    }

    /// Numbers of the tracks that send pictures, or are about to.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = u8> + '_ {
        self.tracks.keys().copied()
    }

    /// There is one track alone.
    pub(crate) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Another publisher, another clock.
    pub(crate) fn restart(&mut self) {
        self.places.clear();
        for track in self.tracks.values_mut() {
            track.waiting.clear();
            track.waiting_bytes = 0;
        }
    }

    /// Pictures of another track will come. `false` when it is one track too many.
    pub(crate) fn expect(&mut self, track: u8) -> bool {
        let has_room = self.tracks.len() < TRACKS_MAX || self.tracks.contains_key(&track);
        if has_room {
            self.tracks.entry(track).or_default();
        }
        has_room
    }

    /// A picture of another track has come. `false` when it is one track too many.
    pub(crate) fn push(&mut self, track: u8, unit: AccessUnit, config: Arc<VideoConfig>, received: Instant) -> bool {
        if !self.expect(track) {
            return false;
        }
        let own = self.tracks.entry(track).or_default();
        own.waiting_bytes += unit.data.len();
        own.waiting.push_back(Sent { unit, config, received });
        while own.waiting.len() > WAITING_MAX || own.waiting_bytes > WAITING_BYTES_MAX {
            own.pop();
        }
        self.advance();
        true
    }

    /// A picture of the first track has its place, on a grid with slots of `slot_ticks`.
    pub(crate) fn place(&mut self, video: &StampedVideo, slot_ticks: i64) {
        let opens = self.newest != video.msn;
        self.newest = video.msn;
        self.places.push_back(Place {
            sent: video.sent,
            msn: video.msn,
            slot: video.slot.0,
            composition_slots: video.composition_slots,
            slot_ticks,
            opens,
        });
        if self.places.len() > PLACES_MAX {
            self.places.pop_front();
        }
        self.advance();
    }

    /// The timeline has closed a part.
    pub(crate) fn end_part(&mut self, end: PartEnd) {
        let late_slots = self.places.back().map_or(i64::MAX, |place| LATE_TICKS / place.slot_ticks);
        for (number, track) in &mut self.tracks {
            track.ends.push_back(end);
            if track.ends.front().is_some_and(|oldest| end.end.0 - oldest.end.0 > late_slots) {
                track.stop(*number, &mut self.laid);
            }
            track.close(*number, &mut self.laid);
        }
    }

    /// What has become of the pictures of which track.
    pub(crate) fn poll(&mut self) -> Option<(u8, Laid)> {
        self.laid.pop_front()
    }

    fn advance(&mut self) {
        for (number, track) in &mut self.tracks {
            while let Some(next) = track.waiting.front() {
                let dts = next.unit.dts_millis;
                let place = self.places.iter().rev().find(|place| place.sent.dts_millis == dts).copied();
                let passed = |place: &Place| place.sent.dts_millis.wrapping_sub(dts).cast_signed() > 0;
                match place {
                    Some(place) => {
                        if let Some(sent) = track.pop() {
                            track.lay(*number, sent, place, &mut self.laid);
                        }
                    }
                    // The first track has gone on without a picture of this time.
                    None if self.places.back().is_some_and(passed) => {
                        track.pop();
                    }
                    None => break,
                }
            }
        }
    }
}

impl Track {
    fn pop(&mut self) -> Option<Sent> {
        let sent = self.waiting.pop_front()?;
        self.waiting_bytes -= sent.unit.data.len();
        Some(sent)
    }

    fn lay(&mut self, number: u8, sent: Sent, place: Place, laid: &mut VecDeque<(u8, Laid)>) {
        if place.slot < self.covered {
            return;
        }
        let Sent { unit, config, received } = sent;
        if place.msn != self.msn {
            self.msn = place.msn;
            self.close(number, laid);
            let off = !(place.opens && unit.idr);
            if off != self.off {
                laid.push_back((number, if off { Laid::Off(NOT_IN_STEP) } else { Laid::On }));
            }
            self.off = off;
        }
        if !self.off {
            // Encoders may put their B-frames elsewhere: 120 ticks are a millisecond.
            let ticks = 120 * i64::from(unit.composition_millis - place.sent.composition_millis);
            let slots = (2 * ticks + place.slot_ticks).div_euclid(2 * place.slot_ticks);
            let composition_slots = place.composition_slots.saturating_add(i32::try_from(slots).unwrap_or(0));
            laid.push_back((
                number,
                Laid::Video(StampedVideo {
                    msn: place.msn,
                    slot: VideoSlot(place.slot),
                    composition_slots,
                    idr: unit.idr,
                    recovery: unit.recovery,
                    data: unit.data,
                    config,
                    sent: SentTimes { dts_millis: unit.dts_millis, composition_millis: unit.composition_millis },
                    received,
                }),
            ));
        }
        self.covered = place.slot + 1;
        self.close(number, laid);
    }

    /// No pictures come: nothing waits for them any more. It is on again with a segment that begins with one of its IDRs.
    fn stop(&mut self, number: u8, laid: &mut VecDeque<(u8, Laid)>) {
        if !self.off {
            self.off = true;
            laid.push_back((number, Laid::Off(STOPPED)));
        }
        laid.extend(self.ends.drain(..).map(|end| (number, Laid::PartEnd(end))));
    }

    /// Parts that nothing more comes for.
    fn close(&mut self, number: u8, laid: &mut VecDeque<(u8, Laid)>) {
        while let Some(end) = self.ends.front()
            && (end.msn < self.msn || end.end.0 <= self.covered || self.ends.len() > ENDS_MAX)
        {
            laid.push_back((number, Laid::PartEnd(*end)));
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::{AvcConfig, PartIndex};

    use super::*;

    /// x264's, 320x180.
    const AVC_CONFIG: &[u8] = &[
        1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xB4, 0x0A, 0x0C, 0xFC, 0xF8, 0x08, 0x80,
        0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x1E, 0x47, 0x8A, 0x15, 0x50, 1, 0, 4, 0x68, 0xEB, 0x8F, 0x20,
    ];

    fn config() -> Arc<VideoConfig> {
        Arc::new(AvcConfig::parse(AVC_CONFIG).unwrap().into())
    }

    /// Picture `number` at 25 a second; segments of 4, with parts of 2.
    fn first(number: i64) -> StampedVideo {
        StampedVideo {
            msn: MediaSequence(1 + number.unsigned_abs() / 4),
            slot: VideoSlot(number),
            composition_slots: 0,
            idr: number % 4 == 0,
            recovery: None,
            data: Bytes::new(),
            config: config(),
            sent: SentTimes { dts_millis: 7000 + u32::try_from(number).unwrap() * 40, composition_millis: 80 },
            received: Instant::default(),
        }
    }

    fn unit(number: u32, idr: bool) -> AccessUnit {
        let data = Bytes::from(number.to_string());
        AccessUnit { data, idr, recovery: None, dts_millis: 7000 + number * 40, composition_millis: 80 }
    }

    fn part(number: i64) -> PartEnd {
        PartEnd {
            msn: MediaSequence(1 + number.unsigned_abs() / 2),
            index: PartIndex(u32::try_from(number % 2).unwrap()),
            start: VideoSlot(2 * number),
            end: VideoSlot(2 * number + 2),
            last: number % 2 == 1,
        }
    }

    /// What came out, in short: slots of pictures, parts, off, on.
    fn laid(lockstep: &mut Lockstep) -> Vec<String> {
        let text = |(track, laid)| match laid {
            Laid::Video(video) => format!("{track}:{}", video.slot.0),
            Laid::PartEnd(end) => format!("{track}:part {}.{}", end.msn.0, end.index.0),
            Laid::Off(_) => format!("{track}:off"),
            Laid::On => format!("{track}:on"),
        };
        std::iter::from_fn(|| lockstep.poll()).map(text).collect()
    }

    /// The first track's picture, and the part that it fills.
    fn go_on(lockstep: &mut Lockstep, number: i64) {
        lockstep.place(&first(number), 4800);
        if number % 2 == 1 {
            lockstep.end_part(part(number / 2));
        }
    }

    #[test]
    fn pictures_of_one_time_have_one_place_whatever_comes_first() {
        let mut lockstep = Lockstep::default();
        assert!(lockstep.push(1, unit(0, true), config(), Instant::default()));
        assert_eq!(laid(&mut lockstep), [""; 0]);
        go_on(&mut lockstep, 0);
        go_on(&mut lockstep, 1);
        assert_eq!(laid(&mut lockstep), ["1:0"]);
        assert!(lockstep.push(1, unit(1, false), config(), Instant::default()));
        assert_eq!(laid(&mut lockstep), ["1:1", "1:part 1.0"]);
    }

    #[test]
    fn a_track_whose_idrs_are_elsewhere_is_off_until_they_line_up() {
        let mut lockstep = Lockstep::default();
        for number in 0..12 {
            go_on(&mut lockstep, number);
            let number = u32::try_from(number).unwrap();
            // The second segment begins without an IDR.
            assert!(lockstep.push(3, unit(number, number % 4 == 0 && number != 4), config(), Instant::default()));
        }
        let all = laid(&mut lockstep);
        assert_eq!(all.iter().position(|text| text == "3:off"), Some(6), "{all:?}");
        assert!(all.ends_with(&["3:on", "3:8", "3:9", "3:part 3.0", "3:10", "3:11", "3:part 3.1"].map(String::from)));
        assert!(!all.contains(&"3:5".to_owned()));
    }

    #[test]
    fn what_one_of_the_tracks_lacks_holds_nothing_up() {
        let mut lockstep = Lockstep::default();
        for number in 0..8 {
            if number != 2 {
                go_on(&mut lockstep, number);
            }
            let number = u32::try_from(number).unwrap();
            if number != 5 {
                assert!(lockstep.push(1, unit(number, number % 4 == 0), config(), Instant::default()));
            }
        }
        let pictures: Vec<String> = laid(&mut lockstep).into_iter().filter(|text| !text.contains("part")).collect();
        assert_eq!(pictures, ["1:0", "1:1", "1:3", "1:4", "1:6", "1:7"]);
        // A track that has ended holds up no more parts than a few.
        for number in 8..200 {
            go_on(&mut lockstep, number);
        }
        assert!(laid(&mut lockstep).len() > 90 - ENDS_MAX);
    }

    #[test]
    fn a_track_that_stops_is_off_until_a_segment_begins_with_an_idr_of_it() {
        let mut lockstep = Lockstep::default();
        assert!(lockstep.expect(2), "it never sends anything");
        for number in 0..120 {
            go_on(&mut lockstep, number);
            let number = u32::try_from(number).unwrap();
            if !(8..110).contains(&number) {
                assert!(lockstep.push(1, unit(number, number % 4 == 0), config(), Instant::default()));
            }
        }
        let all = laid(&mut lockstep);
        let of = |track: &str| all.iter().filter(|text| text.starts_with(track)).cloned().collect::<Vec<_>>();
        let (one, two) = (of("1:"), of("2:"));
        let at = |text: &str| one.iter().position(|found| found == text).unwrap();
        assert_eq!(one[at("1:off") - 2..at("1:off") + 2], ["1:7", "1:part 2.1", "1:off", "1:part 3.0"]);
        assert_eq!(one[at("1:on")..at("1:on") + 2], ["1:on", "1:112"]);
        assert_eq!(one.iter().filter(|text| text.contains("part")).count(), 60);
        assert_eq!(two[..2], ["2:off", "2:part 1.0"]);
    }

    #[test]
    fn tracks_and_what_waits_in_them_are_bounded() {
        let mut lockstep = Lockstep::default();
        for track in 0..20 {
            assert_eq!(
                lockstep.push(track, unit(0, true), config(), Instant::default()),
                usize::from(track) < TRACKS_MAX
            );
        }
        for number in 0..2000 {
            lockstep.push(1, unit(number, false), config(), Instant::default());
        }
        assert_eq!(lockstep.tracks[&1].waiting.len(), WAITING_MAX);
        assert_eq!(lockstep.tracks().count(), TRACKS_MAX);
    }
}
