//! Every encoder that people use publishes a stream that plays.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::process::Command;
use std::time::Duration;

use headwater_e2e::decode::{decode_live_silently, probe};
use headwater_e2e::follow::Follower;
use headwater_e2e::program::Program;
use headwater_e2e::server::Server;

const NO_GEARS: &str = "ladder = 'none'";

/// FFmpeg's test picture and a tone, in real time.
const PICTURE: [&str; 10] =
    ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-re", "-f", "lavfi", "-i", "sine=sample_rate=44100"];

fn ffmpeg(server: &Server, options: &[&str]) -> Program {
    let url = server.publish_url("live/show");
    Program::ffmpeg([&PICTURE, options, &["-pix_fmt", "yuv420p", "-f", "flv", &url]].concat())
}

fn gstreamer(pipeline: &str) -> Program {
    Program::start(Command::new("gst-launch-1.0").arg("-q").args(pipeline.split_whitespace()))
}

/// A picture and a tone in an FLV mux named `mux`.
const GSTREAMER_SOURCES: &str = "flvmux name=mux streamable=true \
    videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! h264parse ! queue ! mux. \
    audiotestsrc is-live=true ! audio/x-raw,rate=44100,channels=2 ! avenc_aac ! aacparse ! queue ! mux.";

/// All renditions keep all rules for a while, and FFmpeg reads the stream through its multivariant playlist.
#[track_caller]
fn expect_playing(server: &Server, renditions: &[&str]) {
    let follower = Follower::start(server, "live/show");
    follower.wait_until("two segments", Duration::from_secs(30), |all| all.values().all(|one| one.segments.len() >= 2));
    let url = server.play_url("live/show");
    let codecs = probe(&url, &[], "stream=codec_name");
    let mut codecs: Vec<&str> = codecs.lines().collect();
    codecs.sort_unstable();
    codecs.dedup();
    let codec = |name: &&str| if *name == "audio" { "aac" } else { "h264" };
    assert_eq!(codecs, renditions.iter().map(codec).collect::<Vec<_>>());
    decode_live_silently(&url, 2);
    let all = follower.finish();
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), renditions);
    for (name, one) in all {
        assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
        assert!(one.parts.len() >= 20 && one.reloads >= 10, "{name}: {} parts", one.parts.len());
    }
}

#[test]
fn ffmpeg_with_low_latency_options() {
    let server = Server::start(NO_GEARS);
    let options = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50", "-c:a", "aac"];
    let _publisher = ffmpeg(&server, &options);
    expect_playing(&server, &["audio", "source"]);
}

/// A keyframe every 250 pictures: segments are cut where there is none.
#[test]
fn ffmpeg_with_default_options() {
    let server = Server::start(NO_GEARS);
    let _publisher = ffmpeg(&server, &["-c:v", "libx264", "-c:a", "aac"]);
    expect_playing(&server, &["audio", "source"]);
}

#[test]
fn gstreamer_rtmp2sink() {
    let server = Server::start(NO_GEARS);
    let url = server.publish_url("live/show");
    let _publisher = gstreamer(&format!("{GSTREAMER_SOURCES} mux. ! rtmp2sink location={url}"));
    expect_playing(&server, &["audio", "source"]);
}

/// librtmp, as in OBS.
#[test]
fn gstreamer_rtmpsink() {
    let server = Server::start(NO_GEARS);
    let url = server.publish_url("live/show");
    let _publisher = gstreamer(&format!("{GSTREAMER_SOURCES} mux. ! rtmpsink location={url}"));
    expect_playing(&server, &["audio", "source"]);
}

#[test]
fn ffmpeg_without_sound() {
    let server = Server::start(NO_GEARS);
    let options = ["-map", "0", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50"];
    let _publisher = ffmpeg(&server, &options);
    expect_playing(&server, &["source"]);
}

#[test]
fn ffmpeg_without_picture() {
    let server = Server::start(NO_GEARS);
    let _publisher = ffmpeg(&server, &["-map", "1", "-c:a", "aac"]);
    expect_playing(&server, &["audio"]);
}
