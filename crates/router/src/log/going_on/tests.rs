use headwater_hls::{Config, MediaPlaylist, Window, check};
use headwater_media::{Instant, PartPayload, SessionId, TrackKind, Turn, WallTime};

use super::super::tests::{cut, end, gear, log, part, picture, seen, seen_of, source};
use super::*;
use crate::claim::Sealed;
use crate::claim::takeover::{self, Claiming};
use crate::log::{Item, PartReader, PutOutcome, ReadError};
use crate::{NodeId, Outline, Record, RecordState};

/// A reader of the source and its playlist, as an edge has them.
struct Player {
    reader: PartReader,
    window: Window,
    playlist: MediaPlaylist,
}

impl Player {
    fn new(log: &Arc<StreamLog>) -> Self {
        Self::of(log, &source())
    }

    fn of(log: &Arc<StreamLog>, name: &RenditionName) -> Self {
        let session = log.session();
        let config = Config {
            kind: TrackKind::Video,
            target_duration: session.grid.target_duration,
            part_target: session.grid.part_target,
            segments: 6,
            preload_hints: true,
            independent_segments: true,
        };
        let mut window = Window::new(config, Vec::new());
        if let Some(standing) = log.stands_still(name) {
            window.begin_with_gap(&standing.cut, standing.end);
        }
        let playlist = window.playlist();
        Self { reader: log.read_parts(name).unwrap(), window, playlist }
    }

    /// Reads what there is, and checks that the playlist only went on: `3` a segment, `3~` one that is a gap, `3!` one after
    /// a discontinuity, `3+2` the open one with its parts.
    fn read(&mut self) -> String {
        while let Some(item) = self.reader.try_next().expect("the reader survives") {
            match item {
                FeedItem::Cut(cut) => self.window.push_cut(&cut).unwrap(),
                FeedItem::Part(part) => _ = self.window.push_part(&part),
                FeedItem::ClosedBelow(msn) => self.window.close_below(msn),
            }
            if self.window.is_empty() {
                // Players wait.
                continue;
            }
            let playlist = self.window.playlist();
            assert_eq!(check::successor(&self.playlist, &playlist), [], "invariant 3");
            assert_eq!(check::playlist(&playlist), []);
            self.playlist = playlist;
        }
        let mark = |discontinuity: bool| if discontinuity { "!" } else { "" };
        let complete = (self.playlist.media_sequence..).zip(&self.playlist.segments).map(|(msn, segment)| {
            format!("{msn}{}{}", mark(segment.lead.discontinuity), if segment.gap { "~" } else { "" })
        });
        let open = &self.playlist.open;
        let msn = self.playlist.media_sequence + self.playlist.segments.len() as u64;
        let open = (!open.parts.is_empty()).then(|| format!("{msn}{}+{}", mark(open.discontinuity), open.parts.len()));
        complete.chain(open).collect::<Vec<_>>().join(" ")
    }
}

/// Stamps and makes whole segments of the source; of the last one `parts` parts. Answers with the turn.
fn make(log: &StreamLog, epoch: u64, segments: std::ops::RangeInclusive<u64>, parts: u32) -> Turn {
    let turn = log.give_turn(&source()).unwrap();
    for msn in segments.clone() {
        log.append(Epoch(epoch), cut(msn, false)).unwrap();
        log.append(Epoch(epoch), picture(msn, 60 * (msn.cast_signed() - 1), true)).unwrap();
        for index in 0..if msn == *segments.end() { parts } else { 10 } {
            log.append(Epoch(epoch), end(msn, index)).unwrap();
            assert_eq!(log.put_part(&source(), turn, part(msn, index)), PutOutcome::Put);
        }
    }
    turn
}

/// The record of the log's session, with cuts up to `last`.
fn record(log: &StreamLog, last: u64) -> Record {
    let cuts = (1..=last).map(|msn| match cut(msn, false) {
        Item::Cut(cut) => cut,
        _ => unreachable!(),
    });
    let state = log.state().borrow().clone();
    Record {
        epoch: state.epoch,
        session: state.session.id,
        home: NodeId("one".into()),
        state: RecordState::Live,
        reserved: MediaSequence(last + 2),
        revision: 1,
        written: WallTime::default(),
        outline: Some(Arc::new(Outline::new(&state, None, cuts.collect()))),
    }
}

