//! Claims as publishers see them.

use std::sync::Arc;

use headwater_e2e::etcd::Etcd;
use headwater_media::{Epoch, MediaSequence};
use headwater_router::claim::{Denied, RegistryReply, RegistryRequest, Stop};
use headwater_router::{RecordState, Registry};

use crate::node::{Network, Node, TestClock};
use crate::stream;

async fn two(etcd: &Etcd) -> [Arc<Node>; 2] {
    let (clock, network) = (TestClock::start(), Arc::default());
    [
        Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await,
        Node::start(etcd.endpoints(), "127.0.0.1:7002", &clock, &network).await,
    ]
}

/// while the publisher is there, a newcomer at any node is refused.
#[tokio::test]
async fn a_stream_has_one_publisher_and_its_numbers_go_on_at_another_node() {
    let etcd = Etcd::start(1);
    let [one, other] = two(&etcd).await;
    let show = stream("live/show");
    let mut home = one.publish(&show, 0).await.unwrap();
    assert_eq!((home.epoch(), home.first()), (Epoch(1), MediaSequence(1)));
    for number in 1..=3 {
        assert_eq!(home.cut().await, Ok(MediaSequence(number)));
    }
    assert_eq!(other.publish(&show, 0).await.unwrap_err(), Denied::Held { epoch: Epoch(1) });
    assert_eq!(one.publish(&show, 0).await.unwrap_err(), Denied::Held { epoch: Epoch(1) });
    // Lost, and back at the other node: the home seals itself at once.
    home.gone(false);
    let mut next = other.publish(&show, 0).await.unwrap();
    assert_eq!((next.epoch(), next.first()), (Epoch(2), MediaSequence(4)), "sealed: directly after the last segment");
    assert_eq!(home.stopped().await, Stop::Overtaken { current: Epoch(2) });
    next.cut().await.unwrap();
    // A higher priority takes over at once.
    let last = one.publish(&show, 1).await.unwrap();
    assert_eq!(last.epoch(), Epoch(3));
    last.gone(true);
    let mut ended = last.clone();
    assert_eq!(ended.stopped().await, Stop::Ended);
    let RegistryReply::Record { record: Some(record), home_lives } =
        one.registry.request(&show, RegistryRequest::Read).await
    else {
        panic!("it is there")
    };
    assert_eq!((record.epoch, record.state, home_lives), (Epoch(3), RecordState::Ended, true));
    // A new session, of a higher epoch.
    let fresh = other.publish(&show, 0).await.unwrap();
    assert_eq!((fresh.epoch(), fresh.first()), (Epoch(4), MediaSequence(1)));
}

/// A publisher that is silent for 2 s has lost its stream to whoever asks.
#[tokio::test]
async fn a_silent_publisher_is_taken_over() {
    let etcd = Etcd::start(1);
    let [one, other] = two(&etcd).await;
    let show = stream("live/show");
    let mut home = one.publish(&show, 0).await.unwrap();
    home.cut().await.unwrap();
    home.silent();
    let next = other.publish(&show, 0).await.unwrap();
    assert_eq!((next.epoch(), next.first()), (Epoch(2), MediaSequence(2)));
    assert!(matches!(home.stopped().await, Stop::Overtaken { .. }));
}

/// A process that is started again at the same address is another instance: the old one is gone for all at once.
#[tokio::test]
async fn the_streams_of_a_process_that_is_started_again_are_taken_over_without_waiting_for_its_lease() {
    let etcd = Etcd::start(1);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let show = stream("live/show");
    let before = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    let mut home = before.publish(&show, 0).await.unwrap();
    home.cut().await.unwrap();
    home.cut().await.unwrap();
    let after = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    assert_ne!(before.id(), after.id());
    let next = after.publish(&show, 0).await.unwrap();
    // Unsealed: 3 may have been used, so it begins at 4.
    assert_eq!((next.epoch(), next.first()), (Epoch(2), MediaSequence(4)));
    network.history.assert_linearizable();
    // The older process finds out and stops.
    let stop = home.stopped().await;
    assert!(matches!(stop, Stop::LeaseOver | Stop::Overtaken { .. }), "{stop:?}");
}
