//! The handshake, simple and with digests (R-6 to R-17), both ends.
//!
//! A client that signs its packet gets a signed answer, all others get the simple one, which every client takes. Our
//! client signs, as FFmpeg does, and takes either answer.

mod digest;

use bytes::BytesMut;

use digest::Layout;

/// Bytes of C1, S1, C2 and S2.
const PACKET_BYTES: usize = 1536;
/// Plain RTMP.
const VERSION: u8 = 3;
/// What stands behind the time in C1 and S1: the version of a program that signs, or zero (R-9). Our client has FFmpeg's,
/// which every server knows.
const CLIENT_VERSION: [u8; 4] = [0x09, 0x00, 0x7C, 0x02];
const SERVER_VERSION: [u8; 4] = [0x04, 0x05, 0x00, 0x01];
const SIMPLE: [u8; 4] = [0; 4];

/// Why a handshake failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte is not the one of RTMP: something else is spoken here (R-7).
    #[error("the peer starts with byte {version:#04x}, expected RTMP's 0x03")]
    NotRtmp {
        /// The byte.
        version: u8,
    },
    /// RTMPE (R-1).
    #[error("the peer asks for encrypted RTMP (version 6), which is not supported")]
    Encrypted,
}

/// What a handshake needs from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Our clock, any origin.
    pub(crate) millis: u32,
    /// Where the filler bytes come from. They guard nothing.
    pub(crate) seed: u64,
}

/// Our end of a handshake.
///
/// ```text
/// server:  Greeting --C0, C1: answer S0, S1, S2--> Echo --C2--> done
/// client:  Greeting --S0, S1: answer C2----------> Echo --S2--> done
/// ```
#[derive(Debug)]
pub(crate) enum Handshake {
    /// C0 and C1, or S0 and S1, as far as they are there.
    Greeting { side: Side, received: Vec<u8> },
    /// Bytes of C2 or S2 that are missing. They are not looked at (R-15).
    Echo { missing: usize },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Handshake {
    pub(crate) fn server() -> Self {
        Self::Greeting { side: Side::Server, received: Vec::new() }
    }

    /// Appends C0 and C1.
    pub(crate) fn client(context: Context, out: &mut BytesMut) -> Self {
        let mut c1 = greeting(context, CLIENT_VERSION);
        digest::sign(&mut c1, Layout::DigestFirst, Side::Client);
        write_greeting(&c1, out);
        Self::Greeting { side: Side::Client, received: Vec::new() }
    }

    /// Takes what belongs to the handshake from the front of `input` and appends answers to `out`; whether it is done.
    pub(crate) fn read(
        &mut self,
        input: &mut &[u8],
        context: Context,
        out: &mut BytesMut,
    ) -> Result<bool, HandshakeError> {
        if let Self::Greeting { side, received } = self {
            let taken = (1 + PACKET_BYTES - received.len()).min(input.len());
            received.extend_from_slice(&input[..taken]);
            *input = &input[taken..];
            match received.first() {
                Some(6) => return Err(HandshakeError::Encrypted),
                Some(&version @ 32..) => return Err(HandshakeError::NotRtmp { version }),
                _ => {}
            }
            if received.len() < 1 + PACKET_BYTES {
                return Ok(false);
            }
            if let Some(peer) = received[1..].first_chunk() {
                answer(*side, peer, context, out);
            }
            *self = Self::Echo { missing: PACKET_BYTES };
        }
        let Self::Echo { missing } = self else { return Ok(false) };
        let taken = (*missing).min(input.len());
        *input = &input[taken..];
        *missing -= taken;
        Ok(*missing == 0)
    }
}

/// Appends what belongs behind the peer's C1 or S1: S0, S1 and S2, or C2.
fn answer(side: Side, peer: &[u8; PACKET_BYTES], context: Context, out: &mut BytesMut) {
    let signer = match side {
        Side::Server => Side::Client,
        Side::Client => Side::Server,
    };
    let signed = if peer[4..8] == SIMPLE { None } else { digest::find(peer, signer) };
    let Some(signed) = signed else {
        if side == Side::Server {
            write_greeting(&greeting(context, SIMPLE), out);
        }
        // S2 and C2 alike: the peer's time, when we read it, its random bytes (R-8).
        out.extend_from_slice(&peer[..4]);
        out.extend_from_slice(&context.millis.to_be_bytes());
        out.extend_from_slice(&peer[8..]);
        return;
    };
    if side == Side::Server {
        let mut s1 = greeting(context, SERVER_VERSION);
        digest::sign(&mut s1, signed.layout, Side::Server);
        write_greeting(&s1, out);
    }
    let mut packet = [0; PACKET_BYTES];
    fill(&mut packet, !context.seed);
    digest::answer(&mut packet, &signed.digest, side);
    out.extend_from_slice(&packet);
}

/// C1 or S1: time, version, filler.
fn greeting(context: Context, version: [u8; 4]) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[..4].copy_from_slice(&context.millis.to_be_bytes());
    packet[4..8].copy_from_slice(&version);
    fill(&mut packet[8..], context.seed);
    packet
}

