//! The server's end, against a peer that does exactly what a test says.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use headwater_amf0::Value;
use headwater_rtmp::{Error, Event, MessageType, StatusCode};
use support::{Peer, Reply, code_of, connect_object, result, status, stream_begin, values};

const STARTED: &str = "The stream is being published.";

/// in this order.
#[test]
fn connect_is_answered_with_window_bandwidth_chunk_size_and_result() {
    let mut peer = Peer::new();
    peer.connect();
    let replies = peer.replies();
    assert_eq!(replies[0], Reply::Control(5, 2_500_000u32.to_be_bytes().to_vec()));
    assert_eq!(replies[1], Reply::Control(6, [&2_500_000u32.to_be_bytes()[..], &[2]].concat()));
    assert_eq!(replies[2], Reply::Control(1, 4096u32.to_be_bytes().to_vec()));
    assert_eq!(replies[3], stream_begin(0));
    let Reply::Command(0, values) = &replies[4] else { panic!("expected a result, found {:?}", replies[4]) };
    assert_eq!(values[..2], ["_result".into(), 1u32.into()]);
    assert_eq!(values[2].as_object().and_then(|server| server.text("fmsVer")), Some("FMS/3,0,1,123"));
    assert_eq!(code_of(&replies[4]), (Some("status"), Some("NetConnection.Connect.Success")));
    assert_eq!(values[3].as_object().and_then(|info| info.number("objectEncoding")), Some(0.0));
    assert_eq!(replies.len(), 5);
}

/// librtmp sends no `flashVer`; nothing at all may be there.
#[test]
fn a_connect_without_an_object_is_asked_about_too() {
    let mut peer = Peer::new();
    peer.send(0, MessageType::Command, &values(&["connect".into()])).unwrap();
    let Some(Event::ConnectRequest(request)) = peer.session.poll_event() else { panic!("no connect request") };
    assert_eq!((request.app(), request.tc_url(), request.flash_version()), ("", "", None));
}

/// what comes behind a request waits for its answer.
#[test]
fn commands_behind_connect_wait_for_its_answer() {
    let mut peer = Peer::new();
    peer.send(0, MessageType::Command, &values(&["connect".into(), 1u32.into(), connect_object().into()])).unwrap();
    peer.command(0, "createStream", 4, &[]);
    assert_eq!(peer.replies(), []);
    peer.session.accept_connect(peer.now).unwrap();
    let replies = peer.replies();
    assert_eq!(code_of(&replies[4]).1, Some("NetConnection.Connect.Success"));
    assert_eq!(replies[5..], [result(4, Value::Null, 1u32.into())]);
}

///
#[test]
fn the_commands_before_publish_are_answered() {
    let mut peer = Peer::new();
    peer.connect();
    peer.replies();
    peer.command(0, "releaseStream", 2, &["KEY".into()]);
    peer.command(0, "FCPublish", 3, &["KEY".into()]);
    peer.command(0, "createStream", 4, &[]);
    peer.command(0, "createStream", 5, &[]);
    peer.command(0, "releaseStream", 0, &["KEY".into()]);
    let expected = [
        result(2, Value::Null, Value::Undefined),
        result(3, Value::Null, Value::Undefined),
        result(4, Value::Null, 1u32.into()),
        result(5, Value::Null, 2u32.into()),
    ];
    assert_eq!(peer.replies(), expected);
    assert_eq!(peer.events(), []);
}

/// for a publisher that sent FCPublish.
#[test]
fn an_accepted_publish_starts_on_its_own_stream() {
    let mut peer = Peer::connected();
    let request = peer.publish(1);
    assert_eq!(peer.replies(), []);
    peer.session.accept_publish(peer.now, request.id).unwrap();
    assert_eq!(peer.replies(), [stream_begin(1), status(1, "status", "NetStream.Publish.Start", STARTED)]);

    let mut peer = Peer::connected();
    peer.command(0, "FCPublish", 0, &["KEY".into()]);
    let request = peer.publish(1);
    peer.session.accept_publish(peer.now, request.id).unwrap();
    let replies = peer.replies();
    assert!(matches!(&replies[1], Reply::Command(0, values) if values[0] == "onFCPublish".into()));
    assert_eq!(code_of(&replies[1]).1, Some("NetStream.Publish.Start"));
}

