//! Sound of Enhanced RTMP and odd AAC, as FFmpeg 8 and fdk-aac made it, published tag by tag, and what players get of it.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use headwater_e2e::decode::{decode_live_silently, decode_silently, probe};
use headwater_e2e::follow::Follower;
use headwater_e2e::http::{Hangup, Http};
use headwater_e2e::publisher::{Publisher, tags};
use headwater_e2e::rendition::Rendition;
use headwater_e2e::server::{Folder, Server};
use headwater_e2e::testdata;
use headwater_flv::{AudioCodec, AudioContent, AudioPacket, AudioTag, Tag, TagType};

const CONFIG: &str = "ladder = 'none'\nsession.end_grace_seconds = 1";
/// Seconds of each capture. Its clicks are at 0.25 s and every half second after that, by its pictures.
const SECONDS: u32 = 6;

/// Publishes a capture in real time, each tag changed by `change`, on a thread of its own.
fn publish(server: &Server, stream: &str, capture: &str, change: impl Fn(Tag) -> Tag) -> JoinHandle<()> {
    Publisher::publish(server.rtmp, stream, tags(&testdata(capture)).into_iter().map(change).collect())
}

/// When clicks are heard in a rendition of sound, on the session's timeline, in seconds.
fn clicks(folder: &Folder, name: &str, rendition: &Rendition) -> Vec<f64> {
    let file = folder.path().join(format!("{name}.mp4"));
    std::fs::write(&file, rendition.file()).unwrap();
    let file = file.to_str().unwrap();
    decode_silently(file);
    let start: f64 = probe(file, &["-read_intervals", "%+#1"], "packet=pts_time").parse().unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i", file, "-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]);
    let raw = ffmpeg.output().unwrap().stdout;
    let samples: Vec<f32> = raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let loud = samples.iter().copied().map(f32::abs).fold(0.0, f32::max) / 3.0;
    let (mut found, mut last): (Vec<f64>, f64) = (Vec::new(), f64::MIN);
    for (index, _) in (0_u32..).zip(&samples).filter(|(_, sample)| sample.abs() >= loud) {
        let time = start + f64::from(index) / 48_000.0;
        if time - last > 0.1 {
            found.push(time);
        }
        last = time;
    }
    found
}

/// Every click is there, within half a frame of AAC and what milliseconds leave open.
#[track_caller]
fn expect_clicks(name: &str, found: &[f64]) {
    let expected: Vec<f64> = (0..SECONDS * 2).map(|number| 0.25 + f64::from(number) * 0.5).collect();
    assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 0.0115, "{name}: {found} for {expected}");
    }
}

/// whatever comes in is AAC-LC for all, and is there as it came for those that take it.
#[test]
fn sound_of_enhanced_rtmp_is_encoded_for_all_and_offered_as_it_came() {
    let server = Server::start(CONFIG);
    let cases = [
        ("opus", Some(("opus", "Opus", "opus 48000 2"))),
        ("flac", Some(("fLaC", "fLaC", "flac 48000 1"))),
        ("ac3", Some(("ac-3", "ac-3", "ac3 48000 2"))),
        ("eac3", Some(("ec-3", "ec-3", "eac3 48000 2"))),
        ("mp3", None),
    ];
    let publishers: Vec<JoinHandle<()>> = cases
        .iter()
        .map(|(name, _)| publish(&server, &format!("live/{name}"), &format!("enhanced-{name}.flv"), |tag| tag))
        .collect();
    let followers: Vec<Follower> =
        cases.iter().map(|(name, _)| Follower::start(&server, &format!("live/{name}"))).collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    for ((name, offered), follower) in cases.into_iter().zip(followers) {
        follower.expect_end(Duration::from_secs(20));
        let text = follower.multivariant.clone();
        let all = follower.finish();
        let folder = Folder::new();
        expect_clicks(name, &clicks(&folder, "audio", &all["audio"]));
        for (rendition, one) in &all {
            assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name} {rendition}");
        }
        let first = text.lines().find(|line| line.starts_with("#EXT-X-STREAM-INF")).unwrap();
        assert!(first.contains(",mp4a.40.2\"") && first.contains("AUDIO=\"audio\""), "{name}: {text}");
        assert_eq!(all.contains_key("audio-source"), offered.is_some(), "{name}: {text}");
        let Some((codecs, entry, decoded)) = offered else { continue };
        let source = &all["audio-source"];
        let last = text.lines().rfind(|line| line.starts_with("#EXT-X-STREAM-INF:B")).unwrap();
        assert!(last.contains(&format!(",{codecs}\"")) && last.contains("AUDIO=\"audio-source\""), "{name}: {text}");
        let init = source.inits.values().next().unwrap();
        assert!(init.windows(4).any(|window| window == entry.as_bytes()), "{name}");
        expect_clicks(name, &clicks(&folder, "audio-source", source));
        let file = folder.path().join("audio-source.mp4");
        let found = probe(file.to_str().unwrap(), &[], "stream=codec_name,sample_rate,channels");
        assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), decoded, "{name}");
    }
}

