//! Publishers come and go at three nodes while members of etcd are stopped, killed and started again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_e2e::etcd::Etcd;
use headwater_media::{Clock, Epoch, MediaSequence, SessionId, StreamName};
use tokio::time::sleep;

use crate::node::{Network, Node, TestClock, random};
use crate::stream;

const NODES: usize = 3;
const STREAMS: usize = 3;
const PUBLISHERS: usize = 9;
/// Time in CI. `cargo xtask race --rounds N` has a second for each round.
const SECONDS: u64 = 12;

/// Numbers whose cuts were acknowledged, and the home that had each.
type Numbers = Mutex<HashMap<(StreamName, SessionId, MediaSequence), Epoch>>;

/// Ends the trouble, also when the test fails.
#[derive(Default)]
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Architecture's invariants 1 and 2, with outcomes that nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_linearizable_and_no_number_has_two_homes_whatever_happens_to_etcd() {
    let seconds = std::env::var("HEADWATER_RACE_ROUNDS").map_or(SECONDS, |rounds| rounds.parse().unwrap());
    let etcd = Etcd::start(3);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let mut endpoints = etcd.endpoints();
        endpoints.rotate_left(number);
        nodes.push(Node::start(endpoints, &format!("127.0.0.1:{}", 7001 + number), &clock, &network).await);
    }
    let numbers = Arc::new(Numbers::default());
    let over = Over::default();
    let stop = over.0.clone();
    let trouble = tokio::task::spawn_blocking(move || trouble(etcd, &stop));
    let until = clock.now() + Duration::from_secs(seconds);
    let publish = |_| {
        let (nodes, numbers, clock) = (nodes.clone(), numbers.clone(), clock.clone());
        tokio::spawn(async move {
            while clock.now() < until {
                publish(&nodes[draw(NODES)], &numbers).await;
            }
        })
    };
    for publisher in (0..PUBLISHERS).map(publish).collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    drop(over);
    let strikes = trouble.await.unwrap();
    network.history.assert_linearizable();
    let (claims, numbers) = (network.history.claims().len(), numbers.lock().unwrap().len());
    println!("{strikes} strikes, {claims} claims, {numbers} numbers");
    assert!(strikes > 0 && numbers > 0);
}

/// One publisher: comes, has its stream cut a few times if it gets it, and goes in one way or another.
async fn publish(node: &Node, numbers: &Numbers) {
    let name = stream(&format!("live/{}", draw(STREAMS)));
    let Ok(mut home) = node.publish(&name, i32::from(draw(4) == 0)).await else {
        return sleep(Duration::from_millis(50)).await;
    };
    for _ in 0..draw(8) {
        let Ok(msn) = home.cut().await else { return };
        let before = numbers.lock().unwrap().insert((name.clone(), home.session(), msn), home.epoch());
        assert_eq!(before, None, "{name} {msn} of {:?} is used again in {:?}", home.session(), home.epoch());
        sleep(Duration::from_millis(draw(200) as u64)).await;
    }
    match draw(3) {
        0 => home.gone(true),
        1 => home.gone(false),
        _ => home.silent(),
    }
}

/// Stops and kills members, two of three at times. Answers how often.
fn trouble(mut etcd: Etcd, over: &AtomicBool) -> u32 {
    let pause = |millis: usize| std::thread::sleep(Duration::from_millis(draw(millis) as u64));
    let mut strikes = 0;
    while !over.load(Ordering::SeqCst) {
        pause(1500);
        strikes += 1;
        let [one, other] = [draw(3), draw(3)];
        match draw(3) {
            0 => {
                etcd.member(one).kill();
                pause(1500);
                etcd.member(one).restart();
            }
            1 => {
                etcd.member(one).freeze();
                pause(2500);
                etcd.member(one).thaw();
            }
            _ => {
                etcd.member(one).freeze();
                etcd.member(other).freeze();
                pause(5000);
                etcd.member(one).thaw();
                etcd.member(other).thaw();
            }
        }
    }
    strikes
}

/// A number below `end`.
fn draw(end: usize) -> usize {
    usize::from(u16::from_le_bytes([random()[0], random()[1]])) % end
}
