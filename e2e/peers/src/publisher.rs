//! A publisher of our own, for what FFmpeg cannot send and what it does not tell.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use headwater_flv::{FileReader, Tag, TagType};
use headwater_rtmp::{ClientConfig, ClientEvent, ClientSession, Extensions, MediaKind, Offers, PublishUrl};

use crate::clock::Stopwatch;

/// A connection to the server.
#[derive(Debug)]
pub struct Publisher {
    socket: TcpStream,
    session: ClientSession,
    watch: Stopwatch,
}

/// An error status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// Such as `NetStream.Publish.BadName`.
    pub code: String,
    /// The server's words.
    pub description: String,
}

impl Status {
    /// A status to compare with.
    pub fn new(code: &str, description: &str) -> Self {
        Self { code: code.to_owned(), description: description.to_owned() }
    }
}

/// The server closes a refused connection after half a second at the latest; machines are busy.
const CLOSE: Duration = Duration::from_secs(10);

impl Publisher {
    /// Publishes `stream`, `app/name`; returns when the server has decided.
    pub fn connect(rtmp: SocketAddr, stream: &str) -> Result<Self, Status> {
        Self::connect_with(rtmp, stream, Extensions::default())
    }

    /// The same, with `extensions` of Enhanced RTMP.
    pub fn connect_with(rtmp: SocketAddr, stream: &str, extensions: Extensions) -> Result<Self, Status> {
        let attempt = Self::attempt(rtmp, stream, extensions, Duration::from_secs(15));
        attempt.unwrap_or_else(|| panic!("{stream} is neither accepted nor refused at {rtmp}"))
    }

    /// The same at a server that may not be there. `None` when nothing was decided within `limit`.
    pub fn attempt(
        rtmp: SocketAddr,
        stream: &str,
        extensions: Extensions,
        limit: Duration,
    ) -> Option<Result<Self, Status>> {
        let url: PublishUrl = format!("rtmp://{rtmp}/{stream}").parse().unwrap();
        let watch = Stopwatch::start();
        let socket = TcpStream::connect_timeout(&rtmp, limit).ok()?;
        socket.set_nodelay(true).unwrap();
        // A frozen server reads nothing.
        socket.set_write_timeout(Some(CLOSE)).unwrap();
        let offers = Offers { extensions, ..Offers::default() };
        let config = ClientConfig { offers, ..ClientConfig::new(&url, "headwater e2e") };
        let session = ClientSession::new(watch.now(), config, 1);
        let mut publisher = Self { socket, session, watch };
        publisher.write();
        match publisher.next_event(watch.left(limit))? {
            ClientEvent::Accepted => Some(Ok(publisher)),
            ClientEvent::Rejected { code, description } => {
                publisher.expect_closed();
                Some(Err(Status { code, description }))
            }
            other => panic!("neither accepted nor refused: {other:?}"),
        }
    }

    /// Where it connects from.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends a media message. `false` when the server has ended it.
    pub fn send(&mut self, kind: MediaKind, timestamp: u32, body: &[u8]) -> bool {
        self.read(Duration::from_millis(1));
        self.session.send(kind, timestamp, body).is_ok() && self.write()
    }

    /// Sends an FLV tag, as it is.
    pub fn send_tag(&mut self, tag: &Tag) -> bool {
        match (tag.kind, tag.script()) {
            (TagType::Audio, _) => self.send(MediaKind::Audio, tag.timestamp, &tag.body),
            (TagType::Video, _) => self.send(MediaKind::Video, tag.timestamp, &tag.body),
            (_, Some(values)) => self.send(MediaKind::Data, tag.timestamp, &values),
            _ => true,
        }
    }

