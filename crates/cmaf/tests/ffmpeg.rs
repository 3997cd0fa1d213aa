//! A peer reads what we write (C-52): FFmpeg publishes an FLV, our writer repackages it in parts of 6 pictures, FFmpeg
//! decodes that without a word and to the same pictures and sound as the FLV.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use headwater_cmaf::check::{Place, TrackCheck};
use headwater_cmaf::{Chunk, Sample, audio_init, sequence_number, video_init};
use headwater_media::{AacConfig, AudioConfig, AvcConfig, Init, MediaSequence, PartIndex, TrackKind};

const FRAMES_PER_SECOND: i64 = 30;
const SLOT_TICKS: i64 = 4000;

#[test]
fn pictures_with_reordering_decode_to_the_same_pictures() {
    repackaged_pictures_are_the_same("bframes", &["-bf", "2"]);
}

#[test]
fn pictures_without_reordering_decode_to_the_same_pictures() {
    repackaged_pictures_are_the_same("zerolatency", &["-tune", "zerolatency", "-aud", "1", "-slices", "3"]);
}

#[test]
fn sound_decodes_to_the_same_sound() {
    let folder = folder("sound");
    let flv = make_flv(&folder, &[]);
    let track = read_flv_audio(&fs::read(&flv).expect("FFmpeg wrote it"));
    // 10 frames to a part, 5 parts to a segment.
    let init = audio_init(&AudioConfig::Aac(track.config)).expect("AAC has a sample entry");
    let mp4 = write_track(&folder, TrackKind::Audio, &init, &track.samples, 10, 5);
    assert_eq!(decoded(&mp4, "a"), decoded(&flv, "a"));
}

fn repackaged_pictures_are_the_same(name: &str, encoder: &[&str]) {
    let folder = folder(name);
    let flv = make_flv(&folder, encoder);
    let track = read_flv_video(&fs::read(&flv).expect("FFmpeg wrote it"));
    assert_eq!(track.samples.len(), 90);
    // 6 pictures to a part, 5 parts to a segment of one GOP.
    let init = video_init(&track.config.into(), Some(730_000));
    let mp4 = write_track(&folder, TrackKind::Video, &init, &track.samples, 6, 5);
    assert_eq!(decoded(&mp4, "v"), decoded(&flv, "v"));
}

/// Writes init segment and parts into a file, and holds them against C-50 on the way.
fn write_track(
    folder: &Path,
    kind: TrackKind,
    init: &Init,
    samples: &[Sample],
    part_samples: usize,
    segment_parts: u32,
) -> PathBuf {
    let mut check = TrackCheck::new(&init.data).expect("our own init segment");
    let (mut file, mut base_decode_time) = (init.data.to_vec(), 0);
    for (number, samples) in (0u32..).zip(samples.chunks(part_samples)) {
        let (msn, part) = (MediaSequence(u64::from(number / segment_parts)), PartIndex(number % segment_parts));
        let chunk = Chunk {
            kind,
            sequence_number: sequence_number(msn, part),
            base_decode_time,
            opens_segment: part.0 == 0,
            samples,
        };
        let data = chunk.write().expect("samples have bytes");
        check.chunk(if part.0 == 0 { Place::First } else { Place::Inside }, &data);
        file.extend_from_slice(&data);
        base_decode_time += samples.iter().map(|sample| u64::from(sample.duration)).sum::<u64>();
    }
    assert_eq!(check.findings(), []);
    let path = folder.join("repackaged.mp4");
    fs::write(&path, file).expect("the folder is there");
    path
}

/// Hashes of what FFmpeg decodes, without time stamps. Not one warning may be said.
fn decoded(file: &Path, stream: &str) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "warning", "-xerror", "-err_detect", "explode", "-i"]).arg(file);
    command.args(["-map", &format!("0:{stream}"), "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    let output = command.output().expect("ffmpeg is installed");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "FFmpeg about {}", file.display());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("framemd5 is text");
    let hashes = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit(',').next());
    let hashes: Vec<String> = hashes.map(|hash| hash.trim().to_owned()).collect();
    assert!(hashes.len() > 50, "{} frames", hashes.len());
    hashes
}

/// 3 s at 30 fps, an IDR each second, with sound.
fn make_flv(folder: &Path, encoder: &[&str]) -> PathBuf {
    let path = folder.join("source.flv");
    let mut command = Command::new("ffmpeg");
    command.args(["-y", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "3"]);
    command.args(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "superfast", "-g", "30"]);
    command.args(["-sc_threshold", "0"]).args(encoder).args(["-c:a", "aac", "-ac", "2"]);
    let output = command.arg(&path).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cmaf-ffmpeg").join(name);
    fs::create_dir_all(&folder).expect("Cargo's own temporary folder");
    folder
}

struct ReadTrack<C> {
    config: C,
    samples: Vec<Sample>,
}

fn read_flv_video(flv: &[u8]) -> ReadTrack<AvcConfig> {
    let tags = flv_tags(flv, 9);
    let config = AvcConfig::parse(&tags[0].body[5..]).expect("the first tag is the sequence header");
    let slots = |millis: i64| (millis * FRAMES_PER_SECOND + 500).div_euclid(1000);
    let mut samples = Vec::new();
    // FFmpeg begins video later by the audio encoder's delay.
    let (first_millis, mut first_offset) = (tags[1].millis, None);
    for (index, tag) in tags[1..].iter().filter(|tag| tag.body[1] == 1).enumerate() {
        assert_eq!(slots(tag.millis - first_millis), i64::try_from(index).expect("few"), "a constant rate");
        let composition = i32::from_be_bytes([0, tag.body[2], tag.body[3], tag.body[4]]);
        let composition = slots(composition.into());
        // x264 delays presentation; we let the IDR have none and allow negative offsets (C-22).
        let shifted = composition - *first_offset.get_or_insert(composition);
        let unit = config.access_unit(&Bytes::copy_from_slice(&tag.body[5..])).expect("x264 writes NAL units");
        assert!(unit.has_picture && !unit.damaged);
        samples.push(Sample {
            data: unit.data,
            duration: u32::try_from(SLOT_TICKS).expect("small"),
            composition_offset: i32::try_from(shifted * SLOT_TICKS).expect("small"),
            sync: unit.idr,
        });
    }
    ReadTrack { config, samples }
}

fn read_flv_audio(flv: &[u8]) -> ReadTrack<AacConfig> {
    let tags = flv_tags(flv, 8);
    let config = AacConfig::parse(Bytes::copy_from_slice(&tags[0].body[2..])).expect("a sequence header");
    let frame = |tag: &FlvTag<'_>| Sample {
        data: Bytes::copy_from_slice(&tag.body[2..]),
        duration: config.frame_samples,
        composition_offset: 0,
        sync: true,
    };
    let samples = tags[1..].iter().filter(|tag| tag.body[1] == 1).map(frame).collect();
    ReadTrack { config, samples }
}

struct FlvTag<'a> {
    millis: i64,
    body: &'a [u8],
}

/// The tags of one type of a file that FFmpeg wrote; enough for this test, without the limits of a real reader.
fn flv_tags(flv: &[u8], wanted: u8) -> Vec<FlvTag<'_>> {
    let (mut tags, mut rest) = (Vec::new(), &flv[13..]);
    while let [tag_type, a, b, c, t0, t1, t2, t3, _, _, _, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if *tag_type == wanted {
            let millis = u32::from_be_bytes([*t3, *t0, *t1, *t2]).into();
            tags.push(FlvTag { millis, body: &after[..length] });
        }
        rest = &after[length + 4..];
    }
    tags
}
