//! Holds a track's chunks against the rules of C-50, for tests and tools. Findings are values, not panics, so that a
//! test can print all of them and a tool can count them.

use bytes::Bytes;
use headwater_media::{AudioConfig, CodecConfig, HevcConfig, TrackKind, VideoConfig};

use crate::FourCc;
use crate::read::{InitSegment, ReadChunk, ReadError, ReadSample, Run, boxes, chunks};

/// One broken rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Which chunk, counted from 0 over all that were given.
    pub chunk: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a chunk.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not readable at all.
    #[error("{0}")]
    Unreadable(ReadError),
    /// Not `[styp] [prft] [emsg]* moof mdat` (C-2, C-30).
    #[error("top-level boxes are {found:?}, expected [styp] [prft] [emsg]* moof mdat")]
    Layout {
        /// Boxes that are there.
        found: Vec<FourCc>,
    },
    /// `styp` stands before the first chunk of a segment and nowhere else (C-3). It may be left out.
    #[error("styp in a chunk that does not open a segment")]
    StypInside,
    /// More or fewer `traf` than one, or another track than the init segment's.
    #[error("the traf are of tracks {found:?}, expected one of track {expected}")]
    Tracks {
        /// track_ID of each `traf`.
        found: Vec<u32>,
        /// The init segment's track_ID.
        expected: u32,
    },
    /// In a `traf`: not one each of `tfhd`, `tfdt`, `trun`, in this order (C-31).
    #[error("traf has {found:?}, expected tfhd, tfdt, one trun")]
    TrafLayout {
        /// Boxes that are there.
        found: Vec<FourCc>,
    },
    /// `tfhd` flags: default-base-is-moof set, base-data-offset not (section 4).
    #[error("tfhd flags are {found:#08x}, expected 0x020000 set and 0x000001 not")]
    Base {
        /// The flags.
        found: u32,
    },
    /// `tfdt` has version 1 (C-13).
    #[error("tfdt has version {found}, expected 1")]
    TfdtVersion {
        /// Its version.
        found: u8,
    },
    /// `mfhd` numbers rise (architecture 9), modulo 2^32.
    #[error("mfhd sequence number is {found}, expected one after {previous}")]
    SequenceNumber {
        /// Number of this chunk.
        found: u32,
        /// Number of the chunk before.
        previous: u32,
    },
    /// A chunk begins where the one before ended (C-13).
    #[error("tfdt is {found}, expected {expected}")]
    DecodeTime {
        /// Its decode time, ticks.
        found: u64,
        /// End of the chunk before, ticks.
        expected: u64,
    },
    /// A chunk has samples.
    #[error("the chunk has no samples")]
    NoSamples,
    /// data_offset = size of `moof` + 8 (C-23).
    #[error("data_offset is {found:?}, expected {expected}")]
    DataOffset {
        /// What it is.
        found: Option<i32>,
        /// Size of `moof` + 8.
        expected: i64,
    },
    /// The samples lie back to back and fill the `mdat`.
    #[error("samples end at byte {found}, mdat at byte {expected}")]
    MdatNotFilled {
        /// End of the last sample.
        found: i64,
        /// End of the `mdat`.
        expected: i64,
    },
    /// No sample is empty (C-26).
    #[error("sample {sample} has size 0")]
    EmptySample {
        /// Which sample.
        sample: usize,
    },
    /// A sample lies outside its `mdat`.
    #[error("sample {sample} lies outside the mdat")]
    SampleOutside {
        /// Which sample.
        sample: usize,
    },
    /// The first sample of a segment is a sync sample (C-25); audio samples all are.
    #[error("sample {sample} is not a sync sample")]
    NotSync {
        /// Which sample.
        sample: usize,
    },
    /// An IDR begins its chunk (C-4).
    #[error("sample {sample} is a sync sample inside the chunk")]
    SyncInside {
        /// Which sample.
        sample: usize,
    },
    /// A sync sample's flag and its bitstream say the same.
    #[error("sample {sample} is flagged as sync: {flagged}, but is a keyframe: {idr}")]
    SyncFlag {
        /// Which sample.
        sample: usize,
        /// The flag.
        flagged: bool,
        /// What the bitstream says.
        idr: bool,
    },
    /// The IDR that opens a segment has composition offset 0 (C-22).
    #[error("the IDR that opens the segment has composition offset {found}")]
    IdrCompositionOffset {
        /// Its offset, ticks.
        found: i64,
    },
    /// A video sample is not 4-byte length-prefixed NAL units (of AV1: OBUs) up to its end (C-26): start codes, for
    /// example.
    #[error("sample {sample} is not made of length-prefixed NAL units or OBUs")]
    NalUnits {
        /// Which sample.
        sample: usize,
    },
    /// Something in the sample has no place there: parameter sets, delimiters, padding (C-26).
    #[error("sample {sample} has {found} bytes, of which {expected} belong there")]
    Unclean {
        /// Which sample.
        sample: usize,
        /// Its length.
        found: usize,
        /// Its length without what has no place in it.
        expected: usize,
    },
    /// A NAL unit that does not belong into a sample of `avc1` (C-26).
    #[error("sample {sample} has a NAL unit of type {nal_type}")]
    NalType {
        /// Which sample.
        sample: usize,
        /// nal_unit_type.
        nal_type: u8,
    },
    /// A sample of AAC begins with an ADTS header (C-26).
    #[error("sample {sample} begins with an ADTS sync word")]
    Adts {
        /// Which sample.
        sample: usize,
    },
    /// A segment is its parts, one after another (C-3).
    #[error("the segment differs from its parts at byte {at}")]
    SegmentDiffers {
        /// First byte that differs.
        at: usize,
    },
}

