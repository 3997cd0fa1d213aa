use bytes::Bytes;
use headwater_media::captions::Triplet;
use headwater_media::{
    ByteRange, CutKind, FrameRate, Init, Instant, PartPayload, RenditionState, SentTimes, SessionId, Timestamp,
    VideoSlot, WallTime,
};
use headwater_segmenter::{Grid, Profile};

use super::*;
use crate::{Gear, RenditionKind};

pub(super) fn log(window_segments: u32) -> Arc<StreamLog> {
    let session = Session {
        stream: "live/show".parse().unwrap(),
        id: SessionId::from_random([1; 10]),
        grid: Grid::new(Profile::Low, FrameRate::FPS_30),
        window_segments,
        since: WallTime::default(),
    };
    let rendition = |name, kind| Rendition {
        name,
        kind,
        init: None,
        begun: false,
        average_bps: 0,
        peak_bps: 0,
        frame_rate: None,
        channels: None,
        standby: false,
        off: None,
    };
    let state = SessionState {
        session: Arc::new(session),
        epoch: Epoch(1),
        state: State::Live,
        publisher: None,
        renditions: [
            rendition(RenditionName::source(), RenditionKind::Source),
            rendition(RenditionName::audio(), RenditionKind::Audio),
            rendition(gear().name, RenditionKind::Gear(gear())),
        ]
        .into(),
        captions: Channels::default(),
    };
    Arc::new(StreamLog::new(state, Limits { extra_segments: 0, ..Limits::default() }))
}

pub(super) fn cut(msn: u64, off: bool) -> Item {
    let state = RenditionState::Off("no reason".into());
    Item::Cut(Arc::new(Cut {
        msn: MediaSequence(msn),
        start: Timestamp::video(240_000 * (msn.cast_signed() - 1)),
        discontinuity: 0,
        program_date_time: WallTime { unix_millis: 2000 * (msn.cast_signed() - 1) },
        kind: CutKind::Media,
        renditions: off.then_some((RenditionName::source(), state)).into_iter().collect(),
    }))
}

pub(super) fn end(msn: u64, index: u32) -> Item {
    let start = 60 * (msn.cast_signed() - 1) + 6 * i64::from(index);
    Item::PartEnd(PartEnd {
        msn: MediaSequence(msn),
        index: PartIndex(index),
        start: VideoSlot(start),
        end: VideoSlot(start + 6),
        last: index == 9,
    })
}

pub(super) fn part(msn: u64, index: u32) -> Part {
    let start = 240_000 * (msn.cast_signed() - 1) + 24_000 * i64::from(index);
    Part {
        msn: MediaSequence(msn),
        index: PartIndex(index),
        start: Timestamp::video(start),
        end: Timestamp::video(start + 24_000),
        payload: PartPayload::Media {
            data: Bytes::from_static(b"part").into(),
            independent: index == 0,
            intra: (index == 0).then_some(ByteRange { offset: 36, length: 1000 * msn }),
            init: Arc::new(Init::new(Bytes::from_static(b"init"), "avc1.64001f", None)),
            received: Instant::default(),
        },
    }
}

pub(super) fn source() -> RenditionName {
    RenditionName::source()
}

pub(super) fn gear() -> Gear {
    Gear::new(320, 180, 400, "superfast")
}

/// What a fresh reader of the source sees: `c1` a cut, `p1.0` a part, `g1.0` a gap.
pub(super) fn seen(log: &Arc<StreamLog>) -> Vec<String> {
    seen_of(log, &source())
}

pub(super) fn seen_of(log: &Arc<StreamLog>, rendition: &RenditionName) -> Vec<String> {
    let mut reader = log.read_parts(rendition).unwrap();
    std::iter::from_fn(|| reader.try_next().ok().flatten())
        .map(|item| match item {
            FeedItem::Cut(cut) => format!("c{}", cut.msn),
            FeedItem::Part(part) if matches!(part.payload, PartPayload::Gap) => format!("g{}.{}", part.msn, part.index),
            FeedItem::Part(part) => format!("p{}.{}", part.msn, part.index),
            FeedItem::ClosedBelow(msn) => format!("x{msn}"),
        })
        .collect()
}

