use headwater_media::Timestamp;

use super::super::takeover;
use super::super::takeover::tests::{cut, outline, record};
use super::*;
use crate::{NodeId, Record};

const WAITS: Waits = Waits { reconnect: Duration::from_secs(60), clean_end: Duration::from_secs(5) };

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn lease(until_millis: u64) -> Lease {
    let mut lease = Lease::default();
    lease.kept_alive(at(until_millis - 3000));
    lease
}

/// A home of epoch 4 since 0 ms, with cut 7 recorded and 9 as the first number that is not reserved; its lease is long.
fn holder() -> Holder {
    let claimed = Claimed { record: record(9, vec![cut(7)]), base: Base::Unsealed };
    Holder::new(at(0), &claimed, lease(1_000_000), 0, WAITS)
}

fn written(holder: &mut Holder) -> (RequestId, u64, Record) {
    match holder.poll_request() {
        Some((id, RegistryRequest::Write { expected, record })) => (id, expected, record),
        other => panic!("{other:?}"),
    }
}

fn asked(priority: i32) -> Yield {
    Yield { epoch: Epoch(4), priority }
}

fn replies(holder: &mut Holder) -> Vec<(YieldId, PeerReply)> {
    std::iter::from_fn(|| holder.poll_reply()).collect()
}

fn seal(holder: &mut Holder, now: Instant) {
    let events: Vec<_> = std::iter::from_fn(|| holder.poll_event()).collect();
    assert_eq!(events, [Event::Seal]);
    holder.handle_sealed(
        now,
        Sealed {
            epoch: Epoch(4),
            home: NodeId("one".into()),
            outline: Some(outline(vec![cut(7)])),
            stamped: true,
            end: Timestamp::video(0),
            renditions: Vec::new(),
            by_priority: Vec::new(),
        },
    );
}

#[test]
fn a_number_is_reserved_when_the_write_is_acknowledged_and_not_before() {
    let mut holder = holder();
    holder.handle_cut(at(10), outline(vec![cut(7), cut(8)]));
    let (id, expected, record) = written(&mut holder);
    assert_eq!((expected, record.reserved), (40, MediaSequence(10)));
    assert!(holder.may_stamp(MediaSequence(8)) && !holder.may_stamp(MediaSequence(9)));
    holder.handle_reply(at(20), id, RegistryReply::Written { revision: 41 });
    assert_eq!(holder.poll_event(), Some(Event::Acknowledged));
    assert!(holder.may_stamp(MediaSequence(9)) && !holder.may_stamp(MediaSequence(10)));
}

#[test]
fn a_cut_with_a_discontinuity_leaves_when_it_is_recorded_and_others_at_once() {
    let mut holder = holder();
    let joined = cut(8);
    let broken = Cut { discontinuity: 1, ..cut(8) };
    assert!(holder.may_leave(Some(&cut(7)), &joined));
    assert!(!holder.may_leave(Some(&cut(7)), &broken));
    assert!(!holder.may_leave(None, &joined));
    holder.handle_cut(at(10), outline(vec![cut(7), broken.clone()]));
    let (id, ..) = written(&mut holder);
    holder.handle_reply(at(20), id, RegistryReply::Written { revision: 41 });
    assert!(holder.may_leave(Some(&cut(7)), &broken));
}

#[test]
fn one_write_is_on_its_way_and_the_next_carries_the_newest_state() {
    let mut holder = holder();
    holder.handle_cut(at(10), outline(vec![cut(7), cut(8)]));
    let (id, ..) = written(&mut holder);
    holder.handle_cut(at(20), outline(vec![cut(7), cut(8), cut(9)]));
    holder.handle_cut(at(30), outline(vec![cut(7), cut(8), cut(9), cut(10)]));
    assert_eq!(holder.poll_request(), None);
    holder.handle_reply(at(40), id, RegistryReply::Written { revision: 41 });
    let (_, expected, record) = written(&mut holder);
    assert_eq!((expected, record.reserved), (41, MediaSequence(12)));
}