fn by(node: &NodeId) -> Claiming<'_> {
    Claiming { node, fresh: SessionId::from_random([9; 10]), wall: WallTime { unix_millis: 60_000 } }
}

fn unsealed(before: &Record) -> Claimed {
    let record = takeover::unsealed(before, by(&NodeId("two".into()))).unwrap();
    Claimed { record, base: Base::Unsealed }
}

/// The claim of a log that seals itself after two parts of segment 3.
fn sealed(log: &StreamLog) -> Claimed {
    let before = record(log, 3);
    let renditions = log.seal();
    let answer = Arc::new(Sealed {
        epoch: before.epoch,
        home: before.home.clone(),
        outline: before.outline.clone(),
        stamped: true,
        end: Timestamp::video(480_000 + 48_000),
        renditions,
        by_priority: Vec::new(),
    });
    let record = takeover::sealed(&before, &answer, by(&NodeId("two".into()))).unwrap();
    Claimed { record, base: Base::Sealed(answer) }
}

/// The first sample and part of the home of a claim.
fn first_part(log: &StreamLog, claimed: &Claimed) -> Part {
    let first = claimed.record.outline.as_ref().unwrap().cuts.last().unwrap().clone();
    let later =
        Cut { program_date_time: first.program_date_time.plus(Timestamp::video(120_000)), ..Cut::clone(&first) };
    log.append(claimed.record.epoch, Item::Cut(later.into())).unwrap();
    let slot = first.start.ticks / 4000;
    let (start, end) = (headwater_media::VideoSlot(slot), headwater_media::VideoSlot(slot + 6));
    let ends = headwater_media::PartEnd { msn: first.msn, index: PartIndex(0), start, end, last: false };
    log.append(claimed.record.epoch, Item::PartEnd(ends)).unwrap();
    let end = Timestamp::video(first.start.ticks + 24_000);
    Part { start: first.start, end, ..part(first.msn.0, 0) }
}

/// Architecture 8, unsealed takeover, seen by the readers of a node that had followed the lost home, or been it.
#[test]
fn a_log_whose_home_was_lost_goes_on_above_the_gaps_and_its_readers_survive() {
    let log = log(6);
    let turn = make(&log, 1, 1..=4, 2);
    let gear_turn = log.give_turn(&gear().name).unwrap();
    (0..10).for_each(|index| _ = log.put_part(&gear().name, gear_turn, part(1, index)));
    (0..5).for_each(|index| _ = log.put_part(&gear().name, gear_turn, part(2, index)));
    let (mut player, mut gear_player) = (Player::new(&log), Player::of(&log, &gear().name));
    assert_eq!((player.read(), gear_player.read()), ("1 2 3 4+2".into(), "1 2+5".into()));
    let mut samples = log.read_samples();
    while samples.try_next().unwrap().is_some() {}

    // The cut of 4 had not been recorded: 3 and 4 are gaps, wherever somebody has them.
    let claimed = unsealed(&record(&log, 3));
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    assert_eq!(log.state().borrow().epoch, Epoch(2));
    assert_eq!((player.read(), gear_player.read()), ("1 2 3 4~".into(), "1 2~ 3~ 4~".into()));
    assert!(log.append(Epoch(1), end(4, 2)).is_err());
    for at in [(4, 2), (3, 0)] {
        assert_eq!(log.put_part(&source(), turn, part(at.0, at.1)), PutOutcome::Dropped);
    }
    assert_eq!(log.put_part(&gear().name, gear_turn, part(2, 5)), PutOutcome::Dropped);

    let part = first_part(&log, &claimed);
    assert_eq!(log.put_part(&source(), turn, part.clone()), PutOutcome::Put);
    assert_eq!(log.put_part(&gear().name, gear_turn, part), PutOutcome::Put);
    assert_eq!((player.read(), gear_player.read()), ("1 2 3 4~ 5!+1".into(), "1 2~ 3~ 4~ 5!+1".into()));
    // Who begins now is told the same.
    assert_eq!(Player::of(&log, &gear().name).read(), "1 2~ 3~ 4~ 5!+1");
    // A worker is told that what it was at is lost, and goes on with the new home's first segment.
    assert_eq!(samples.try_next().unwrap_err(), ReadError::Lagged);
    assert!(matches!(samples.try_next(), Ok(Some(Item::Cut(cut))) if cut.msn == MediaSequence(5)));
}