#[test]
fn cuts_reach_a_reader_before_the_parts_that_they_rule() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    log.append(Epoch(1), end(1, 0)).unwrap();
    assert_eq!(log.put_part(&source(), turn, part(1, 0)), PutOutcome::Put);
    log.append(Epoch(1), cut(2, false)).unwrap();
    assert_eq!(seen(&log), ["c1", "p1.0", "c2"]);
}

#[test]
fn parts_of_an_older_turn_and_parts_already_there_are_dropped_and_counted() {
    let log = log(6);
    let old = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    log.append(Epoch(1), end(1, 0)).unwrap();
    log.append(Epoch(1), end(1, 1)).unwrap();
    assert_eq!(log.put_part(&source(), old, part(1, 0)), PutOutcome::Put);
    assert_eq!(log.put_part(&source(), old, part(1, 0)), PutOutcome::Dropped);
    let new = log.give_turn(&source()).unwrap();
    assert!(new > old);
    assert_eq!(log.put_part(&source(), old, part(1, 1)), PutOutcome::Dropped);
    assert_eq!(log.put_part(&source(), new, part(1, 1)), PutOutcome::Put);
    assert_eq!(log.counters(), (2, 0));
}

#[test]
fn a_part_left_out_is_a_gap_for_ever() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    (0..3).for_each(|index| log.append(Epoch(1), end(1, index)).unwrap());
    log.put_part(&source(), turn, part(1, 0));
    log.put_part(&source(), turn, part(1, 2));
    assert_eq!(log.put_part(&source(), turn, part(1, 1)), PutOutcome::Dropped);
    assert_eq!(seen(&log), ["c1", "p1.0", "g1.1", "p1.2"]);
}

#[test]
fn a_rendition_that_is_off_goes_on_in_step_with_gaps() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    log.append(Epoch(1), end(1, 0)).unwrap();
    log.put_part(&source(), turn, part(1, 0));
    log.append(Epoch(1), cut(2, true)).unwrap();
    log.append(Epoch(1), end(2, 0)).unwrap();
    assert_eq!(log.put_part(&source(), turn, part(2, 0)), PutOutcome::Dropped);
    assert_eq!(seen(&log), ["c1", "p1.0", "c2", "g2.0"]);
    assert_eq!(log.state().borrow().renditions[0].off.as_deref(), Some("no reason"));
}

#[test]
fn a_window_begins_with_a_whole_segment() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    (0..10).for_each(|index| log.append(Epoch(1), end(1, index)).unwrap());
    assert_eq!(log.put_part(&source(), turn, part(1, 4)), PutOutcome::Dropped);
    log.append(Epoch(1), cut(2, false)).unwrap();
    log.append(Epoch(1), end(2, 0)).unwrap();
    assert_eq!(log.put_part(&source(), turn, part(2, 0)), PutOutcome::Put);
    assert_eq!(seen(&log), ["c2", "p2.0"]);
}

#[test]
fn an_append_of_an_old_epoch_is_refused() {
    let log = log(6);
    log.go_on(&GoingOn { epoch: Epoch(2), cuts: Vec::new(), writable: Vec::new() }).unwrap();
    assert_eq!(log.append(Epoch(1), cut(1, false)), Err(StaleEpoch { current: Epoch(2), found: Epoch(1) }));
}

#[test]
fn the_window_is_bounded_and_a_slow_reader_is_told() {
    let log = log(3);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    log.put_part(&source(), turn, part(1, 0));
    let mut slow = log.read_parts(&source()).unwrap();
    for msn in 2..=9 {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        log.put_part(&source(), turn, part(msn, 0));
    }
    assert_eq!(seen(&log)[0], "c6");
    assert_eq!(slow.try_next().unwrap_err(), ReadError::Lagged);
    assert!(matches!(slow.try_next(), Ok(Some(FeedItem::Cut(cut))) if cut.msn == MediaSequence(6)));
}

