//! One rendition as a player gets to know it, and the rules that it must keep.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use headwater_cmaf::check::{Place, Problem, TrackCheck};
use headwater_cmaf::read::{InitSegment, chunks};
use headwater_hls::{MediaPlaylist, Seconds, check};
use headwater_media::Timestamp;

/// Number of a segment and index of a part in it.
pub type Address = (u64, usize);

/// What was read of a rendition so far.
#[derive(Debug, Default)]
pub struct Rendition {
    /// The newest playlist.
    pub playlist: MediaPlaylist,
    /// Init segments by URI.
    pub inits: BTreeMap<String, Bytes>,
    /// Every part that was ever listed, without gaps.
    pub parts: BTreeMap<Address, Part>,
    /// Every segment that was complete while it was followed from its first part, without gaps.
    pub segments: BTreeMap<u64, Bytes>,
    /// Length of every complete segment that was ever listed.
    pub lengths: BTreeMap<u64, Seconds>,
    /// Segments and parts that were listed as gaps.
    pub gaps: u64,
    /// Answers to playlist requests.
    pub reloads: u64,
    /// Rules that were broken.
    pub problems: Vec<String>,
    /// It has ended, and everything of it is here.
    pub finished: bool,
    check: Option<(String, TrackCheck)>,
    /// The last thing listed was a gap: the next part may begin at another time.
    after_gap: bool,
}

/// A part.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its bytes.
    pub data: Bytes,
    /// URI of its init segment.
    pub init: String,
    /// Decode time of its first sample.
    pub start: Timestamp,
    /// Samples in it.
    pub samples: usize,
}

/// A part in a playlist that was not there before.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Where it is.
    pub address: Address,
    /// Its URI.
    pub uri: String,
    /// URI of the init segment in force.
    pub init: String,
    /// Decode times may begin anew here.
    pub discontinuity: bool,
    /// INDEPENDENT=YES.
    pub independent: bool,
}

impl Rendition {
    /// Takes the next version of the playlist. Gives the parts and the complete segments that are new in it.
    pub fn take(&mut self, playlist: MediaPlaylist) -> (Vec<Listed>, Vec<(u64, String)>) {
        let mut violations = check::playlist(&playlist);
        if self.reloads > 0 {
            violations.extend(check::successor(&self.playlist, &playlist));
        }
        self.problems.extend(violations.iter().map(ToString::to_string));
        self.reloads += 1;
        let (mut parts, mut segments) = (Vec::new(), Vec::new());
        let known = if self.reloads > 1 { self.position() } else { (0, 0) };
        let mut init = String::new();
        let closed = playlist.segments.iter().map(|segment| (&segment.lead, Some(segment)));
        let open = (!playlist.open.is_empty()).then_some((&playlist.open, None));
        for (msn, (lead, segment)) in (playlist.media_sequence..).zip(closed.chain(open)) {
            init = lead.map.clone().unwrap_or(init);
            for (index, part) in lead.parts.iter().enumerate().filter(|(index, _)| (msn, *index) >= known) {
                if part.gap {
                    self.gaps += 1;
                    self.after_gap = true;
                    continue;
                }
                parts.push(Listed {
                    address: (msn, index),
                    uri: part.uri.clone(),
                    init: init.clone(),
                    discontinuity: std::mem::take(&mut self.after_gap) || (index == 0 && lead.discontinuity),
                    independent: part.independent,
                });
            }
            if let Some(segment) = segment
                && self.lengths.insert(msn, segment.duration).is_none()
            {
                if segment.gap {
                    self.gaps += 1;
                    self.after_gap = true;
                } else {
                    segments.push((msn, segment.uri.clone()));
                }
            }
        }
        self.playlist = playlist;
        (parts, segments)
    }

    /// The part after the last one listed: what to wait for.
    pub fn position(&self) -> Address {
        let open = self.playlist.media_sequence + self.playlist.segments.len() as u64;
        (open, self.playlist.open.parts.len())
    }