    /// Sends tags in real time. `false` when the server has ended it.
    pub fn play<'a>(&mut self, tags: impl IntoIterator<Item = &'a Tag>) -> bool {
        let mut start: Option<(Stopwatch, u32)> = None;
        tags.into_iter().all(|tag| {
            let (watch, first) = start.get_or_insert_with(|| (Stopwatch::start(), tag.timestamp));
            watch.pace(Duration::from_millis(tag.timestamp.saturating_sub(*first).into()));
            self.send_tag(tag)
        })
    }

    /// Sends each tag when its time has come, counted from now, whatever its timestamp. `false` when the server has ended
    /// it.
    pub fn play_at<'a>(&mut self, tags: impl IntoIterator<Item = (Duration, &'a Tag)>) -> bool {
        let watch = Stopwatch::start();
        tags.into_iter().all(|(at, tag)| {
            watch.pace(at);
            self.send_tag(tag)
        })
    }

    /// Publishes tags in real time, to their end, on a thread of its own.
    pub fn publish(address: SocketAddr, stream: &str, tags: Vec<Tag>) -> JoinHandle<()> {
        let mut publisher = Self::connect(address, stream).unwrap();
        std::thread::spawn(move || {
            assert!(publisher.play(&tags), "sent away");
            publisher.unpublish();
        })
    }

    /// Says that the stream ends, and closes the connection.
    pub fn unpublish(mut self) {
        self.session.unpublish();
        self.write();
        assert_eq!(self.next_event(CLOSE), Some(ClientEvent::Unpublished));
    }

    /// Waits until the server asks for another connection.
    #[track_caller]
    pub fn expect_reconnect_request(&mut self) {
        match self.next_event(CLOSE) {
            Some(ClientEvent::ReconnectRequested { tc_url: None, .. }) => {}
            other => panic!("not asked to connect again: {other:?}"),
        }
    }

    /// Waits for the status with which the server ends it, and for the end of the connection.
    #[track_caller]
    pub fn expect_refusal(mut self) -> Status {
        match self.next_event(CLOSE) {
            Some(ClientEvent::Rejected { code, description }) => {
                self.expect_closed();
                Status { code, description }
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    fn expect_closed(&mut self) {
        expect_closed(&mut self.socket);
    }

    fn next_event(&mut self, limit: Duration) -> Option<ClientEvent> {
        let watch = Stopwatch::start();
        loop {
            if let Some(event) = self.session.poll_event() {
                return Some(event);
            }
            let left = watch.left(limit);
            if left.is_zero() || !self.read(left) {
                return self.session.poll_event();
            }
        }
    }

    /// Takes what is there, waiting at most `limit` for it. `false` when the connection is closed.
    fn read(&mut self, limit: Duration) -> bool {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).unwrap();
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.session.handle_input(self.watch.now(), &buffer[..length]).unwrap();
                self.write()
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
        }
    }

    fn write(&mut self) -> bool {
        while let Some(bytes) = self.session.poll_transmit() {
            if self.socket.write_all(&bytes).is_err() {
                return false;
            }
        }
        true
    }
}

/// Waits until the server closes a connection.
#[track_caller]
pub fn expect_closed(socket: &mut TcpStream) {
    let (watch, mut buffer) = (Stopwatch::start(), [0; 4096]);
    socket.set_read_timeout(Some(CLOSE)).unwrap();
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Ok(_) if watch.elapsed() < CLOSE => {}
            other => panic!("the connection is still open after {:?}: {other:?}", watch.elapsed()),
        }
    }
}

/// The tags of an FLV file.
pub fn tags(path: &Path) -> Vec<Tag> {
    let mut reader = FileReader::new();
    reader.handle_input(&std::fs::read(path).unwrap());
    std::iter::from_fn(|| reader.poll_tag().unwrap()).collect()
}

/// Whether a tag is the H.264, HEVC or AAC configuration.
pub fn is_config(tag: &Tag) -> bool {
    matches!((tag.kind, &tag.body[..]), (TagType::Video, [0x17, 0, ..] | [0x90, ..]) | (TagType::Audio, [0xAF, 0, ..]))
}
