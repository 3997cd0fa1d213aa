use headwater_media::{Cut, MediaSequence, RenditionName, RenditionState, Timestamp};

use super::super::takeover::tests::{cut, outline, record, session};
use super::*;
use crate::written::{from_json, to_json};

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Node `two` claims at 0 ms, and has read `record`.
fn claimant(record: Option<Record>, home_lives: bool) -> Claimant {
    let newcomer = Newcomer { node: NodeId("two".into()), fresh: session(2), priority: 0 };
    let mut claimant = Claimant::new(at(0), WallTime::default(), newcomer);
    show(&mut claimant, at(10), record, home_lives);
    claimant
}

fn show(claimant: &mut Claimant, now: Instant, record: Option<Record>, home_lives: bool) {
    let Some((id, RegistryRequest::Read)) = claimant.poll_request() else { panic!("it reads") };
    claimant.handle_reply(now, id, RegistryReply::Record { record, home_lives });
}

fn written(claimant: &mut Claimant) -> (RequestId, u64, Record) {
    match claimant.poll_request() {
        Some((id, RegistryRequest::Write { expected, record })) => (id, expected, record),
        other => panic!("{other:?}"),
    }
}

fn won(claimant: &mut Claimant) -> Claimed {
    match claimant.poll_outcome() {
        Some(Outcome::Won(claimed)) => claimed,
        other => panic!("{other:?}"),
    }
}