#[tokio::test]
async fn a_waiting_reader_is_woken_and_told_of_the_end() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    let mut reader = log.read_parts(&source()).unwrap();
    let reading = tokio::spawn(async move {
        let first = reader.next().await;
        let second = reader.next().await;
        (first.is_ok(), second.is_ok(), reader.next().await.unwrap_err())
    });
    tokio::task::yield_now().await;
    log.put_part(&source(), turn, part(1, 0));
    log.end();
    assert_eq!(reading.await.unwrap(), (true, true, ReadError::Ended));
}

#[test]
fn audio_of_a_worker_is_complete_when_it_covers_the_last_part() {
    let log = log(6);
    let gear = AudioGear { name: RenditionName::audio(), sample_rate: 48_000, channels: 2, bitrate_kbps: 128 };
    log.give_audio_to_worker(gear.clone());
    assert_eq!(log.state().borrow().renditions[1].kind, RenditionKind::AudioGear(gear));
    let name = RenditionName::audio();
    let turn = log.give_turn(&name).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    (0..2).for_each(|index| log.append(Epoch(1), end(1, index)).unwrap());
    assert_eq!((log.covered(&name), log.part_ends(MediaSequence(1)).len()), (None, 2));
    log.put_part(&name, turn, part(1, 0));
    log.end();
    let mut reader = log.read_parts(&name).unwrap();
    (0..2).for_each(|_| assert!(matches!(reader.try_next(), Ok(Some(_)))));
    assert!(matches!(reader.try_next(), Ok(None)), "its last part is still to come");
    log.put_part(&name, turn, part(1, 1));
    assert_eq!(log.covered(&name), Some(Timestamp::video(48_000)));
    assert!(matches!(reader.try_next(), Ok(Some(_))));
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Ended);
}

#[test]
fn sound_is_read_from_any_segment_that_is_kept() {
    let log = log(6);
    (3..=5).for_each(|msn| log.append(Epoch(1), cut(msn, false)).unwrap());
    let first = |msn| match log.read_samples_from(MediaSequence(msn)).try_next() {
        Ok(Some(Item::Cut(cut))) => Some(cut.msn.0),
        _ => None,
    };
    assert_eq!([first(1), first(4), first(5), first(6)], [Some(3), Some(4), Some(5), None]);
    assert_eq!(log.segment_start(MediaSequence(4)), Some(Timestamp::video(720_000)));
}

#[tokio::test]
async fn the_end_comes_after_the_last_part_even_if_that_is_put_later() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    (0..2).for_each(|index| log.append(Epoch(1), end(1, index)).unwrap());
    log.put_part(&source(), turn, part(1, 0));
    log.end();
    let mut reader = log.read_parts(&source()).unwrap();
    (0..2).for_each(|_| assert!(matches!(reader.try_next(), Ok(Some(_)))));
    assert!(matches!(reader.try_next(), Ok(None)), "its last part is still to come");
    log.put_part(&source(), turn, part(1, 1));
    log.complete().await;
    assert!(matches!(reader.try_next(), Ok(Some(_))));
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Ended);
}

#[test]
fn a_rendition_whose_maker_is_gone_ends_when_it_is_given_up() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    (0..2).for_each(|index| log.append(Epoch(1), end(1, index)).unwrap());
    log.put_part(&source(), turn, part(1, 0));
    log.end();
    let mut reader = log.read_parts(&source()).unwrap();
    while let Ok(Some(_)) = reader.try_next() {}
    log.abandon();
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Ended);
}

#[test]
fn a_worker_goes_on_over_a_change_of_publisher() {
    let log = log(6);
    let turn = log.give_turn(&source()).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    log.go_on(&GoingOn { epoch: Epoch(2), cuts: Vec::new(), writable: Vec::new() }).unwrap();
    log.append(Epoch(2), end(1, 0)).unwrap();
    assert_eq!(log.put_part(&source(), turn, part(1, 0)), PutOutcome::Put);
}

