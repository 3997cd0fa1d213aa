//! Enhanced RTMP where it concerns the connection: what is offered, and the wish that a publisher connects again.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod support;

use headwater_amf0::{Object, Value};
use headwater_media::Instant;
use headwater_rtmp::{
    ClientConfig, ClientEvent, ClientSession, CodecUse, Event, Extensions, MessageType, Offers, ServerConfig,
    ServerSession,
};
use support::{Peer, Reply, connect_object, values};

const OFFERS: Offers = Offers {
    video: &[("avc1", CodecUse::DECODE_AND_FORWARD), ("hvc1", CodecUse::DECODE_AND_FORWARD)],
    audio: &[("mp4a", CodecUse::DECODE_AND_FORWARD), (".mp3", CodecUse::DECODE)],
    extensions: Extensions::RECONNECT.with(Extensions::MOD_EX),
};

/// The two objects of the answer to `connect` with these properties.
fn answer(properties: &Object) -> [Object; 2] {
    let mut peer = Peer::with(ServerConfig { offers: OFFERS, ..ServerConfig::default() });
    let connect = values(&["connect".into(), 1u32.into(), properties.clone().into()]);
    peer.send(0, MessageType::Command, &connect).unwrap();
    peer.session.accept_connect(peer.now).unwrap();
    let replies = peer.replies();
    let Some(Reply::Command(0, values)) = replies.last() else { panic!("expected a result, found {replies:?}") };
    [2, 3].map(|index| values[index].as_object().unwrap().clone())
}

/// only what is taken, and only to those that speak of it.
#[test]
fn a_publisher_that_speaks_of_enhanced_rtmp_is_told_what_is_taken() {
    let list = Value::StrictArray(vec!["*".into()]);
    for asked in [connect_object().with("fourCcList", list), connect_object().with("capsEx", 1u32)] {
        for told in answer(&asked) {
            let names: Vec<Value> = ["avc1", "hvc1", "mp4a", ".mp3"].map(Value::from).to_vec();
            assert_eq!(told.get("fourCcList"), Some(&Value::StrictArray(names)));
            let map = |name| told.get(name).and_then(Value::as_object).unwrap();
            assert_eq!(map("videoFourCcInfoMap"), &Object::default().with("avc1", 5u32).with("hvc1", 5u32));
            assert_eq!(map("audioFourCcInfoMap"), &Object::default().with("mp4a", 5u32).with(".mp3", 1u32));
            assert_eq!(told.number("capsEx"), Some(5.0));
        }
    }
    for told in answer(&connect_object()) {
        assert_eq!((told.get("fourCcList"), told.get("capsEx")), (None, None));
    }
}

/// A client that offers `extensions`, publishing to a server.
fn publish(extensions: Extensions) -> (ClientSession, ServerSession) {
    let now = Instant::from_millis(1000);
    let url = "rtmp://localhost/live/show".parse().unwrap();
    let offers = Offers { video: &[("*", CodecUse::FORWARD)], audio: &[("*", CodecUse::FORWARD)], extensions };
    let mut client = ClientSession::new(now, ClientConfig { offers, ..ClientConfig::new(&url, "test") }, 1);
    let mut server = ServerSession::new(now, ServerConfig { offers: OFFERS, ..ServerConfig::default() }, 2);
    while client.poll_event() != Some(ClientEvent::Accepted) {
        while let Some(bytes) = client.poll_transmit() {
            server.handle_input(now, &bytes).unwrap();
            while let Some(event) = server.poll_event() {
                match event {
                    Event::ConnectRequest(connect) => {
                        assert_eq!(connect.extensions(), extensions);
                        let names = Value::StrictArray(vec!["*".into()]);
                        assert_eq!(connect.properties().get("fourCcList"), Some(&names));
                        server.accept_connect(now).unwrap();
                    }
                    Event::PublishRequest(request) => server.accept_publish(now, request.id).unwrap(),
                    _ => {}
                }
            }
        }
        while let Some(bytes) = server.poll_transmit() {
            client.handle_input(now, &bytes).unwrap();
        }
    }
    (client, server)
}

/// only those that know how are asked, and they are served on.
#[test]
fn a_publisher_that_knows_how_is_asked_to_connect_again() {
    let now = Instant::from_millis(1000);
    for tc_url in [None, Some("rtmp://other.example/live")] {
        let (mut client, mut server) = publish(Extensions::RECONNECT.with(Extensions::MULTITRACK));
        assert!(server.request_reconnect(tc_url, "moving"));
        while let Some(bytes) = server.poll_transmit() {
            client.handle_input(now, &bytes).unwrap();
        }
        let asked = ClientEvent::ReconnectRequested { tc_url: tc_url.map(Into::into), description: "moving".into() };
        assert_eq!(client.poll_event(), Some(asked));
        client.send(headwater_rtmp::MediaKind::Video, 0, b"goes on").unwrap();
    }
    let (_, mut server) = publish(Extensions::MULTITRACK);
    assert!(!server.request_reconnect(None, "moving"));
    assert_eq!(server.poll_transmit(), None);
}

/// on message stream 0, transaction 0, as a status.
#[test]
fn the_wish_has_this_form() {
    let mut peer = Peer::with(ServerConfig { offers: OFFERS, ..ServerConfig::default() });
    assert!(!peer.session.request_reconnect(None, "too early"));
    let connect = values(&["connect".into(), 1u32.into(), connect_object().with("capsEx", 1u32).into()]);
    peer.send(0, MessageType::Command, &connect).unwrap();
    peer.session.accept_connect(peer.now).unwrap();
    peer.replies();
    assert!(peer.session.request_reconnect(Some("/else"), "moving"));
    let info = Object::default()
        .with("level", "status")
        .with("code", "NetConnection.Connect.ReconnectRequest")
        .with("description", "moving")
        .with("tcUrl", "/else");
    let expected = Reply::Command(0, vec!["onStatus".into(), 0u32.into(), Value::Null, info.into()]);
    assert_eq!(peer.replies(), [expected]);
    assert!(matches!(peer.session.poll_event(), Some(Event::ConnectRequest(_))));
}
