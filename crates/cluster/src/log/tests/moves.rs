use std::sync::Arc;
use std::time::Duration;

use headwater_media::*;
use headwater_router::claim::takeover::{self, Claiming};
use headwater_router::claim::{Base, Claimed, Sealed};
use headwater_router::*;
use tokio::sync::mpsc;

use super::player::Player;
use super::world::*;

fn claiming(node: &NodeId) -> Claiming<'_> {
    Claiming { node, fresh: SessionId::from_random([9; 10]), wall: WallTime { unix_millis: 60_000 } }
}

/// A's record, with cuts up to `last`.
fn recorded(world: &World, home: &Home, node: &Node, last: u64) -> Record {
    world.record(&home.log, &node.id, 1, RecordState::Live, (1..=last).map(cut).collect());
    world.record_of(&show()).unwrap()
}

/// Writes the claim's record, and opens the log as a home does that has won it.
fn move_to(world: &World, node: &Node, before: &Home, claimed: &Claimed) -> Home {
    let cuts = claimed.record.outline.as_ref().unwrap().cuts.clone();
    world.record(&before.log, &node.id, claimed.record.epoch.0, RecordState::Live, cuts);
    let log = node.log.open(session(1));
    log.go_on(&GoingOn::from(claimed)).unwrap();
    Home::new(world, log, claimed.record.epoch.0)
}

fn first_segment(home: &Home, claimed: &Claimed, parts: u32) {
    let first = claimed.record.outline.as_ref().unwrap().cuts.last().unwrap().clone();
    home.append(Item::Cut(first.clone()));
    for index in 0..parts {
        let slot = first.start.ticks / 4000 + 6 * i64::from(index);
        (0..6).for_each(|n| home.append(home.picture(first.msn.0, slot + n, index == 0 && n == 0)));
        let start = Timestamp::video(slot * 4000);
        home.append(Item::PartEnd(PartEnd {
            msn: first.msn,
            index: PartIndex(index),
            start: VideoSlot(slot),
            end: VideoSlot(slot + 6),
            last: false,
        }));
        let part = part(first.msn.0, index, Instant::default());
        home.put(&source(), Part { start, end: Timestamp::video(start.ticks + 24_000), ..part });
    }
}

/// A's log after it has sealed itself with `parts` of segment 3 there.
fn sealed(world: &World, home: &Home, node: &Node, parts: i64) -> Claimed {
    let before = recorded(world, home, node, 3);
    let answer = Sealed {
        epoch: Epoch(1),
        home: node.id.clone(),
        outline: before.outline.clone(),
        stamped: true,
        end: Timestamp::video(480_000 + parts * 24_000),
        renditions: home.log.seal(),
        by_priority: Vec::new(),
    };
    let answer = Arc::new(answer);
    let record = takeover::sealed(&before, &answer, claiming(&NodeId("there".into()))).unwrap();
    Claimed { record, base: Base::Sealed(answer) }
}

/// Architecture 8, sealed takeover: the publisher comes back to another node; nobody misses anything.
#[tokio::test]
async fn a_sealed_home_moves_and_readers_everywhere_go_on() {
    let world = World::new();
    let nodes = [Node::start(&world).await, Node::start(&world).await, Node::start(&world).await];
    let [a, b, c] = &nodes;
    let home = Home::begin(&world, a);
    home.make(1..=3, 4);
    // C has followed, B has never heard of the stream.
    let replica = c.log.find(&show()).await.unwrap();
    let (mut player, mut there) = (Player::new(&replica, &source()), Player::new(&home.log, &source()));
    player.sees("1 2 3+4").await;
    there.sees("1 2 3+4").await;

    let claimed = sealed(&world, &home, a, 4);
    let next = move_to(&world, b, &home, &claimed);
    a.log.close(&home.log);
    let (sender, mut fetched) = mpsc::channel(256);
    let peers: &dyn Peers = &*b.nodes;
    peers.fetch(&a.id, &show(), home.log.session().id, sender).await;
    let mut parts = Vec::new();
    while let Ok((name, part)) = fetched.try_recv() {
        if name == source() {
            parts.push(part);
        }
    }
    assert_eq!(parts.len(), 24);
    next.log.restore(&source(), &parts, (MediaSequence(3), PartIndex(4)));
    first_segment(&next, &claimed, 2);

    player.sees("1 2 3 4!+2").await;
    // The old home's own readers go on with the new one's.
    there.sees("1 2 3 4!+2").await;
    assert!(home.log.is_replica());
    assert_eq!(home.log.state().borrow().epoch, Epoch(2));
    let mut here = Player::new(&next.log, &source());
    here.sees("1 2 3 4!+2").await;
    assert_eq!([player.text(), there.text()], [here.text(), here.text()]);
    assert_eq!(player.bytes, here.bytes);
    assert!(Arc::ptr_eq(&replica, &c.log.find(&show()).await.unwrap()));
    // A player that comes later to a node that never had it.
    let d = Node::start(&world).await;
    let mut late = Player::new(&d.log.find(&show()).await.unwrap(), &source());
    late.sees("1 2 3 4!+2").await;
    assert_eq!(late.text(), here.text());
}

