//! Connections that are no good publishers: garbage, dawdlers, wrong codecs. The server closes each of them in time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use headwater_rtmp::MediaKind;

use super::Scene;
use super::random::Random;
use crate::clock::Stopwatch;
use crate::publisher::Publisher;

/// What a connection does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Nuisance {
    /// Random bytes.
    Garbage,
    /// A browser's request.
    Http,
    /// Nothing at all.
    Silence,
    /// A handshake byte by byte.
    Dawdle,
    /// A handshake, then nothing.
    Handshake,
    /// A handshake, then random chunks.
    Chunks,
    /// A handshake, then the front of a message of 16 MiB.
    Giant,
    /// Ends in the middle of its handshake.
    Hangup,
    /// Publishes, and sends what cannot be served.
    Codec,
}

const ALL: [Nuisance; 9] = [
    Nuisance::Garbage,
    Nuisance::Http,
    Nuisance::Silence,
    Nuisance::Dawdle,
    Nuisance::Handshake,
    Nuisance::Chunks,
    Nuisance::Giant,
    Nuisance::Hangup,
    Nuisance::Codec,
];

/// Longer than any timeout of the soak's configuration, and what a busy machine adds.
const CLOSED: Duration = Duration::from_secs(10);

/// One after another, until the scene is over.
pub(super) fn all_the_time(scene: &Scene<'_>, mut random: Random) {
    while !scene.is_over() {
        let nuisance = random.pick(&ALL);
        scene.counts().nuisances += 1;
        if let Err(error) = connect(scene, nuisance, &mut random) {
            scene.broken([format!("{nuisance:?}: {error}")]);
        }
        scene.rest(random.millis(0, 500));
    }
}

fn connect(scene: &Scene<'_>, nuisance: Nuisance, random: &mut Random) -> std::io::Result<()> {
    if nuisance == Nuisance::Codec {
        return wrong_codec(scene);
    }
    let mut socket = TcpStream::connect(scene.server.rtmp)?;
    // The server may close before it has taken everything.
    let mut send = |bytes: &[u8]| drop(socket.write_all(bytes));
    match nuisance {
        Nuisance::Garbage => send(&random.bytes(100_000)),
        Nuisance::Http => send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        Nuisance::Silence | Nuisance::Codec | Nuisance::Dawdle => {}
        Nuisance::Handshake => send(&handshake()),
        Nuisance::Chunks => send(&[handshake(), random.bytes(50_000)].concat()),
        // Chunk stream 6, type 0, time 0, length 0xFFFFFF, video on stream 1, and 128 bytes of it.
        Nuisance::Giant => {
            let header = [6, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0];
            send(&[&handshake()[..], &header, &[0; 128]].concat());
        }
        Nuisance::Hangup => {
            send(&random.bytes(700));
            return socket.shutdown(Shutdown::Both).or(Ok(()));
        }
    }
    expect_closed(&mut socket, nuisance == Nuisance::Dawdle)
}

/// C0, C1 and a C2 that nobody looks at.
fn handshake() -> Vec<u8> {
    [&[3][..], &[0; 2 * 1536]].concat()
}

/// Sends bytes of a handshake one by one, if it dawdles, until the server closes the connection.
fn expect_closed(socket: &mut TcpStream, dawdles: bool) -> std::io::Result<()> {
    let (watch, mut buffer) = (Stopwatch::start(), [0; 4096]);
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    while watch.elapsed() < CLOSED {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock && dawdles => drop(socket.write_all(&[3])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(std::io::Error::other(format!("still open after {} s", CLOSED.as_secs())))
}

/// Sorenson H.263 and Speex: of an age in which there was nothing else.
fn wrong_codec(scene: &Scene<'_>) -> std::io::Result<()> {
    // The last one has not been forgotten for long.
    let Ok(mut publisher) = Publisher::connect(scene.server.rtmp, "soak/wrong") else { return Ok(()) };
    publisher.send(MediaKind::Video, 0, b"\x12\x00\x00\x84");
    let told = publisher.expect_refusal();
    if told.code == "NetStream.Publish.Rejected" { Ok(()) } else { Err(std::io::Error::other(format!("{told:?}"))) }
}
