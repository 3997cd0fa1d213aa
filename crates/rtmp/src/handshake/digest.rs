//! The digest form of the handshake: each side signs its packet with a key that everybody knows.
//!
//! It proves nothing, but some publishers and servers talk to nobody else in full.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{PACKET_BYTES, Side};

/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;
/// What a digest's offset, a sum of four bytes, is reduced by.
const OFFSETS: usize = 728;

/// what packets are signed with is the front of what answers are signed with.
const CLIENT_KEY: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001";
const KEY_TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E, 0xEC, 0x5D,
    0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Where in a packet the digest lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Layout {
    /// In the first half; a key that we have no use for is in the second.
    DigestFirst,
    /// The other way round.
    KeyFirst,
}

/// A digest that was found to be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Signed {
    pub(super) layout: Layout,
    pub(super) digest: [u8; DIGEST_BYTES],
}

impl Layout {
    /// Where the digest begins.
    fn position(self, packet: &[u8; PACKET_BYTES]) -> usize {
        let base = match self {
            Self::DigestFirst => 8,
            Self::KeyFirst => 772,
        };
        let offset: usize = packet[base..base + 4].iter().map(|byte| usize::from(*byte)).sum();
        base + 4 + offset % OFFSETS
    }
}

/// The digest of C1 or S1 as `signer` makes it; `None` if it is the simple form.
pub(super) fn find(packet: &[u8; PACKET_BYTES], signer: Side) -> Option<Signed> {
    [Layout::DigestFirst, Layout::KeyFirst].into_iter().find_map(|layout| {
        let position = layout.position(packet);
        let digest = packet[position..].first_chunk().copied()?;
        let right = packet_mac(packet, position, signer).verify_slice(&digest).is_ok();
        right.then_some(Signed { layout, digest })
    })
}

/// Puts the digest of `signer` into its C1 or S1.
pub(super) fn sign(packet: &mut [u8; PACKET_BYTES], layout: Layout, signer: Side) {
    let position = layout.position(packet);
    let digest = packet_mac(packet, position, signer).finalize().into_bytes();
    packet[position..position + DIGEST_BYTES].copy_from_slice(&digest);
}

/// Makes C2 or S2 the answer of `signer` to the peer's digest, by its last 32 bytes.
pub(super) fn answer(packet: &mut [u8; PACKET_BYTES], digest: &[u8; DIGEST_BYTES], signer: Side) {
    let key = mac(&[signer.key(), &KEY_TAIL].concat()).chain_update(digest).finalize().into_bytes();
    let (body, end) = packet.split_at_mut(PACKET_BYTES - DIGEST_BYTES);
    end.copy_from_slice(&mac(&key).chain_update(body).finalize().into_bytes());
}

impl Side {
    fn key(self) -> &'static [u8] {
        match self {
            Self::Client => CLIENT_KEY,
            Self::Server => SERVER_KEY,
        }
    }
}

/// Over all of the packet but its digest.
fn packet_mac(packet: &[u8; PACKET_BYTES], position: usize, signer: Side) -> Hmac<Sha256> {
    mac(signer.key()).chain_update(&packet[..position]).chain_update(&packet[position + DIGEST_BYTES..])
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// byte i is `step` i + `start`, then time 0 and `version`.
    fn packet(step: usize, start: usize, version: [u8; 4]) -> [u8; PACKET_BYTES] {
        let mut packet = std::array::from_fn(|index| u8::try_from((step * index + start) % 256).unwrap());
        packet[..4].fill(0);
        packet[4..8].copy_from_slice(&version);
        packet
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    struct Vector {
        layout: Layout,
        c1: (usize, &'static str),
        s1: (usize, &'static str),
        s2: &'static str,
    }

    ///
    const VECTORS: [Vector; 2] = [
        Vector {
            layout: Layout::DigestFirst,
            c1: (450, "a3ba710c26a9f95974deaac20ae608dcad6f09c8e61b847f0e495845c49c4724"),
            s1: (526, "8e631f818b4566976637f861ebf440318680fdc66bee0c2b2594d2cc32f626dc"),
            s2: "2b206e5a7a7aaf2441b6fe3f08f6d3f9606ccb6d9f90cb1971b190a719aa40e1",
        },
        Vector {
            layout: Layout::KeyFirst,
            c1: (1486, "620ff796e3863f5eed780742bdc0d799852194af9e008ae34ee7998e465bf0fa"),
            s1: (1082, "20597f5964ec4b8ee048ad5a7bada4b299dcf9ca371a7728f2ec10555783d949"),
            s2: "1176907435d1db23e761473d767c7ea67737506c1fc033cb0c77c2441f78d331",
        },
    ];

    /// by the vectors of R-16.
    #[test]
    fn digests_are_those_of_the_test_vectors() {
        for vector in VECTORS {
            let mut c1 = packet(31, 7, [0x09, 0x00, 0x7C, 0x02]);
            sign(&mut c1, vector.layout, Side::Client);
            let (position, digest) = vector.c1;
            assert_eq!(hex(&c1[position..position + 32]), digest);
            let signed = find(&c1, Side::Client).unwrap();
            assert_eq!((signed.layout, hex(&signed.digest).as_str()), (vector.layout, digest));

            let mut s1 = packet(13, 5, [0x04, 0x05, 0x00, 0x01]);
            sign(&mut s1, vector.layout, Side::Server);
            let (position, digest) = vector.s1;
            assert_eq!(hex(&s1[position..position + 32]), digest);

            let mut s2 = std::array::from_fn(|index| u8::try_from((17 * index + 3) % 256).unwrap());
            answer(&mut s2, &signed.digest, Side::Server);
            assert_eq!(hex(&s2[1504..]), vector.s2);
        }
    }

    /// one bit anywhere, and it is no digest; nor is the other side's.
    #[test]
    fn a_wrong_digest_is_not_found() {
        let mut c1 = packet(31, 7, [0x09, 0x00, 0x7C, 0x02]);
        sign(&mut c1, Layout::DigestFirst, Side::Client);
        for index in [0, 7, 449, 450, 481, 482, 1535] {
            let mut damaged = c1;
            damaged[index] ^= 1;
            assert_eq!(find(&damaged, Side::Client), None, "byte {index}");
        }
        assert_eq!(find(&c1, Side::Server), None);
    }

    /// the largest offset leaves room for the digest in either half.
    #[test]
    fn every_offset_lies_in_the_packet() {
        for sum in 0..=1020_usize {
            let mut packet = [0; PACKET_BYTES];
            for base in [8, 772] {
                let mut left = sum;
                for byte in &mut packet[base..base + 4] {
                    *byte = u8::try_from(left.min(255)).unwrap();
                    left -= usize::from(*byte);
                }
            }
            assert!(Layout::DigestFirst.position(&packet) + 32 <= 772);
            assert!(Layout::KeyFirst.position(&packet) + 32 <= PACKET_BYTES);
        }
    }
}