/// The reply was lost, or comes after a second: the record says what became of the write.
#[test]
fn a_write_of_unknown_outcome_is_read_back_and_its_revision_adopted() {
    let mut holder = holder();
    holder.handle_cut(at(10), outline(vec![cut(7), cut(8)]));
    let (late, _, mut record) = written(&mut holder);
    assert!(holder.poll_timeout() <= Some(at(1010)));
    holder.handle_media(at(1000));
    holder.handle_timeout(at(1010));
    let Some((id, RegistryRequest::Read)) = holder.poll_request() else { panic!("it is read back") };
    holder.handle_reply(at(1020), late, RegistryReply::Conflict);
    record.revision = 41;
    holder.handle_reply(at(1030), id, RegistryReply::Record { record: Some(record), home_lives: true });
    assert!(holder.may_stamp(MediaSequence(9)));
    holder.handle_cut(at(1040), outline(vec![cut(7), cut(8), cut(9)]));
    assert_eq!(written(&mut holder).1, 41);
}

/// The registry is full: what is reserved can be used, and the write is tried again if the stream is still this home's.
#[test]
fn a_refused_write_is_tried_again() {
    let mut holder = holder();
    holder.handle_cut(at(10), outline(vec![cut(7), cut(8)]));
    let (id, ..) = written(&mut holder);
    holder.handle_reply(at(20), id, RegistryReply::Refused);
    assert_eq!(holder.poll_request(), None);
    holder.handle_timeout(at(270));
    let Some((id, RegistryRequest::Read)) = holder.poll_request() else { panic!("it looks first") };
    let stored = record(9, vec![cut(7)]);
    holder.handle_reply(at(275), id, RegistryReply::Record { record: Some(stored), home_lives: true });
    assert_eq!(written(&mut holder).2.reserved, MediaSequence(10));
    assert_eq!(holder.may_append(at(280)), Ok(()));
}

#[test]
fn a_record_of_another_epoch_or_home_stops_it() {
    for change in [|record: &mut Record| record.epoch = Epoch(5), |record: &mut Record| record.home.0.push('x')] {
        let mut holder = holder();
        holder.handle_cut(at(10), outline(vec![cut(7), cut(8)]));
        let (id, _, mut record) = written(&mut holder);
        change(&mut record);
        let current = record.epoch;
        holder.handle_reply(at(20), id, RegistryReply::Conflict);
        let Some((id, RegistryRequest::Read)) = holder.poll_request() else { panic!("it looks why") };
        holder.handle_reply(at(30), id, RegistryReply::Record { record: Some(record), home_lives: true });
        assert_eq!(holder.poll_event(), Some(Event::Stopped(Stop::Overtaken { current })));
        assert_eq!(holder.may_append(at(40)), Err(Stop::Overtaken { current }.into()));
    }
}

/// A stopped process runs no timers: the next append sees that it is late.
#[test]
fn an_append_after_the_lease_is_refused_for_good() {
    let mut holder = holder();
    holder.handle_lease(at(10), lease(3010));
    assert_eq!(holder.may_append(at(3009)), Ok(()));
    assert_eq!(holder.may_append(at(3010)), Err(Stop::LeaseOver.into()));
    holder.handle_lease(at(3020), lease(9000));
    assert_eq!(holder.may_append(at(3030)), Err(Stop::LeaseOver.into()));
    assert_eq!(holder.poll_event(), Some(Event::Stopped(Stop::LeaseOver)));
    holder.handle_yield(at(3040), YieldId(1), asked(9));
    assert_eq!(replies(&mut holder), [(YieldId(1), PeerReply::NotHeld)]);
}

#[test]
fn a_newcomer_is_refused_when_media_comes_after_it_asked() {
    let mut holder = holder();
    holder.handle_media(at(900));
    holder.handle_yield(at(1000), YieldId(1), asked(0));
    assert_eq!(replies(&mut holder), []);
    holder.handle_media(at(1100));
    assert_eq!(replies(&mut holder), [(YieldId(1), PeerReply::Refused)]);
}

#[test]
fn a_silent_home_seals_itself_for_good_and_then_gives_up() {
    let mut holder = holder();
    holder.handle_yield(at(1000), YieldId(1), asked(0));
    assert_eq!(holder.poll_timeout(), Some(at(2000)));
    holder.handle_timeout(at(2000));
    assert_eq!(holder.may_append(at(2000)), Err(NotHolding::Sealed));
    holder.handle_media(at(2001));
    seal(&mut holder, at(2010));
    let answers = replies(&mut holder);
    assert!(matches!(answers[..], [(YieldId(1), PeerReply::Sealed(_))]), "{answers:?}");
    holder.handle_yield(at(2500), YieldId(2), asked(0));
    assert!(matches!(replies(&mut holder)[..], [(YieldId(2), PeerReply::Sealed(_))]));
    assert_eq!(holder.poll_request(), None);
    holder.handle_timeout(at(4010));
    assert_eq!(written(&mut holder).2.state, RecordState::Idle);
    assert_eq!(holder.may_append(at(4020)), Err(NotHolding::Sealed));
}

