//! What a bad publisher or player gets, word for word, while another stream goes on untouched.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use headwater_e2e::clock::Stopwatch;
use headwater_e2e::follow::Follower;
use headwater_e2e::http::{Hangup, Http};
use headwater_e2e::program::Program;
use headwater_e2e::publisher::{Publisher, Status, expect_closed, is_config, tags};
use headwater_e2e::server::Server;
use headwater_e2e::testdata;
use headwater_flv::{Tag, TagType};
use headwater_rtmp::MediaKind;

const REJECTED: &str = "NetStream.Publish.Rejected";
const BAD_NAME: &str = "NetStream.Publish.BadName";

/// A server with a good stream, which is followed from its first part.
struct Witness {
    server: Server,
    follower: Follower,
    _publisher: Program,
}

impl Witness {
    fn start(config: &str, key: &str) -> Self {
        let server = Server::start(&format!("ladder = 'none'\n{config}"));
        let url = server.publish_url(&format!("live/{key}"));
        let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"];
        let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
        let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50", "-c:a", "aac"];
        let publisher = Program::ffmpeg([&picture[..], &tone, &coding, &["-f", "flv", &url]].concat());
        let follower = Follower::start(&server, "live/witness");
        Self { server, follower, _publisher: publisher }
    }

    fn open() -> Self {
        Self::start("", "witness")
    }

    /// Its parts go on, without gap, discontinuity or any other trouble.
    #[track_caller]
    fn expect_untouched(self) -> Server {
        self.follower.expect_more(6);
        for (name, one) in self.follower.finish() {
            assert_eq!((one.gaps, one.discontinuities()), (0, 0), "{name}");
        }
        self.server
    }
}

fn clip() -> Vec<Tag> {
    tags(&testdata("bbb.flv"))
}

/// A connection that is not RTMP is closed at once.
#[track_caller]
fn expect_dropped(witness: Witness, bytes: &[u8]) {
    let mut socket = TcpStream::connect(witness.server.rtmp).unwrap();
    let watch = Stopwatch::start();
    // The server may close before it has taken everything.
    let _ = socket.write_all(bytes);
    expect_closed(&mut socket);
    assert!(watch.elapsed() < Duration::from_secs(2), "{:?}", watch.elapsed());
    witness.server.expect_logged(&["connection closed", "error="]);
    witness.expect_untouched();
}

#[test]
fn garbage_is_dropped_at_once() {
    let garbage: Vec<u8> = (0..100_000_u32).flat_map(|count| count.wrapping_mul(0x9E37_79B9).to_be_bytes()).collect();
    expect_dropped(Witness::open(), &garbage);
}