pub(super) fn picture(msn: u64, slot: i64, idr: bool) -> Item {
    let sps = Bytes::from_static(&[0x67, 0x42, 0xC0, 0x1E, 0xD9, 0x00, 0xA0, 0x47, 0xFE, 0xC8]);
    let config = headwater_media::AvcConfig::from_parameter_sets(vec![sps], vec![Bytes::from_static(&[0x68, 0xCE])]);
    Item::Video(StampedVideo {
        msn: MediaSequence(msn),
        slot: VideoSlot(slot),
        composition_slots: 0,
        idr,
        recovery: None,
        data: Bytes::from_static(b"x"),
        config: Arc::new(config.unwrap().into()),
        sent: SentTimes::default(),
        received: Instant::default(),
    })
}

#[test]
fn a_new_writer_reads_from_the_segment_of_its_first_missing_part_unless_that_is_long_ago() {
    let log = log(6);
    for msn in 1..=5 {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        // The third segment begins without a keyframe.
        log.append(Epoch(1), picture(msn, 60 * (msn.cast_signed() - 1), msn != 3)).unwrap();
    }
    let first = |msn| match log.read_samples_for(MediaSequence(msn)).try_next() {
        Ok(Some(Item::Cut(cut))) => cut.msn.0,
        other => panic!("{other:?}"),
    };
    assert_eq!([first(5), first(4), first(3), first(2), first(1)], [5, 4, 2, 2, 5]);
}

#[test]
fn samples_that_no_transcoder_reads_are_let_go_of() {
    let with_gear = log(6);
    let gear = known(&with_gear);
    let mut state = SessionState::clone(&with_gear.state().borrow());
    state.renditions = state.renditions.iter().filter(|known| !known.kind.is_encoded()).cloned().collect();
    let log = Arc::new(StreamLog::new(state, Limits::default()));
    let append = |msn: u64| {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        log.append(Epoch(1), picture(msn, 60 * (msn.cast_signed() - 1), true)).unwrap();
    };
    let first = |msn| match log.read_samples_for(MediaSequence(msn)).try_next() {
        Ok(Some(Item::Cut(cut))) => cut.msn.0,
        other => panic!("{other:?}"),
    };
    (1..=5).for_each(append);
    // What is gone is read from the newest keyframe on.
    assert_eq!([first(5), first(4), first(3)], [5, 4, 5]);
    log.add(vec![gear]);
    (6..=7).for_each(append);
    assert_eq!([first(7), first(4), first(3)], [7, 4, 7]);
}