/// A restarted server, or a node that takes over a stream that it never saw.
#[test]
fn a_log_of_which_nothing_is_known_stands_still_with_the_last_gap_until_a_rendition_has_a_whole_segment() {
    let logs = log(6);
    let claimed = unsealed(&record(&logs, 3));
    let log = log(6);
    let standing = GoingOn { epoch: Epoch(1), ..GoingOn::from(&claimed) };
    log.go_on(&standing).unwrap();
    let mut player = Player::new(&log);
    assert_eq!((player.read(), seen(&log)), ("4~".into(), vec!["c4".into(), "c5".into()]));
    assert_eq!(log.begins(), MediaSequence(0));

    // The same again, now as its home.
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    assert_eq!(player.read(), "4~");
    let turn = log.give_turn(&source()).unwrap();
    let part = first_part(&log, &claimed);
    assert!(log.stands_still(&source()).is_some());
    assert_eq!(log.put_part(&source(), turn, part), PutOutcome::Put);
    assert!(log.stands_still(&source()).is_some() && log.stands_still(&gear().name).is_some());
    assert_eq!((player.read(), Player::new(&log).read()), ("4~ 5!+1".into(), "4~ 5!+1".into()));
    // Nothing is made of a number that is a gap, and nothing begins with it.
    let gear_turn = log.give_turn(&gear().name).unwrap();
    assert_eq!(log.put_part(&gear().name, gear_turn, super::super::tests::part(4, 0)), PutOutcome::Dropped);
    log.watched(Instant::from_millis(1));
    assert_eq!(log.begins(), MediaSequence(5));
}

#[test]
fn a_home_that_is_lost_before_its_first_sample_leaves_more_gaps() {
    let other = log(6);
    let first = unsealed(&record(&other, 3));
    let log = log(6);
    log.go_on(&GoingOn::from(&first)).unwrap();
    let mut player = Player::new(&log);
    assert_eq!(player.read(), "4~");
    let second = unsealed(&first.record);
    log.go_on(&GoingOn::from(&second)).unwrap();
    assert_eq!((player.read(), Player::new(&log).read()), ("4~ 5!~ 6~".into(), "6~".into()));
    let turn = log.give_turn(&source()).unwrap();
    let part = first_part(&log, &second);
    assert_eq!(log.put_part(&source(), turn, part), PutOutcome::Put);
    assert_eq!((player.read(), Player::new(&log).read()), ("4~ 5!~ 6~ 7!+1".into(), "6~ 7!+1".into()));
}

/// Sealed takeover by a newcomer on the same node: workers go on with what they are at.
#[test]
fn a_sealed_log_takes_nothing_until_it_goes_on_and_then_late_parts_too() {
    let log = log(6);
    let turn = make(&log, 1, 1..=3, 2);
    let gear_turn = log.give_turn(&gear().name).unwrap();
    (0..2).for_each(|msn| (0..10).for_each(|index| _ = log.put_part(&gear().name, gear_turn, part(msn + 1, index))));
    let mut player = Player::of(&log, &gear().name);
    assert_eq!(player.read(), "1 2");
    let claimed = sealed(&log);
    assert_eq!(log.put_part(&gear().name, gear_turn, part(3, 0)), PutOutcome::Dropped);
    log.keep_parts();
    assert_eq!(log.put_part(&gear().name, gear_turn, part(3, 0)), PutOutcome::Put);
    assert_eq!(player.read(), "1 2", "it waits");
    assert!(log.append(Epoch(1), end(3, 2)).is_err());
    let Base::Sealed(answer) = &claimed.base else { unreachable!() };
    let missing: Vec<_> = answer.renditions.iter().map(|known| (known.missing.0.0, known.missing.1.0)).collect();
    assert_eq!(missing, [(3, 2), (1, 0), (2, 10)], "the source, audio that has not begun, the gear");

    log.go_on(&GoingOn::from(&claimed)).unwrap();
    let mut source_player = Player::new(&log);
    assert_eq!(source_player.read(), "1 2 3", "its end is known");
    let mut samples = log.read_samples();
    while samples.try_next().unwrap().is_some() {}
    assert_eq!(player.read(), "1 2 3+1");
    let last = part(3, 1);
    let part = first_part(&log, &claimed);
    assert_eq!(log.put_part(&source(), turn, part.clone()), PutOutcome::Put);
    assert_eq!(log.put_part(&gear().name, gear_turn, last), PutOutcome::Put);
    assert_eq!(log.put_part(&gear().name, gear_turn, part), PutOutcome::Put);
    assert_eq!((source_player.read(), player.read()), ("1 2 3 4!+1".into(), "1 2 3 4!+1".into()));
    assert!(
        matches!(samples.try_next(), Ok(Some(Item::Cut(cut))) if cut.msn == MediaSequence(4)),
        "it was not disturbed"
    );
}

