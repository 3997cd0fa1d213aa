use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_media::captions::{Channels, Triplet};
use headwater_media::*;
use headwater_router::*;

use super::player::Player;
use super::world::*;

/// Invariants 2 and 3 over a connection: the same names, the same bytes, the same text.
#[tokio::test]
async fn an_edge_on_another_node_has_the_homes_playlists_and_bytes() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 4);
    home.log.describe(&source(), |known| known.begun = true);

    let replica = b.log.find(&show()).await.expect("it is found");
    assert!(replica.is_replica() && !Arc::ptr_eq(&replica, &home.log));
    for name in [source(), gear().name, RenditionName::audio()] {
        let (mut here, mut there) = (Player::new(&home.log, &name), Player::new(&replica, &name));
        here.sees("1 2+4").await;
        there.sees("1 2+4").await;
        assert_eq!((there.text(), &there.bytes), (here.text(), &here.bytes));
    }
    let (mut here, mut there) = (Player::new(&home.log, &source()), Player::new(&replica, &source()));
    (4..10).for_each(|index| home.make_part(2, index));
    home.make(3..=12, 7);
    let expected = "6 7 8 9 10 11 12+7";
    here.sees(expected).await;
    there.sees(expected).await;
    assert_eq!(there.text(), here.text());
    assert_eq!(home.log.part_ends(MediaSequence(11)), replica.part_ends(MediaSequence(11)));
    assert_eq!(home.log.i_frame_rates(&source()), replica.i_frame_rates(&source()));
    assert_eq!(home.log.next_part(&gear().name), replica.next_part(&gear().name));
    assert_eq!(home.log.covered(&gear().name), replica.covered(&gear().name));
    assert!(Arc::ptr_eq(&b.log.find(&show()).await.unwrap(), &replica), "there is one replica");
    assert_eq!((a.metrics.subscriptions.get(), b.metrics.replicas.get()), (1, 1));
}

#[tokio::test]
async fn only_parts_that_somebody_reads_are_sent() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=3, 5);
    let replica = b.log.find(&show()).await.unwrap();
    home.make_part(3, 5);
    // The timeline comes anyway, and how far renditions are.
    let next = (MediaSequence(3), PartIndex(6));
    until("progress", || replica.next_part(&source()) == Some(next)).await;
    assert_eq!((replica.media_bytes(), b.metrics.received_bytes.get()), (0, 0));

    let mut player = Player::new(&replica, &gear().name);
    player.sees("1 2 3+6").await;
    assert_eq!(replica.media_bytes(), player.bytes.iter().map(Pieces::len).sum::<usize>());
}

#[tokio::test]
async fn state_captions_and_later_renditions_are_mirrored() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    let replica = b.log.find(&show()).await.unwrap();
    let publisher =
        PublisherInfo { address: "192.0.2.1:5".into(), encoder: None, since: WallTime::default(), priority: 3 };
    home.log.set_publisher(Some(publisher));
    home.log.announce_captions(Channels::of(&[Triplet([0xFC, 0x94, 0x2C])]));
    home.log.describe(&gear().name, |known| {
        known.init = Some(Arc::new(Init::new(vec![1, 2, 3].into(), "avc1.4d401f", None)));
        known.off = Some("no room".into());
    });
    let low = RenditionName::audio_low();
    let added = Rendition { name: low.clone(), ..home.log.state().borrow().renditions[2].clone() };
    home.log.add(vec![added]);
    let shown = |log: &StreamLog| format!("{:?}", **log.state().borrow());
    until("state", || shown(&replica) == shown(&home.log)).await;

    home.make_segment(cut(1), 0);
    let turn = home.log.give_turn(&low).unwrap();
    home.append(part_end(1, 0));
    let mut player = Player::new(&replica, &low);
    home.log.put_part(&low, turn, part(1, 0, Instant::default()));
    player.sees("1+1").await;
}

/// Architecture 5: who watches anywhere wakes the ladder, and silence everywhere lets it go cold.
#[tokio::test]
async fn who_watches_elsewhere_wakes_the_ladder_and_readers_begin_anew_after_it_was_cold() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=3, 5);
    let replica = b.log.find(&show()).await.unwrap();
    let here = home.log.demand();
    assert_eq!(here.borrow().waking, 0);

    replica.watched(world.clock.now());
    // A request for a multivariant playlist is held from now on, before the home knows.
    let there = replica.demand();
    assert!(there.borrow().since.is_some());
    until("the home's ladder wakes", || here.borrow().is_awake_for(1)).await;
    until("it is known here", || there.borrow().is_awake_for(1)).await;
    assert_eq!(replica.begins(), home.log.begins());
    assert!(replica.begins() > MediaSequence(1));

    let mut players = [source(), gear().name].map(|name| Player::new(&replica, &name));
    let expected = ["2 3+5", "2 3+5"];
    for (player, expected) in players.iter_mut().zip(expected) {
        player.sees(expected).await;
    }
    assert!(home.log.cool(Instant::from_nanos(u64::MAX)));
    for player in &mut players {
        player.is_cold().await;
    }
    until("it is cold here", || there.borrow().since.is_none()).await;
    let [mut player, _] = players;
    replica.watched(world.clock.now());
    until("it wakes again", || there.borrow().is_awake_for(2)).await;
    player = {
        drop(player);
        Player::new(&replica, &source())
    };
    home.make(4..=4, 2);
    assert_eq!((home.log.begins(), replica.begins()), (MediaSequence(4), MediaSequence(4)));
    player.sees("4+2").await;
}

