//! Gears while somebody watches, and workers that are lost.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::time::Duration;

use headwater_e2e::clock::{Stopwatch, poll};
use headwater_e2e::follow::Follower;
use headwater_e2e::http::{Hangup, Http};
use headwater_e2e::program::Program;
use headwater_e2e::server::Server;

/// Two gears of a small source.
const SMALL: &str = "
ladder = 'small'
transcode.cold_after_seconds = 5
[[ladders]]
name = 'small'
gears = [
  { width = 320, height = 180, bitrate_kbps = 300 },
  { width = 160, height = 90, bitrate_kbps = 100 },
]";

const ALL: [&str; 4] = ["180p-300", "90p-100", "audio", "source"];

/// A test picture and a tone, until stopped.
fn publish(server: &Server) -> Program {
    let url = server.publish_url("live/show");
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"];
    let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let coding = "-c:v libx264 -preset ultrafast -tune zerolatency -b:v 1500k -g 60 -c:a aac".split(' ');
    Program::ffmpeg([&picture[..], &tone, &coding.collect::<Vec<_>>(), &["-f", "flv", &url]].concat())
}

/// An answer of the API.
fn api(server: &Server, path: &str) -> String {
    Http::new(server.admin, Hangup::default()).get(path).text()
}

/// Waits until the API says `text` of the stream.
#[track_caller]
fn expect_api(server: &Server, text: &str) {
    let said = poll(Duration::from_secs(20), || api(server, "/api/v1/streams/live/show").contains(text).then_some(()));
    assert!(said.is_some(), "{text} is not in {}", api(server, "/api/v1/streams/live/show"));
}

/// Renditions that a multivariant playlist names.
fn listed(multivariant: &str) -> Vec<&str> {
    let paths = multivariant.split(['"', '\n']).filter_map(|word| word.strip_suffix("/index.m3u8"));
    let mut names: Vec<&str> = paths.filter_map(|path| path.rsplit('/').next()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The session that a multivariant playlist names.
fn session(multivariant: &str) -> &str {
    multivariant.lines().find_map(|line| line.strip_suffix("/source/index.m3u8")).unwrap()
}

/// How old the session is, in whole seconds.
fn age(server: &Server) -> Option<u64> {
    let said = api(server, "/api/v1/streams/live/show");
    said.split("\"age_seconds\":").nth(1)?.split(',').next()?.parse().ok()
}

#[test]
fn gears_are_made_from_the_first_request_on_and_stop_when_nobody_asks_any_more() {
    let server = Server::start(SMALL);
    let _publisher = publish(&server);
    // The source has parts, and nobody has asked for anything.
    expect_api(&server, "\"codecs\":\"avc1");
    assert!(api(&server, "/api/v1/streams/live/show").contains("nobody watches"));
    assert!(api(&server, "/metrics").contains("headwater_transcode_jobs 0\n"));

    for waking in 1..=2 {
        let watch = Stopwatch::start();
        let multivariant = server.multivariant("live/show");
        let took = watch.elapsed();
        println!("waking {waking}: every gear was there after {} ms", took.as_millis());
        assert_eq!(listed(&multivariant), ALL);
        assert!(took < Duration::from_millis(2400), "{took:?}");
        let mut player = server.player();
        for name in ALL {
            let playlist = player.get(&format!("/live/show/{}/{name}/index.m3u8", session(&multivariant))).text();
            assert!(playlist.contains("#EXTINF"), "players that know nothing of parts find a segment: {playlist}");
        }
        let follower = Follower::start(&server, "live/show");
        follower.expect_more(12);
        for (name, one) in follower.finish() {
            assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
        }
        expect_api(&server, "nobody watches");
        assert!(
            poll(Duration::from_secs(5), || api(&server, "/metrics").contains("transcode_jobs 0\n").then_some(()))
                .is_some()
        );
        // Gears that come back within the segment in which they stopped begin with the next one.
        let before = age(&server);
        assert!(poll(Duration::from_secs(10), || (age(&server)? > before? + 3).then_some(())).is_some());
    }
}

#[test]
fn a_lost_worker_costs_no_part_and_no_discontinuity() {
    let server = Server::start_with(SMALL, &["--fault-points"]);
    let _publisher = publish(&server);
    let follower = Follower::start(&server, "live/show");
    assert_eq!(listed(&follower.multivariant), ALL, "{}", api(&server, "/api/v1/streams/live/show"));
    follower.expect_more(8);
    for (number, fault) in ["panic", "hang", "stop"].into_iter().enumerate() {
        let mut admin = Http::new(server.admin, Hangup::default());
        assert_eq!(admin.request("POST", &format!("/api/v1/faults/{fault}")).unwrap().status, 204);
        let failed = format!("headwater_transcode_jobs_failed_total {}\n", number + 1);
        assert!(poll(Duration::from_secs(10), || api(&server, "/metrics").contains(&failed).then_some(())).is_some());
        follower.expect_more(12);
    }
    let all = follower.finish();
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ALL);
    for (name, one) in &all {
        assert_eq!((one.gaps, one.discontinuities(), one.inits.len()), (0, 0, 1), "{name}");
    }
}

/// As many gears as Apple's ladders have, small enough for any machine.
const NINE: &str = "
ladder = 'nine'
[[ladders]]
name = 'nine'
gears = [
  { width = 640, height = 360, bitrate_kbps = 900 },
  { width = 640, height = 360, bitrate_kbps = 730 },
  { width = 640, height = 360, bitrate_kbps = 500 },
  { width = 480, height = 270, bitrate_kbps = 400 },
  { width = 480, height = 270, bitrate_kbps = 300 },
  { width = 320, height = 180, bitrate_kbps = 250 },
  { width = 320, height = 180, bitrate_kbps = 200 },
  { width = 160, height = 90, bitrate_kbps = 100 },
  { width = 128, height = 72, bitrate_kbps = 60, audio = 'low' },
]";

#[test]
fn nine_gears_keep_up_in_real_time() {
    let server = Server::start(NINE);
    let _publisher = publish(&server);
    let follower = Follower::start(&server, "live/show");
    assert_eq!(listed(&follower.multivariant).len(), 12, "{}", follower.multivariant);
    // More than five segments.
    follower.expect_more(55);
    for (name, one) in follower.finish() {
        assert_eq!((one.gaps, one.discontinuities(), one.inits.len()), (0, 0, 1), "{name}");
    }
}
