use headwater_media::{CutKind, PartIndex, WallTime};

use super::super::tests::{cut, end, gear, log, part, picture, seen_of, source};
use super::*;
use crate::log::{PutOutcome, ReadError};

/// A log of the same session, which follows.
fn replica() -> Arc<StreamLog> {
    let home = log(6);
    let state = home.state().borrow().clone();
    Arc::new(StreamLog::replica(SessionState::clone(&state), home.limits))
}

fn cut_of(msn: u64) -> Arc<Cut> {
    let Item::Cut(cut) = cut(msn, false) else { unreachable!() };
    cut
}

fn say(log: &StreamLog, item: FeedItem) -> Result<(), Unannounced> {
    log.mirror(&source(), Mirrored::Item(item))
}

/// Cuts up to `last`, and the first two parts of the last one.
fn told(last: u64) -> Arc<StreamLog> {
    let log = replica();
    for msn in 1..=last {
        log.mirror_cut(Epoch(1), cut_of(msn)).unwrap();
        say(&log, FeedItem::Cut(cut_of(msn))).unwrap();
    }
    (0..2).for_each(|index| say(&log, FeedItem::Part(part(last, index).into())).unwrap());
    log
}

#[test]
fn what_is_said_again_is_passed_over_and_what_is_news_is_not() {
    let log = told(2);
    for msn in 1..=2 {
        say(&log, FeedItem::Cut(cut_of(msn))).unwrap();
    }
    (0..3).for_each(|index| say(&log, FeedItem::Part(part(2, index).into())).unwrap());
    let gap = Cut { kind: CutKind::Gap, ..Cut::clone(&cut_of(2)) };
    (0..2).for_each(|_| say(&log, FeedItem::Cut(gap.clone().into())).unwrap());
    (0..2).for_each(|_| say(&log, FeedItem::ClosedBelow(MediaSequence(3))).unwrap());
    assert_eq!(seen_of(&log, &source()), ["c1", "c2", "p2.0", "p2.1", "p2.2", "c2", "x3"]);
}

/// Invariant 7: what a peer can say does not grow without a limit.
#[test]
fn parts_of_segments_that_were_not_announced_and_too_many_renditions_are_not_kept() {
    let log = told(2);
    let unknown = say(&log, FeedItem::Part(part(3, 0).into())).unwrap_err();
    assert_eq!(unknown, Unannounced { rendition: source(), msn: MediaSequence(3) });
    assert!(log.mirror(&RenditionName::new("other").unwrap(), Mirrored::Cold).is_err());
    log.mirror_part_end(
        Epoch(1),
        match end(3, 0) {
            Item::PartEnd(end) => end,
            _ => unreachable!(),
        },
    )
    .unwrap();
    assert_eq!(log.part_ends(MediaSequence(0)), []);
    for number in 0..2000 {
        let mut state = SessionState::clone(&log.state().borrow());
        let name = RenditionName::new(&format!("r{number}")).unwrap();
        let known = state.renditions[0].clone();
        state.renditions = [crate::Rendition { name, ..known }].into();
        log.mirror_state(state);
    }
    assert_eq!(log.inner().renditions.len(), RENDITIONS_MAX);
}

#[test]
fn nothing_is_decided_here_and_nothing_is_mirrored_once_this_node_is_the_home() {
    let log = told(2);
    assert!(log.append(Epoch(1), cut(3, false)).is_err());
    let turn = log.give_turn(&source()).unwrap();
    assert_eq!(log.put_part(&source(), turn, part(2, 2)), PutOutcome::Dropped);

    log.set_replica(false);
    assert!(log.mirror_cut(Epoch(1), cut_of(3)).is_err());
    say(&log, FeedItem::Part(part(2, 2).into())).unwrap();
    log.mirror_samples(vec![picture(2, 60, true)]);
    log.end_as_recorded(&[]);
    assert_eq!((log.appended(), log.state().borrow().state), (0, State::Live));
    assert_eq!(seen_of(&log, &source()), ["c1", "c2", "p2.0", "p2.1"]);
    log.append(Epoch(1), end(2, 2)).unwrap();
    assert_eq!(log.put_part(&source(), turn, part(2, 2)), PutOutcome::Put);
}

#[test]
fn what_is_read_here_is_wished_and_nothing_else() {
    let log = told(2);
    let mut wishes = log.wishes();
    assert_eq!(log.wished(), Wished::default());
    let parts = log.read_parts(&source()).unwrap();
    assert!(wishes.has_changed().unwrap());
    wishes.mark_unchanged();
    let samples = log.read_samples_for(MediaSequence(2));
    assert!(wishes.has_changed().unwrap());
    let missing = (MediaSequence(2), PartIndex(2));
    let expected = Wished { renditions: vec![(source(), missing)], samples: Some(MediaSequence(1)) };
    assert_eq!(log.wished(), expected);
    drop((parts, samples));
    assert_eq!(log.wished(), Wished::default());
}

