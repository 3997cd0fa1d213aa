//! Several nodes that share a registry (architecture 8).

use super::*;
use crate::home::Gone;

/// Two nodes.
fn two() -> (Arc<EmbeddedRegistry>, Arc<Server>, Arc<Server>) {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let net = Arc::default();
    let [one, other] = ["one", "other"].map(|address| Arc::new(Server::join(&registry, &net, address)));
    (registry, one, other)
}

fn gone(hold: &Hold) -> Option<Gone> {
    hold.home.seats().borrow().gone_for(hold.seat)
}

/// The publisher left, or its connection broke, and comes back to the other node.
#[tokio::test(start_paused = true)]
async fn a_publisher_that_comes_to_another_node_goes_on_in_its_session_with_all_parts() {
    let (registry, one, other) = two();
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 5).await;
    one.homes.release(&hold, Ending::Lost);
    let asked = tokio::time::Instant::now();
    let next = other.publish(0).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!((next.home.session(), other.epoch()), (hold.home.session(), Some(2)));
    play(&other, &next, 3).await;
    let all = ["c1+0", "p1", "c2+0", "p2", "c3+0", "p3", "c4+1", "p4", "c5+1", "p5"];
    assert_eq!(listed(&other).await, all);
    // The first home has learnt it, and takes nothing more.
    assert_eq!(one.epoch(), None);
    let log = one.log.find(&stream()).await.unwrap();
    assert_eq!(listed(&one).await, all[..6]);
    assert_eq!(log.state().borrow().state, State::Waiting);
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.home, record.epoch), (other.registry.node.clone(), Epoch(2)));

    // And back: that node still has what it had.
    other.homes.release(&next, Ending::Lost);
    let back = one.publish(0).await.unwrap();
    play(&one, &back, 3).await;
    let all = all.into_iter().chain(["c6+2", "p6", "c7+2", "p7"]).collect::<Vec<_>>();
    let [cuts, parts] = ["c", "p"].map(|kind| move |item: &&String| item.starts_with(kind));
    let here = listed(&one).await;
    assert!(here.iter().filter(parts).eq(all.iter().filter(|item| item.starts_with('p'))), "{here:?}");
    assert!(here.iter().filter(cuts).eq(all.iter().filter(|item| item.starts_with('c'))), "{here:?}");
    assert_eq!(listed(&other).await, all[..10]);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_sends_keeps_its_stream_from_newcomers_on_other_nodes_unless_they_outrank_it() {
    let (_, one, other) = two();
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 3).await;
    let newcomer = other.ask(0);
    sleep(Duration::from_millis(10)).await;
    assert!(one.media(&hold));
    assert_eq!(newcomer.await.unwrap().unwrap_err(), taken());
    let next = other.publish(1).await.unwrap();
    assert_eq!(gone(&hold), Some(Gone::TakenOver));
    assert!(!one.media(&hold) && other.media(&next));
    play(&other, &next, 3).await;
    assert_eq!(listed(&other).await, ["c1+0", "p1", "c2+0", "p2", "c3+1", "p3", "c4+1", "p4"]);
}

/// Unsealed takeover: nobody can be asked, and what nobody has is a gap.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_node_is_gone_goes_on_elsewhere_after_a_gap() {
    let (_, one, other) = two();
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 5).await;
    let session = hold.home.session();
    drop(hold);
    Arc::into_inner(one).unwrap().crash();
    let next = other.publish(0).await.unwrap();
    assert_eq!(next.home.session(), session);
    // Whoever followed the lost node finds its session here at once.
    assert_eq!(listed(&other).await, ["g4", "c5+1"]);
    play(&other, &next, 3).await;
    assert_eq!(listed(&other).await, ["g4", "c5+1", "p5", "c6+1", "p6"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_sealed_home_does_not_send_in_time_is_a_gap_and_the_publisher_waits_for_nothing() {
    let (_, one, other) = two();
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 5).await;
    one.homes.release(&hold, Ending::Lost);
    let next = other.publish(0).await.unwrap();
    // It is lost before it has sent anything.
    let net = one.registry.net.0.lock().unwrap().remove(&one.registry.node);
    play(&other, &next, 3).await;
    assert_eq!(listed(&other).await, ["c4+1", "p4", "c5+1", "p5"]);
    drop(net);
}

/// A process that was stopped, or cut off from the registry.
#[tokio::test(start_paused = true)]
async fn a_home_whose_lease_is_over_sends_its_publisher_away_and_takes_no_part() {
    let (_, one, other) = two();
    let mut lease = Lease::default();
    lease.kept_alive(one.clock.now());
    one.registry.lease.send_replace(lease);
    let hold = one.publish(0).await.unwrap();
    // Three seconds are less than until the first keyframe after three.
    for _ in 0..3 {
        sleep(Duration::from_millis(900)).await;
        assert!(one.media(&hold));
    }
    sleep(Duration::from_millis(400)).await;
    assert_eq!((gone(&hold), one.epoch()), (Some(Gone::LeaseOver), None));
    assert!(!one.media(&hold));
    let error = one.publish(0).await.unwrap_err();
    assert_eq!(error, PublishError::Unavailable { stream: stream(), reason: Denied::Unavailable });
    assert!(other.publish(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_the_registry_newcomers_are_refused_and_who_publishes_goes_on() {
    let (_, one, other) = two();
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 3).await;
    one.registry.is_away.send_replace(true);
    other.registry.is_away.send_replace(true);
    let newcomer = other.ask(0);
    play(&one, &hold, 4).await;
    assert_eq!(gone(&hold), None);
    sleep(Duration::from_secs(7)).await;
    let error = newcomer.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "live/show cannot be claimed now: the registry takes no claims now");
}

/// Another node goes on at once with all that there is.
#[tokio::test(start_paused = true)]
async fn a_node_that_hands_over_yields_to_whoever_comes() {
    let (registry, one, other) = two();
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 3).await;
    one.homes.stopping(Sessions::HandOver);
    // The publisher was sent there, and is not gone from here yet.
    assert!(one.media(&hold));
    let next = other.publish(0).await.unwrap();
    assert_eq!(next.home.session(), hold.home.session());
    one.homes.release(&hold, Ending::Lost);
    let began = tokio::time::Instant::now();
    one.homes.shut_down().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    play(&other, &next, 3).await;
    assert_eq!(listed(&other).await, ["c1+0", "p1", "c2+0", "p2", "c3+1", "p3", "c4+1", "p4"]);
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Live);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_node_is_gone_is_ended_by_another_after_the_window() {
    let (registry, one, other) = two();
    other.homes.resume(&other.settings).await;
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 3).await;
    let session = hold.home.session();
    drop(hold);
    Arc::into_inner(one).unwrap().crash();
    sleep(Duration::from_secs(59)).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Live);
    sleep(Duration::from_secs(12)).await;
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.state, record.session), (RecordState::Ended, session));
    assert_ne!(other.publish(0).await.unwrap().home.session(), session);
}