/// with a MultichannelConfig and without needing it. All players get stereo; who takes surround sound, or Opus or
/// E-AC-3, gets all channels.
#[test]
fn surround_sound_is_stereo_for_all_and_offered_as_it_came() {
    let server = Server::start(CONFIG);
    let cases = [("opus", "opus 48000 6"), ("eac3", "eac3 48000 6"), ("aac", "aac 48000 6")];
    let stream = |name: &str| format!("live/{name}");
    let publishers: Vec<JoinHandle<()>> = cases
        .iter()
        .map(|(name, _)| publish(&server, &stream(name), &format!("surround-{name}.flv"), |tag| tag))
        .collect();
    let followers: Vec<Follower> = cases.iter().map(|(name, _)| Follower::start(&server, &stream(name))).collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    for ((name, offered), follower) in cases.into_iter().zip(followers) {
        follower.expect_end(Duration::from_secs(20));
        let text = follower.multivariant.clone();
        let all = follower.finish();
        let folder = Folder::new();
        let expect = |rendition: &str, channels: &str, decoded: &str| {
            let group = |line: &&str| line.contains(&format!("GROUP-ID=\"{rendition}\""));
            let group = text.lines().find(group).unwrap();
            assert!(group.contains(&format!("CHANNELS=\"{channels}\"")), "{name}: {group}");
            // Sound may end a frame before the pictures do.
            let served = &all[rendition];
            assert!(served.gaps <= 1 && served.inits.len() == 1, "{name}: {}", served.playlist);
            let file = folder.path().join(format!("{rendition}.mp4"));
            std::fs::write(&file, all[rendition].file()).unwrap();
            decode_silently(file.to_str().unwrap());
            let found = probe(file.to_str().unwrap(), &[], "stream=codec_name,sample_rate,channels");
            assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), decoded, "{name}");
        };
        expect("audio", "2", "aac 48000 2");
        expect("audio-source", "6", offered);
    }
}

/// The session goes on with other sound: who plays it as it came gets gaps, who plays what is made of it hears all.
#[test]
fn sound_as_it_came_is_a_gap_when_the_next_publisher_sends_another_codec() {
    let server = Server::start("ladder = 'none'\nsession.end_grace_seconds = 6");
    let first = publish(&server, "live/show", "enhanced-opus.flv", |tag| tag);
    let follower = Follower::start(&server, "live/show");
    assert!(follower.multivariant.contains("opus"), "{}", follower.multivariant);
    first.join().unwrap();
    publish(&server, "live/show", "enhanced-ac3.flv", |tag| tag).join().unwrap();
    // Who comes now would get nothing but gaps.
    let late = server.multivariant("live/show");
    assert!(!late.contains("opus") && !late.contains("audio-source"), "{late}");
    let told = Http::new(server.admin, Hangup::default()).get("/api/v1/streams/live/show").text();
    assert!(told.contains("the publisher's sound is no longer what this rendition began with"), "{told}");
    follower.expect_end(Duration::from_secs(30));
    let all = follower.finish();
    assert_eq!((all["audio"].gaps, all["audio"].discontinuities()), (0, 1));
    assert!(all["audio-source"].gaps > 0);
    let codecs = |name: &str| all[name].inits.len();
    assert_eq!((codecs("audio"), codecs("audio-source")), (1, 1));
}

/// A live player that knows no codecs takes what is first.
#[test]
fn ffmpeg_plays_a_stream_whose_sound_is_offered_twice() {
    let server = Server::start(CONFIG);
    let publisher = publish(&server, "live/show", "enhanced-opus.flv", |tag| tag);
    let follower = Follower::start(&server, "live/show");
    follower.wait_until("two segments", Duration::from_secs(20), |all| all.values().all(|one| one.segments.len() >= 2));
    decode_live_silently(&server.play_url("live/show"), 2);
    publisher.join().unwrap();
    follower.finish();
}

#[test]
fn the_operator_may_keep_what_only_some_players_take_to_himself() {
    let server = Server::start(&format!("{CONFIG}\nplaylist.source_audio = false"));
    let publisher = publish(&server, "live/show", "enhanced-opus.flv", |tag| tag);
    let follower = Follower::start(&server, "live/show");
    publisher.join().unwrap();
    assert!(!follower.multivariant.contains("opus"), "{}", follower.multivariant);
    follower.expect_end(Duration::from_secs(20));
    assert_eq!(follower.finish().into_keys().collect::<Vec<_>>(), ["audio", "source"]);
}