    /// Takes the bytes of a part and checks them.
    pub fn take_part(&mut self, listed: &Listed, data: Bytes) {
        let Some(init) = self.inits.get(&listed.init).cloned() else {
            return self.problems.push(format!("part {} has no init segment", listed.uri));
        };
        if self.check.as_ref().is_none_or(|(uri, _)| *uri != listed.init) {
            match TrackCheck::new(&init) {
                Ok(check) => self.check = Some((listed.init.clone(), check)),
                Err(error) => return self.problems.push(format!("{}: {error}", listed.init)),
            }
        }
        let Some((_, check)) = &mut self.check else { return };
        let (msn, index) = listed.address;
        let place = if index == 0 { Place::First } else { Place::Inside };
        if listed.discontinuity || (index > 0 && !self.parts.contains_key(&(msn, index - 1))) {
            check.discontinuity();
        }
        let before = check.findings().len();
        check.chunk(place, &data);
        for finding in &check.findings()[before..] {
            // An encoder's own IDRs lie where they lie, and a stream without gears may be cut where there is none.
            let allowed = match finding.problem {
                Problem::SyncInside { .. } => true,
                Problem::NotSync { sample: 0 } | Problem::IdrCompositionOffset { .. } => !listed.independent,
                _ => false,
            };
            if !allowed {
                self.problems.push(format!("part {}: {}", listed.uri, finding.problem));
            }
        }
        let tracks = InitSegment::parse(&init).map(|init| init.tracks).unwrap_or_default();
        let (mut start, mut samples, mut independent) = (None, 0, false);
        for chunk in chunks(&data, &tracks).unwrap_or_default() {
            for run in chunk.runs {
                let timescale = tracks[0].timescale;
                let ticks = i64::try_from(run.base_decode_time).unwrap();
                start.get_or_insert(Timestamp { ticks, timescale });
                independent |= samples == 0 && run.samples.first().is_some_and(|sample| sample.is_sync());
                samples += run.samples.len();
            }
        }
        if independent != listed.independent {
            self.problems.push(format!("part {} says INDEPENDENT: {}", listed.uri, listed.independent));
        }
        let Some(start) = start else { return self.problems.push(format!("part {} is empty", listed.uri)) };
        self.parts.insert(listed.address, Part { data, init: listed.init.clone(), start, samples });
    }

    /// Takes the bytes of a complete segment: they must be those of its parts.
    pub fn take_segment(&mut self, msn: u64, uri: &str, data: Bytes) {
        let parts: Vec<&Part> = self.parts.range((msn, 0)..(msn + 1, 0)).map(|(_, part)| part).collect();
        if parts.is_empty() {
            return;
        }
        let joined: Vec<u8> = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
        if joined != data {
            let (found, expected) = (data.len(), joined.len());
            self.problems.push(format!("segment {uri} of {found} bytes is not its parts, {expected} bytes"));
        }
        self.segments.insert(msn, data);
    }

    /// The init segment and all parts that go with it, as a file. There must have been only one init segment.
    #[track_caller]
    pub fn file(&self) -> Vec<u8> {
        assert_eq!(self.inits.len(), 1, "one init segment");
        let init = self.inits.values().next().unwrap();
        init.iter().copied().chain(self.parts.values().flat_map(|part| part.data.iter().copied())).collect()
    }

    /// The parts as files: one for each stretch with one init segment, which it begins with.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
        for part in self.parts.values() {
            if files.last().is_none_or(|(init, _)| *init != part.init) {
                files.push((&part.init, self.inits[&part.init].to_vec()));
            }
            if let Some((_, file)) = files.last_mut() {
                file.extend_from_slice(&part.data);
            }
        }
        files.into_iter().map(|(_, file)| file).collect()
    }

    /// How long before its decode time a sample is shown at most, in milliseconds. From there on FFmpeg says of every
    /// sample that it is shown later by as much.
    pub fn shown_early(&self) -> f64 {
        let mut early = 0.0;
        for part in self.parts.values() {
            let tracks = InitSegment::parse(&self.inits[&part.init]).map(|init| init.tracks).unwrap_or_default();
            for sample in chunks(&part.data, &tracks).unwrap_or_default().into_iter().flat_map(|chunk| chunk.runs) {
                let offsets = sample.samples.iter().map(|sample| sample.composition_offset);
                let scale = f64::from(tracks[0].timescale.units_per_second());
                early = offsets
                    .map(|offset| -f64::from(i32::try_from(offset).unwrap()) * 1000.0 / scale)
                    .fold(early, f64::max);
            }
        }
        early
    }

    /// Samples in all parts.
    pub fn samples(&self) -> usize {
        self.parts.values().map(|part| part.samples).sum()
    }

    /// Discontinuities in the playlist, those before its first segment included.
    pub fn discontinuities(&self) -> u64 {
        let tags = self.playlist.segments.iter().map(|segment| &segment.lead).chain([&self.playlist.open]);
        self.playlist.discontinuity_sequence + tags.filter(|lead| lead.discontinuity).count() as u64
    }

    /// Fails with everything that was found.
    #[track_caller]
    pub fn expect_no_problems(&self, name: &str) {
        let mut text = String::new();
        for problem in self.problems.iter().take(20) {
            writeln!(text, "  {problem}").unwrap();
        }
        assert!(text.is_empty(), "{name}: {} rules broken:\n{text}{}", self.problems.len(), self.playlist);
    }
}