/// Its record names a process that lives, and holds nothing.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_lost_with_a_lease_ends_after_the_window_too() {
    let (registry, one, _) = two();
    one.homes.resume(&one.settings).await;
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 3).await;
    one.registry.lease.send_replace(Lease::default());
    sleep(Duration::from_millis(10)).await;
    assert_eq!(gone(&hold), Some(Gone::LeaseOver));
    one.registry.lease.send_replace(Lease::for_ever());
    sleep(Duration::from_secs(55)).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Live);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
    assert_eq!(one.log.find(&stream()).await.unwrap().state().borrow().state, State::Ended);
}

/// A home that gave its stream up to nobody.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_given_up_is_taken_by_the_next_or_ends() {
    let (registry, one, other) = two();
    one.homes.resume(&one.settings).await;
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 3).await;
    one.homes.home(&stream()).unwrap().hand_over();
    assert_eq!(gone(&hold), Some(Gone::TakenOver));
    sleep(Duration::from_millis(2100)).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Idle);
    let next = other.publish(0).await.unwrap();
    assert_eq!(next.home.session(), hold.home.session());
    other.homes.home(&stream()).unwrap().hand_over();
    sleep(Duration::from_secs(75)).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
    assert_eq!((one.epoch(), other.epoch()), (None, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_is_not_held_is_said_not_to_be() {
    let (_, one, _) = two();
    let hold = one.publish(0).await.unwrap();
    let ask = |epoch| one.homes.asked(Asker::Elsewhere, hold.home.stream(), Yield { epoch: Epoch(epoch), priority: 0 });
    assert_eq!(ask(2).await, Some(PeerReply::NotHeld));
    assert_eq!(ask(0).await, Some(PeerReply::NotHeld));
    let nowhere = "live/nowhere".parse().unwrap();
    let answer = one.homes.asked(Asker::Elsewhere, &nowhere, Yield { epoch: Epoch(1), priority: 0 }).await;
    assert_eq!(answer, Some(PeerReply::NotHeld));
}

/// It could not be reached while another node took its stream over, and so nobody told it.
#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_stream_without_a_word_claims_it_when_its_publisher_is_back() {
    let (_, one, other) = two();
    let hold = one.publish(0).await.unwrap();
    play(&one, &hold, 3).await;
    one.homes.release(&hold, Ending::Lost);
    // That it is stale is the last that it has to write.
    sleep(Duration::from_secs(3)).await;
    let (net, node) = (one.registry.net.clone(), one.registry.node.clone());
    let there = net.0.lock().unwrap().remove(&node).unwrap();
    let next = other.publish(0).await.unwrap();
    play(&other, &next, 3).await;
    net.0.lock().unwrap().insert(node, there);
    assert_eq!(one.epoch(), Some(1), "it has heard of nothing");
    other.homes.release(&next, Ending::Lost);
    let back = one.publish(0).await.unwrap();
    assert_eq!((one.epoch(), gone(&back)), (Some(3), None));
    assert!(one.media(&back));
}

/// The claim is won, and its home is about to be there: another node that asks now must not hear that nobody holds the
/// stream.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_just_won_a_stream_does_not_say_that_it_does_not_hold_it() {
    let (_, one, _) = two();
    let place = one.homes.claims.enter(&stream());
    let (claimed, claim) = place.claim(&one.homes, &stream(), 0).await.unwrap();
    let asked = Yield { epoch: claimed.record.epoch, priority: 0 };
    assert!(one.homes.asked(Asker::Elsewhere, &stream(), asked).await.is_none());
    drop(claim);
    assert!(matches!(one.homes.asked(Asker::Elsewhere, &stream(), asked).await, Some(PeerReply::NotHeld)));
}
