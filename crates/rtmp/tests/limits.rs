//! What a peer may send at most, and in which time it must.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod support;

use std::time::Duration;

use headwater_media::Instant;
use headwater_rtmp::{Activity, ChunkError, Error, Event, Limits, MessageType, ServerConfig, ServerSession};
use support::{Peer, Reply};

///
#[test]
fn early_media_has_a_limit() {
    let limits = Limits { held_bytes_max: 10_000, ..Limits::default() };
    let mut peer = Peer::with(ServerConfig { limits, ..ServerConfig::default() });
    peer.connect();
    peer.command(0, "createStream", 4, &[]);
    peer.publish(1);
    assert_eq!(peer.send(1, MessageType::Video, &[0; 8000]), Ok(()));
    assert_eq!(peer.send(1, MessageType::Video, &[0; 8000]), Err(Error::HeldTooMuch { limit: 10_000 }));
    assert_eq!(peer.events(), [Event::PublishEnded { clean: false }]);
}

/// what is in an aggregate has the same limits as what is not, and a number of its own.
#[test]
fn an_aggregate_does_not_get_around_the_limits() {
    let inner = |kind: u8, length: u32| {
        let [_, l0, l1, l2] = length.to_be_bytes();
        let head = [kind, l0, l1, l2, 0, 0, 0, 0, 0, 0, 0];
        [&head[..], &vec![0; length as usize], &[0; 4]].concat()
    };
    let limits = Limits { audio_bytes_max: 100, message_bytes_max: 70, ..Limits::default() };
    for (kind, limit, label) in [(8, 100, "audio"), (18, 70, "other")] {
        let mut peer = Peer::publishing_with(ServerConfig { limits, ..ServerConfig::default() });
        peer.send(1, MessageType::Aggregate, &inner(kind, limit)).unwrap();
        let error = peer.send(1, MessageType::Aggregate, &inner(kind, limit + 1)).unwrap_err();
        let expected = ChunkError::LongInAggregate { kind: kind.into(), length: limit + 1, limit };
        assert_eq!((error.limit(), error), (Some(label), Error::Chunk(expected)));
    }

    let mut peer = Peer::publishing();
    peer.send(1, MessageType::Aggregate, &inner(8, 1).repeat(1024)).unwrap();
    assert_eq!(peer.events().len(), 2 * 1024);
    let error = peer.send(1, MessageType::Aggregate, &inner(8, 1).repeat(1025)).unwrap_err();
    assert_eq!(error, Error::Chunk(ChunkError::TooManyInAggregate { limit: 1024 }));
    assert_eq!(error.limit(), Some("aggregate_messages"));
}

/// each limit has the name that the configuration and the metric give it.
#[test]
fn each_limit_has_a_name() {
    let limits = Limits {
        video_bytes_max: 100,
        audio_bytes_max: 100,
        message_bytes_max: 200,
        chunk_streams_max: 3,
        partial_bytes_max: 150,
        ..Limits::default()
    };
    let over = |bytes: &[u8]| {
        let mut peer = Peer::publishing_with(ServerConfig { limits, ..ServerConfig::default() });
        peer.session.handle_input(peer.now, bytes).unwrap_err().limit()
    };
    assert_eq!(over(&[0x06, 0, 0, 0, 0, 0, 101, 9, 1, 0, 0, 0]), Some("video"));
    assert_eq!(over(&[0x06, 0, 0, 0, 0, 0, 101, 8, 1, 0, 0, 0]), Some("audio"));
    assert_eq!(over(&[0x06, 0, 0, 0, 0, 0, 201, 18, 1, 0, 0, 0]), Some("other"));
    let streams: Vec<u8> = (10..14).flat_map(|csid| [csid, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0]).collect();
    assert_eq!(over(&streams), Some("chunk_streams"));
    let partial: Vec<u8> =
        (10..12).flat_map(|csid| [&[csid, 0, 0, 0, 0, 0, 200, 18, 1, 0, 0, 0][..], &[0; 128]].concat()).collect();
    assert_eq!(over(&partial), Some("partial"));
    assert_eq!(over(&[0xC7]), None, "a broken protocol is no limit");
    let mut peer = Peer::publishing();
    assert_eq!(peer.send(0, MessageType::Command, &[5; 5000]).unwrap_err().limit(), Some("amf_values"));
    let mut peer = Peer::connected();
    assert_eq!(peer.wait(Duration::from_secs(60)).unwrap_err().limit(), Some("publish"));
    let mut peer = Peer::publishing();
    let deep = [10, 0, 0, 0, 1].repeat(40);
    assert_eq!(peer.send(0, MessageType::Command, &deep).unwrap_err().limit(), Some("amf_depth"));
    let mut peer = Peer::publishing();
    peer.send(0, MessageType::UserControl, &[0]).unwrap();
    assert_eq!(peer.wait(Duration::from_secs(60)).unwrap_err().limit(), Some("media"));
}

