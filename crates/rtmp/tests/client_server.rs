//! Our publisher against our server, in memory.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::time::Duration;

use headwater_media::Instant;
use headwater_rtmp::{
    ClientConfig, ClientError, ClientEvent, ClientSession, Event, MediaKind, MediaMessage, PublishUrl, ServerConfig,
    ServerSession, StatusCode,
};
use proptest::prelude::*;

/// Both ends and what they said.
struct Pair {
    now: Instant,
    client: ClientSession,
    server: ServerSession,
    client_events: Vec<ClientEvent>,
    server_events: Vec<Event>,
    /// Bytes are handed over in pieces of this size.
    piece: usize,
}

/// What the server's application does when asked.
#[derive(Clone, Copy)]
enum Policy {
    Accept,
    RejectConnect,
    RejectPublish(StatusCode),
}

impl Pair {
    fn new(url: &str, chunk_size: u32, piece: usize) -> Self {
        let now = Instant::from_millis(5000);
        let url: PublishUrl = url.parse().unwrap();
        let config = ClientConfig { chunk_size, ..ClientConfig::new(&url, "headwater") };
        Self {
            now,
            client: ClientSession::new(now, config, 1),
            server: ServerSession::new(now, ServerConfig::default(), 2),
            client_events: Vec::new(),
            server_events: Vec::new(),
            piece,
        }
    }

    /// Until both have nothing left to say.
    fn run(&mut self, policy: Policy) {
        loop {
            let mut quiet = true;
            while let Some(bytes) = self.client.poll_transmit() {
                quiet = false;
                for piece in bytes.chunks(self.piece) {
                    self.server.handle_input(self.now, piece).unwrap();
                    self.answer(policy);
                }
            }
            while let Some(bytes) = self.server.poll_transmit() {
                quiet = false;
                for piece in bytes.chunks(self.piece) {
                    self.client.handle_input(self.now, piece).unwrap();
                }
            }
            self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
            if quiet {
                return;
            }
        }
    }

    fn answer(&mut self, policy: Policy) {
        while let Some(event) = self.server.poll_event() {
            match (&event, policy) {
                (Event::ConnectRequest(_), Policy::RejectConnect) => {
                    self.server.reject_connect(self.now, StatusCode::ConnectInvalidApp, "no such app").unwrap();
                }
                (Event::ConnectRequest(_), _) => self.server.accept_connect(self.now).unwrap(),
                (Event::PublishRequest(request), Policy::RejectPublish(code)) => {
                    self.server.reject_publish(self.now, request.id, code, "not this one").unwrap();
                }
                (Event::PublishRequest(request), _) => self.server.accept_publish(self.now, request.id).unwrap(),
                _ => {}
            }
            self.server_events.push(event);
        }
    }

    fn received(&self) -> Vec<(MediaKind, u32, Vec<u8>)> {
        let take = |message: &MediaMessage| (message.timestamp, message.payload.to_vec());
        self.server_events
            .iter()
            .filter_map(|event| {
                let (kind, (timestamp, payload)) = match event {
                    Event::Audio(message) => (MediaKind::Audio, take(message)),
                    Event::Video(message) => (MediaKind::Video, take(message)),
                    Event::Data(message) => (MediaKind::Data, take(message)),
                    _ => return None,
                };
                Some((kind, timestamp, payload))
            })
            .collect()
    }
}

#[test]
fn a_stream_is_published_and_ends_cleanly() {
    let mut pair = Pair::new("rtmp://localhost/live/show?key=secret", 4096, 1500);
    pair.run(Policy::Accept);
    assert_eq!(pair.client_events, [ClientEvent::Accepted]);
    let Some(Event::PublishRequest(request)) = pair.server_events.last() else { panic!("no publish request") };
    assert_eq!((request.app.as_str(), request.name.secret()), ("live", "show"));
    assert_eq!(request.parameters.get("key"), Some("secret"));
    assert_eq!(request.connect.tc_url(), "rtmp://localhost:1935/live");

    pair.client.send(MediaKind::Video, 40, &[0x17; 5000]).unwrap();
    pair.client.unpublish();
    pair.run(Policy::Accept);
    assert_eq!(pair.received(), [(MediaKind::Video, 40, vec![0x17; 5000])]);
    assert_eq!(pair.server_events.last(), Some(&Event::PublishEnded { clean: true }));
    assert_eq!(pair.client_events.last(), Some(&ClientEvent::Unpublished));
    assert_eq!(pair.client.send(MediaKind::Audio, 41, &[]), Err(ClientError::NotPublishing));
}

