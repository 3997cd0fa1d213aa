//! Players of others play a stream with gears.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::process::Command;
use std::time::Duration;

use headwater_e2e::clock::poll;
use headwater_e2e::decode::decode_live_silently;
use headwater_e2e::follow::Follower;
use headwater_e2e::program::Program;
use headwater_e2e::server::Server;

const CONFIG: &str = "
ladder = 'small'
[[ladders]]
name = 'small'
gears = [{ width = 160, height = 90, bitrate_kbps = 100 }]";

/// A test picture with B-frames, as encoders send it by default, and a tone.
fn publish(server: &Server, keyframe_interval: &str) -> Program {
    let url = server.publish_url("live/show");
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
    let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=44100"];
    let coding = ["-c:v", "libx264", "-preset", "veryfast", "-g", keyframe_interval, "-c:a", "aac", "-f", "flv"];
    Program::ffmpeg([&picture[..], &tone, &coding, &["-pix_fmt", "yuv420p", &url]].concat())
}

/// GStreamer plays with `playbin` for some seconds.
#[track_caller]
fn expect_gstreamer_plays(playbin: &str) {
    let server = Server::start(CONFIG);
    let _publisher = publish(&server, "50");
    let follower = Follower::start(&server, "live/show");
    follower
        .wait_until("three segments", Duration::from_secs(20), |all| all.values().all(|one| one.segments.len() >= 3));
    let mut player = Command::new("gst-launch-1.0");
    player.args(["-v", playbin, &format!("uri={}", server.play_url("live/show"))]);
    for (kind, name) in [("video", "picture"), ("audio", "sound")] {
        // The sinks wait for the time of what they get, and say that they got it.
        player.arg(format!("{kind}-sink=fakesink name={name} silent=false sync=true"));
    }
    let mut player = Program::start(&mut player);
    // Two seconds of each.
    for (name, count) in [("picture", 50), ("sound", 86)] {
        let shown = player.out.nth(&[name, "last-message = chain"], count, Duration::from_secs(20));
        assert!(shown.is_some(), "{playbin} shows no {name}: {}{}", player.out.text(), player.err.text());
    }
    assert!(player.is_running() && player.err.text().is_empty(), "{}", player.err.text());
    for (name, one) in follower.finish() {
        assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
    }
}

/// hlsdemux2, GStreamer's newer reader of HLS.
#[test]
fn gstreamer_playbin3_plays_picture_and_sound() {
    expect_gstreamer_plays("playbin3");
}

/// hlsdemux, the older one, which most programs use.
#[test]
fn gstreamer_playbin_plays_picture_and_sound() {
    expect_gstreamer_plays("playbin");
}

/// Ten seconds from keyframe to keyframe: no segment can wait for that.
#[test]
fn a_source_with_rare_keyframes_is_replaced_by_a_gear_of_its_size() {
    let server = Server::start(CONFIG);
    let _publisher = publish(&server, "250");
    let first = Follower::start(&server, "live/show");
    assert_eq!(first.look(|all| all.keys().cloned().collect::<Vec<_>>()), ["90p-100", "audio", "source"]);
    first.wait_until("the source goes off", Duration::from_secs(20), |all| all["source"].gaps > 0);
    server.expect_logged(&["live/show", "source", "off"]);

    let replaced = |playlist: &str| !playlist.contains("source/") && playlist.contains("RESOLUTION=320x180");
    let mut player = server.player();
    let now = poll(Duration::from_secs(10), || {
        let playlist = player.get("/live/show/index.m3u8").text();
        replaced(&playlist).then_some(playlist)
    });
    assert!(now.is_some(), "{}", server.multivariant("live/show"));
    let second = Follower::start(&server, "live/show");
    second.wait_until("two segments", Duration::from_secs(20), |all| all.values().all(|one| one.segments.len() >= 2));
    decode_live_silently(&server.play_url("live/show"), 2);
    first.expect_more_of("90p-100", 1);
    let all = first.finish();
    assert_eq!((all["90p-100"].gaps, all["audio"].gaps), (0, 0));
    for (name, one) in second.finish() {
        assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
    }
}
