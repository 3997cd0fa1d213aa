//! Each rule of C-50 is found when it is broken, and not when it is kept.

use bytes::Bytes;
use headwater_cmaf::check::{Place, Problem, TrackCheck};
use headwater_cmaf::{Chunk, Sample, video_init};
use headwater_media::{AvcConfig, TrackKind};

const RECORD: &[u8] = include_bytes!("testdata/x264-360p30-bt709.avcc");

fn sample(data: &'static [u8], composition_offset: i32, sync: bool) -> Sample {
    Sample { data: Bytes::from_static(data), duration: 4000, composition_offset, sync }
}

fn idr() -> Sample {
    sample(&[0, 0, 0, 2, 0x65, 0x88], 0, true)
}

fn chunk(sequence_number: u32, base_decode_time: u64, opens_segment: bool, samples: &[Sample]) -> Bytes {
    let chunk = Chunk { kind: TrackKind::Video, sequence_number, base_decode_time, opens_segment, samples };
    chunk.write().expect("samples have bytes")
}

fn check() -> TrackCheck {
    let config = AvcConfig::parse(RECORD).expect("golden").into();
    TrackCheck::new(&video_init(&config, None).data).expect("our own init segment")
}

fn findings(parts: &[(Place, Bytes)]) -> Vec<(u64, Problem)> {
    let mut check = check();
    parts.iter().for_each(|(place, data)| check.chunk(*place, data));
    check.findings().iter().map(|finding| (finding.chunk, finding.problem.clone())).collect()
}

fn one(samples: &[Sample]) -> Vec<(u64, Problem)> {
    findings(&[(Place::First, chunk(1, 0, true, samples))])
}

#[test]
fn a_good_chunk_has_no_findings() {
    assert_eq!(one(&[idr()]), []);
}

#[test]
fn time_numbers_and_styp_are_followed_from_chunk_to_chunk() {
    let first = (Place::First, chunk(5, 0, true, &[idr()]));
    assert_eq!(
        findings(&[first, (Place::Inside, chunk(5, 4001, true, &[idr()]))]),
        [
            (1, Problem::StypInside),
            (1, Problem::SequenceNumber { found: 5, previous: 5 }),
            (1, Problem::DecodeTime { found: 4001, expected: 4000 }),
        ]
    );
}

#[test]
fn a_discontinuity_may_begin_at_any_time_and_numbers_may_wrap() {
    let mut check = check();
    check.chunk(Place::First, &chunk(u32::MAX, 0, true, &[idr()]));
    check.discontinuity();
    check.chunk(Place::First, &chunk(64, 1_000_000, true, &[idr()]));
    assert_eq!((check.findings(), check.end()), (&[][..], Some(1_004_000)));
}

#[test]
fn segments_and_only_chunks_begin_with_an_idr() {
    let slice = sample(&[0, 0, 0, 2, 0x41, 0x9A], 0, false);
    assert_eq!(one(&[slice]), [(0, Problem::NotSync { sample: 0 })]);
    assert_eq!(one(&[idr(), idr()]), [(0, Problem::SyncInside { sample: 1 })]);
    let late = sample(&[0, 0, 0, 2, 0x65, 0x88], 4000, true);
    assert_eq!(one(&[late]), [(0, Problem::IdrCompositionOffset { found: 4000 })]);
    let no_idr = sample(&[0, 0, 0, 1, 0x41], 0, true);
    assert_eq!(one(&[no_idr]), [(0, Problem::SyncFlag { sample: 0, flagged: true, idr: false })]);
}

#[test]
fn samples_are_nal_units_that_belong_there() {
    let start_code = sample(&[0, 0, 0, 1, 0x65, 0x88, 0x84], 0, true);
    assert_eq!(one(&[start_code]), [(0, Problem::NalUnits { sample: 0 })]);
    let with_sps = sample(&[0, 0, 0, 1, 0x67, 0, 0, 0, 1, 0x65], 0, true);
    assert_eq!(one(&[with_sps]), [(0, Problem::NalType { sample: 0, nal_type: 7 })]);
}

#[test]
fn other_boxes_and_cut_chunks_are_found() {
    let good = chunk(1, 0, true, &[idr()]);
    let mut longer = good.to_vec();
    longer.extend_from_slice(b"\0\0\0\x08free");
    assert!(matches!(findings(&[(Place::First, longer.into())])[..], [(0, Problem::Layout { .. })]));
    assert!(matches!(findings(&[(Place::First, good.slice(..60))])[..], [(0, Problem::Unreadable(_))]));
}

#[test]
fn offsets_and_sizes_that_miss_the_mdat_are_found() {
    let good = chunk(1, 0, false, &[idr()]);
    // The last 4 bytes of the `trun`, right before the `mdat`, are the sample's size; the data offset 8 before that.
    let (size_at, offset_at) = (good.len() - 14 - 4, good.len() - 14 - 12);
    let with = |at: usize, value: u8| {
        let mut data = good.to_vec();
        data[at + 3] = value;
        findings(&[(Place::First, data.into())])
    };
    assert_eq!(with(size_at, 6), []);
    assert_eq!(
        with(size_at, 0),
        [
            (0, Problem::MdatNotFilled { found: 112, expected: 118 }),
            (0, Problem::EmptySample { sample: 0 }),
            (0, Problem::SyncFlag { sample: 0, flagged: true, idr: false }),
        ]
    );
    assert_eq!(
        with(offset_at, 113),
        [
            (0, Problem::DataOffset { found: Some(113), expected: 112 }),
            (0, Problem::MdatNotFilled { found: 119, expected: 118 }),
            (0, Problem::SampleOutside { sample: 0 }),
        ]
    );
}

#[test]
fn a_segment_that_is_not_its_parts_is_found_at_the_byte() {
    let mut check = check();
    check.segment([&b"ab"[..], b"cd"], b"abcd");
    check.segment([&b"ab"[..], b"cd"], b"abxd");
    check.segment([&b"ab"[..], b"cd"], b"abc");
    check.segment([&b"ab"[..]], b"abc");
    let at: Vec<_> = check.findings().iter().map(|finding| finding.problem.clone()).collect();
    assert_eq!(at, [2, 3, 2].map(|at| Problem::SegmentDiffers { at }));
}