/// message stream 0 means the only one there is; one that was never created is refused.
#[test]
fn publish_needs_a_stream_that_exists() {
    let mut peer = Peer::connected();
    let request = peer.publish(0);
    peer.session.accept_publish(peer.now, request.id).unwrap();
    assert_eq!(peer.replies()[1], status(1, "status", "NetStream.Publish.Start", STARTED));

    let mut peer = Peer::connected();
    peer.command(7, "publish", 0, &["KEY".into()]);
    assert_eq!(code_of(&peer.replies()[0]), (Some("error"), Some("NetStream.Publish.Rejected")));
    assert_eq!(peer.wait(Duration::from_millis(500)), Ok(()));
    assert_eq!(peer.events(), [Event::Close]);
}

#[test]
fn publish_before_connect_is_an_error() {
    let mut peer = Peer::new();
    let payload = values(&["publish".into(), 0u32.into(), Value::Null, "KEY".into()]);
    assert_eq!(peer.send(1, MessageType::Command, &payload), Err(Error::NotConnected { command: "publish" }));
}

/// a command in a type 17 message.
#[test]
fn type_17_commands_are_understood() {
    let mut peer = Peer::new();
    peer.connect();
    peer.replies();
    let payload = [vec![0], values(&["createStream".into(), 4u32.into(), Value::Null])].concat();
    peer.send(0, MessageType::CommandAmf3, &payload).unwrap();
    assert_eq!(peer.replies(), [result(4, Value::Null, 1u32.into())]);
}

/// media that comes too early is kept and handed on only after the publish is accepted.
#[test]
fn early_media_waits_for_the_answer() {
    let mut peer = Peer::connected();
    let request = peer.publish(1);
    peer.send(1, MessageType::Video, &[0x17, 0, 0, 0, 0, 1]).unwrap();
    assert_eq!(peer.events(), []);
    peer.session.accept_publish(peer.now, request.id).unwrap();
    assert!(matches!(peer.events()[..], [Event::MessageStart(_), Event::Video(_)]));

    let mut peer = Peer::connected();
    let request = peer.publish(1);
    peer.send(1, MessageType::Video, &[0x17]).unwrap();
    peer.session.reject_publish(peer.now, request.id, StatusCode::PublishDenied, "no").unwrap();
    assert_eq!(peer.events(), []);
}

/// media of another stream, or before a publish, is skipped.
#[test]
fn only_media_of_the_published_stream_is_handed_on() {
    let mut peer = Peer::connected();
    peer.send(1, MessageType::Audio, &[0xAF, 1, 0]).unwrap();
    assert_eq!(peer.events(), []);
    assert_eq!(peer.session.statistics().skipped, 1);

    let mut peer = Peer::publishing();
    peer.send(2, MessageType::Audio, &[0xAF, 1, 0]).unwrap();
    assert_eq!(peer.events(), []);
    peer.send(0, MessageType::Audio, &[0xAF, 1, 0]).unwrap();
    assert_eq!(peer.events().len(), 2);
}

/// a number from FFmpeg and librtmp, the stream's name from GStreamer 1.22; the first sign of an end counts.
#[test]
fn each_sign_of_an_end_ends_the_stream_once() {
    let signs: [(&str, Value); 4] = [
        ("deleteStream", 1u32.into()),
        ("deleteStream", "KEY".into()),
        ("closeStream", Value::Null),
        ("FCUnpublish", "KEY".into()),
    ];
    for (name, argument) in &signs {
        let mut peer = Peer::publishing();
        peer.command(0, name, 0, std::slice::from_ref(argument));
        assert_eq!(peer.events(), [Event::PublishEnded { clean: true }], "{name}");
        assert_eq!(code_of(&peer.replies()[0]).1, Some("NetStream.Unpublish.Success"));
        for (name, argument) in &signs {
            peer.command(0, name, 0, std::slice::from_ref(argument));
        }
        peer.send(1, MessageType::Audio, &[0xAF, 1, 0]).unwrap();
        peer.session.handle_disconnect();
        assert_eq!(peer.events(), []);
    }
}

///
#[test]
fn a_lost_connection_is_not_a_clean_end() {
    let mut peer = Peer::publishing();
    peer.session.handle_disconnect();
    assert_eq!(peer.events(), [Event::PublishEnded { clean: false }]);
    assert_eq!(peer.session.poll_timeout(), None);

    let mut peer = Peer::publishing();
    assert!(peer.session.handle_input(peer.now, &[0xC7]).is_err());
    assert_eq!(peer.events(), [Event::PublishEnded { clean: false }]);
}