/// Checks the chunks of one track, in order.
#[derive(Clone, Debug)]
pub struct TrackCheck {
    init: InitSegment,
    kind: TrackKind,
    next_decode_time: Option<u64>,
    last_sequence_number: Option<u32>,
    chunks: u64,
    findings: Vec<Finding>,
}

/// Whether a chunk is the first of its segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// It opens a segment.
    First,
    /// It goes on with one.
    Inside,
}

impl TrackCheck {
    /// Checks of the track that `init` describes; it must have one track.
    pub fn new(init: &[u8]) -> Result<Self, ReadError> {
        let init = InitSegment::parse(init)?;
        let [track] = &init.tracks[..] else {
            let found = init.tracks.len() as u64;
            return Err(ReadError::Value { field: "number of tracks", found, expected: "1" });
        };
        let kind = if track.handler.0 == *b"soun" { TrackKind::Audio } else { TrackKind::Video };
        let (next_decode_time, last_sequence_number) = (None, None);
        Ok(Self { init, kind, next_decode_time, last_sequence_number, chunks: 0, findings: Vec::new() })
    }

    /// The next chunk may begin at any decode time: a discontinuity or a gap is before it.
    pub fn discontinuity(&mut self) {
        self.next_decode_time = None;
    }

    /// Checks the next chunk.
    pub fn chunk(&mut self, place: Place, data: &[u8]) {
        match chunks(data, &self.init.tracks) {
            Ok(read) => {
                self.check_layout(place, data);
                for chunk in read {
                    self.check_chunk(place, data, &chunk);
                }
            }
            Err(error) => self.find(Problem::Unreadable(error)),
        }
        self.chunks += 1;
    }

