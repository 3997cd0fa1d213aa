//! The simple handshake (R-6 to R-9, R-15, R-17), both ends.
//!
//! A client's digest is not looked at: it gets the simple answer, which every client takes.

use bytes::BytesMut;

/// Bytes of C1, S1, C2 and S2.
const PACKET_BYTES: usize = 1536;
/// Plain RTMP.
const VERSION: u8 = 3;

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
        write_greeting(context, out);
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
            if *side == Side::Server {
                write_greeting(context, out);
            }
            // S2 and C2 alike: the peer's time, when we read it, its random bytes (R-8).
            let greeting = &received[1..];
            out.extend_from_slice(&greeting[..4]);
            out.extend_from_slice(&context.millis.to_be_bytes());
            out.extend_from_slice(&greeting[8..]);
            *self = Self::Echo { missing: PACKET_BYTES };
        }
        let Self::Echo { missing } = self else { return Ok(false) };
        let taken = (*missing).min(input.len());
        *input = &input[taken..];
        *missing -= taken;
        Ok(*missing == 0)
    }
}

/// C0 and C1, or S0 and S1: version, time, four zero bytes that say "simple", filler.
fn write_greeting(context: Context, out: &mut BytesMut) {
    out.extend_from_slice(&[VERSION]);
    out.extend_from_slice(&context.millis.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let mut state = context.seed;
    for _ in 0..(PACKET_BYTES - 8) / 8 {
        // SplitMix64: filler must only not repeat itself.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        out.extend_from_slice(&(mixed ^ mixed >> 31).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context = Context { millis: 0x0102_0304, seed: 7 };

    fn greeting(version: u8) -> Vec<u8> {
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
        let c1 = greeting(3);
        let (done, out) = serve(&c1);
        assert_eq!(done, Ok(false));
        assert_eq!(out.len(), 1 + 2 * PACKET_BYTES);
        assert_eq!(out[..9], [3, 1, 2, 3, 4, 0, 0, 0, 0]);
        let s2 = &out[1 + PACKET_BYTES..];
        assert_eq!(s2[..4], c1[1..5]);
        assert_eq!(s2[4..8], [1, 2, 3, 4]);
        assert_eq!(s2[8..], c1[9..]);
    }

    /// R-9: bytes 4 to 8 of this C1 are not zero, as in a digest C1. The answer is the simple one.
    #[test]
    fn a_digest_greeting_gets_the_simple_answer() {
        let (done, out) = serve(&greeting(3));
        assert_eq!(done, Ok(false));
        assert_eq!(out[5..9], [0; 4]);
    }

    /// R-7.
    #[test]
    fn other_versions_are_answered_with_3_or_refused() {
        assert_eq!(serve(&greeting(8)).1[0], 3);
        assert_eq!(serve(&[6]).0, Err(HandshakeError::Encrypted));
        assert_eq!(serve(b"GET / HTTP/1.1").0, Err(HandshakeError::NotRtmp { version: b'G' }));
        assert_eq!(serve(&[31]).0, Ok(false));
        assert_eq!(serve(&[32]).0, Err(HandshakeError::NotRtmp { version: 32 }));
    }

    /// R-15, R-17: C2 is not looked at, and the chunk glued to it is left alone.
    #[test]
    fn any_cut_leaves_the_first_chunk() {
        let mut bytes = greeting(3);
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
