//! Clips in HEVC as Enhanced RTMP carries it. FFmpeg 5.1 cannot write such FLV files, so what its libx265 encodes is put into
//! tags here.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use headwater_flv::{FrameType, Tag, TagType, VideoCodec, VideoContent, VideoPacket, VideoTag};
use headwater_media::HevcConfig;

use crate::program::Program;
use crate::server::Folder;

/// Long enough for ten seconds of small pictures on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const NAL_IDR: [u8; 2] = [19, 20];
const NAL_PARAMETERS: [u8; 3] = [32, 33, 34];
/// A prefix SEI with a recovery point: recovery_poc_cnt is 29, and the pictures from there on are only nearly right.
const RECOVERY_AFTER_29: &[u8] = &[39 << 1, 1, 6, 2, 0x07, 0x44, 0x80];

/// What FFmpeg's `arguments` make, which say all but the output and the encoder, by libx265 with `params` and without
/// B-frames, `rate` pictures a second.
#[track_caller]
pub fn clip(arguments: &[&str], params: &str, rate: u32) -> Vec<Tag> {
    tags(pictures(arguments, params), rate)
}

/// The same, refreshed bit by bit over 30 pictures again and again: the first picture is an IDR, and none that comes after
/// it. libx265 begins each refresh with parameter sets; recovery points are not of its making.
#[track_caller]
pub fn refreshed_clip(arguments: &[&str], rate: u32) -> Vec<Tag> {
    let params = "intra-refresh=1:keyint=30:min-keyint=30:scenecut=0:repeat-headers=1:ref=1";
    let mut pictures = pictures(arguments, params);
    for units in &mut pictures {
        let begins = units.iter().any(|unit| NAL_PARAMETERS.contains(&nal_type(unit)));
        if begins && !NAL_IDR.contains(&nal_type(&units[units.len() - 1])) {
            units.insert(units.len() - 1, Bytes::from_static(RECOVERY_AFTER_29));
        }
    }
    tags(pictures, rate)
}

/// The NAL units of each picture, of which the last is its slice.
#[track_caller]
fn pictures(arguments: &[&str], params: &str) -> Vec<Vec<Bytes>> {
    let folder = Folder::new();
    let file = folder.path().join("clip.hevc");
    let params = format!("log-level=none:bframes=0:slices=1:{params}");
    let encoder = ["-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-x265-params", &params];
    let output = ["-f", "hevc", file.to_str().unwrap()];
    Program::ffmpeg([arguments, &encoder, &output].concat()).finish(LIMIT).expect_success();
    let stream = Bytes::from(std::fs::read(&file).unwrap());
    let starts: Vec<usize> =
        stream.windows(3).enumerate().filter(|(_, bytes)| bytes == b"\0\0\x01").map(|(at, _)| at + 3).collect();
    let ends = starts.iter().skip(1).map(|next| next - 3).chain([stream.len()]);
    let (mut pictures, mut units) = (Vec::new(), Vec::new());
    for (start, end) in starts.iter().zip(ends) {
        // A NAL unit never ends with a zero: those are the next start code's.
        let zeros = stream[*start..end].iter().rev().take_while(|byte| **byte == 0).count();
        let unit = stream.slice(*start..end - zeros);
        let is_slice = nal_type(&unit) < 32;
        units.push(unit);
        if is_slice {
            pictures.push(std::mem::take(&mut units));
        }
    }
    pictures
}

fn tags(pictures: Vec<Vec<Bytes>>, rate: u32) -> Vec<Tag> {
    let config = HevcConfig::from_parameter_sets(pictures[0].clone()).unwrap();
    let mut tags = vec![tag(0, FrameType::Key, VideoContent::Config(config.record()))];
    for (number, units) in (0..).zip(pictures) {
        let mut data = BytesMut::new();
        for unit in &units {
            data.put_u32(u32::try_from(unit.len()).unwrap());
            data.put_slice(unit);
        }
        let key = NAL_IDR.contains(&nal_type(&units[units.len() - 1]));
        let frame = if key { FrameType::Key } else { FrameType::Inter };
        tags.push(tag(number * 1000 / rate, frame, VideoContent::Frame { composition_millis: 0, data: data.freeze() }));
    }
    tags
}

fn tag(timestamp: u32, frame: FrameType, content: VideoContent) -> Tag {
    let packets = [VideoPacket { track: 0, codec: VideoCodec::Hevc, content }].into_iter().collect();
    let body = VideoTag { frame, nanos: 0, packets }.write().unwrap();
    Tag { kind: TagType::Video, timestamp, body }
}

fn nal_type(unit: &[u8]) -> u8 {
    unit[0] >> 1 & 0x3F
}