fn denied(claimant: &mut Claimant) -> Denied {
    match claimant.poll_outcome() {
        Some(Outcome::Denied(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn answer() -> Arc<Sealed> {
    Arc::new(Sealed {
        epoch: Epoch(4),
        home: NodeId("one".into()),
        outline: Some(outline(vec![cut(7)])),
        stamped: true,
        end: Timestamp::video(15 * 120_000),
        renditions: Vec::new(),
        by_priority: Vec::new(),
    })
}

fn live() -> Record {
    record(9, vec![cut(7)])
}

fn in_state(state: RecordState) -> Record {
    Record { state, ..live() }
}

#[test]
fn a_stream_without_a_record_is_claimed_at_once() {
    let mut claimant = claimant(None, false);
    let (id, expected, record) = written(&mut claimant);
    assert_eq!((expected, record.epoch, record.session), (0, Epoch(1), session(2)));
    claimant.handle_reply(at(20), id, RegistryReply::Written { revision: 1 });
    let claimed = won(&mut claimant);
    assert_eq!((claimed.record.revision, claimed.base.clone(), claimed.first()), (1, Base::Fresh, MediaSequence(1)));
}

#[test]
fn an_ended_session_is_followed_by_a_new_one_and_an_idle_one_goes_on() {
    let mut ended = claimant(Some(Record { outline: None, ..in_state(RecordState::Ended) }), true);
    let (_, expected, record) = written(&mut ended);
    assert_eq!((expected, record.epoch, record.session), (40, Epoch(5), session(2)));
    let mut idle = claimant(Some(in_state(RecordState::Idle)), true);
    assert_eq!(written(&mut idle).2.session, session(1));
}

#[test]
fn a_live_home_is_asked_and_its_refusal_ends_the_claim() {
    let mut claimant = claimant(Some(live()), true);
    assert_eq!(claimant.poll_question(), Some((NodeId("one".into()), Yield { epoch: Epoch(4), priority: 0 })));
    claimant.handle_peer(at(20), Epoch(4), PeerReply::Refused);
    assert_eq!(denied(&mut claimant), Denied::Held { epoch: Epoch(4) });
}

#[test]
fn who_does_not_hold_or_cannot_be_reached_is_taken_over_at_once() {
    for reply in [PeerReply::NotHeld, PeerReply::Unreachable] {
        let mut claimant = claimant(Some(live()), true);
        claimant.handle_peer(at(20), Epoch(4), reply);
        assert_eq!(written(&mut claimant).2.reserved, MediaSequence(11));
    }
    let mut gone = claimant(Some(live()), false);
    assert_eq!(written(&mut gone).2.epoch, Epoch(5));
}

#[test]
fn the_home_of_a_stale_record_has_100_ms() {
    let mut claimant = claimant(Some(in_state(RecordState::Stale)), true);
    assert!(claimant.poll_question().is_some());
    assert_eq!(claimant.poll_timeout(), Some(at(110)));
    claimant.handle_timeout(at(110));
    show(&mut claimant, at(120), Some(in_state(RecordState::Stale)), true);
    assert_eq!(written(&mut claimant).2.epoch, Epoch(5));
}

#[test]
fn a_sealed_home_is_followed_directly_even_when_its_record_was_written_meanwhile() {
    let mut claimant = claimant(Some(live()), true);
    claimant.handle_peer(at(20), Epoch(4), PeerReply::Sealed(answer()));
    let (id, expected, record) = written(&mut claimant);
    assert_eq!((expected, record.outline.unwrap().cuts.last().unwrap().msn), (40, MediaSequence(8)));
    claimant.handle_reply(at(30), id, RegistryReply::Conflict);
    show(&mut claimant, at(40), Some(Record { revision: 41, ..in_state(RecordState::Idle) }), true);
    let (id, expected, _) = written(&mut claimant);
    assert_eq!(expected, 41);
    claimant.handle_reply(at(50), id, RegistryReply::Written { revision: 42 });
    let claimed = won(&mut claimant);
    assert_eq!((claimed.first(), claimed.base), (MediaSequence(8), Base::Sealed(answer())));
}

/// The reply to the claim was lost; the record says that it was made.
#[test]
fn a_claim_of_unknown_outcome_is_read_back() {
    let mut claimant = claimant(Some(in_state(RecordState::Idle)), true);
    let (late, _, record) = written(&mut claimant);
    assert!(claimant.may_have_won(Epoch(5)) && !claimant.may_have_won(Epoch(6)));
    claimant.handle_timeout(at(1010));
    let stored = Record { revision: 77, ..record };
    show(&mut claimant, at(1020), Some(stored), true);
    claimant.handle_reply(at(1030), late, RegistryReply::Written { revision: 77 });
    let claimed = won(&mut claimant);
    assert_eq!((claimed.record.revision, claimed.base, claimed.record.epoch), (77, Base::Unsealed, Epoch(5)));
}

/// A registry does not keep which renditions were off at a cut: the parts of the home before can be had all the same.
#[test]
fn a_sealed_claim_is_read_back_as_one_whatever_its_cuts_have_lost() {
    let off = RenditionState::Off("too slow".into());
    let last = Cut { renditions: [(RenditionName::source(), off)].into(), ..cut(7) };
    let answer = Arc::new(Sealed { outline: Some(outline(vec![last])), ..Sealed::clone(&answer()) });
    let mut claimant = claimant(Some(live()), true);
    claimant.handle_peer(at(20), Epoch(4), PeerReply::Sealed(answer.clone()));
    let (id, _, record) = written(&mut claimant);
    claimant.handle_reply(at(30), id, RegistryReply::Unknown);
    let text = to_json(&"live/show".parse().unwrap(), &record);
    let (_, stored) = from_json(text.as_bytes()).unwrap();
    assert_ne!(stored.outline, record.outline);
    show(&mut claimant, at(40), Some(Record { revision: 41, ..stored }), true);
    assert_eq!(won(&mut claimant).base, Base::Sealed(answer));
}

/// Found by a quarter of an hour of trouble with etcd: asked between the answer to its write and the beginning of its home, the node said that
/// it did not hold the stream.
#[test]
fn a_claim_that_was_won_stands_until_its_home_is_there() {
    let mut claimant = claimant(Some(in_state(RecordState::Idle)), true);
    let (id, ..) = written(&mut claimant);
    claimant.handle_reply(at(20), id, RegistryReply::Written { revision: 41 });
    assert!(claimant.may_have_won(Epoch(5)));
    won(&mut claimant);
    assert!(claimant.may_have_won(Epoch(5)) && !claimant.may_have_won(Epoch(6)));
}

/// Another one was faster: its home is asked next.
#[test]
fn a_claim_that_another_won_starts_anew() {
    let mut claimant = claimant(Some(in_state(RecordState::Idle)), true);
    let (id, ..) = written(&mut claimant);
    claimant.handle_reply(at(20), id, RegistryReply::Conflict);
    let theirs = Record { epoch: Epoch(5), home: NodeId("three".into()), revision: 41, ..live() };
    show(&mut claimant, at(30), Some(theirs), true);
    assert_eq!(claimant.poll_question(), Some((NodeId("three".into()), Yield { epoch: Epoch(5), priority: 0 })));
    // Its own claim is not on its way any more: the answer counts.
    assert!(!claimant.may_have_won(Epoch(5)));
    claimant.handle_peer(at(40), Epoch(5), PeerReply::Refused);
    assert_eq!(denied(&mut claimant), Denied::Held { epoch: Epoch(5) });
}

/// A refusal says nothing about a claim that may have been made after it.
#[test]
fn a_refusal_does_not_end_a_claim_that_may_yet_be_made() {
    let mut claimant = claimant(Some(in_state(RecordState::Stale)), true);
    claimant.handle_timeout(at(110));
    show(&mut claimant, at(120), Some(in_state(RecordState::Stale)), true);
    let (id, ..) = written(&mut claimant);
    claimant.handle_reply(at(130), id, RegistryReply::Unknown);
    show(&mut claimant, at(140), Some(live()), true);
    claimant.handle_peer(at(150), Epoch(4), PeerReply::Refused);
    assert!(claimant.poll_outcome().is_none() && claimant.may_have_won(Epoch(5)));
}

#[test]
fn a_home_that_does_not_answer_is_asked_again_and_given_up_after_10_s() {
    let mut claimant = claimant(Some(live()), true);
    let mut questions = 0;
    while let Some(now) = claimant.poll_timeout() {
        questions += u32::from(claimant.poll_question().is_some());
        claimant.handle_timeout(now);
        if let Some((id, RegistryRequest::Read)) = claimant.poll_request() {
            claimant.handle_reply(now, id, RegistryReply::Record { record: Some(live()), home_lives: true });
        }
    }
    assert_eq!(denied(&mut claimant), Denied::NoAnswer { epoch: Epoch(4) });
    assert!((15..=21).contains(&questions), "{questions}");
}

#[test]
fn a_registry_that_takes_no_writes_refuses_newcomers() {
    let mut claimant = claimant(None, false);
    let (id, ..) = written(&mut claimant);
    claimant.handle_reply(at(20), id, RegistryReply::Refused);
    assert_eq!(denied(&mut claimant), Denied::Unavailable);
}