    /// Checks that `segment` is `parts`, one after another. Does not check the parts.
    pub fn segment<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>, segment: &[u8]) {
        let mut at = 0;
        for part in parts {
            let there = &segment[at..];
            let same = part.iter().zip(there).take_while(|(left, right)| left == right).count();
            at += same;
            if same < part.len() {
                return self.find(Problem::SegmentDiffers { at });
            }
        }
        if at < segment.len() {
            self.find(Problem::SegmentDiffers { at });
        }
    }

    /// What was found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Decode time at which the last chunk ended, in ticks: where the next must begin.
    pub fn end(&self) -> Option<u64> {
        self.next_decode_time
    }

    fn find(&mut self, problem: Problem) {
        self.findings.push(Finding { chunk: self.chunks, problem });
    }

    fn check_layout(&mut self, place: Place, data: &[u8]) {
        let found: Vec<FourCc> = boxes(data).filter_map(Result::ok).map(|found| found.kind).collect();
        let mut rest = &found[..];
        if let [FourCc([b's', b't', b'y', b'p']), after @ ..] = rest {
            rest = after;
            if place == Place::Inside {
                self.find(Problem::StypInside);
            }
        }
        if let [FourCc([b'p', b'r', b'f', b't']), after @ ..] = rest {
            rest = after;
        }
        while let [FourCc([b'e', b'm', b's', b'g']), after @ ..] = rest {
            rest = after;
        }
        if rest != [FourCc(*b"moof"), FourCc(*b"mdat")] {
            self.find(Problem::Layout { found });
        }
    }

    fn check_chunk(&mut self, place: Place, data: &[u8], chunk: &ReadChunk) {
        if let Some(previous) = self.last_sequence_number {
            let ahead = chunk.sequence_number.wrapping_sub(previous);
            if ahead == 0 || ahead > u32::MAX / 2 {
                self.find(Problem::SequenceNumber { found: chunk.sequence_number, previous });
            }
        }
        self.last_sequence_number = Some(chunk.sequence_number);

        let track_id = self.init.tracks[0].id;
        let [run] = &chunk.runs[..] else {
            let found = chunk.runs.iter().map(|run| run.track_id).collect();
            return self.find(Problem::Tracks { found, expected: track_id });
        };
        if run.track_id != track_id {
            self.find(Problem::Tracks { found: vec![run.track_id], expected: track_id });
        }
        self.check_run(chunk, run);
        for (sample, read) in run.samples.iter().enumerate() {
            self.check_sample(place, sample, read);
            let inside = i64::try_from(chunk.mdat.start).is_ok_and(|start| read.offset >= start)
                && i64::try_from(chunk.mdat.end).is_ok_and(|end| read.offset.saturating_add(read.size.into()) <= end);
            match read.data(data).filter(|_| inside) {
                None => self.find(Problem::SampleOutside { sample }),
                Some(bytes) => match self.kind {
                    TrackKind::Video => self.check_bitstream(place, sample, read, bytes),
                    TrackKind::Audio => self.check_adts(sample, bytes),
                },
            }
        }
    }

    fn check_run(&mut self, chunk: &ReadChunk, run: &Run) {
        let order = [FourCc(*b"tfhd"), FourCc(*b"tfdt"), FourCc(*b"trun")];
        if !run.boxes.starts_with(&order) || run.trun_flags.len() != 1 {
            self.find(Problem::TrafLayout { found: run.boxes.clone() });
        }
        if run.tfhd_flags & 0x02_0001 != 0x02_0000 {
            self.find(Problem::Base { found: run.tfhd_flags });
        }
        if run.tfdt_version != 1 {
            self.find(Problem::TfdtVersion { found: run.tfdt_version });
        }
        if let Some(expected) = self.next_decode_time
            && expected != run.base_decode_time
        {
            self.find(Problem::DecodeTime { found: run.base_decode_time, expected });
        }
        self.next_decode_time = Some(run.base_decode_time.saturating_add(run.duration()));

        let expected = i64::try_from(chunk.moof.len() + 8).unwrap_or(i64::MAX);
        if run.data_offset.map(i64::from) != Some(expected) {
            self.find(Problem::DataOffset { found: run.data_offset, expected });
        }
        let Some(last) = run.samples.last() else {
            return self.find(Problem::NoSamples);
        };
        let (found, expected) =
            (last.offset.saturating_add(last.size.into()), i64::try_from(chunk.mdat.end).unwrap_or(i64::MAX));
        if found != expected {
            self.find(Problem::MdatNotFilled { found, expected });
        }
    }

    fn check_sample(&mut self, place: Place, sample: usize, read: &ReadSample) {
        if read.size == 0 {
            self.find(Problem::EmptySample { sample });
        }
        let must_be_sync = self.kind == TrackKind::Audio || (place == Place::First && sample == 0);
        if must_be_sync && !read.is_sync() {
            self.find(Problem::NotSync { sample });
        }
        if self.kind == TrackKind::Video && sample > 0 && read.is_sync() {
            self.find(Problem::SyncInside { sample });
        }
    }

    fn check_bitstream(&mut self, place: Place, sample: usize, read: &ReadSample, bytes: &[u8]) {
        let Some(CodecConfig::Video(config)) = self.init.tracks[0].config.clone() else { return };
        let opens = place == Place::First && sample == 0;
        let unit = match *config {
            VideoConfig::Avc(_) => None,
            _ => Some(config.access_unit(&Bytes::copy_from_slice(bytes)).unwrap_or_default()),
        };
        // Of HEVC a segment may begin with another picture than an IDR, and others be shown before it.
        if opens && read.composition_offset != 0 && unit.as_ref().is_none_or(|unit| unit.idr) {
            self.find(Problem::IdrCompositionOffset { found: read.composition_offset });
        }
        let Some(unit) = unit else { return self.check_nal_units(sample, read, bytes) };
        if unit.damaged || !unit.has_picture {
            return self.find(Problem::NalUnits { sample });
        }
        if unit.data != bytes {
            self.find(Problem::Unclean { sample, found: bytes.len(), expected: unit.data.len() });
        }
        let open = unit.recovery.is_some() && HevcConfig::is_random_access(&unit.data);
        let (flagged, idr) = (read.is_sync(), unit.idr || open);
        if flagged != idr {
            self.find(Problem::SyncFlag { sample, flagged, idr });
        }
    }

    /// For AAC only: a FLAC frame begins with the same bits.
    fn check_adts(&mut self, sample: usize, bytes: &[u8]) {
        let config = &self.init.tracks[0].config;
        let aac = matches!(config, Some(CodecConfig::Audio(config)) if matches!(**config, AudioConfig::Aac(_)));
        if aac && matches!(bytes, [0xFF, second, ..] if second & 0xF6 == 0xF0) {
            self.find(Problem::Adts { sample });
        }
    }

    fn check_nal_units(&mut self, sample: usize, read: &ReadSample, bytes: &[u8]) {
        let (mut rest, mut idr) = (bytes, false);
        while !rest.is_empty() {
            let Some((nal_unit, after)) = split_nal_unit(rest) else {
                return self.find(Problem::NalUnits { sample });
            };
            rest = after;
            match nal_unit[0] & 0x1F {
                nal_type @ (0 | 7..=12) => self.find(Problem::NalType { sample, nal_type }),
                nal_type => idr |= nal_type == 5,
            }
        }
        if idr != read.is_sync() {
            self.find(Problem::SyncFlag { sample, flagged: read.is_sync(), idr });
        }
    }
}

/// The first NAL unit and what follows; `None` when it is empty or longer than what is there.
fn split_nal_unit(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.split_at_checked(length).filter(|(nal_unit, _)| !nal_unit.is_empty())
}