/// A publisher that has ended its stream should close; if not, we do.
#[test]
fn a_connection_that_stays_after_its_end_is_closed() {
    let mut peer = Peer::publishing();
    peer.command(0, "deleteStream", 0, &[1u32.into()]);
    peer.events();
    assert_eq!(peer.wait(Duration::from_secs(14)), Ok(()));
    assert_eq!(peer.events(), []);
    assert_eq!(peer.wait(Duration::from_secs(1)), Ok(()));
    assert_eq!(peer.events(), [Event::Close]);
}

///
#[test]
fn unknown_commands_are_answered_and_never_close() {
    let mut peer = Peer::connected();
    peer.command(0, "_checkbw", 9, &[]);
    peer.command(0, "getStreamLength", 10, &["KEY".into()]);
    peer.command(0, "whatIsThis", 11, &[]);
    peer.command(0, "whatIsThis", 0, &[]);
    let expected = [
        result(9, Value::Null, Value::Null),
        result(10, Value::Null, 0u32.into()),
        result(11, Value::Null, Value::Null),
    ];
    assert_eq!(peer.replies(), expected);
    assert_eq!(peer.session.statistics().unknown_commands, 2);
    for name in ["play", "play2", "seek", "pause", "receiveAudio", "receiveVideo"] {
        peer.command(1, name, 0, &["KEY".into()]);
        assert_eq!(code_of(&peer.replies()[0]), (Some("error"), Some("NetStream.Play.StreamNotFound")), "{name}");
    }
    peer.publish(1);
}

///
#[test]
fn a_second_publish_is_refused_and_closes() {
    let mut peer = Peer::publishing();
    peer.command(0, "createStream", 6, &[]);
    peer.replies();
    peer.command(2, "publish", 0, &["OTHER".into()]);
    assert_eq!(code_of(&peer.replies()[0]), (Some("error"), Some("NetStream.Publish.BadName")));
    assert_eq!(peer.events(), [Event::PublishEnded { clean: false }]);
    assert_eq!(peer.wait(Duration::from_millis(500)), Ok(()));
    assert_eq!(peer.events(), [Event::Close]);
}

#[test]
fn an_answer_that_nobody_waits_for_is_an_error() {
    let mut peer = Peer::connected();
    assert_eq!(peer.session.accept_connect(peer.now), Err(Error::NoRequest));
    let request = peer.publish(1);
    peer.session.accept_publish(peer.now, request.id).unwrap();
    assert_eq!(peer.session.accept_publish(peer.now, request.id), Err(Error::NoRequest));
    let code = StatusCode::PublishDenied;
    assert_eq!(peer.session.reject_publish(peer.now, request.id, code, "late"), Err(Error::NoRequest));
}

/// whatever is in a data message is handed on as it is. R-38: without the format byte of type 15.
#[test]
fn data_is_handed_on_undecoded() {
    let mut peer = Peer::publishing();
    peer.send(1, MessageType::Data, &[0xFF, 1]).unwrap();
    peer.send(1, MessageType::DataAmf3, &[0, 2, 0, 0]).unwrap();
    let payloads: Vec<Bytes> = peer
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Data(message) => Some(message.payload),
            _ => None,
        })
        .collect();
    assert_eq!(payloads, [&[0xFF, 1][..], &[2, 0, 0]]);
}

/// an aggregate is as good as what is in it.
#[test]
fn an_aggregate_gives_its_messages() {
    let mut peer = Peer::publishing();
    let audio = [8, 0, 0, 1, 0, 0, 10, 0, 0, 0, 0, 0xAF, 0, 0, 0, 12];
    let video = [9, 0, 0, 1, 0, 0, 30, 0, 0, 0, 0, 0x17, 0, 0, 0, 12];
    peer.send(1, MessageType::Aggregate, &[audio, video].concat()).unwrap();
    let events = peer.events();
    assert!(matches!(
        &events[..],
        [Event::MessageStart(_), Event::Audio(audio), Event::MessageStart(_), Event::Video(video)]
            if audio.timestamp == 0 && video.timestamp == 20
    ));
}

