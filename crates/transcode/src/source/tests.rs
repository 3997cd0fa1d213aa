use std::path::Path;

use bytes::Bytes;
use headwater_av::Size;
use headwater_flv::{FileReader, TagType, VideoContent, VideoTag};
use headwater_media::{AvcConfig, Clock, Epoch, FrameRate, MediaSequence, SentTimes, SessionId, VideoSlot, WallTime};
use headwater_router::{Limits, Session, SessionState, State};
use headwater_segmenter::{Grid, Profile};
use prometheus_client::registry::Registry;

use super::*;
use crate::picture::{Picture, Sizes};
use crate::slots::{Segment, Slots};

#[derive(Debug)]
struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> Instant {
        Instant::default()
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }
}

fn source() -> Source {
    let session = Session {
        stream: "live/show".parse().unwrap(),
        id: SessionId::from_random([7; 10]),
        grid: Grid::new(Profile::Low, FrameRate::FPS_30),
        window_segments: 5,
        since: WallTime::default(),
    };
    let state = SessionState {
        session: Arc::new(session),
        epoch: Epoch(1),
        state: State::Live,
        publisher: None,
        renditions: [].into(),
        captions: captions::Channels::default(),
    };
    let metrics = Metrics::new(&mut Registry::default(), Arc::new(NoTime));
    Source::new(Arc::new(StreamLog::new(state, Limits::default())), Arc::new(metrics))
}

/// The pictures of Big Buck Bunny, 640x360. Pictures 0 and 75 are IDRs, and none between them.
fn clip() -> (Arc<VideoConfig>, Vec<(Bytes, bool)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/testdata/bbb.flv");
    let mut reader = FileReader::new();
    reader.handle_input(&std::fs::read(path).unwrap());
    let (mut config, mut units) = (None::<Arc<VideoConfig>>, Vec::new());
    while let Some(tag) = reader.poll_tag().unwrap() {
        if tag.kind != TagType::Video {
            continue;
        }
        for packet in VideoTag::read(tag.body.clone()).unwrap().packets {
            match packet.content {
                VideoContent::Config(record) => config = Some(Arc::new(AvcConfig::parse(&record).unwrap().into())),
                VideoContent::Frame { data, .. } => {
                    let unit = config.as_ref().unwrap().access_unit(&data).unwrap();
                    units.push((unit.data, unit.idr));
                }
                _ => {}
            }
        }
    }
    (config.unwrap(), units)
}

fn sample(config: &Arc<VideoConfig>, data: &Bytes, idr: bool, slot: i64) -> StampedVideo {
    StampedVideo {
        msn: MediaSequence(1),
        slot: VideoSlot(slot),
        composition_slots: 0,
        idr,
        recovery: None,
        data: data.clone(),
        config: config.clone(),
        sent: SentTimes::default(),
        received: Instant::default(),
    }
}

fn all(source: &mut Source) -> Vec<Decoded> {
    std::iter::from_fn(|| source.poll()).collect()
}

/// Xorshift: the same damage on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Bytes changed, a part of it filled, cut off, or made longer.
fn damaged(data: &Bytes, random: &mut Random) -> Bytes {
    let mut bytes = data.to_vec();
    match random.below(5) {
        0 => {
            for _ in 0..=random.below(20) {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
        }
        // Where lengths and headers are.
        1 => {
            let (at, value) = (random.below(bytes.len().min(24)), random.byte());
            bytes[at] = value;
        }
        2 => bytes.truncate(random.below(bytes.len())),
        3 => {
            let (from, value) = (random.below(bytes.len()), random.byte());
            let until = from + random.below(bytes.len() - from);
            bytes[from..until].fill(value);
        }
        _ => bytes.extend((0..random.below(200)).map(|_| random.byte())),
    }
    bytes.into()
}

/// Resident memory in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
}