/// Another node goes on: what came after the seal is nobody's.
#[test]
fn parts_that_wait_in_a_sealed_log_are_dropped_when_another_node_goes_on() {
    let log = log(6);
    let turn = make(&log, 1, 1..=3, 2);
    let claimed = sealed(&log);
    assert!(!log.takes(&source(), turn));
    log.keep_parts();
    assert!(log.takes(&source(), turn));
    for index in 2..300 {
        log.put_part(&source(), turn, part(3, index));
    }
    assert!(!log.takes(&source(), turn), "there is a limit");
    log.set_replica(true);
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    assert_eq!(Player::new(&log).read(), "1 2 3");
    assert!(!log.takes(&source(), turn));
}

/// Architecture 8: a stopped process runs no timers, and must see how late it is when it wakes.
#[test]
fn a_home_whose_lease_is_over_takes_no_part() {
    struct Now(std::sync::Mutex<Instant>);
    impl Clock for Now {
        fn now(&self) -> Instant {
            *self.0.lock().unwrap()
        }
        fn wall(&self) -> WallTime {
            WallTime::default()
        }
    }
    let log = log(6);
    let turn = make(&log, 1, 1..=1, 2);
    let clock = Arc::new(Now(Instant::default().into()));
    let mut lease = Lease::default();
    lease.kept_alive(Instant::default());
    log.hold_by(watch::Sender::new(lease).subscribe(), clock.clone());
    assert_eq!(log.put_part(&source(), turn, part(1, 2)), PutOutcome::Put);
    *clock.0.lock().unwrap() = Instant::from_millis(3000);
    assert_eq!(log.put_part(&source(), turn, part(1, 3)), PutOutcome::Dropped);
}

/// What a node fetches from a sealed home.
fn fetched(log: &Arc<StreamLog>, name: &RenditionName) -> Vec<Arc<Part>> {
    let mut reader = log.read_parts(name).unwrap();
    let items = std::iter::from_fn(|| reader.try_next().ok().flatten());
    items.filter_map(|item| if let FeedItem::Part(part) = item { Some(part) } else { None }).collect()
}

fn missing(claimed: &Claimed, name: &RenditionName) -> (MediaSequence, PartIndex) {
    let Base::Sealed(answer) = &claimed.base else { unreachable!() };
    answer.renditions.iter().find(|known| known.name == *name).unwrap().missing
}

#[test]
fn parts_of_a_sealed_home_elsewhere_are_put_before_the_first_own_one() {
    let old = log(6);
    make(&old, 1, 1..=3, 2);
    let gear_turn = old.give_turn(&gear().name).unwrap();
    (0..10).for_each(|index| _ = old.put_part(&gear().name, gear_turn, part(2, index)));
    let claimed = sealed(&old);
    let log = log(6);
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    assert!(log.stands_still(&source()).is_none() && seen(&log).is_empty());
    for name in [source(), gear().name] {
        log.restore(&name, &fetched(&old, &name), missing(&claimed, &name));
    }
    let known = log.state().borrow().renditions.iter().find(|known| known.name == source()).cloned().unwrap();
    assert!(known.is_listed());
    let (mut player, mut gear_player) = (Player::new(&log), Player::of(&log, &gear().name));
    assert_eq!((player.read(), gear_player.read()), ("1 2 3".into(), "2".into()));
    let turn = log.give_turn(&source()).unwrap();
    let gear_turn = log.give_turn(&gear().name).unwrap();
    let part = first_part(&log, &claimed);
    assert_eq!(log.put_part(&source(), turn, part.clone()), PutOutcome::Put);
    // The gear's worker goes on with the last segment of the home before.
    (0..2).for_each(|index| {
        assert_eq!(log.put_part(&gear().name, gear_turn, super::super::tests::part(3, index)), PutOutcome::Put)
    });
    assert_eq!(log.put_part(&gear().name, gear_turn, part), PutOutcome::Put);
    assert_eq!((player.read(), gear_player.read()), ("1 2 3 4!+1".into(), "2 3 4!+1".into()));
}