/// Architecture 8, unsealed takeover: what nobody can know any more is gaps, and closed lines never change.
#[tokio::test]
async fn a_lost_home_is_followed_by_the_next_one_and_readers_go_on_above_the_gaps() {
    let world = World::new();
    let nodes = [Node::start(&world).await, Node::start(&world).await, Node::start(&world).await];
    let [a, b, c] = &nodes;
    let home = Home::begin(&world, a);
    home.make(1..=3, 4);
    let before = recorded(&world, &home, a, 3);
    let replica = c.log.find(&show()).await.unwrap();
    let mut players = [source(), gear().name].map(|name| Player::new(&replica, &name));
    for player in &mut players {
        player.sees("1 2 3+4").await;
    }
    let [player, _] = &mut players;
    // B was an edge, too.
    let mut there = Player::new(&b.log.find(&show()).await.unwrap(), &source());
    there.sees("1 2 3+4").await;

    a.stop_serving().await;
    let record = takeover::unsealed(&before, claiming(&b.id)).unwrap();
    let claimed = Claimed { record, base: Base::Unsealed };
    let next = move_to(&world, b, &home, &claimed);
    let first = claimed.first().0;
    first_segment(&next, &claimed, 2);
    let gaps: Vec<String> = (4..first).map(|msn| format!("{msn}~")).collect();
    let expected = format!("1 2 3~ {} {first}!+2", gaps.join(" "));
    player.sees(&expected).await;
    there.sees(&expected).await;
    assert!(!next.log.is_replica(), "B's log is the home's now");
    assert_eq!(player.text(), there.text());
}

/// Invariant 3: an edge follows the epoch upwards only.
#[tokio::test]
async fn a_home_that_does_not_know_yet_that_it_is_one_is_asked_again() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    world.record(&home.log, &a.id, 2, RecordState::Live, Vec::new());
    let log = b.log.clone();
    let finding = tokio::spawn(async move { log.find(&show()).await });
    until("it was asked", || b.metrics.reconnects.get() >= 2).await;
    home.log.go_on(&GoingOn { epoch: Epoch(2), cuts: Vec::new(), writable: Vec::new() }).unwrap();
    let replica = finding.await.unwrap().expect("it is found");
    assert_eq!(replica.state().borrow().epoch, Epoch(2));
}

#[tokio::test]
async fn while_the_home_is_away_the_playlist_stands_still_and_goes_on_when_it_is_back() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let a = Node::at(&world, listener, Limits::default()).await;
    let b = Node::start(&world).await;
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    let replica = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&replica, &source());
    player.sees("1 2+3").await;
    a.stop_serving().await;
    until("it is missed", || b.metrics.reconnects.get() >= 2).await;
    home.make_part(2, 3);
    home.make_part(2, 4);
    assert_eq!(player.seen(), "1 2+3");
    // The same node serves again.
    let listener = loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let _server = serve(&world, &a.log, a.answers.clone(), a.metrics.clone(), listener, None);
    player.sees("1 2+5").await;
    let sent = a.metrics.sent_bytes.get();
    assert!(sent < 16 * 21_000, "what was known is not sent again: {sent}");
}

#[tokio::test]
async fn the_next_session_of_a_stream_is_another_log() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    let first = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&first, &source());
    player.sees("1 2+3").await;
    home.log.end();
    let second = a.log.open(SessionState { epoch: Epoch(2), ..session(2) });
    world.record(&second, &a.id, 2, RecordState::Live, Vec::new());
    player.sees("1 2 .").await;
    until("it has ended here", || first.state().borrow().state == State::Ended).await;
    let replica = b.log.find(&show()).await.unwrap();
    assert_eq!(replica.session().id, second.session().id);
    let again = b.log.find_session(&show(), first.session().id).await.unwrap();
    assert!(Arc::ptr_eq(&again, &first));
}

/// Of a node that has not had it: a player was away, or its edge is another one now.
#[tokio::test]
async fn a_session_that_has_ended_can_be_had_while_its_home_has_the_next_one() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    home.log.end();
    let second = a.log.open(SessionState { epoch: Epoch(2), ..session(2) });
    world.record(&second, &a.id, 2, RecordState::Live, Vec::new());
    let first = b.log.find_session(&show(), home.log.session().id).await.expect("its home has it still");
    Player::new(&first, &source()).sees("1 2 .").await;
    // It is followed on, whatever happens to the record: what is asked for later is there, too.
    world.record(&second, &a.id, 2, RecordState::Live, Vec::new());
    Player::new(&first, &gear().name).sees("1 2 .").await;
    assert_eq!(b.metrics.reconnects.get(), 0);
    let newest = b.log.find(&show()).await.unwrap();
    assert_eq!(newest.session().id, second.session().id);
}

/// Whoever asks for sessions that there never were, at the same time, takes nothing away from who watches.
#[tokio::test]
async fn names_that_are_made_up_do_not_take_a_sessions_place() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    let replica = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&replica, &source());
    player.sees("1 2+3").await;
    let stream = show();
    let mut asked = tokio::task::JoinSet::new();
    for number in 100..110 {
        let (log, id) = (b.log.clone(), session(number).session.id);
        asked.spawn(async move { log.find_session(&show(), id).await });
    }
    while let Some(found) = asked.join_next().await {
        assert!(found.unwrap().is_none());
        assert!(Arc::ptr_eq(&b.log.find(&stream).await.unwrap(), &replica));
    }
    (3..10).for_each(|index| home.make_part(2, index));
    home.make(3..=3, 2);
    player.sees("1 2 3+2").await;
    assert!(Arc::ptr_eq(&b.log.find(&stream).await.unwrap(), &replica));
}