/// Keyframes may be further apart than the ring is long, and gears that begin need one.
#[test]
fn the_last_keyframe_is_kept_however_long_ago_it_came() {
    let log = log(6);
    for msn in 1..=20 {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        log.append(Epoch(1), picture(msn, 60 * (msn.cast_signed() - 1), msn == 3)).unwrap();
    }
    let first = || match log.read_samples().try_next() {
        Ok(Some(Item::Cut(cut))) => cut.msn.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(first(), 3);
    log.append(Epoch(1), cut(21, false)).unwrap();
    log.append(Epoch(1), picture(21, 1200, true)).unwrap();
    assert_eq!(first(), 21);
}

/// where pictures are refreshed bit by bit, decoding begins early enough for those of the segment to be right.
#[test]
fn a_new_writer_reads_from_where_its_pictures_become_right() {
    let log = log(6);
    for msn in 1..=4u64 {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        for number in 0..3 {
            let Item::Video(mut video) = picture(msn, 60 * (msn.cast_signed() - 1) + number, false) else { return };
            video.recovery = (number == 0).then_some(if msn == 3 { 0 } else { 3 });
            log.append(Epoch(1), Item::Video(video)).unwrap();
        }
    }
    let first = |msn| match log.read_samples_for(MediaSequence(msn)).try_next() {
        Ok(Some(Item::Cut(cut))) => cut.msn.0,
        other => panic!("{other:?}"),
    };
    assert_eq!([first(4), first(3), first(2)], [3, 3, 1]);
}

/// a track that comes later.
#[test]
fn renditions_that_are_added_begin_with_their_own_segment() {
    let log = log(6);
    log.append(Epoch(1), cut(1, false)).unwrap();
    log.append(Epoch(1), cut(2, false)).unwrap();
    let name = RenditionName::audio_low();
    let added = Rendition { name: name.clone(), ..known(&log) };
    log.add(vec![added]);
    let turn = log.give_turn(&name).unwrap();
    assert_eq!(log.put_part(&name, turn, part(2, 0)), PutOutcome::Put);
    let mut reader = log.read_parts(&name).unwrap();
    assert!(matches!(reader.try_next(), Ok(Some(FeedItem::Cut(cut))) if cut.msn == MediaSequence(2)));
    assert!(matches!(reader.try_next(), Ok(Some(FeedItem::Part(_)))));
    assert_eq!(log.state().borrow().renditions.len(), 4);
}

/// A log of two segments of which the gear has the first two parts.
fn begun() -> (Arc<StreamLog>, Turn) {
    let log = log(6);
    let turn = log.give_turn(&gear().name).unwrap();
    log.append(Epoch(1), cut(1, false)).unwrap();
    for index in 0..2 {
        log.append(Epoch(1), end(1, index)).unwrap();
        assert_eq!(log.put_part(&gear().name, turn, part(1, index)), PutOutcome::Put);
    }
    (log, turn)
}

fn known(log: &StreamLog) -> Rendition {
    log.state().borrow().renditions.iter().find(|known| known.name == gear().name).unwrap().clone()
}

#[test]
fn a_part_that_is_two_target_durations_behind_is_a_gap() {
    let (log, turn) = begun();
    (2..10).for_each(|index| log.append(Epoch(1), end(1, index)).unwrap());
    // TARGETDURATION is 3 s: 180 slots are 6 s.
    for msn in 2..=4 {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        (0..10).for_each(|index| log.append(Epoch(1), end(msn, index)).unwrap());
    }
    assert_eq!(seen_of(&log, &gear().name)[3..10], ["c2", "c3", "c4", "g1.2", "g1.3", "g1.4", "g1.5"]);
    assert_eq!(log.put_part(&gear().name, turn, part(1, 9)), PutOutcome::Dropped);
    assert_eq!(log.put_part(&gear().name, turn, part(2, 0)), PutOutcome::Put);
    assert_eq!(log.counters(), (1, 8));
}

/// The home knows where its sound has gaps: all of it is taken, and nobody is told to begin with it.
#[test]
fn sound_of_the_home_that_is_off_goes_on_with_what_is_put() {
    let log = log(8);
    let sound = RenditionName::audio();
    let turn = log.give_turn(&sound).unwrap();
    let known = || log.state().borrow().renditions.iter().find(|known| known.name == sound).unwrap().off.clone();
    log.append(Epoch(1), cut(1, false)).unwrap();
    assert_eq!(log.put_part(&sound, turn, part(1, 0)), PutOutcome::Put);
    log.switch(&sound, turn, Some("other sound".into()));
    assert_eq!(known().as_deref(), Some("other sound"));
    assert_eq!(log.put_part(&sound, turn, Part { payload: PartPayload::Gap, ..part(1, 1) }), PutOutcome::Put);
    log.append(Epoch(1), cut(2, false)).unwrap();
    assert_eq!(known().as_deref(), Some("other sound"));
    log.switch(&sound, turn, None);
    assert_eq!(log.put_part(&sound, turn, part(2, 0)), PutOutcome::Put);
    log.append(Epoch(1), cut(3, false)).unwrap();
    assert_eq!(known(), None);
    assert_eq!(seen_of(&log, &sound), ["c1", "p1.0", "g1.1", "c2", "p2.0", "c3"]);
}

#[test]
fn a_rendition_that_was_shed_has_gaps_at_once_and_comes_back_with_a_cut() {
    let (log, turn) = begun();
    log.append(Epoch(1), end(1, 2)).unwrap();
    log.switch(&gear().name, Turn::default(), Some("an old turn".into()));
    assert_eq!(known(&log).off, None);
    log.switch(&gear().name, turn, Some("no room".into()));
    assert_eq!(known(&log).off.as_deref(), Some("no room"));
    assert_eq!(log.put_part(&gear().name, turn, part(1, 2)), PutOutcome::Dropped);
    log.append(Epoch(1), end(1, 3)).unwrap();
    log.append(Epoch(1), cut(2, false)).unwrap();
    log.append(Epoch(1), end(2, 0)).unwrap();
    log.switch(&gear().name, turn, None);
    log.append(Epoch(1), end(2, 1)).unwrap();
    assert_eq!(log.put_part(&gear().name, turn, part(2, 1)), PutOutcome::Dropped);
    log.append(Epoch(1), cut(3, false)).unwrap();
    assert_eq!(known(&log).off, None);
    // The end of a segment's last part comes after the next cut.
    log.append(Epoch(1), end(2, 2)).unwrap();
    assert_eq!(log.put_part(&gear().name, turn, part(2, 2)), PutOutcome::Dropped);
    log.append(Epoch(1), end(3, 0)).unwrap();
    assert_eq!(log.put_part(&gear().name, turn, part(3, 0)), PutOutcome::Put);
    assert_eq!(
        seen_of(&log, &gear().name),
        ["c1", "p1.0", "p1.1", "g1.2", "g1.3", "c2", "g2.0", "g2.1", "c3", "g2.2", "p3.0"]
    );
    let mut samples = log.read_samples_for(MediaSequence(1));
    let cuts: Vec<bool> = std::iter::from_fn(|| samples.try_next().ok().flatten())
        .filter_map(|item| if let Item::Cut(cut) = item { Some(cut.off_reason(&gear().name).is_some()) } else { None })
        .collect();
    assert_eq!(cuts.last(), Some(&false));
}

#[test]
fn the_first_request_wakes_the_ladder_and_only_silence_after_it_lets_it_go_cold() {
    let log = log(6);
    let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
    let mut demand = log.demand();
    assert_eq!(*demand.borrow_and_update(), Demand { waking: 0, since: None });
    log.watched(at(5));
    log.watched(at(9));
    assert_eq!(*demand.borrow_and_update(), Demand { waking: 1, since: Some(at(5)) });
    assert!(!log.cool(at(8)), "somebody asked at 9 s");
    assert!(!demand.has_changed().unwrap());
    assert!(log.cool(at(9)));
    assert!(!log.cool(at(9)), "it is cold already");
    log.watched(at(50));
    assert_eq!(*demand.borrow(), Demand { waking: 2, since: Some(at(50)) });
    assert!(!demand.borrow().is_awake_for(1));
}

#[test]
fn a_gear_that_stops_because_nobody_watches_begins_anew_and_its_old_writer_is_refused() {
    let (log, old) = begun();
    let source_turn = log.give_turn(&source()).unwrap();
    log.put_part(&source(), source_turn, part(1, 0));
    let mut reader = log.read_parts(&gear().name).unwrap();
    let mut source_reader = log.read_parts(&source()).unwrap();
    log.watched(Instant::from_nanos(1));
    assert!(known(&log).begun);
    assert!(log.cool(Instant::from_nanos(1)));
    assert!(!known(&log).begun);
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Cold);
    log.append(Epoch(1), cut(2, false)).unwrap();
    log.append(Epoch(1), end(2, 0)).unwrap();
    assert_eq!(log.put_part(&gear().name, old, part(2, 0)), PutOutcome::Dropped);
    assert_eq!(log.next_part(&gear().name), None);
    let turn = log.give_turn(&gear().name).unwrap();
    assert!(turn > old);
    assert_eq!(log.put_part(&gear().name, turn, part(2, 0)), PutOutcome::Put);
    assert_eq!(seen_of(&log, &gear().name), ["c2", "p2.0"]);
    assert_eq!(seen(&log), ["c1", "p1.0", "c2"], "the source goes on");
    assert!(source_reader.try_next().is_err(), "its readers begin anew with the ladder");
}