#[test]
fn what_was_not_fetched_of_a_sealed_home_is_a_gap_for_ever() {
    let old = log(6);
    make(&old, 1, 1..=3, 2);
    let claimed = sealed(&old);
    // This node had followed the other one, up to some part of segment 2.
    let log = log(6);
    let turn = make(&log, 1, 1..=2, 4);
    let mut player = Player::new(&log);
    assert_eq!(player.read(), "1 2+4");
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    assert_eq!(player.read(), "1 2+4", "it may still be fetched");
    log.restore(&source(), &fetched(&old, &source())[..16], missing(&claimed, &source()));
    assert_eq!(player.read(), "1 2~ 3~");
    assert_eq!(log.put_part(&source(), turn, part(2, 6)), PutOutcome::Dropped);
    let part = first_part(&log, &claimed);
    assert_eq!(log.put_part(&source(), turn, part), PutOutcome::Put);
    assert_eq!((player.read(), Player::new(&log).read()), ("1 2~ 3~ 4!+1".into(), "1 2~ 3~ 4!+1".into()));
}

#[test]
fn a_node_that_followed_a_sealed_home_fetches_only_what_it_lacks() {
    let old = log(6);
    make(&old, 1, 1..=3, 2);
    let claimed = sealed(&old);
    let log = log(6);
    make(&log, 1, 1..=2, 4);
    let mut player = Player::new(&log);
    player.read();
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    log.restore(&source(), &fetched(&old, &source()), missing(&claimed, &source()));
    assert_eq!(player.read(), "1 2 3");
    assert_eq!(fetched(&log, &source()).len(), 22);
}

#[test]
fn an_older_epoch_changes_nothing_and_a_gap_stays_one() {
    let log = log(6);
    make(&log, 1, 1..=3, 2);
    let before = record(&log, 3);
    let claimed = unsealed(&before);
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    let mut player = Player::new(&log);
    assert_eq!(player.read(), "1 2 3~ 4~");
    let old = GoingOn { epoch: Epoch(1), cuts: before.outline.unwrap().cuts.clone(), writable: Vec::new() };
    assert_eq!(log.go_on(&old), Err(StaleEpoch { current: Epoch(2), found: Epoch(1) }));
    // A home that says again what it said before, and one that knows nothing of the gap.
    log.go_on(&GoingOn::from(&claimed)).unwrap();
    log.go_on(&GoingOn { epoch: Epoch(3), ..old }).unwrap();
    assert_eq!(player.read(), "1 2 3~ 4~");
    let turn = log.give_turn(&source()).unwrap();
    assert_eq!(log.put_part(&source(), turn, part(3, 2)), PutOutcome::Dropped);
}

/// A node that was cut off for longer than the window.
#[test]
fn a_log_that_lost_the_connection_of_the_timeline_goes_on_with_the_first_cut_that_there_is() {
    let log = log(6);
    make(&log, 1, 1..=2, 4);
    let mut player = Player::new(&log);
    player.read();
    let cuts = (9..=12).map(|msn| match cut(msn, false) {
        Item::Cut(cut) => cut,
        _ => unreachable!(),
    });
    let writable = vec![(source(), MediaSequence(11))];
    log.go_on(&GoingOn { epoch: Epoch(2), cuts: cuts.collect(), writable }).unwrap();
    let turn = log.give_turn(&source()).unwrap();
    (0..10).for_each(|index| assert_eq!(log.put_part(&source(), turn, part(11, index)), PutOutcome::Put));
    assert_eq!(player.read(), "11");
    assert_eq!(seen_of(&log, &source())[0], "c9");
    assert!(matches!(fetched(&log, &source())[0].payload, PartPayload::Media { .. }));
}