/// Whatever is damaged, left out or sent twice: nothing panics or grows, every sample comes out once, and the next IDR
/// that arrives whole is shown whole.
#[test]
fn damage_never_outlasts_the_next_whole_idr() {
    const VARIANTS: usize = 3000;
    let (config, units) = clip();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut source = source();
    let size = Size { width: 64, height: 36 };
    let sizes = Sizes::new([size]);
    let mut slots = Slots::new();
    slots.cut(Segment { msn: MediaSequence(1), start: 0 });
    let (mut slot, mut memory, mut shown, mut lost) = (0, 0, 0, 0);
    for variant in 0..VARIANTS {
        let (mut sent, mut decoded) = (0, Vec::new());
        let from = random.below(8);
        for (index, (data, idr)) in units[..8].iter().enumerate().filter(|(index, _)| *index == 0 || *index > from) {
            let data = match random.below(4) {
                0 => continue,
                1 if index > 0 => data.clone(),
                _ => damaged(data, &mut random),
            };
            source.push(&sample(&config, &data, *idr, slot));
            decoded.extend(all(&mut source));
            slot += 1;
            sent += 1;
        }
        source.push(&sample(&config, &units[75].0, true, slot));
        decoded.extend(all(&mut source));
        assert_eq!(decoded.len(), sent + 1, "variant {variant}");
        let last = decoded.last().unwrap();
        assert_eq!(last.slot, slot, "variant {variant}");
        assert!(last.frame.as_ref().is_some_and(|frame| !frame.is_damaged()), "variant {variant}");
        for Decoded { frame, slot, received, .. } in decoded {
            match frame {
                Some(frame) => slots.picture(slot, Picture::new(frame, sizes.clone(), received)),
                None => {
                    lost += 1;
                    slots.lost(slot);
                }
            }
        }
        slots.heard(slot);
        while let Some(filled) = slots.poll() {
            shown += 1;
            if shown % 4 == 0 {
                assert_eq!(filled.picture.scaled(0).unwrap().size(), size);
            }
        }
        source.restart();
        slot += 1;
        if variant == VARIANTS / 10 {
            memory = resident();
        }
    }
    assert_eq!(shown, slot, "every slot has been filled");
    assert!(lost > VARIANTS / 4);
    assert!(resident() < memory + (24 << 20), "{memory} bytes have become {}", resident());
}

#[test]
fn samples_without_a_picture_come_out_in_their_place() {
    let (config, units) = clip();
    let mut source = source();
    let mut out = Vec::new();
    for (number, (data, idr)) in units[..40].iter().enumerate() {
        let data = if (10..13).contains(&number) { Bytes::from_static(&[0, 0, 0, 1, 0x61]) } else { data.clone() };
        source.push(&sample(&config, &data, *idr, i64::try_from(number).unwrap()));
        out.extend(all(&mut source));
    }
    source.finish();
    out.extend(all(&mut source));
    assert!(out.iter().map(|decoded| decoded.slot).eq(0..40));
    let lost: Vec<i64> = out.iter().filter(|decoded| decoded.frame.is_none()).map(|decoded| decoded.slot).collect();
    assert_eq!(lost, [10, 11, 12]);
}

/// what an intra refresh has not reached yet is not shown, whether the decoder knows of it or not. A second
/// recovery point before that changes nothing, a nearer one does.
#[test]
fn pictures_are_shown_from_where_a_refresh_has_made_them_right() {
    let (config, units) = clip();
    for (second, right) in [(None, 8), (Some(10), 8), (Some(1), 4)] {
        let mut source = source();
        let mut out = Vec::new();
        for ((data, _), slot) in units[..20].iter().zip(0i64..) {
            let recovery = if slot == 0 { Some(8) } else { second.filter(|_| slot == 3) };
            source.push(&StampedVideo { recovery, ..sample(&config, data, false, slot) });
            out.extend(all(&mut source));
        }
        source.finish();
        out.extend(all(&mut source));
        assert!(out.iter().map(|decoded| decoded.slot).eq(0..20));
        assert_eq!(out.iter().position(|decoded| decoded.frame.is_some()), Some(right), "{second:?}");
        assert!(out[right..].iter().all(|decoded| decoded.frame.is_some()), "{second:?}");
    }
}

#[test]
fn a_configuration_that_no_decoder_takes_costs_its_own_pictures_only() {
    let (config, units) = clip();
    let mut source = source();
    let mut out = Vec::new();
    // 14 bits deep: there is no decoder for it.
    let VideoConfig::Avc(mut strange) = VideoConfig::clone(&config) else { panic!("Big Buck Bunny is H.264") };
    strange.sps = vec![Bytes::from_static(b"\x67\xF4\x00\x1F\x91\x9B\x28\x14\x01\x6E\xC0\x44")];
    let strange = Arc::new(strange.into());
    let again = Arc::new(VideoConfig::clone(&config));
    for (number, slot) in (0..30).zip(0i64..) {
        let (data, idr) = &units[number % 10];
        let config = [&config, &strange, &again][number / 10];
        if *idr {
            source.finish();
            out.extend(all(&mut source));
        }
        source.push(&sample(config, data, *idr, slot));
        out.extend(all(&mut source));
    }
    source.finish();
    out.extend(all(&mut source));
    assert!(out.iter().map(|decoded| decoded.slot).eq(0..30));
    let shown = |range: std::ops::Range<usize>| out[range].iter().filter(|decoded| decoded.frame.is_some()).count();
    assert_eq!((shown(0..10), shown(20..30)), (10, 10));
}
