use std::sync::Arc;
use std::time::Duration;

use headwater_media::*;
use headwater_router::claim::{PeerReply, Sealed, Yield};
use headwater_router::*;

use super::world::*;

const ASKED: Yield = Yield { epoch: Epoch(3), priority: 1 };

async fn ask(node: &Node, home: &NodeId) -> Option<PeerReply> {
    let peers: &dyn Peers = &*node.nodes;
    tokio::time::timeout(PATIENCE, peers.ask(home, &show(), ASKED)).await.expect("it is answered")
}

#[tokio::test]
async fn a_home_answers_who_asks_it_to_yield() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let sealed = Sealed {
        epoch: Epoch(3),
        home: a.id.clone(),
        outline: Some(Arc::new(Outline::new(&session(1), None, vec![cut(1)]))),
        stamped: true,
        end: Timestamp::video(5),
        renditions: Vec::new(),
        by_priority: vec![Duration::from_secs(3)],
    };
    for reply in [Some(PeerReply::Refused), Some(PeerReply::NotHeld), None, Some(PeerReply::Sealed(sealed.into()))] {
        *a.answers.0.lock().unwrap() = reply.clone();
        assert_eq!(ask(&b, &a.id).await, reply);
    }
    assert_eq!(b.nodes.connected(), 0, "a connection that nobody uses is not kept");
}

/// Architecture 8: a process that is gone is taken over from at once; one that is stopped is not.
#[tokio::test]
async fn a_refused_connection_is_an_answer_and_silence_is_none() {
    let world = World::new();
    let b = Node::start(&world).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = NodeId(format!("{}~1", listener.local_addr().unwrap()));
    // It takes connections, as the kernel does for a process that is stopped, and says nothing.
    let before = tokio::time::Instant::now();
    assert_eq!(ask(&b, &id).await, None);
    let noticed = before.elapsed();
    assert!(noticed < Duration::from_millis(3000), "{noticed:?}");
    drop(listener);
    assert_eq!(ask(&b, &id).await, Some(PeerReply::Unreachable));
}

#[tokio::test]
async fn subscriptions_share_a_connection_that_is_closed_with_the_last() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=1, 1);
    let replica = b.log.find(&show()).await.unwrap();
    let other = SessionState {
        session: Arc::new(Session { stream: "live/other".parse().unwrap(), ..Session::clone(&session(2).session) }),
        ..session(2)
    };
    let other = a.log.open(other);
    world.record(&other, &a.id, 1, RecordState::Live, Vec::new());
    b.log.find(other.stream()).await.unwrap();
    assert_eq!((b.nodes.connected(), a.metrics.subscriptions.get()), (1, 2));
    // B becomes the home of both.
    for log in [&replica, &other] {
        b.log.open(log.state().borrow().as_ref().clone());
    }
    until("they are not followed", || a.metrics.subscriptions.get() == 0).await;
    assert_eq!((b.nodes.connected(), b.metrics.replicas.get()), (0, 0));
}
