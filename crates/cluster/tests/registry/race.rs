//! Many publishers at once for one key.

use std::sync::Arc;
use std::time::Duration;

use headwater_e2e::etcd::Etcd;
use headwater_router::claim::{Denied, Stop, Waits};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::node::{Home, Network, Node, TestClock, settings};
use crate::{soon, stream};

const NODES: usize = 3;
const PUBLISHERS: usize = 50;
/// Sessions end at once when their publisher does: each other round begins one.
const WAITS: Waits = Waits { reconnect: Duration::from_secs(60), clean_end: Duration::ZERO };
/// Rounds in CI. `cargo xtask race` has more.
const ROUNDS: usize = 20;

/// R-111, and architecture's invariant 1: exactly one is live in each round, all others are refused because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_publishers_on_three_nodes_one_is_live() {
    let rounds = std::env::var("HEADWATER_RACE_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let etcd = Etcd::start(1);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let settings = settings(etcd.endpoints(), &format!("127.0.0.1:{}", 7001 + number));
        nodes.push(Node::start_as(settings, WAITS, &clock, &network).await);
    }
    let show = stream("live/show");
    let mut before: Option<Home> = None;
    let mut overtaken = JoinSet::new();
    for round in 0..rounds {
        let start = Arc::new(Barrier::new(PUBLISHERS));
        let publish = |number: usize| {
            let (node, show, start) = (nodes[(number + round) % NODES].clone(), show.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                node.publish(&show, 0).await
            })
        };
        let (mut live, mut refused) = (Vec::new(), Vec::new());
        for publisher in (0..PUBLISHERS).map(publish).collect::<Vec<_>>() {
            match soon(publisher).await.unwrap() {
                Ok(home) => live.push(home),
                Err(why) => refused.push(why),
            }
        }
        let [home] = &mut live[..] else { panic!("round {round}: {} are live: {live:?}, {refused:?}", live.len()) };
        let epoch = home.epoch();
        assert!(home.runs(), "round {round}: {:?}", home.stopped().await);
        assert!(refused.iter().all(|why| *why == Denied::Held { epoch }), "round {round}: {refused:?}");
        if let Some(mut before) = before.take() {
            assert_eq!(epoch.0, before.epoch().0 + 1, "round {round}");
            // It hears of that when it gives up to wait for it, which is some rounds later.
            overtaken.spawn(async move {
                let stop = soon(before.stopped()).await;
                assert!(matches!(stop, Stop::Overtaken { current } if current >= epoch), "round {round}: {stop:?}");
            });
        }
        home.cut().await.unwrap();
        match round % 2 {
            // The next round begins a session.
            0 => {
                home.gone(true);
                assert_eq!(soon(home.stopped()).await, Stop::Ended, "round {round}");
            }
            // The next round goes on with it: the home without a publisher seals itself for the first who asks.
            _ => {
                home.gone(false);
                before = Some(home.clone());
            }
        }
    }
    overtaken.join_all().await;
    network.history.assert_linearizable();
    println!("{rounds} rounds, {} claims, one live in each", network.history.claims().len());
}
