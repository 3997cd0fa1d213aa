use headwater_media::FrameRate;
use headwater_segmenter::{Grid, Profile};

use super::*;

/// A session at 30 frames per second in profile `low`, cut at `cuts`.
pub(in crate::claim) fn outline(cuts: Vec<Cut>) -> Arc<Outline> {
    Arc::new(Outline {
        grid: Grid::new(Profile::Low, FrameRate::FPS_30),
        window_segments: 6,
        since: WallTime::default(),
        renditions: Vec::new(),
        audio: None,
        cuts: cuts.into_iter().map(Arc::new).collect(),
    })
}

/// A cut of a session of segments of 2 s.
pub(in crate::claim) fn cut(msn: u64) -> Cut {
    let seconds = i64::try_from(msn).unwrap() * 2;
    Cut {
        msn: MediaSequence(msn),
        start: Timestamp::video(seconds * 120_000),
        discontinuity: 0,
        program_date_time: WallTime { unix_millis: seconds * 1000 },
        kind: CutKind::Media,
        renditions: [].into(),
    }
}

pub(in crate::claim) fn record(reserved: u64, cuts: Vec<Cut>) -> Record {
    Record {
        epoch: Epoch(4),
        session: session(1),
        home: NodeId("one".into()),
        state: RecordState::Live,
        reserved: MediaSequence(reserved),
        revision: 40,
        written: WallTime::default(),
        outline: (!cuts.is_empty()).then(|| outline(cuts)),
    }
}

pub(in crate::claim) fn session(number: u8) -> SessionId {
    SessionId::from_random([number; 10])
}

/// Number, start in ms, count, date in ms, kind.
type Line = (u64, i64, u64, i64, CutKind);

fn lines(record: &Record) -> Vec<Line> {
    let line = |cut: &Arc<Cut>| {
        (cut.msn.0, cut.start.ticks / 120, cut.discontinuity, cut.program_date_time.unix_millis, cut.kind)
    };
    record.outline.as_ref().unwrap().cuts.iter().map(line).collect()
}

const WALL: WallTime = WallTime { unix_millis: 15_000 };

fn by(node: &NodeId) -> Claiming<'_> {
    Claiming { node, fresh: session(2), wall: WALL }
}

fn two() -> NodeId {
    NodeId("two".into())
}

/// The limit is 104 slots of 1/30 s.
#[test]
fn an_unsealed_takeover_closes_what_may_have_been_used_and_goes_on_at_reserved() {
    let taken = unsealed(&record(9, vec![cut(6), cut(7)]), by(&two())).unwrap();
    assert_eq!(
        lines(&taken),
        [
            (6, 12_000, 0, 12_000, CutKind::Media),
            (7, 14_000, 0, 14_000, CutKind::Gap),
            (8, 17_466, 0, 17_467, CutKind::Gap),
            (9, 20_933, 1, 20_933, CutKind::Media),
        ]
    );
    assert_eq!((taken.epoch, taken.reserved, taken.session), (Epoch(5), MediaSequence(11), session(1)));
    assert_eq!((taken.home, taken.state), (two(), RecordState::Live));
}

#[test]
fn the_first_segment_after_a_takeover_is_dated_by_the_wall_clock_when_that_is_later() {
    let two = two();
    let late = Claiming { wall: WallTime { unix_millis: 60_000 }, ..by(&two) };
    let before = record(9, vec![cut(7)]);
    assert_eq!(lines(&unsealed(&before, late).unwrap()).last().unwrap().3, 60_000);
}

#[test]
fn a_gap_that_is_recorded_already_is_not_made_longer() {
    let gap = Cut { kind: CutKind::Gap, ..cut(7) };
    let taken = unsealed(&record(8, vec![cut(6), gap]), by(&two())).unwrap();
    let numbers: Vec<_> = lines(&taken).into_iter().map(|line| (line.0, line.4)).collect();
    assert_eq!(numbers, [(6, CutKind::Media), (7, CutKind::Gap), (8, CutKind::Media)]);
}

#[test]
fn a_session_without_a_recorded_cut_was_never_seen_by_anyone() {
    assert_eq!(unsealed(&record(3, vec![]), by(&two())), None);
    let before = record(3, vec![]);
    let taken = fresh(Some(&before), by(&two()));
    assert_eq!((taken.epoch, taken.session, taken.reserved), (Epoch(5), session(2), MediaSequence(3)));
}

fn seal(cuts: Vec<Cut>, stamped: bool, end_millis: i64) -> Sealed {
    Sealed {
        epoch: Epoch(4),
        home: NodeId("one".into()),
        outline: Some(outline(cuts)),
        stamped,
        end: Timestamp::video(end_millis * 120),
        renditions: Vec::new(),
        by_priority: Vec::new(),
    }
}

#[test]
fn a_sealed_takeover_goes_on_directly_after_the_end() {
    let answer = seal(vec![cut(7), cut(8)], true, 16_500);
    let taken = sealed(&record(9, vec![cut(7)]), &answer, by(&two())).unwrap();
    assert_eq!(lines(&taken)[1..], [(8, 16_000, 0, 16_000, CutKind::Media), (9, 16_500, 1, 16_500, CutKind::Media),]);
    assert_eq!(taken.reserved, MediaSequence(11));
}

#[test]
fn a_cut_that_was_announced_and_never_stamped_keeps_its_number_and_count() {
    let announced = Cut { discontinuity: 1, ..cut(8) };
    let answer = seal(vec![cut(7), announced], false, 16_000);
    let taken = sealed(&record(10, vec![cut(7)]), &answer, by(&two())).unwrap();
    assert_eq!(lines(&taken).last().unwrap(), &(8, 16_000, 1, 16_000, CutKind::Media));
    assert_eq!(taken.reserved, MediaSequence(10));
}

#[test]
fn a_record_keeps_the_cuts_of_the_window_and_some_more() {
    let cuts = (1..=12).map(cut).collect();
    let taken = unsealed(&record(14, cuts), by(&two())).unwrap();
    let numbers: Vec<_> = lines(&taken).into_iter().map(|line| line.0).collect();
    assert_eq!(numbers, (5..=14).collect::<Vec<_>>());
}

#[test]
fn a_session_that_lost_its_home_ends_with_a_gap_where_its_last_segment_may_have_been() {
    let over = ended(&record(9, vec![cut(6), cut(7)]));
    assert_eq!(
        lines(&over),
        [
            (6, 12_000, 0, 12_000, CutKind::Media),
            (7, 14_000, 0, 14_000, CutKind::Gap),
            (8, 17_466, 0, 17_467, CutKind::Gap),
        ]
    );
    assert_eq!((over.state, over.epoch, over.reserved), (RecordState::Ended, Epoch(4), MediaSequence(9)));
    assert_eq!(ended(&record(3, vec![])).outline, None);
}

#[test]
fn the_end_closes_the_last_segment_and_a_cut_that_was_never_stamped_is_the_end() {
    let at = Timestamp::video(15 * 120_000);
    let after = end(&cut(7), true, at);
    assert_eq!((after.msn, after.start, after.kind), (MediaSequence(8), at, CutKind::Gap));
    assert_eq!(after.program_date_time.unix_millis, 15_000);
    let announced = end(&cut(7), false, at);
    assert_eq!(announced, Cut { kind: CutKind::Gap, ..cut(7) });
}
