//! One publisher at a time (architecture 8): who holds a stream keeps it, is outlasted when it is silent, and gives way to a
//! higher priority.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::time::Duration;

use headwater_e2e::clock::Stopwatch;
use headwater_e2e::follow::Follower;
use headwater_e2e::program::Program;
use headwater_e2e::publisher::{Publisher, Status, tags};
use headwater_e2e::server::Server;
use headwater_e2e::testdata;

/// A test picture, until stopped.
fn publish(server: &Server, stream: &str) -> Program {
    let url = server.publish_url(stream);
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"];
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50"];
    Program::ffmpeg([&picture[..], &coding, &["-f", "flv", &url]].concat())
}

fn bad_name(text: &str) -> Status {
    Status::new("NetStream.Publish.BadName", text)
}

/// the connection is open, and nobody is at its other end.
#[test]
fn a_half_open_connection_frees_its_stream_within_two_seconds_of_a_newcomers_request() {
    let server = Server::start("ladder = 'none'");
    let holder = publish(&server, "live/show");
    let follower = Follower::start(&server, "live/show");
    follower.expect_more(6);
    let refused = Publisher::connect(server.rtmp, "live/show").unwrap_err();
    assert_eq!(refused, bad_name("live/show already has a publisher"));

    holder.freeze();
    let watch = Stopwatch::start();
    let newcomer = publish(&server, "live/show");
    server.expect_logged(&["publisher silent for 2 s, taken over", "stream=live/show"]);
    // FFmpeg takes a moment to start.
    assert!((1500..4500).contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
    follower.wait_until("a discontinuity", Duration::from_secs(10), |all| all["source"].discontinuities() == 1);
    follower.expect_more(6);
    // It finds its connection closed when it is there again.
    holder.thaw();
    let told = holder.finish(Duration::from_secs(20));
    assert!(!told.status.success(), "{}", told.err);
    server.expect_logged(&["publisher left", "another publisher has taken the stream over"]);
    assert_eq!(follower.finish()["source"].gaps, 0);
    drop(newcomer);
}

/// R-111, as architecture 8 has it.
#[test]
fn a_higher_priority_takes_the_stream_over_at_once() {
    let server = Server::start("ladder = 'none'");
    let holder = publish(&server, "live/show");
    let follower = Follower::start(&server, "live/show");
    follower.expect_more(6);
    let refused = Publisher::connect(server.rtmp, "live/show?priority=high").unwrap_err();
    assert_eq!(refused.description, "priority is a whole number from -1000 to 1000");
    assert!(Publisher::connect(server.rtmp, "live/show?priority=0").is_err());
    let newcomer = publish(&server, "live/show?priority=5");
    let told = holder.finish(Duration::from_secs(20));
    assert!(!told.status.success() && told.err.contains("another publisher has taken the stream over"), "{}", told.err);
    follower.wait_until("a discontinuity", Duration::from_secs(10), |all| all["source"].discontinuities() == 1);
    follower.expect_more(6);
    assert_eq!(follower.finish()["source"].gaps, 0);

    // Two more, then it is enough.
    let clip = tags(&testdata("bbb.flv"));
    let mut displaced = Publisher::connect(server.rtmp, "live/show?priority=6").unwrap();
    drop(newcomer);
    let mut last = Publisher::connect(server.rtmp, "live/show?priority=7").unwrap();
    let told = displaced.send_tag(&clip[0]).then(|| displaced.expect_refusal());
    assert_eq!(
        told.unwrap_or_else(|| bad_name("another publisher has taken the stream over")).code,
        "NetStream.Publish.BadName"
    );
    let refused = std::thread::scope(|scope| {
        let refused = scope.spawn(|| Publisher::connect(server.rtmp, "live/show?priority=8").unwrap_err());
        assert!(last.play(clip.iter().take_while(|tag| tag.timestamp < 1500)));
        refused.join().unwrap()
    });
    let text = "live/show has been taken over 3 times within a minute and stays with its publisher for now";
    assert_eq!(refused, bad_name(text));
}