/// Appends C0 and C1, or S0 and S1.
fn write_greeting(packet: &[u8; PACKET_BYTES], out: &mut BytesMut) {
    out.extend_from_slice(&[VERSION]);
    out.extend_from_slice(packet);
}

/// SplitMix64: filler must only not repeat itself.
fn fill(out: &mut [u8], seed: u64) {
    let mut state = seed;
    for bytes in out.as_chunks_mut::<8>().0 {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        *bytes = (mixed ^ mixed >> 31).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context = Context { millis: 0x0102_0304, seed: 7 };

    /// C0 and C1 of a client that seems to sign and does not.
    fn hello(version: u8) -> Vec<u8> {
        let mut bytes = vec![version];
        bytes.extend((0..PACKET_BYTES).map(|index| u8::try_from((31 * index + 7) % 256).unwrap()));
        bytes
    }

    fn serve(input: &[u8]) -> (Result<bool, HandshakeError>, BytesMut) {
        let mut out = BytesMut::new();
        (Handshake::server().read(&mut { input }, CONTEXT, &mut out), out)
    }

    /// R-6, R-8: S0 and S1, then S2 with C1's time and random bytes.
    #[test]
    fn a_greeting_is_answered_with_an_echo() {
        let c1 = hello(3);
        let (done, out) = serve(&c1);
        assert_eq!(done, Ok(false));
        assert_eq!(out.len(), 1 + 2 * PACKET_BYTES);
        assert_eq!(out[..9], [3, 1, 2, 3, 4, 0, 0, 0, 0]);
        let s2 = &out[1 + PACKET_BYTES..];
        assert_eq!(s2[..4], c1[1..5]);
        assert_eq!(s2[4..8], [1, 2, 3, 4]);
        assert_eq!(s2[8..], c1[9..]);
    }

    /// R-9: bytes 4 to 8 of this C1 are not zero, and it has no digest. The answer is the simple one.
    #[test]
    fn a_digest_that_is_none_gets_the_simple_answer() {
        let (done, out) = serve(&hello(3));
        assert_eq!(done, Ok(false));
        assert_eq!(out[5..9], SIMPLE);
    }

    /// R-9, R-13, R-14: S1 is signed in the client's layout, S2 answers the client's digest.
    #[test]
    fn a_signed_greeting_gets_a_signed_answer() {
        for layout in [Layout::DigestFirst, Layout::KeyFirst] {
            let mut c1 = greeting(CONTEXT, CLIENT_VERSION);
            digest::sign(&mut c1, layout, Side::Client);
            let client_digest = digest::find(&c1, Side::Client).unwrap().digest;
            let (done, out) = serve(&[&[VERSION], &c1[..]].concat());
            assert_eq!((done, out.len()), (Ok(false), 1 + 2 * PACKET_BYTES));
            let (s1, s2) = out[1..].split_at(PACKET_BYTES);
            let s1: [u8; PACKET_BYTES] = s1.try_into().unwrap();
            assert_eq!(s1[4..8], SERVER_VERSION);
            assert_eq!(digest::find(&s1, Side::Server).unwrap().layout, layout);
            let mut expected: [u8; PACKET_BYTES] = s2.try_into().unwrap();
            digest::answer(&mut expected, &client_digest, Side::Server);
            assert_eq!(s2, expected);
        }
    }

    /// R-9: time alone makes no digest; a zero version is not even looked at.
    #[test]
    fn a_signed_greeting_without_version_is_simple() {
        let mut c1 = greeting(CONTEXT, SIMPLE);
        digest::sign(&mut c1, Layout::DigestFirst, Side::Client);
        assert_eq!(serve(&[&[VERSION], &c1[..]].concat()).1[5..9], SIMPLE);
    }

    /// R-8, R-14: what our client says to a server that signs, and to one that does not.
    #[test]
    fn a_client_answers_in_the_form_of_the_server() {
        for layout in [None, Some(Layout::DigestFirst), Some(Layout::KeyFirst)] {
            let mut out = BytesMut::new();
            let mut client = Handshake::client(CONTEXT, &mut out);
            let c1 = out.split();
            assert!(digest::find(c1[1..].first_chunk().unwrap(), Side::Client).is_some());
            let mut s1 = greeting(CONTEXT, layout.map_or(SIMPLE, |_| SERVER_VERSION));
            layout.inspect(|layout| digest::sign(&mut s1, *layout, Side::Server));
            assert_eq!(client.read(&mut &[&[VERSION], &s1[..]].concat()[..], CONTEXT, &mut out), Ok(false));
            let c2: [u8; PACKET_BYTES] = out[..].try_into().unwrap();
            if let Some(signed) = digest::find(&s1, Side::Server) {
                let mut expected = c2;
                digest::answer(&mut expected, &signed.digest, Side::Client);
                assert_eq!(c2, expected);
            } else {
                assert_eq!((&c2[..4], &c2[4..8], &c2[8..]), (&s1[..4], &[1, 2, 3, 4][..], &s1[8..]));
            }
        }
    }

    /// R-7.
    #[test]
    fn other_versions_are_answered_with_3_or_refused() {
        assert_eq!(serve(&hello(8)).1[0], 3);
        assert_eq!(serve(&[6]).0, Err(HandshakeError::Encrypted));
        assert_eq!(serve(b"GET / HTTP/1.1").0, Err(HandshakeError::NotRtmp { version: b'G' }));
        assert_eq!(serve(&[31]).0, Ok(false));
        assert_eq!(serve(&[32]).0, Err(HandshakeError::NotRtmp { version: 32 }));
    }

    /// R-15, R-17: C2 is not looked at, and the chunk glued to it is left alone.
    #[test]
    fn any_cut_leaves_the_first_chunk() {
        let mut bytes = hello(3);
        bytes.extend([0xAB; PACKET_BYTES]);
        bytes.extend(b"chunk");
        for cut in [0, 1, 2, 1536, 1537, 1538, 3072, 3073, 3074] {
            let (mut handshake, mut out) = (Handshake::server(), BytesMut::new());
            let (mut head, mut tail) = bytes.split_at(cut);
            let mut done = handshake.read(&mut head, CONTEXT, &mut out).unwrap();
            if !done {
                assert!(head.is_empty());
                done = handshake.read(&mut tail, CONTEXT, &mut out).unwrap();
            }
            assert!(done);
            assert_eq!([head, tail].concat(), b"chunk");
        }
    }

    #[test]
    fn both_ends_understand_each_other() {
        let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
        let mut client = Handshake::client(CONTEXT, &mut to_server);
        let mut server = Handshake::server();
        assert!(!server.read(&mut &to_server.split()[..], CONTEXT, &mut to_client).unwrap());
        assert!(client.read(&mut &to_client[..], CONTEXT, &mut to_server).unwrap());
        assert!(server.read(&mut &to_server[..], CONTEXT, &mut to_client).unwrap());
    }
}