#[test]
fn http_on_the_rtmp_port_is_dropped_at_once() {
    expect_dropped(Witness::open(), b"GET /live/witness/index.m3u8 HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

/// A byte whenever the server has not closed for a tenth of a second: each is a sign of life, and none is a handshake.
#[test]
fn a_handshake_byte_by_byte_is_closed_and_counted() {
    let witness = Witness::start("[timeouts]\nrtmp_handshake_seconds = 1", "witness");
    let mut socket = TcpStream::connect(witness.server.rtmp).unwrap();
    let watch = Stopwatch::start();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while socket.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        assert!(watch.elapsed() < Duration::from_secs(5), "still open after {:?}", watch.elapsed());
        let _ = socket.write_all(&[3]);
    }
    assert!(watch.elapsed() >= Duration::from_millis(900), "{:?}", watch.elapsed());
    witness.server.expect_logged(&["connection closed", "no complete handshake within 1 s"]);
    let metrics = Http::new(witness.server.admin, Hangup::default()).get("/metrics").text();
    let expected = "headwater_rtmp_over_limit_total{limit=\"handshake\"} 1";
    assert!(metrics.contains(expected), "no {expected} in {metrics}");
    witness.expect_untouched();
}

/// OBS puts sound into data messages with names of its own, for one service.
#[test]
fn data_that_nobody_understands_is_counted_and_harmless() {
    let witness = Witness::open();
    let mut publisher = Publisher::connect(witness.server.rtmp, "live/other").unwrap();
    for body in [&b"\x02\x00\x0FadditionalMedia\x03"[..], b"\xAF\x01\x21", b""] {
        assert!(publisher.send(MediaKind::Data, 0, body));
    }
    publisher.unpublish();
    witness.server.expect_logged(&["publisher left", "stream=live/other", "clean=true"]);
    let expected = "headwater_rtmp_odd_total{what=\"ignored_data\"} 3";
    let metrics = Http::new(witness.server.admin, Hangup::default()).get("/metrics").text();
    assert!(metrics.contains(expected), "no {expected} in {metrics}");
    witness.expect_untouched();
}

#[test]
fn codecs_that_are_not_taken_are_named() {
    let witness = Witness::open();
    for (kind, body, description) in [
        (MediaKind::Video, &b"\x90vvc1\x01"[..], "VVC is not supported; send H.264, HEVC, AV1 or VP9"),
        (MediaKind::Video, b"\x91vp08\x01", "VP8 is not supported; send H.264, HEVC, AV1 or VP9"),
        (MediaKind::Video, b"\x22\0\0\0\0", "Sorenson H.263 is not supported; send H.264, HEVC, AV1 or VP9"),
        (
            MediaKind::Audio,
            b"\xB6\x1D\x9D\x66\x00",
            "Speex is not supported; send AAC, MP3, Opus, FLAC, AC-3 or E-AC-3",
        ),
        (
            MediaKind::Audio,
            b"\xAF\x00\xF9\x46\x40",
            "audio of 48000 Hz with 2 channels (mp4a.40.42) is not supported; send AAC-LC",
        ),
    ] {
        let mut publisher = Publisher::connect(witness.server.rtmp, "live/other").unwrap();
        assert!(publisher.send(kind, 0, body));
        assert_eq!(publisher.expect_refusal(), Status::new(REJECTED, description));
        let reason = format!("reason=\"{description}\"");
        witness.server.expect_logged(&["publisher left", "stream=live/other", &reason]);
    }
    witness.expect_untouched();
}

/// What FFmpeg sends to an FLV output when it is told nothing about codecs; its user reads why it does not work.
#[test]
fn ffmpeg_shows_why_its_own_choice_of_codecs_is_refused() {
    let witness = Witness::open();
    let url = witness.server.publish_url("live/other");
    let inputs = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-re", "-f", "lavfi", "-i", "sine"];
    let ffmpeg = Program::ffmpeg([&inputs[..], &["-f", "flv", &url]].concat()).finish(Duration::from_secs(20));
    assert!(!ffmpeg.status.success(), "{ffmpeg:?}");
    assert!(ffmpeg.err.contains("is not supported; send "), "{}", ffmpeg.err);
    witness.expect_untouched();
}

#[test]
fn video_without_a_keyframe_is_refused_after_ten_seconds() {
    let witness = Witness::open();
    let clip = clip();
    let keyframe = |tag: &Tag| tag.kind == TagType::Video && tag.body[0] == 0x17 && !is_config(tag);
    let video = clip.iter().filter(|tag| tag.kind == TagType::Video && !keyframe(tag));
    let mut publisher = Publisher::connect(witness.server.rtmp, "live/other").unwrap();
    let watch = Stopwatch::start();
    let more = (1..).map(|count| Tag {
        kind: TagType::Video,
        timestamp: 10_080 + count * 40,
        body: clip.iter().rfind(|tag| tag.kind == TagType::Video && tag.body[0] == 0x27).unwrap().body.clone(),
    });
    let all: Vec<Tag> = video.cloned().chain(more.take(100)).collect();
    let ended = !publisher.play(&all);
    assert!(ended, "still accepted after {:?}", watch.elapsed());
    assert!(watch.elapsed() > Duration::from_secs(9), "{:?}", watch.elapsed());
    let description = "no keyframe (IDR picture) in 10 s of video; set the encoder's keyframe interval to 2 s";
    assert_eq!(publisher.expect_refusal(), Status::new(REJECTED, description));
    witness.expect_untouched();
}

#[test]
fn a_second_publisher_of_a_live_stream_is_refused() {
    let witness = Witness::open();
    let refused = Publisher::connect(witness.server.rtmp, "live/witness").unwrap_err();
    assert_eq!(refused, Status::new(BAD_NAME, "live/witness already has a publisher"));
    witness.server.expect_logged(&["publisher refused", "reason=live/witness already has a publisher"]);
    witness.expect_untouched();
}

#[test]
fn a_publisher_that_is_silent_for_two_seconds_is_taken_over() {
    let witness = Witness::open();
    let clip = clip();
    let a_second = || clip.iter().take_while(|tag| tag.timestamp < 1000);
    let mut silent = Publisher::connect(witness.server.rtmp, "live/other").unwrap();
    assert!(silent.play(a_second()));
    let watch = Stopwatch::start();
    let mut newcomer = Publisher::connect(witness.server.rtmp, "live/other").unwrap();
    assert!((1900..4000).contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
    assert_eq!(silent.expect_refusal(), Status::new(BAD_NAME, "another publisher has taken the stream over"));
    assert!(newcomer.play(a_second()));
    newcomer.unpublish();
    witness.expect_untouched();
}

#[test]
fn a_wrong_key_is_denied_and_no_key_is_logged() {
    let keys = "[[streams]]\nname = 'live/witness'\nkey = 'sesame-open-now'\n\
        [[streams]]\nname = 'live/other'\nkey = 'tulip-and-rose'";
    let witness = Witness::start(keys, "sesame-open-now");
    let rtmp = witness.server.rtmp;
    for (wrong, description) in [
        ("live/sesame-shut-now", "the stream key is not known here"),
        ("live/witness", "the stream key is not known here"),
        ("live/witness?key=tulip-and-rose", "the stream key is not for this name"),
        ("other/tulip-and-rose", "the stream key is not known here"),
    ] {
        let denied = Status::new("NetStream.Publish.Denied", description);
        assert_eq!(Publisher::connect(rtmp, wrong).unwrap_err(), denied, "{wrong}");
    }
    for right in ["live/tulip-and-rose", "live/other?key=tulip-and-rose"] {
        Publisher::connect(rtmp, right).unwrap().unpublish();
    }
    let server = witness.expect_untouched();
    server.expect_logged(&["publisher refused", "the stream key is not known here"]);
    let log = server.log().text();
    for secret in ["sesame", "tulip", "shut-now", "open-now", "and-rose"] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
    }
}

#[test]
fn a_player_that_asks_for_nonsense_is_told_at_once() {
    let witness = Witness::open();
    let session = witness.follower.session_path.clone();
    let mut player = witness.server.player();
    let playlist = format!("{session}/source/index.m3u8");
    witness.follower.expect_more(1);
    let paths = [
        ("/favicon.ico", 404),
        ("/live/nobody/index.m3u8", 404),
        ("/live/witness/master.m3u8", 404),
        ("/live/witness/../../etc/passwd", 404),
        ("/live/%77itness/index.m3u8", 404),
        ("/live/witness/~aaaaaaaaaaaaaaaa/source/index.m3u8", 404),
        (&format!("{session}/1080p/index.m3u8"), 404),
        (&format!("{session}/source/init-0123456789abcdef.mp4"), 404),
        (&format!("{session}/source/1"), 404),
        (&format!("{session}/source/999.m4s"), 404),
        (&format!("{session}/source/999.0.m4s"), 404),
        (&format!("{session}/source/0.m4s"), 404),
        (&format!("{session}/source/01.m4s"), 404),
        (&format!("{session}/source/99999999999999999999.m4s"), 404),
        (&format!("{playlist}?_HLS_msn="), 400),
        (&format!("{playlist}?_HLS_msn=soon"), 400),
        (&format!("{playlist}?_HLS_msn=-1"), 400),
        (&format!("{playlist}?_HLS_msn=1&_HLS_msn=2"), 400),
        (&format!("{playlist}?_HLS_msn=1&_HLS_part=x"), 400),
        (&format!("{playlist}?_HLS_part=1"), 400),
        (&format!("{playlist}?_HLS_msn=99999999999999999999"), 400),
        (&format!("{playlist}?_HLS_msn=1000"), 400),
        (&format!("{playlist}?_HLS_msn=1000&_HLS_part=0"), 400),
    ];
    for (path, status) in paths {
        let watch = Stopwatch::start();
        let answer = player.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(watch.elapsed() < Duration::from_secs(1), "{path}: {:?}", watch.elapsed());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        assert!(answer.text().trim().len() > 10, "{path}: {}", answer.text());
    }
    for method in ["POST", "PUT", "DELETE", "BREW"] {
        let answer = player.request(method, "/live/witness/index.m3u8").unwrap();
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{method}: {answer:?}");
    }
    let mut socket = TcpStream::connect(witness.server.http).unwrap();
    socket.write_all(b"\x03\0\0\0 this is not HTTP\r\n\r\n").unwrap();
    expect_closed(&mut socket);
    witness.expect_untouched();
}