/// that a timestamp had to be guessed is counted.
#[test]
fn guessed_timestamps_are_counted() {
    let mut peer = Peer::publishing();
    let first = [0x06, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 1, 0, 0, 0, 1, 0, 0, 0, 0x27];
    peer.session.handle_input(peer.now, &first).unwrap();
    for byte in [0xC6, 1, 0, 0, 33, 0x27] {
        peer.session.handle_input(peer.now, &[byte]).unwrap();
    }
    assert_eq!(peer.session.statistics().guessed_timestamps, 1);
    let events = peer.events();
    assert!(matches!(events.last(), Some(Event::Video(message)) if message.timestamp == 0x0100_0021));
}

/// at the window that the peer announced, and at 2 500 000 if it announced none.
#[test]
fn input_is_acknowledged_at_each_window() {
    let acknowledged = |peer: &mut Peer| -> Vec<u32> {
        let numbers = peer.replies().into_iter().filter_map(|reply| match reply {
            Reply::Control(3, payload) => Some(u32::from_be_bytes(payload.try_into().unwrap())),
            _ => None,
        });
        numbers.collect()
    };
    let mut peer = Peer::publishing();
    peer.send(0, MessageType::WindowAckSize, &10_000u32.to_be_bytes()).unwrap();
    let mut numbers = Vec::new();
    for _ in 0..30 {
        peer.send(1, MessageType::Audio, &[0xAF; 1000]).unwrap();
        numbers.extend(acknowledged(&mut peer));
    }
    assert_eq!(numbers.len(), 3);
    assert!(numbers.windows(2).all(|pair| (10_000..12_000).contains(&(pair[1] - pair[0]))), "{numbers:?}");

    let mut peer = Peer::publishing();
    while peer.session.statistics().received_bytes < 2_490_000 {
        peer.send(1, MessageType::Audio, &[0xAF; 8000]).unwrap();
    }
    assert_eq!(acknowledged(&mut peer), []);
    for _ in 0..2 {
        peer.send(1, MessageType::Audio, &[0xAF; 8000]).unwrap();
    }
    assert_eq!(acknowledged(&mut peer).len(), 1);
}

/// on any chunk stream and message stream; other events are ignored.
#[test]
fn a_ping_is_answered_with_its_number() {
    let mut peer = Peer::publishing();
    peer.send(1, MessageType::UserControl, &[0, 6, 1, 2, 3, 4]).unwrap();
    assert_eq!(peer.replies(), [Reply::Control(4, vec![0, 7, 1, 2, 3, 4])]);
    for event in [0, 1, 2, 3, 4, 7, 26, 27, 31, 32, 99] {
        peer.send(0, MessageType::UserControl, &[0, event, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    }
    peer.send(0, MessageType::UserControl, &[0]).unwrap();
    assert_eq!(peer.replies(), []);
}

/// A publisher that is being sent away may go on for a moment; nothing of it counts.
#[test]
fn a_rejected_publisher_is_not_listened_to() {
    let mut peer = Peer::publishing();
    peer.session.close_with_status(peer.now, StatusCode::AppShutdown, "the server stops");
    let expected = status(1, "error", "NetConnection.Connect.AppShutdown", "the server stops");
    assert_eq!(peer.replies(), [expected]);
    peer.send(1, MessageType::Video, &[0x17; 100]).unwrap();
    peer.session.handle_input(peer.now, &[0xC7; 100]).unwrap();
    assert_eq!(peer.events(), []);
    assert_eq!(peer.wait(Duration::from_secs(1)), Ok(()));
    assert_eq!(peer.events(), [Event::Close]);
    peer.session.close_with_status(peer.now, StatusCode::AppShutdown, "again");
    assert_eq!(peer.replies(), []);
}

/// R-49 at a moment when `connect` is all there is, and before that.
#[test]
fn a_connection_without_a_stream_can_be_sent_away() {
    let mut peer = Peer::new();
    peer.send(0, MessageType::Command, &values(&["connect".into(), 1u32.into(), connect_object().into()])).unwrap();
    peer.session.close_with_status(peer.now, StatusCode::AppShutdown, "the server stops");
    let replies = peer.replies();
    assert!(matches!(&replies[..], [Reply::Command(0, values)] if values[..2] == ["_error".into(), 1u32.into()]));

    let mut peer = Peer::connected();
    peer.session.close_with_status(peer.now, StatusCode::AppShutdown, "the server stops");
    assert_eq!(code_of(&peer.replies()[0]).1, Some("NetConnection.Connect.AppShutdown"));
}