#[tokio::test]
async fn a_session_ends_with_its_home_in_all_renditions_also_for_who_comes_later() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=3, 4);
    let replica = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&replica, &source());
    player.sees("1 2 3+4").await;
    home.log.end();
    player.sees("1 2 3 .").await;
    until("state", || replica.state().borrow().state == State::Ended).await;
    let mut late = Player::new(&replica, &gear().name);
    late.sees("1 2 3 .").await;
    // The home forgets it, and a node that never had it has nothing to offer.
    world.record(&home.log, &a.id, 1, RecordState::Ended, vec![cut(3), cut(4)]);
    assert!(b.log.find(&show()).await.is_some());
}

/// Architecture 8, end: a home that is gone cannot tell how the session ended, so its record does.
#[tokio::test]
async fn a_session_whose_home_is_lost_ends_as_its_record_says() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=3, 4);
    let replica = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&replica, &source());
    player.sees("1 2 3+4").await;
    a.stop_serving().await;
    let gap = |msn| Arc::new(Cut { kind: CutKind::Gap, ..Cut::clone(&cut(msn)) });
    world.record(&home.log, &a.id, 1, RecordState::Ended, vec![cut(1), cut(2), gap(3), gap(4)]);
    player.sees("1 2 3~ .").await;
    assert_eq!(replica.state().borrow().state, State::Ended);
    assert!(b.metrics.reconnects.get() > 0);
}

#[tokio::test]
async fn what_is_nowhere_is_looked_up_once_in_a_second() {
    let world = World::new();
    let b = Node::start(&world).await;
    for _ in 0..50 {
        assert!(b.log.find(&show()).await.is_none());
    }
    assert_eq!(world.reads.load(Ordering::SeqCst), 1);
    assert_eq!(b.metrics.unknown.get(), 1);
}

/// Time is the tests': half a minute passes at once.
#[tokio::test(start_paused = true)]
async fn a_replica_that_nobody_uses_is_dropped_and_tries_less_and_less_often_before() {
    let world = World::new();
    let b = Node::start(&world).await;
    let log = Arc::new(StreamLog::new(session(1), Limits::default()));
    world.record(&log, &NodeId("127.0.0.1:1~1".into()), 1, RecordState::Live, Vec::new());
    assert!(b.log.find(&show()).await.is_none());
    assert_eq!(b.metrics.replicas.get(), 1);
    tokio::time::sleep(Duration::from_secs(32)).await;
    assert_eq!((b.metrics.replicas.get(), b.nodes.connected()), (0, 0));
    assert!((10..60).contains(&b.metrics.reconnects.get()), "{}", b.metrics.reconnects.get());
}

#[tokio::test]
async fn many_who_ask_at_once_make_one_replica_and_ask_the_registry_once() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=1, 1);
    let asking = (0..20).map(|_| {
        let log = b.log.clone();
        tokio::spawn(async move { log.find(&show()).await.unwrap() })
    });
    let asking: Vec<_> = asking.collect();
    let mut found = Vec::new();
    for asked in asking {
        found.push(asked.await.unwrap());
    }
    assert!(found.iter().all(|log| Arc::ptr_eq(log, &found[0])));
    assert_eq!(b.metrics.replicas.get(), 1);
    assert!(b.log.find_session(&show(), SessionId::from_random([9; 10])).await.is_none());
    assert!(b.log.find_session(&show(), home.log.session().id).await.is_some());
}

#[tokio::test]
async fn streams_of_the_whole_cluster_are_listed_without_being_followed() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=1, 1);
    world.record(&home.log, &a.id, 1, RecordState::Live, vec![cut(1)]);
    let listed = b.log.list().await;
    assert_eq!(listed.iter().map(|log| log.stream().clone()).collect::<Vec<_>>(), [show()]);
    assert_eq!(listed[0].state().borrow().state, State::Live);
    assert_eq!(listed[0].state().borrow().renditions.len(), 3);
    assert_eq!((b.metrics.replicas.get(), a.metrics.subscriptions.get()), (0, 0));
    let listed = a.log.list().await;
    assert!(Arc::ptr_eq(&listed[0], &home.log) && listed.len() == 1);
}

/// A replica that nobody uses is dropped, and so is the connection; who still reads it is told.
#[tokio::test]
async fn readers_of_a_replica_that_is_given_up_begin_anew() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    let replica = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&replica, &source());
    player.sees("1 2+3").await;
    replica.retire();
    player.is_cold().await;
    let mut late = Player::new(&replica, &source());
    tokio::time::timeout(Duration::from_secs(1), late.is_cold()).await.unwrap();
}

/// How much later a part is on another node than at its home: with TCP_NODELAY on both ends a fraction of a millisecond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_on_another_node_within_milliseconds() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 10);
    let replica = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&replica, &source());
    player.sees("1 2+10").await;
    let mut times = Vec::new();
    for (msn, index) in (3..=22u64).flat_map(|msn| (0..10).map(move |index| (msn, index))) {
        if index == 0 {
            home.append(Item::Cut(cut(msn)));
        }
        home.append(part_end(msn, index));
        let before = tokio::time::Instant::now();
        home.put(&source(), part(msn, index, world.clock.now()));
        let seen = player.bytes.len();
        while player.bytes.len() == seen {
            player.step().await;
        }
        times.push(before.elapsed());
    }
    times.sort();
    let [half, most] = [times.len() / 2, times.len() * 99 / 100].map(|place| times[place]);
    println!("added latency of a part: p50 {half:?}, p99 {most:?}");
    assert!(half < Duration::from_millis(20), "{half:?}");
}
