//! Sound of every kind that FFmpeg encodes, published, and what players get of it.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::time::Duration;

use headwater_e2e::decode::{decode_live_silently, decode_silently, probe};
use headwater_e2e::follow::{Follower, Renditions};
use headwater_e2e::program::Program;
use headwater_e2e::server::{Folder, Server};

/// One gear, which wants little sound.
const LOW: &str = "
ladder = 'small'
session.end_grace_seconds = 1
[[ladders]]
name = 'small'
gears = [{ width = 80, height = 46, bitrate_kbps = 50, audio = 'low' }]";

/// FFmpeg publishes a test picture and a tone for `seconds`.
fn publish(server: &Server, stream: &str, seconds: &str, sound: &[&str]) -> Program {
    let url = server.publish_url(stream);
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"];
    let tone = ["-re", "-f", "lavfi", "-i", "sine=frequency=500:sample_rate=48000", "-t", seconds];
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50", "-pix_fmt", "yuv420p"];
    Program::ffmpeg([&picture[..], &tone, &coding, sound, &["-f", "flv", &url]].concat())
}

/// Every rendition decodes without a message; `renditions` are those of sound with their rates and channels.
#[track_caller]
fn expect_sound(all: &Renditions, renditions: &[(&str, &str)]) {
    let folder = Folder::new();
    for (name, rendition) in all {
        assert_eq!(rendition.gaps, 0, "{name}");
        let file = folder.path().join(format!("{name}.mp4"));
        std::fs::write(&file, rendition.file()).unwrap();
        decode_silently(file.to_str().unwrap());
        if let Some((_, expected)) = renditions.iter().find(|(expected, _)| expected == name) {
            let found = probe(file.to_str().unwrap(), &[], "stream=codec_name,profile,sample_rate,channels");
            assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), *expected, "{name}");
        }
    }
    let sounds = all.keys().filter(|name| name.starts_with("audio"));
    assert!(sounds.eq(renditions.iter().map(|(name, _)| name)), "{:?}", all.keys());
}

#[track_caller]
fn expect_ffmpeg_plays(server: &Server, follower: &Follower, stream: &str) {
    follower.wait_until("two segments", Duration::from_secs(30), |all| all.values().all(|one| one.segments.len() >= 2));
    decode_live_silently(&server.play_url(stream), 2);
}

#[test]
fn any_sound_is_aac_lc_in_every_rendition() {
    let server = Server::start(LOW);
    let cases: [(&str, &[&str], &str, &str); 5] = [
        ("live/22050", &["-c:a", "aac", "-ar", "22050", "-ac", "2"], "44100 2", "44100 2"),
        ("live/32000", &["-c:a", "aac", "-ar", "32000", "-ac", "1"], "48000 2", "48000 1"),
        ("live/surround", &["-c:a", "aac", "-ar", "48000", "-ac", "6"], "48000 2", "48000 2"),
        ("live/mono", &["-c:a", "aac", "-ar", "16000", "-ac", "1"], "48000 2", "48000 2"),
        ("live/mp3", &["-c:a", "libmp3lame", "-ar", "44100", "-ac", "2"], "44100 2", "44100 2"),
    ];
    let publishers: Vec<Program> = cases.iter().map(|(name, sound, ..)| publish(&server, name, "8", sound)).collect();
    let followers: Vec<Follower> = cases.iter().map(|(name, ..)| Follower::start(&server, name)).collect();
    for publisher in publishers {
        publisher.finish(Duration::from_secs(30)).expect_success();
    }
    for ((name, _, main, low), follower) in cases.into_iter().zip(followers) {
        let text = follower.multivariant.clone();
        follower.expect_end(Duration::from_secs(15));
        let all = follower.finish();
        // Surround sound is offered as it came, too, with the source.
        let own: &[(&str, &str)] = if name == "live/surround" { &[("audio-source", "aac LC 48000 6")] } else { &[] };
        assert_eq!(text.matches("mp4a.40.2").count(), 3 + own.len(), "{name}: {text}");
        let [main, low] = [main, low].map(|found| format!("aac LC {found}"));
        expect_sound(&all, &[&[("audio", main.as_str()), ("audio-low", &low)], own].concat());
        for (rendition, one) in &all {
            assert_eq!(one.discontinuities(), 0, "{name} {rendition}");
        }
    }
}

#[test]
fn sound_that_players_take_is_encoded_only_for_the_gear_that_wants_less() {
    let server = Server::start(LOW);
    let publisher = publish(&server, "live/show", "10", &["-c:a", "aac", "-ar", "44100", "-ac", "2"]);
    let follower = Follower::start(&server, "live/show");
    expect_ffmpeg_plays(&server, &follower, "live/show");
    publisher.finish(Duration::from_secs(30)).expect_success();
    follower.expect_end(Duration::from_secs(15));
    let text = follower.multivariant.clone();
    for line in ["GROUP-ID=\"audio\"", "GROUP-ID=\"audio-low\""] {
        assert_eq!(text.matches(line).count(), 1, "{text}");
    }
    let variant = |uri: &str| {
        text.lines().collect::<Vec<_>>().windows(2).find(|pair| pair[1].ends_with(uri)).unwrap()[0].to_owned()
    };
    assert!(variant("/46p-50/index.m3u8").contains("AUDIO=\"audio-low\""), "{text}");
    assert!(variant("/source/index.m3u8").contains("AUDIO=\"audio\""), "{text}");
    let alone = variant("/audio-low/index.m3u8");
    assert!(alone.starts_with("#EXT-X-STREAM-INF") && !alone.contains("RESOLUTION"), "{text}");
    expect_sound(&follower.finish(), &[("audio", "aac LC 44100 2"), ("audio-low", "aac LC 44100 2")]);
}

/// The session goes on: sound was announced as AAC-LC of 48 kHz, and stays that.
#[test]
fn the_next_publisher_may_send_what_players_do_not_take() {
    let server = Server::start("ladder = 'none'");
    let first = publish(&server, "live/show", "5", &["-c:a", "aac", "-ar", "48000", "-ac", "2"]);
    let follower = Follower::start(&server, "live/show");
    first.finish(Duration::from_secs(30)).expect_success();
    let second = publish(&server, "live/show", "6", &["-c:a", "libmp3lame", "-ar", "44100", "-ac", "1"]);
    second.finish(Duration::from_secs(30)).expect_success();
    server.expect_logged(&["audio is encoded from here on", "source=mp3"]);
    follower.expect_end(Duration::from_secs(20));
    let all = follower.finish();
    for (name, one) in &all {
        assert_eq!((one.gaps, one.discontinuities()), (0, 1), "{name}");
    }
    // FFmpeg's encoder is ours, too: not even the init segment changes.
    assert_eq!(all["audio"].inits.len(), 1);
}

#[test]
fn sound_alone_may_be_mp3() {
    let server = Server::start("ladder = 'none'\nsession.end_grace_seconds = 1");
    let url = server.publish_url("live/radio");
    let tone =
        ["-re", "-f", "lavfi", "-i", "sine=sample_rate=44100", "-t", "10", "-c:a", "libmp3lame", "-f", "flv", &url];
    let publisher = Program::ffmpeg(tone);
    let follower = Follower::start(&server, "live/radio");
    expect_ffmpeg_plays(&server, &follower, "live/radio");
    publisher.finish(Duration::from_secs(30)).expect_success();
    follower.expect_end(Duration::from_secs(15));
    expect_sound(&follower.finish(), &[("audio", "aac LC 44100 2")]);
}
