//! The life of a session as players see it: lost and found publishers, clean ends, the end of the server.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::net::TcpStream;
use std::time::Duration;

use headwater_e2e::clock::{Stopwatch, poll};
use headwater_e2e::follow::{Follower, playlist_uris};
use headwater_e2e::program::Program;
use headwater_e2e::publisher::{Publisher, Status, tags};
use headwater_e2e::server::Server;
use headwater_e2e::testdata;
use headwater_rtmp::Extensions;

/// A test picture and a tone, until stopped.
fn publish(server: &Server) -> Program {
    publish_size(server, "160x90")
}

fn publish_size(server: &Server, size: &str) -> Program {
    let url = server.publish_url("live/show");
    let picture = format!("testsrc2=size={size}:rate=25");
    let picture = ["-re", "-f", "lavfi", "-i", &picture];
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

/// The gear keeps its size, the source rendition has a new one.
#[test]
fn a_publisher_that_comes_back_with_another_picture_goes_on_in_the_same_session() {
    let server = Server::start(SMALL);
    let first = publish_size(&server, "320x180");
    let follower = Follower::start(&server, "live/show");
    follower.expect_more(12);
    first.kill();
    server.expect_logged(&["publisher left", "stream=live/show", "clean=false"]);
    let _again = publish_size(&server, "256x144");
    follower.wait_until("a discontinuity", Duration::from_secs(10), |all| {
        all.values().all(|one| one.discontinuities() == 1)
    });
    follower.expect_more(12);
    let all = follower.finish();
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["90p-100", "audio", "source"]);
    for (name, one) in &all {
        assert_eq!((one.discontinuities(), one.gaps), (1, 0), "{name}");
        assert_eq!(one.inits.len(), if name == "source" { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn a_killed_publisher_that_comes_back_goes_on_in_the_same_session() {
    let server = Server::start("ladder = 'none'\nsession.reconnect_window_seconds = 4");
    let first = publish(&server);
    let follower = Follower::start(&server, "live/show");
    follower.expect_more(12);
    first.kill();
    server.expect_logged(&["publisher left", "stream=live/show", "clean=false"]);
    let again = publish(&server);
    follower.wait_until("a discontinuity", Duration::from_secs(10), |all| {
        all.values().all(|one| one.discontinuities() == 1)
    });
    follower.expect_more(5);
    let multivariant = server.multivariant("live/show");
    let session = follower.session_path.rsplit('/').next().unwrap();
    assert!(multivariant.contains(session), "{session} is not in {multivariant}");

    // Nobody comes back this time.
    again.kill();
    let watch = Stopwatch::start();
    follower.expect_end(Duration::from_secs(15));
    assert!((3500..7000).contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
    server.expect_logged(&["session ended", "stream=live/show"]);
    for (name, one) in follower.finish() {
        assert_eq!((one.discontinuities(), one.gaps), (1, 0), "{name}");
    }
}

/// hls.js and others give held requests up, and then ask without directives.
#[test]
fn a_player_that_has_the_playlist_is_answered_when_there_is_another() {
    let server = Server::start("ladder = 'none'");
    let publisher = publish(&server);
    let follower = Follower::start(&server, "live/show");
    follower.expect_more(12);
    let path = format!("{}/source/index.m3u8", follower.session_path);
    follower.finish();
    publisher.kill();
    server.expect_logged(&["publisher left", "stream=live/show"]);

    let mut player = server.player();
    let known = player.get(&path);
    let tag = known.header("etag").expect("a playlist has a tag").to_owned();
    let mut ask = move |path: &str| {
        let watch = Stopwatch::start();
        let answer = player.send("GET", path, &format!("If-None-Match: {tag}\r\n")).unwrap();
        (answer, watch.elapsed().as_millis())
    };
    let (same, held_ms) = ask(&path);
    assert_eq!((same.status, same.header("etag"), same.body.len()), (304, known.header("etag"), 0));
    assert!((3900..8000).contains(&held_ms), "held for {held_ms} ms");
    let asking = std::thread::spawn(move || ask(&path));
    let _publisher = publish(&server);
    let (next, _) = asking.join().unwrap();
    assert_eq!(next.status, 200);
    assert!(next.header("etag") != known.header("etag") && next.body != known.body, "{}", next.text());
}

#[test]
fn a_clean_end_waits_for_the_grace_and_then_ends_the_playlists() {
    let server = Server::start("ladder = 'none'\nsession.end_grace_seconds = 2");
    let clip = tags(&testdata("bbb.flv"));
    let mut publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    // More than one segment, and no tag after the end of a part.
    let player = {
        let sent = clip.iter().take_while(|tag| tag.timestamp < 3500);
        let follower = std::thread::scope(|scope| {
            let follower = scope.spawn(|| Follower::start(&server, "live/show"));
            assert!(publisher.play(sent));
            follower.join().unwrap()
        });
        publisher.unpublish();
        follower
    };
    let watch = Stopwatch::start();
    server.expect_logged(&["publisher left", "clean=true"]);
    player.expect_end(Duration::from_secs(10));
    assert!((1500..5000).contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
    let all = player.finish();
    let pictures = clip.iter().filter(|tag| tag.timestamp < 3500 && tag.body.starts_with(&[0x27, 1])).count() + 2;
    assert_eq!(all["source"].samples(), pictures, "every picture that was sent");

    // The next one is another session.
    let next = publish(&server);
    let other = Follower::start(&server, "live/show");
    other.expect_more(1);
    other.finish();
    drop(next);
}

/// Architecture's invariant 6: what an ended playlist names is there, whoever publishes meanwhile.
#[test]
fn an_ended_session_can_be_read_while_the_next_is_live() {
    let server = Server::start("ladder = 'none'\nsession.end_grace_seconds = 0");
    let clip = tags(&testdata("bbb.flv"));
    let mut publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    assert!(publisher.play(clip.iter().take_while(|tag| tag.timestamp < 3500)));
    let first = server.multivariant("live/show");
    publisher.unpublish();
    server.expect_logged(&["session ended", "stream=live/show"]);
    let _next = publish(&server);
    let mut player = server.player();
    let limit = Duration::from_secs(20);
    let second = poll(limit, || Some(player.get("/live/show/index.m3u8").text()).filter(|text| *text != first));
    let second = second.expect("another session");
    let uris = [&first, &second].map(|multivariant| playlist_uris(multivariant));
    assert!(uris[0].iter().all(|uri| !uris[1].contains(uri)), "{uris:?}");
    for uri in &uris[0] {
        let folder = format!("/live/show/{}", uri.strip_suffix("index.m3u8").unwrap());
        let text = player.get(&format!("{folder}index.m3u8")).text();
        assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{uri}: {text}");
        let named: Vec<&str> = text.lines().filter(|line| line.ends_with(".m4s")).collect();
        assert!(named.len() >= 2, "{text}");
        for name in named {
            assert_eq!(player.get(&format!("{folder}{name}")).status, 200, "{folder}{name}");
        }
    }
}

#[test]
fn ctrl_c_tells_publishers_and_ends_playlists() {
    let server = Server::start("ladder = 'none'");
    let _ffmpeg = publish(&server);
    let follower = Follower::start(&server, "live/show");
    let clip = tags(&testdata("bbb.flv"));
    let mut publisher = Publisher::connect(server.rtmp, "live/other").unwrap();
    assert!(publisher.play(clip.iter().take_while(|tag| tag.timestamp < 500)));
    follower.expect_more(1);
    // Every rendition has a held playlist request and a held part now, or will have one in a moment.
    server.interrupt();
    let told = publisher.expect_refusal();
    assert_eq!(told, Status::new("NetConnection.Connect.AppShutdown", "The server is stopping."));
    let limit = Duration::from_secs(5);
    follower.wait_until("EXT-X-ENDLIST", limit, |all| all.values().all(|one| one.playlist.ended));
    let finished = server.finish().expect_success();
    assert_eq!(finished.status.code(), Some(0));
    assert!(!finished.err.contains("ERROR") && !finished.err.contains("panicked"), "{}", finished.err);
}

/// who knows how is asked to connect again; nobody new is taken; who stays is closed in the end.
#[test]
fn a_drain_lets_publishers_go_and_then_closes_the_rest() {
    let server = Server::start("ladder = 'none'\nsession.drain_seconds = 3");
    let clip = tags(&testdata("bbb.flv"));
    let (first, rest) = clip.split_at(30);
    let mut able = Publisher::connect_with(server.rtmp, "live/able", Extensions::RECONNECT).unwrap();
    let mut stays = Publisher::connect(server.rtmp, "live/stays").unwrap();
    assert!(first.iter().all(|tag| able.send_tag(tag) && stays.send_tag(tag)));
    let watch = Stopwatch::start();
    server.interrupt();
    able.expect_reconnect_request();
    server.expect_logged(&["draining", "connections=2", "seconds=3"]);
    let refused = poll(Duration::from_secs(2), || TcpStream::connect(server.rtmp).is_err().then_some(()));
    assert!(refused.is_some(), "somebody new is taken");
    // It is served as long as it stays.
    assert!(rest.iter().take(20).all(|tag| able.send_tag(tag)));
    able.unpublish();
    server.expect_logged(&["publisher left", "stream=live/able", "clean=true"]);
    let told = stays.expect_refusal();
    assert_eq!(told, Status::new("NetConnection.Connect.AppShutdown", "The server is stopping."));
    assert!((2800..8000).contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
    server.finish().expect_success();
}

#[test]
fn a_second_signal_ends_the_drain() {
    let server = Server::start("ladder = 'none'\nsession.drain_seconds = 600");
    let clip = tags(&testdata("bbb.flv"));
    let mut publisher = Publisher::connect(server.rtmp, "live/show").unwrap();
    assert!(clip.iter().take(30).all(|tag| publisher.send_tag(tag)));
    server.interrupt();
    server.expect_logged(&["draining", "connections=1"]);
    server.interrupt();
    publisher.expect_refusal();
    server.finish().expect_success();
}

#[test]
fn ctrl_c_with_nothing_to_do_ends_at_once() {
    let server = Server::start("");
    let _idle = TcpStream::connect(server.http).unwrap();
    let _silent = TcpStream::connect(server.rtmp).unwrap();
    let watch = Stopwatch::start();
    server.interrupt();
    server.finish().expect_success();
    assert!(watch.elapsed() < Duration::from_secs(3), "{:?}", watch.elapsed());
}