/// the status comes first, the close shortly after it.
#[test]
fn a_refused_publisher_reads_why_before_the_close() {
    for code in [StatusCode::PublishBadName, StatusCode::PublishDenied, StatusCode::PublishRejected] {
        let mut pair = Pair::new("rtmp://localhost/live/show", 4096, 1500);
        pair.run(Policy::RejectPublish(code));
        let rejected = ClientEvent::Rejected { code: code.as_str().to_owned(), description: "not this one".to_owned() };
        assert_eq!(pair.client_events, [rejected]);

        let close = pair.server.poll_timeout().unwrap();
        let after = close.saturating_since(pair.now);
        assert!((Duration::from_millis(100)..=Duration::from_millis(500)).contains(&after), "{after:?}");
        pair.server.handle_timeout(pair.now).unwrap();
        assert_eq!(pair.server.poll_event(), None);
        pair.server.handle_timeout(close).unwrap();
        assert_eq!(pair.server.poll_event(), Some(Event::Close));
        assert_eq!(pair.server.poll_timeout(), None);
    }
}

///
#[test]
fn a_refused_connection_reads_why() {
    let mut pair = Pair::new("rtmp://localhost/nothing/show", 4096, 1500);
    pair.run(Policy::RejectConnect);
    let code = "NetConnection.Connect.InvalidApp".to_owned();
    assert_eq!(pair.client_events, [ClientEvent::Rejected { code, description: "no such app".to_owned() }]);
    assert!(pair.server.poll_timeout().is_some());
}

/// R-81, and a server that stops: the publisher reads the reason in the middle of its stream.
#[test]
fn a_publisher_can_be_sent_away_at_any_time() {
    let mut pair = Pair::new("rtmp://localhost/live/show", 4096, 1500);
    pair.run(Policy::Accept);
    pair.server.close_with_status(pair.now, StatusCode::PublishRejected, "HEVC is not supported yet");
    pair.client.send(MediaKind::Video, 0, &[0x1C; 50]).unwrap();
    pair.run(Policy::Accept);
    let rejected = ClientEvent::Rejected {
        code: "NetStream.Publish.Rejected".to_owned(),
        description: "HEVC is not supported yet".to_owned(),
    };
    assert_eq!(pair.client_events, [ClientEvent::Accepted, rejected]);
    assert_eq!(pair.received(), []);
    pair.server.handle_disconnect();
    assert_eq!(pair.server.poll_event(), None);
}

///
#[test]
fn a_client_does_not_show_its_key() {
    let mut pair = Pair::new("rtmp://localhost/live/secret", 4096, 1500);
    pair.run(Policy::Accept);
    pair.client.unpublish();
    assert!(!format!("{:?}", pair.client).contains("secret"));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut pair = Pair::new("rtmp://localhost/live/show", 4096, 1500);
    let deadline = pair.client.poll_timeout().unwrap();
    assert_eq!(pair.client.handle_timeout(pair.now), Ok(()));
    let error = ClientError::TimedOut { after: Duration::from_secs(15) };
    assert_eq!(pair.client.handle_timeout(deadline), Err(error));
    pair.run(Policy::Accept);
    assert_eq!(pair.client.poll_timeout(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the chunk size and however the bytes are cut, what is sent is what arrives.
    #[test]
    fn media_arrives_as_sent(
        chunk_size in 1u32..9000,
        piece in 1usize..3000,
        media in prop::collection::vec(
            (prop::sample::select(vec![MediaKind::Audio, MediaKind::Video, MediaKind::Data]),
             prop_oneof![0..100_000u32, 0x00FF_FFF0..0x0100_0010u32, any::<u32>()],
             prop::collection::vec(any::<u8>(), 0..2000)),
            0..12),
    ) {
        let mut pair = Pair::new("rtmp://localhost/live/show", chunk_size, piece);
        pair.run(Policy::Accept);
        for (kind, timestamp, payload) in &media {
            pair.client.send(*kind, *timestamp, payload).unwrap();
        }
        pair.run(Policy::Accept);
        prop_assert_eq!(pair.received(), media);
    }

    /// a server that sends nonsense does no harm to our publisher.
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000), valid_greeting in any::<bool>()) {
        let pair = Pair::new("rtmp://localhost/live/show", 4096, 1500);
        let (mut client, mut server) = (pair.client, pair.server);
        if valid_greeting {
            let mut greeting = vec![3];
            greeting.resize(1 + 2 * 1536, 0);
            client.handle_input(pair.now, &greeting).unwrap();
            server.handle_input(pair.now, &greeting).unwrap();
        }
        let _ = client.handle_input(pair.now, &bytes);
        let _ = server.handle_input(pair.now, &bytes);
    }
}
