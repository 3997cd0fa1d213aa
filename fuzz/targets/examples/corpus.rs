//! Writes what the corpora have from the repository's test data: `cargo run -p headwater-fuzz-targets --example corpus`.
//! What else is in `fuzz/corpus` was put there by hand; its README.md says from where.

use std::fs;
use std::path::{Path, PathBuf};

use headwater_flv::{
    AudioCodec, AudioContent, AudioPacket, AudioTag, FileReader, FrameType, Packets, TagType, VideoCodec, VideoContent,
    VideoPacket, VideoTag,
};
use headwater_media::{AvcConfig, HevcConfig, Instant, VideoCoding, captions};
use headwater_rtmp::{ClientConfig, ClientSession, Event, ServerConfig, ServerSession};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// Of a recording: `connect` to the first pictures.
const OPENING_BYTES: usize = 5000;
/// Of a file: script data, both configurations, a few pictures.
const FILE_BYTES: usize = 4000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn put(target: &str, name: &str, data: &[u8]) -> Result {
    let folder = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), data)?)
}

fn main() -> Result {
    recordings()?;
    answers()?;
    file("ffmpeg-5.1", "crates/flv/src/testdata/ffmpeg-5.1.flv")?;
    file("bbb", "e2e/testdata/bbb.flv")?;
    file("sintel", "e2e/testdata/sintel-captions.flv")?;
    for (number, name) in [(1, "hevc"), (2, "av1"), (3, "vp9")] {
        video(number, name)?;
    }
    extended()?;
    for name in ["1080p29", "576i25-anamorphic", "baseline60", "high10", "hrd-scaling-lists", "portrait-444"] {
        let record = fs::read(root().join(format!("crates/media/src/testdata/x264-{name}.avcc")))?;
        put("sps", name, &AvcConfig::parse(&record)?.sps[0])?;
        put("avc", name, &with_record(&record, &[0, 0, 0, 2, 0x65, 0x88, 0, 0, 1, 0x09, 0xF0])?)?;
    }
    for name in ["ffmpeg-5.1-cmaf", "init-audio", "init-video"] {
        put("cmaf", name, &fs::read(root().join(format!("crates/cmaf/tests/testdata/{name}.mp4")))?)?;
    }
    Ok(())
}

/// Publishers' handshakes, and what follows them.
fn recordings() -> Result {
    for name in [
        "ffmpeg-5.1",
        "ffmpeg-5.1-late",
        "ffmpeg-9.0",
        "obs-29.0.2",
        "rtmp2sink-1.22",
        "rtmpsink-1.22",
        "nginx-rtmp-1.2.2",
    ] {
        let bytes = fs::read(root().join(format!("crates/rtmp/src/testdata/{name}.rtmp")))?;
        let (hello, rest) = bytes.split_at(HANDSHAKE_BYTES);
        put("rtmp_server", name, &[&[17], &rest[..OPENING_BYTES]].concat())?;
        if name != "ffmpeg-5.1-late" {
            put("handshake", name, &[hello, &rest[..300]].concat())?;
        }
    }
    Ok(())
}

/// What our server says to our publisher.
fn answers() -> Result {
    let now = Instant::from_millis(1000);
    let url = "rtmp://localhost/live/show".parse()?;
    let mut client = ClientSession::new(now, ClientConfig::new(&url, "corpus"), 1);
    let mut server = ServerSession::new(now, ServerConfig::default(), 1);
    let mut answers = Vec::new();
    for _ in 0..10 {
        while let Some(bytes) = client.poll_transmit() {
            server.handle_input(now, &bytes)?;
            while let Some(event) = server.poll_event() {
                match event {
                    Event::ConnectRequest(_) => server.accept_connect(now)?,
                    Event::PublishRequest(request) => server.accept_publish(now, request.id)?,
                    _ => {}
                }
            }
        }
        while let Some(bytes) = server.poll_transmit() {
            client.handle_input(now, &bytes)?;
            answers.extend_from_slice(&bytes);
        }
    }
    put("rtmp_client", "headwater", &answers[HANDSHAKE_BYTES..])
}