#[test]
fn a_lost_publisher_makes_the_home_yield_at_once() {
    let mut holder = holder();
    holder.handle_media(at(900));
    holder.handle_publisher_gone(at(1000), false);
    holder.handle_yield(at(1010), YieldId(1), asked(0));
    seal(&mut holder, at(1010));
    assert!(matches!(replies(&mut holder)[..], [(YieldId(1), PeerReply::Sealed(_))]));
}

#[test]
fn a_higher_priority_takes_over_three_times_a_minute() {
    for (before, yields) in [(2, true), (3, false)] {
        let answer = Sealed {
            epoch: Epoch(3),
            home: NodeId("one".into()),
            outline: None,
            stamped: false,
            end: Timestamp::video(0),
            renditions: Vec::new(),
            by_priority: vec![Duration::from_secs(50); before],
        };
        let claimed = Claimed { record: record(9, vec![cut(7)]), base: Base::Sealed(Arc::new(answer)) };
        let mut holder = Holder::new(at(0), &claimed, lease(1_000_000), 0, WAITS);
        holder.handle_yield(at(1000), YieldId(1), asked(1));
        assert_eq!(holder.is_holding(), !yields, "after {before}");
        if yields {
            seal(&mut holder, at(1000));
            let answers = replies(&mut holder);
            let [(_, PeerReply::Sealed(answer))] = &answers[..] else { panic!("{answers:?}") };
            assert_eq!(answer.by_priority, [51, 51, 0].map(Duration::from_secs));
        } else {
            // Ten seconds later the first ones are more than a minute ago.
            holder.handle_media(at(10_500));
            holder.handle_yield(at(10_600), YieldId(2), asked(1));
            assert!(!holder.is_holding());
        }
    }
}

#[test]
fn a_home_without_media_says_stale_and_live_when_it_is_back() {
    let mut holder = holder();
    holder.handle_timeout(at(2000));
    let (id, _, record) = written(&mut holder);
    assert_eq!(record.state, RecordState::Stale);
    holder.handle_reply(at(2010), id, RegistryReply::Written { revision: 41 });
    holder.handle_media(at(2500));
    assert_eq!(written(&mut holder).2.state, RecordState::Live);
}

#[test]
fn a_session_ends_after_its_publisher_was_away_for_the_window() {
    for (clean, waits) in [(true, 5000), (false, 60_000)] {
        let mut holder = holder();
        holder.handle_publisher_gone(at(0), clean);
        holder.handle_timeout(at(2000));
        let (id, ..) = written(&mut holder);
        holder.handle_reply(at(2010), id, RegistryReply::Written { revision: 41 });
        assert_eq!(holder.poll_timeout(), Some(at(waits)));
        holder.handle_timeout(at(waits));
        assert_eq!(std::iter::from_fn(|| holder.poll_event()).last(), Some(Event::End));
        assert_eq!((holder.poll_request(), holder.may_append(at(waits))), (None, Err(NotHolding::Ending)));
        let end = takeover::end(&cut(7), true, Timestamp::video(15 * 120_000));
        holder.handle_end(at(waits), Some(outline(vec![cut(7), end.clone()])));
        let (id, _, record) = written(&mut holder);
        assert_eq!((record.state, record.outline), (RecordState::Ended, Some(outline(vec![cut(7), end]))));
        assert_eq!(holder.may_append(at(waits)), Err(NotHolding::Ending));
        holder.handle_reply(at(waits + 10), id, RegistryReply::Written { revision: 42 });
        assert_eq!(holder.may_append(at(waits + 20)), Err(Stop::Ended.into()));
    }
}

/// The service stops for good.
#[test]
fn a_session_that_is_finished_ends_at_once_whoever_publishes() {
    let mut holder = holder();
    holder.finish(at(10));
    assert_eq!(holder.poll_event(), Some(Event::End));
    holder.handle_end(at(11), Some(outline(vec![cut(7), cut(8)])));
    let (id, _, record) = written(&mut holder);
    assert_eq!(record.state, RecordState::Ended);
    holder.handle_reply(at(12), id, RegistryReply::Written { revision: 41 });
    assert_eq!(holder.poll_event(), Some(Event::Stopped(Stop::Ended)));
}
