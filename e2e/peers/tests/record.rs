//! `headwater record` with FFmpeg: what it writes can be read, and published again.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::path::Path;
use std::time::Duration;

use headwater_e2e::decode::{count_frames, decode_silently, probe};
use headwater_e2e::follow::Follower;
use headwater_e2e::program::Program;
use headwater_e2e::server::{Folder, Server, headwater};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const KEY: &str = "sesame-open-now";

/// Records what FFmpeg publishes: 75 pictures and a tone. Gives what `record` printed and logged.
fn record(file: &Path, raw: &Path) -> (String, String) {
    let files = [file.to_str().unwrap(), "--raw", raw.to_str().unwrap()];
    let recorder = Program::start(headwater().args(["record", "127.0.0.1:0"]).args(files));
    let line = recorder.err.find(&["listening for one RTMP publisher", "address="], LIMIT).unwrap();
    let (_, address) = line.rsplit_once("address=").unwrap();
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"];
    let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "3"];
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50", "-c:a", "aac"];
    let url = format!("rtmp://{address}/live/{KEY}?token=tulip");
    let publisher = Program::ffmpeg([&picture[..], &tone, &coding, &["-f", "flv", &url]].concat());
    publisher.finish(LIMIT).expect_success();
    let recorded = recorder.finish(LIMIT).expect_success();
    (recorded.out, recorded.err)
}

#[test]
fn what_ffmpeg_publishes_is_a_file_that_plays_and_can_be_published_again() {
    let folder = Folder::new();
    let (file, raw) = (folder.path().join("recorded.flv"), folder.path().join("recorded.rtmp"));
    let (report, log) = record(&file, &raw);
    for words in [
        "encoder   FMLE/3.0 (compatible; Lavf",
        "video     H.264 160x90 avc1.",
        "audio     AAC 48000 Hz 1 channels mp4a.40.2; ",
        "data      1 x onMetaData",
        "ended     the publisher unpublished",
    ] {
        assert!(report.contains(words), "no {words:?} in:\n{report}");
    }
    assert!(log.contains("the stream key is in this file"), "{log}");
    for secret in [KEY, "tulip"] {
        assert!(!report.contains(secret) && !log.contains(secret), "{secret} in:\n{report}{log}");
        let file = std::fs::read(&file).unwrap();
        assert!(!file.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} in the FLV file");
    }
    let raw = std::fs::read(raw).unwrap();
    assert!(raw[0] == 3 && raw.windows(KEY.len()).any(|window| window == KEY.as_bytes()));

    let path = file.to_str().unwrap();
    let mut streams: Vec<String> = probe(path, &[], "stream=codec_name").lines().map(str::to_owned).collect();
    streams.sort_unstable();
    assert_eq!(streams, ["aac", "h264"]);
    assert_eq!(count_frames(&file), 75);
    decode_silently(path);

    let server = Server::start("ladder = 'none'");
    let again = Program::start(headwater().args(["publish", path, &server.publish_url("live/show"), "--loop"]));
    let follower = Follower::start(&server, "live/show");
    follower.expect_more(6);
    for (name, one) in follower.finish() {
        assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
    }
    again.interrupt();
    again.finish(LIMIT).expect_success();
    server.expect_logged(&["publisher left", "stream=live/show", "clean=true"]);
}