/// A file, and what is in it: one tag of each kind, its configurations, a picture, a picture with captions.
fn file(name: &str, path: &str) -> Result {
    let bytes = fs::read(root().join(path))?;
    put("flv_file", name, &bytes[..FILE_BYTES])?;
    let mut reader = FileReader::new();
    reader.handle_input(&bytes);
    let (mut record, mut picture, mut captioned, mut frame) = (Vec::new(), false, false, false);
    while let Some(tag) = reader.poll_tag()? {
        if let Some(values) = tag.script() {
            put("flv_tags", &format!("{name}-script"), &values)?;
            put("amf0", &format!("{name}-script"), &values)?;
        }
        let video = if tag.kind == TagType::Video { VideoTag::read(tag.body.clone())?.packets } else { Packets::new() };
        for packet in video {
            match packet.content {
                VideoContent::Config(data) => {
                    put("sps", name, &AvcConfig::parse(&data)?.sps[0])?;
                    record = data.to_vec();
                }
                VideoContent::Frame { data, .. } if data.len() < FILE_BYTES => {
                    if !picture {
                        put("flv_tags", &format!("{name}-picture"), &tag.body)?;
                        put("avc", name, &with_record(&record, &data)?)?;
                        picture = true;
                    }
                    if !captioned && !captions::read(VideoCoding::Avc, &data).is_empty() {
                        put("captions", name, &data)?;
                        captioned = true;
                    }
                }
                _ => {}
            }
        }
        let audio = if tag.kind == TagType::Audio { AudioTag::read(tag.body.clone())?.packets } else { Packets::new() };
        for packet in audio {
            match packet.content {
                AudioContent::Config(data) => put("aac", name, &data)?,
                AudioContent::Frame(_) if !frame => {
                    put("flv_tags", &format!("{name}-frame"), &tag.body)?;
                    frame = true;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The configuration and the first picture of a file with an extended codec, which has this number in the target.
fn video(number: u8, name: &str) -> Result {
    let bytes = fs::read(root().join(format!("e2e/testdata/{name}.flv")))?;
    put("flv_file", name, &bytes[..FILE_BYTES])?;
    let mut reader = FileReader::new();
    reader.handle_input(&bytes);
    let mut record = Vec::new();
    while let Some(tag) = reader.poll_tag()? {
        let packets =
            if tag.kind == TagType::Video { VideoTag::read(tag.body.clone())?.packets } else { Packets::new() };
        for packet in packets {
            match packet.content {
                VideoContent::Config(data) => {
                    put("flv_tags", &format!("{name}-config"), &tag.body)?;
                    if let Ok(config) = HevcConfig::parse(&data) {
                        put("sps", name, &config.sps[0])?;
                    }
                    record = data.to_vec();
                }
                VideoContent::Frame { data, .. } => {
                    let unit = data.slice(..data.len().min(FILE_BYTES));
                    return put("video", name, &[&[number][..], &with_record(&record, &unit)?].concat());
                }
                _ => {}
            }
        }
    }
    Err(format!("{name} has no picture").into())
}

/// Tags with extended headers: nanoseconds, and tracks in all three forms.
fn extended() -> Result {
    let data = |byte: u8| bytes::Bytes::from(vec![byte; 20]);
    let picture = |track, codec| {
        let content = VideoContent::Frame { composition_millis: 33, data: data(track) };
        VideoPacket { track, codec, content }
    };
    let sound = |track, codec| AudioPacket { track, codec, content: AudioContent::Frame(data(track)) };
    let (hevc, av1) = (VideoCodec::Hevc, VideoCodec::Av1);
    for (name, nanos, packets) in [
        ("extended", 0, vec![picture(0, hevc)]),
        ("nanoseconds", 250_000, vec![picture(0, av1)]),
        ("one-track", 0, vec![picture(3, hevc)]),
        ("many-tracks", 0, vec![picture(0, hevc), picture(1, hevc)]),
        ("many-codecs", 7, vec![picture(0, hevc), picture(1, av1)]),
    ] {
        let tag = VideoTag { frame: FrameType::Key, nanos, packets: packets.into() };
        put("flv_tags", &format!("video-{name}"), &tag.write().ok_or("a tag that cannot be written")?)?;
    }
    let (opus, flac) = (AudioCodec::Opus, AudioCodec::Flac);
    for (name, nanos, packets) in [
        ("extended", 0, vec![sound(0, opus)]),
        ("nanoseconds", 250_000, vec![sound(0, flac)]),
        ("many-codecs", 0, vec![sound(0, opus), sound(1, flac)]),
    ] {
        let tag = AudioTag { nanos, packets: packets.into() };
        put("flv_tags", &format!("audio-{name}"), &tag.write().ok_or("a tag that cannot be written")?)?;
    }
    put("flv_tags", "audio-channels", b"\x94Opus\x01\x06\x00\x00\x06\x0F")
}

/// As the target `avc` takes them.
fn with_record(record: &[u8], unit: &[u8]) -> Result<Vec<u8>> {
    Ok([&u16::try_from(record.len())?.to_be_bytes(), record, unit].concat())
}