/// A log in which the home has made segments 1 to `last` whole, and `parts` parts of the next one.
fn made(last: u64, parts: u32) -> Arc<StreamLog> {
    let log = log(20);
    let turn = log.give_turn(&source()).unwrap();
    for msn in 1..=last + 1 {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        for index in 0..if msn <= last { 10 } else { parts } {
            log.append(Epoch(1), end(msn, index)).unwrap();
            log.put_part(&source(), turn, part(msn, index));
        }
    }
    log
}

#[test]
fn a_ladder_that_wakes_begins_with_the_last_whole_segment_in_every_rendition() {
    let log = made(4, 5);
    assert_eq!(seen(&log).len(), 5 + 45, "nobody has watched, and all is kept");
    log.watched(Instant::from_nanos(1));
    assert_eq!(log.begins(), MediaSequence(4));
    assert_eq!(seen(&log)[0], "c4");
    let turn = log.give_turn(&gear().name).unwrap();
    assert_eq!(log.put_part(&gear().name, turn, part(3, 0)), PutOutcome::Dropped);
    assert_eq!(log.put_part(&gear().name, turn, part(4, 0)), PutOutcome::Put);
    assert_eq!(seen_of(&log, &gear().name), ["c4", "c5", "p4.0"]);
}

#[test]
fn a_ladder_that_wakes_before_the_first_whole_segment_begins_with_the_first() {
    let log = made(0, 5);
    log.watched(Instant::from_nanos(1));
    assert_eq!(log.begins(), MediaSequence(1));
}

