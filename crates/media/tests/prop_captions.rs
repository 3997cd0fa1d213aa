//! Captions come back as they were put in, and nothing that a peer sends stops the reader.

use bytes::Bytes;
use headwater_media::VideoCoding;
use headwater_media::captions::{self, PICTURE_MAX, Queue, Triplet};
use proptest::prelude::*;

fn triplets(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Triplet>> {
    // Zeros and small numbers are what must be escaped.
    let byte = prop_oneof![0u8..4, any::<u8>()];
    prop::collection::vec(prop::array::uniform3(byte).prop_map(Triplet), count)
}

/// NAL units of any kind but SEI, with their lengths.
fn access_unit() -> impl Strategy<Value = Vec<u8>> {
    let kind = (1u8..24).prop_filter("no SEI", |kind| *kind != 6);
    let unit = (kind, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, body)| [vec![kind], body].concat());
    let prefixed = |unit: &Vec<u8>| [&u32::try_from(unit.len()).unwrap_or(0).to_be_bytes()[..], unit].concat();
    prop::collection::vec(unit, 1..5).prop_map(move |units| units.iter().flat_map(prefixed).collect())
}

proptest! {
    #[test]
    fn what_is_put_in_is_read_again(unit in access_unit(), triplets in triplets(0..=PICTURE_MAX)) {
        let unit = Bytes::from(unit);
        let out = captions::insert(&unit, &triplets);
        prop_assert_eq!(captions::read(VideoCoding::Avc, &out), triplets);
        prop_assert!(out.len() <= unit.len() + 4 + 19 + 2 * 3 * PICTURE_MAX);
    }

    #[test]
    fn any_bytes_can_be_read(mut unit in access_unit(), triplets in triplets(1..31), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20)) {
        unit = captions::insert(&unit.into(), &triplets).to_vec();
        for (at, value) in changes {
            let at = at.index(unit.len());
            unit[at] = value;
        }
        let _ = captions::read(VideoCoding::Avc, &unit);
    }

    #[test]
    fn a_queue_gives_out_all_in_order(pictures in prop::collection::vec(triplets(0..31), 0..30)) {
        let (mut queue, mut out) = (Queue::default(), Vec::new());
        for picture in &pictures {
            queue.push(picture);
            out.extend(queue.take());
        }
        out.extend(std::iter::from_fn(|| Some(queue.take()).filter(|taken| !taken.is_empty())).flatten());
        prop_assert_eq!(out, pictures.concat());
    }
}
