//! What every publisher sends: a made-up stream, laid out once as RTMP chunks.
//!
//! Chunk headers after the first of their chunk stream hold differences of time only, so the second pass of the clip has
//! the same bytes as all later ones: the first two passes are all that must be there, for any number of publishers.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater_amf0::{Object, Value, write};
use headwater_rtmp::{ChunkStreamId, ChunkWriter, Message, MessageType};

/// Pictures a second.
const PICTURES_PER_SECOND: usize = 30;
/// A keyframe every two seconds.
const GOP_PICTURES: usize = 60;
/// Both tracks are whole after this: 240 pictures, 375 frames of sound.
const CLIP_SECONDS: usize = 8;
const PICTURES: usize = CLIP_SECONDS * PICTURES_PER_SECOND;
const SOUND_RATE: usize = 48_000;
const SOUND_SAMPLES: usize = 1024;
const SOUNDS: usize = CLIP_SECONDS * SOUND_RATE / SOUND_SAMPLES;
/// A keyframe is so many times as large as another picture.
const KEYFRAME_WEIGHT: usize = 6;
/// What `createStream` answers on a connection that has not asked before, at every server that is measured.
pub(crate) const STREAM_ID: u32 = 1;

/// Pieces to be written at their times: a picture, and before it the sound that is due.
#[derive(Debug)]
pub(crate) struct Wire {
    bytes: Vec<u8>,
    /// Ends of the pieces of two passes, in `bytes`.
    ends: Vec<usize>,
}

impl Wire {
    /// A stream of `kbps` with sound, in chunks of `chunk_size` bytes.
    pub(crate) fn new(kbps: u32, chunk_size: u32) -> Self {
        let mut writer = Writer::new(kbps, chunk_size);
        writer.configuration();
        let mut ends = Vec::with_capacity(2 * PICTURES);
        for pass in 0..2 {
            writer.pass(pass, &mut ends);
        }
        Self { bytes: writer.out.to_vec(), ends }
    }

    /// The bytes of piece `number`, counted from the start of the stream.
    pub(crate) fn piece(&self, number: u64) -> &[u8] {
        let passes = u64::try_from(self.ends.len() / PICTURES).unwrap_or(1);
        let pass = (number / PICTURES as u64).min(passes - 1);
        let index = usize::try_from(pass * PICTURES as u64 + number % PICTURES as u64).unwrap_or(0);
        &self.bytes[self.range(index)]
    }

    /// When piece `number` is due, from the start of the stream.
    pub(crate) fn due(number: u64) -> Duration {
        Duration::from_nanos(number * 1_000_000_000 / PICTURES_PER_SECOND as u64)
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[index]
    }
}

struct Writer {
    chunks: ChunkWriter,
    out: BytesMut,
    kbps: u32,
    sound_bytes: usize,
    /// Bytes of a picture that is no keyframe, on average.
    picture_bytes: usize,
    random: u64,
}

impl Writer {
    fn new(kbps: u32, chunk_size: u32) -> Self {
        let sound_kbps = if kbps < 2000 { 64 } else { 128 };
        let video_bytes = 1000 * kbps.saturating_sub(sound_kbps).max(8) as usize / 8 * CLIP_SECONDS;
        let weights = PICTURES + PICTURES / GOP_PICTURES * (KEYFRAME_WEIGHT - 1);
        let (mut chunks, mut out) = (ChunkWriter::new(), BytesMut::new());
        // The client's session has told the server already.
        chunks.set_chunk_size(&mut out, chunk_size);
        out.clear();
        Self {
            chunks,
            out,
            kbps,
            sound_bytes: 1000 * sound_kbps as usize / 8 * SOUND_SAMPLES / SOUND_RATE,
            picture_bytes: video_bytes / weights,
            random: 1,
        }
    }

    fn configuration(&mut self) {
        let about = Object::default()
            .with("width", 1920u32)
            .with("height", 1080u32)
            .with("framerate", u32::try_from(PICTURES_PER_SECOND).unwrap_or(0))
            .with("videocodecid", 7u32)
            .with("videodatarate", self.kbps)
            .with("audiocodecid", 10u32)
            .with("audiosamplerate", u32::try_from(SOUND_RATE).unwrap_or(0));
        let mut payload = Vec::new();
        for value in [Value::from("@setDataFrame"), "onMetaData".into(), about.into()] {
            write(&mut payload, &value);
        }
        self.message(DATA, MessageType::Data, 0, payload);
        self.message(VIDEO, MessageType::Video, 0, [&[0x17, 0, 0, 0, 0][..], AVC_CONFIG].concat());
        self.message(AUDIO, MessageType::Audio, 0, [&[0xAF, 0][..], &AAC_CONFIG].concat());
    }