#[test]
fn too_much_to_catch_up_with_is_left_out() {
    // 2 s and 3 s are more than one and a half target durations of 3 s.
    let log = made(4, 15);
    log.watched(Instant::from_nanos(1));
    assert_eq!(log.begins(), MediaSequence(5));
}

#[test]
fn names_that_were_given_before_the_ladder_went_cold_are_not_given_again() {
    let log = made(4, 5);
    log.watched(Instant::from_nanos(1));
    let turn = log.give_turn(&gear().name).unwrap();
    for (msn, index) in [(4, 0), (5, 0)] {
        assert_eq!(log.put_part(&gear().name, turn, part(msn, index)), PutOutcome::Put);
    }
    assert!(log.cool(Instant::from_nanos(1)));
    log.watched(Instant::from_nanos(2));
    assert_eq!(log.begins(), MediaSequence(6));
    let turn = log.give_turn(&gear().name).unwrap();
    assert_eq!(log.put_part(&gear().name, turn, part(5, 0)), PutOutcome::Dropped);
    log.append(Epoch(1), cut(6, false)).unwrap();
    assert_eq!(log.put_part(&gear().name, turn, part(6, 0)), PutOutcome::Put);
}

#[test]
fn rates_of_i_frames_are_those_of_parts_that_were_taken() {
    let log = log(8);
    let turn = log.give_turn(&source()).unwrap();
    assert_eq!(log.i_frame_rates(&source()), None);
    for msn in 1..=2 {
        log.append(Epoch(1), cut(msn, false)).unwrap();
        log.put_part(&source(), turn, part(msn, 0));
        // A part of another turn, or one that is there already, counts for nothing.
        log.put_part(&source(), Turn::default(), part(msn, 1));
        log.put_part(&source(), turn, part(msn, 0));
    }
    assert_eq!(log.i_frame_rates(&source()), Some(IFrameRates { average_bps: 6000, peak_bps: 8000 }));
}

#[test]
fn caption_channels_that_were_announced_stay_announced() {
    let channel = |head, code| Channels::of(&[Triplet([head, code, 0x2C])]);
    let log = log(6);
    let state = log.state();
    assert!(state.borrow().captions.is_empty());
    log.announce_captions(channel(0xFC, 0x94));
    log.announce_captions(channel(0xFD, 0x15));
    log.announce_captions(Channels::default());
    assert_eq!(state.borrow().captions.names().collect::<Vec<_>>(), ["CC1", "CC3"]);
}
