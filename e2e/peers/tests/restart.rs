//! A server that is lost, or stopped, and comes back with what it kept in its `state_dir`: players stay in their session
//! (architecture 8; invariants 2 and 3 of its section 10 are what the follower checks).
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::Write;
use std::time::Duration;

use headwater_e2e::clock::{Stopwatch, poll};
use headwater_e2e::follow::{Follower, Renditions};
use headwater_e2e::program::Program;
use headwater_e2e::server::{Folder, Server};

/// A test picture and a tone, until stopped.
fn publish(server: &Server) -> Program {
    let url = server.publish_url("live/show");
    let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
    let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50", "-c:a", "aac"];
    Program::ffmpeg([&picture[..], &tone, &coding, &["-f", "flv", &url]].concat())
}

/// One gear.
const SMALL: &str = "
ladder = 'small'
[[ladders]]
name = 'small'
gears = [{ width = 160, height = 90, bitrate_kbps = 100 }]";

fn start(folder: &Folder) -> Server {
    start_with(folder, "")
}

fn start_with(folder: &Folder, more: &str) -> Server {
    Server::start_with(&format!("{more}{SMALL}"), &["--state-dir", folder.path().to_str().unwrap()])
}

/// Follows for some parts. The session's path, and what was read.
fn watch(server: &Server) -> (String, Renditions) {
    let follower = Follower::start(server, "live/show");
    follower.expect_more(15);
    (follower.session_path.clone(), follower.finish())
}

/// Goes on after a restart, with a publisher that comes back. What was read then.
#[track_caller]
fn go_on(server: &Server, session_path: &str, before: Renditions, discontinuities: u64) -> Renditions {
    let follower = Follower::go_on(server, session_path, before);
    let _publisher = publish(server);
    follower.wait_until("a discontinuity", Duration::from_secs(20), |all| {
        all.values().all(|one| one.discontinuities() == discontinuities)
    });
    follower.expect_more(15);
    let session = session_path.rsplit('/').next().unwrap();
    let multivariant = server.multivariant("live/show");
    assert!(multivariant.contains(session), "{session} is not in {multivariant}");
    follower.finish()
}

#[test]
fn a_killed_server_goes_on_with_its_sessions() {
    let folder = Folder::new();
    let server = start(&folder);
    let publisher = publish(&server);
    let (session, mut renditions) = watch(&server);
    assert_eq!(renditions.keys().map(String::as_str).collect::<Vec<_>>(), ["90p-100", "audio", "source"]);
    let server = server.kill_and_restart();
    drop(publisher);
    server.expect_logged(&["session waits for its publisher", "stream=live/show"]);

    renditions = go_on(&server, &session, renditions, 1);
    for (name, one) in &renditions {
        assert!(one.gaps > 1, "{name}: the last number that was reserved, and its parts");
    }
    // And again, with a write that was cut off.
    let server = server.kill_and_restart();
    let server = {
        let state = folder.path().join("streams.jsonl");
        let mut file = std::fs::File::options().append(true).open(state).unwrap();
        file.write_all(b"0123456789abcdef {\"stream\":\"li").unwrap();
        server.kill_and_restart()
    };
    go_on(&server, &session, renditions, 2);
}

#[test]
fn a_restarted_server_answers_when_there_is_something_to_play() {
    let folder = Folder::new();
    let server = start(&folder);
    let publisher = publish(&server);
    watch(&server);
    let server = server.kill_and_restart();
    drop(publisher);
    let mut player = server.player();
    let asking = std::thread::spawn(move || player.get("/live/show/index.m3u8"));
    let _publisher = publish(&server);
    assert_eq!(asking.join().unwrap().status, 200);
}

#[test]
fn sigterm_keeps_sessions_for_the_next_server_and_ctrl_c_ends_them() {
    let folder = Folder::new();
    let server = start(&folder);
    let publisher = publish(&server);
    let (session, renditions) = watch(&server);
    let server = server.terminate_and_restart();
    drop(publisher);
    go_on(&server, &session, renditions, 1);

    let _publisher = publish(&server);
    let follower = Follower::start(&server, "live/show");
    server.interrupt();
    let ended = Duration::from_secs(5);
    follower.wait_until("EXT-X-ENDLIST", ended, |all| all.values().all(|one| one.playlist.ended));
    server.finish().expect_success();
    let kept = std::fs::read_to_string(folder.path().join("streams.jsonl")).unwrap();
    assert!(kept.lines().last().unwrap().contains(r#""state":"ended""#), "{kept}");
}

#[test]
fn a_session_whose_publisher_does_not_find_back_ends_after_the_window() {
    let folder = Folder::new();
    let server = start_with(&folder, "session.reconnect_window_seconds = 6");
    let publisher = publish(&server);
    let (session, renditions) = watch(&server);
    let server = server.kill_and_restart();
    drop(publisher);
    let clock = Stopwatch::start();
    // Nothing can be begun, but whoever was there waits.
    let mut player = server.player();
    assert_eq!(player.get("/live/show/index.m3u8").status, 404);
    let follower = Follower::go_on(&server, &session, renditions);
    follower.expect_end(Duration::from_secs(15));
    assert!((5000..11_000).contains(&clock.elapsed().as_millis()), "{:?}", clock.elapsed());
    follower.finish();
    server.expect_logged(&["session ended", "stream=live/show"]);

    // The next one is another session, in the file too.
    let _publisher = publish(&server);
    let multivariant = server.multivariant("live/show");
    assert!(!multivariant.contains(session.rsplit('/').next().unwrap()), "{multivariant}");
}

#[test]
fn a_state_that_cannot_be_read_is_kept_aside_and_the_server_starts() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("streams.jsonl"), "[1, 2, 3]\n0123456789abcdef {}\n").unwrap();
    let server = start(&folder);
    let _publisher = publish(&server);
    server.multivariant("live/show");
    // Damaged throughout: as if nothing had ever been written.
    let written = poll(Duration::from_secs(5), || {
        let state = std::fs::read_to_string(folder.path().join("streams.jsonl")).unwrap();
        state.contains("live/show").then_some(state)
    });
    assert!(written.is_some());

    let second = Server::start_refused(SMALL, &["--state-dir", folder.path().to_str().unwrap()]);
    assert!(second.contains("another server uses"), "{second}");
}