    fn pass(&mut self, pass: usize, ends: &mut Vec<usize>) {
        let millis = |count: usize, per_second: usize| {
            u32::try_from((pass * CLIP_SECONDS * 1000) + count * 1000 / per_second).unwrap_or(u32::MAX)
        };
        let mut sounds = (0..SOUNDS).map(|number| millis(number * SOUND_SAMPLES, SOUND_RATE)).peekable();
        // Both passes have the same bytes, but for their times.
        self.random = 1;
        for number in 0..PICTURES {
            let now = millis(number, PICTURES_PER_SECOND);
            let last = number + 1 == PICTURES;
            while let Some(sound) = sounds.next_if(|sound| *sound <= now || last) {
                let body = self.filler(&[0xAF, 1], self.sound_bytes);
                self.message(AUDIO, MessageType::Audio, sound, body);
            }
            let keyframe = number % GOP_PICTURES == 0;
            let payload = self.picture(keyframe);
            self.message(VIDEO, MessageType::Video, now, payload);
            ends.push(self.out.len());
        }
    }

    /// One slice. Sizes of other pictures than keyframes differ by up to a quarter, in pairs that cancel out.
    fn picture(&mut self, keyframe: bool) -> Vec<u8> {
        let length = if keyframe {
            KEYFRAME_WEIGHT * self.picture_bytes
        } else {
            let spread = self.picture_bytes / 2;
            self.picture_bytes - spread / 2 + usize::try_from(self.next_random() >> 32).unwrap_or(0) % spread.max(1)
        };
        let nal = u32::try_from(length.max(16)).unwrap_or(u32::MAX);
        let [a, b, c, d] = nal.to_be_bytes();
        let (kind, header) = if keyframe { (0x17, 0x65) } else { (0x27, 0x41) };
        self.filler(&[kind, 1, 0, 0, 0, a, b, c, d, header], nal as usize - 1)
    }

    /// `head` and `length` bytes that look like coded ones.
    fn filler(&mut self, head: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = head.to_vec();
        while bytes.len() < head.len() + length {
            let word = self.next_random().to_be_bytes();
            bytes.extend_from_slice(&word[..word.len().min(head.len() + length - bytes.len())]);
        }
        bytes
    }

    /// SplitMix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn message(&mut self, csid: ChunkStreamId, kind: MessageType, timestamp: u32, payload: Vec<u8>) {
        let message = Message { timestamp, kind, stream_id: STREAM_ID, payload: Bytes::from(payload) };
        self.chunks.write(&mut self.out, csid, &message);
    }
}

const AUDIO: ChunkStreamId = ChunkStreamId::new(4).expect("4 is a chunk stream");
const DATA: ChunkStreamId = ChunkStreamId::new(5).expect("5 is a chunk stream");
const VIDEO: ChunkStreamId = ChunkStreamId::new(6).expect("6 is a chunk stream");

/// AAC-LC, 48 kHz, two channels.
const AAC_CONFIG: [u8; 2] = [0x11, 0x90];
/// x264's, 30 pictures a second. The pictures are noise: nobody decodes them.
const AVC_CONFIG: &[u8] = &[
    1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xB4, 0x0A, 0x0C, 0xFC, 0xF8, 0x08, 0x80, 0x00,
    0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x1E, 0x47, 0x8A, 0x15, 0x50, 1, 0, 4, 0x68, 0xEB, 0x8F, 0x20,
];

#[cfg(test)]
mod tests {
    use headwater_rtmp::{ChunkReader, Incoming, Limits};

    use super::*;

    #[test]
    fn later_passes_have_the_bytes_of_the_second() {
        let mut writer = Writer::new(600, 4096);
        writer.configuration();
        let mut ends = Vec::new();
        (0..3).for_each(|pass| writer.pass(pass, &mut ends));
        let at = |piece: usize| ends[piece - 1];
        assert_eq!(writer.out[at(PICTURES)..at(2 * PICTURES)], writer.out[at(2 * PICTURES)..]);
    }

    #[test]
    fn times_rise_from_pass_to_pass_and_the_rate_is_the_one_asked_for() {
        for kbps in [600, 6000] {
            let wire = Wire::new(kbps, 4096);
            let (mut reader, mut bytes, mut last) = (ChunkReader::new(Limits::default()), 0, 0);
            let mut set = BytesMut::new();
            ChunkWriter::new().set_chunk_size(&mut set, 4096);
            reader.read(&mut &set[..]).unwrap();
            let mut times = Vec::new();
            for number in 0..3 * PICTURES as u64 {
                let mut input = wire.piece(number);
                while let Some(incoming) = reader.read(&mut input).unwrap() {
                    let Incoming::Message(message) = incoming else { continue };
                    bytes += message.payload.len();
                    if message.kind == MessageType::Video {
                        times.push(message.timestamp);
                        assert!(message.timestamp >= last);
                        last = message.timestamp;
                    }
                }
            }
            assert_eq!((times.len(), last), (1 + 3 * PICTURES, 23_966));
            let found = bytes * 8 / 1000 / 3 / CLIP_SECONDS;
            assert!(found.abs_diff(kbps as usize) < kbps as usize / 50, "{found} kbit/s");
        }
    }
}