/// HE-AAC that says so, in both ways, and HE-AAC that does not. Its core has half the rate, and with parametric
/// stereo one channel, of what is heard.
#[test]
fn he_aac_is_served_as_what_it_sounds_like_however_it_is_announced() {
    let server = Server::start(CONFIG);
    let cases = ["he-aac-explicit", "he-aac-implicit", "he-aac-v2-implicit"];
    let publishers: Vec<JoinHandle<()>> =
        cases.iter().map(|name| publish(&server, &format!("live/{name}"), &format!("{name}.flv"), |tag| tag)).collect();
    let followers: Vec<Follower> = cases.iter().map(|name| Follower::start(&server, &format!("live/{name}"))).collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    for (name, follower) in cases.into_iter().zip(followers) {
        follower.expect_end(Duration::from_secs(20));
        let all = follower.finish();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["audio", "source"], "{name}");
        let folder = Folder::new();
        expect_clicks(name, &clicks(&folder, "audio", &all["audio"]));
        let file = folder.path().join("audio.mp4");
        let found = probe(file.to_str().unwrap(), &[], "stream=codec_name,profile,sample_rate,channels");
        assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), "aac LC 48000 2", "{name}");
    }
}

/// The AAC packets of a tag, changed.
fn with_aac(tag: Tag, change: impl Fn(AudioContent) -> Option<AudioContent>) -> Tag {
    if tag.kind != TagType::Audio {
        return tag;
    }
    let read = AudioTag::read(tag.body.clone()).unwrap();
    let packets = read.packets.into_iter().filter_map(|packet| {
        assert_eq!(packet.codec, AudioCodec::Aac);
        change(packet.content).map(|content| AudioPacket { track: packet.track, codec: packet.codec, content })
    });
    let changed = AudioTag { nanos: 0, packets: packets.collect() };
    Tag { body: changed.write().unwrap_or_default(), ..tag }
}

/// metadata say 44.1 kHz and stereo, and nothing says that it is AAC-LC.
#[test]
fn aac_without_a_configuration_is_served_by_what_metadata_say() {
    let server = Server::start(CONFIG);
    let without =
        |tag| with_aac(tag, |content| Some(content).filter(|content| !matches!(content, AudioContent::Config(_))));
    let publisher = publish(&server, "live/show", "bbb.flv", without);
    let follower = Follower::start(&server, "live/show");
    publisher.join().unwrap();
    server.expect_logged(&["AAC without a configuration", "rate=44100", "channels=2"]);
    expect_bbb(&server, follower);
}

/// with headers that say what it is.
#[test]
fn adts_in_flv_is_taken_off() {
    let server = Server::start(CONFIG);
    let adts = |tag| {
        with_aac(tag, |content| match content {
            AudioContent::Frame(data) => {
                let length = data.len() + 7;
                let byte = |value: usize| value.to_le_bytes()[0];
                let sizes = [0x80 | byte(length >> 11), byte(length >> 3), byte((length & 7) << 5) | 0x1F];
                let header = [&[0xFF, 0xF1, 0x50][..], &sizes, &[0xFC]].concat();
                Some(AudioContent::Frame([&header, &data[..]].concat().into()))
            }
            _ => None,
        })
    };
    let publisher = publish(&server, "live/show", "bbb.flv", adts);
    let follower = Follower::start(&server, "live/show");
    publisher.join().unwrap();
    expect_bbb(&server, follower);
}

/// The sound of the film is passed through, byte for byte, and decodes.
#[track_caller]
fn expect_bbb(server: &Server, follower: Follower) {
    follower.expect_end(Duration::from_secs(20));
    let all = follower.finish();
    let folder = Folder::new();
    let file = folder.path().join("audio.mp4");
    std::fs::write(&file, all["audio"].file()).unwrap();
    decode_silently(file.to_str().unwrap());
    let found = probe(file.to_str().unwrap(), &[], "stream=codec_name,profile,sample_rate,channels");
    assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), "aac LC 44100 2");
    let sent: Vec<Vec<u8>> = tags(&testdata("bbb.flv"))
        .iter()
        .filter(|tag| tag.kind == TagType::Audio && tag.body.get(1) == Some(&1))
        .map(|tag| tag.body[2..].to_vec())
        .collect();
    let served: Vec<u8> = all["audio"].parts.values().flat_map(|part| part.data.iter().copied()).collect();
    let middle = &sent[sent.len() / 2];
    assert!(served.windows(middle.len()).any(|window| window == &middle[..]));
    let metrics = Http::new(server.admin, Hangup::default()).get("/metrics").text();
    assert!(!metrics.contains("codec\"} 1"), "{metrics}");
}
