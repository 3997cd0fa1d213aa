//! Peers that send a byte now and then, so that something always comes and nothing is ever finished. Time is a
//! number here.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::time::Duration;

use headwater_media::Instant;
use headwater_rtmp::{Activity, Error, Event, ServerConfig, ServerSession};

/// Provenance: `src/testdata/README.md`.
const FFMPEG: &[u8] = include_bytes!("../src/testdata/ffmpeg-5.1.rtmp");
/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;

/// Sends the first `at_once` bytes of `bytes`, then one each `pause`, until the server has enough; after how long that was.
fn trickle(bytes: &[u8], at_once: usize, pause: Duration) -> (Error, Duration) {
    let start = Instant::from_millis(0);
    let mut session = ServerSession::new(start, ServerConfig::default(), 1);
    let mut now = start;
    let (first, rest) = bytes.split_at(at_once);
    for piece in std::iter::once(first).chain(rest.chunks(1)) {
        session.handle_input(now, piece).unwrap();
        while let Some(event) = session.poll_event() {
            match event {
                Event::ConnectRequest(_) => session.accept_connect(now).unwrap(),
                Event::PublishRequest(request) => session.accept_publish(now, request.id).unwrap(),
                _ => {}
            }
        }
        let next = now + pause;
        while let Some(at) = session.poll_timeout().filter(|at| *at <= next) {
            if let Err(error) = session.handle_timeout(at) {
                return (error, at.saturating_since(start));
            }
        }
        now = next;
    }
    panic!("all of it was taken, in {:?}", now.saturating_since(start));
}

fn timed_out(activity: Activity, seconds: u64) -> (Error, Duration) {
    let after = Duration::from_secs(seconds);
    (Error::TimedOut { activity, after }, after)
}

#[test]
fn a_handshake_byte_by_byte_is_cut_off() {
    assert_eq!(trickle(FFMPEG, 0, Duration::from_millis(100)), timed_out(Activity::Handshake, 10));
    assert_eq!(trickle(FFMPEG, HANDSHAKE_BYTES - 1000, Duration::from_millis(900)), timed_out(Activity::Handshake, 10));
}

#[test]
fn commands_byte_by_byte_are_cut_off() {
    assert_eq!(trickle(FFMPEG, HANDSHAKE_BYTES, Duration::from_millis(100)), timed_out(Activity::Publish, 15));
}

/// The pictures of a publisher that is a thousand times too slow: bytes come all the time, but no message ends.
#[test]
fn media_byte_by_byte_is_cut_off() {
    let opening = HANDSHAKE_BYTES + 4000;
    let (error, _) = trickle(&FFMPEG[..opening + 100], opening, Duration::from_secs(1));
    assert_eq!(error, timed_out(Activity::Media, 30).0);
}