#[test]
fn a_reader_of_samples_begins_when_there_are_some() {
    let log = replica();
    let mut reader = log.read_samples_for(MediaSequence(2));
    assert_eq!(reader.try_next().map(|item| item.is_some()), Ok(false));
    log.move_samples_on();
    assert_eq!(reader.try_next().map(|item| item.is_some()), Ok(false), "nothing was read that could be missed");
    log.mirror_samples(vec![cut(1, false), picture(1, 0, true), cut(2, false), picture(2, 60, true)]);
    assert!(matches!(reader.try_next(), Ok(Some(Item::Cut(cut))) if cut.msn == MediaSequence(2)));
    log.move_samples_on();
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Lagged);
}

#[test]
fn readers_of_what_is_not_followed_any_more_begin_anew() {
    let log = told(2);
    let mut reader = log.read_parts(&source()).unwrap();
    log.mirror(&source(), Mirrored::Cold).unwrap();
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Cold);
    assert_eq!(log.wished(), Wished::default(), "one that is at its end wishes nothing");
    let mut reader = log.read_parts(&source()).unwrap();
    assert_eq!(log.wished().renditions, [(source(), (MediaSequence(0), PartIndex(0)))]);
    log.retire();
    assert_eq!(reader.try_next().unwrap_err(), ReadError::Cold);
    assert_eq!(log.read_parts(&source()).unwrap().try_next().unwrap_err(), ReadError::Cold);
    assert_eq!(log.read_samples().try_next().unwrap_err(), ReadError::Ended);
}

/// Who asks for a playlist is held from the first moment, and the ladder's wakings are the home's to count.
#[test]
fn who_watches_is_awaited_until_the_home_says_so() {
    let log = replica();
    let demand = log.demand();
    let at = |seconds: u64| Instant::from_millis(1000 * seconds);
    log.watched(at(5));
    assert_eq!((demand.borrow().waking, demand.borrow().since), (0, Some(at(5))));
    // What the home said before it heard of it.
    log.mirror_demand(0, false, MediaSequence(0), at(6));
    assert_eq!(demand.borrow().since, Some(at(5)));
    log.mirror_demand(1, true, MediaSequence(2), at(7));
    assert_eq!((demand.borrow().waking, demand.borrow().since, log.begins()), (1, Some(at(5)), MediaSequence(2)));
    log.mirror_demand(1, false, MediaSequence(2), at(8));
    assert_eq!((demand.borrow().waking, demand.borrow().since), (1, None));
    log.mirror_demand(2, true, MediaSequence(3), at(9));
    assert_eq!((demand.borrow().waking, demand.borrow().since), (2, Some(at(9))));
}

/// Architecture 8, end: with the recorded cuts, or without when nobody knows them.
#[test]
fn a_session_ends_as_it_is_recorded() {
    let gap = |msn| Arc::new(Cut { kind: CutKind::Gap, ..Cut::clone(&cut_of(msn)) });
    for (cuts, expected) in [
        (vec![cut_of(1), cut_of(2), gap(3)], ["c1", "c2", "p2.0", "p2.1", "c3", "x3"].as_slice()),
        (Vec::new(), ["c1", "c2", "p2.0", "p2.1", "c2"].as_slice()),
    ] {
        let log = told(2);
        let mut reader = log.read_parts(&source()).unwrap();
        let mut gears = log.read_parts(&gear().name).unwrap();
        log.end_as_recorded(&cuts);
        assert_eq!(seen_of(&log, &source()), expected);
        while reader.try_next().is_ok() {}
        assert_eq!(reader.try_next().unwrap_err(), ReadError::Ended);
        assert_eq!(gears.try_next().unwrap_err(), ReadError::Ended);
        assert_eq!(log.state().borrow().state, State::Ended);
    }
}

/// A follower of a home hears of each cut and part end once, and of another way to go on by a new snapshot.
#[test]
fn a_follower_has_the_timeline_and_is_told_when_it_goes_on_otherwise() {
    let home = log(6);
    home.append(Epoch(1), cut(1, false)).unwrap();
    let (snapshot, mut follower) = home.follow();
    assert_eq!((snapshot.cuts.len(), snapshot.first, snapshot.epoch), (1, MediaSequence(1), Epoch(1)));
    home.append(Epoch(1), picture(1, 0, true)).unwrap();
    home.append(Epoch(1), end(1, 0)).unwrap();
    assert!(matches!(follower.try_next(), Ok(Some(Item::PartEnd(_)))));
    assert!(matches!(follower.try_next(), Ok(None)));
    let date = WallTime { unix_millis: 60_000 };
    let next = Arc::new(Cut { discontinuity: 1, program_date_time: date, ..Cut::clone(&cut_of(2)) });
    home.go_on(&GoingOn { epoch: Epoch(2), cuts: vec![cut_of(1), next], writable: Vec::new() }).unwrap();
    assert_eq!(follower.try_next().unwrap_err(), ReadError::Lagged);
    let (snapshot, _) = home.follow();
    assert_eq!((snapshot.cuts.len(), snapshot.first, snapshot.epoch), (2, MediaSequence(2), Epoch(2)));
}