/// handshake 10 s, publish 15 s, media 30 s.
#[test]
fn each_step_has_its_time() {
    let now = Instant::from_millis(0);
    let mut session = ServerSession::new(now, ServerConfig::default(), 1);
    let deadline = session.poll_timeout().unwrap();
    assert_eq!(deadline.saturating_since(now), Duration::from_secs(10));
    let error = Error::TimedOut { activity: Activity::Handshake, after: Duration::from_secs(10) };
    assert_eq!(session.handle_timeout(deadline), Err(error));

    let mut peer = Peer::connected();
    assert_eq!(peer.wait(Duration::from_secs(14)), Ok(()));
    let error = Error::TimedOut { activity: Activity::Publish, after: Duration::from_secs(15) };
    assert_eq!(peer.wait(Duration::from_secs(1)), Err(error));

    let mut peer = Peer::publishing();
    assert_eq!(peer.wait(Duration::from_secs(29)), Ok(()));
    peer.send(1, MessageType::Audio, &[0xAF]).unwrap();
    assert_eq!(peer.wait(Duration::from_secs(19)), Ok(()));
    peer.send(1, MessageType::Data, &[5]).unwrap(); // metadata is no media
    assert_eq!(peer.wait(Duration::from_secs(10)), Ok(()));
    let error = Error::TimedOut { activity: Activity::Media, after: Duration::from_secs(30) };
    assert_eq!(peer.wait(Duration::from_secs(1)), Err(error));
}

/// nonsense in a command is skipped, too much of it ends the connection.
#[test]
fn nonsense_is_skipped_and_floods_are_not() {
    let mut peer = Peer::connected();
    peer.send(0, MessageType::Command, &[0xFF, 0xFF]).unwrap();
    peer.send(0, MessageType::Other(16), &[1, 2, 3]).unwrap();
    peer.send(0, MessageType::Other(19), &[1, 2, 3]).unwrap();
    assert_eq!(peer.session.statistics().skipped, 3);
    assert!(matches!(peer.send(0, MessageType::Command, &[5; 5000]), Err(Error::Amf(_))));
}

/// 20 s of silence are asked about, 20 s more end it.
#[test]
fn silence_is_asked_about_and_then_ends() {
    let mut peer = Peer::connected();
    peer.publish(1); // waits for the application, so only the ping watches
    assert_eq!(peer.wait(Duration::from_secs(19)), Ok(()));
    assert_eq!(peer.replies(), []);
    assert_eq!(peer.wait(Duration::from_secs(1)), Ok(()));
    assert_eq!(peer.replies(), [Reply::Control(4, vec![0, 6, 0, 0, 0x52, 0x08])]);
    peer.send(0, MessageType::UserControl, &[0, 7, 0, 0, 0, 0]).unwrap();
    assert_eq!(peer.wait(Duration::from_secs(39)), Ok(()));
    let error = Error::TimedOut { activity: Activity::Input, after: Duration::from_secs(40) };
    assert_eq!(peer.wait(Duration::from_secs(1)), Err(error));
    assert_eq!(peer.events(), [Event::PublishEnded { clean: false }]);
}
