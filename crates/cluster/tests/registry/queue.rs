//! The board of jobs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, CompactionOptions, GetOptions};
use headwater_cluster::etcd::{EtcdQueue, EtcdRegistry, Metrics};
use headwater_e2e::etcd::Etcd;
use headwater_media::{Epoch, SessionId};
use headwater_router::{Job, JobId, Ladder, Queue};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::node::{TestClock, random, settings};
use crate::{PATIENCE, soon};

fn job(number: usize) -> Job {
    Job {
        stream: format!("live/show-{number}").parse().unwrap(),
        session: SessionId::from_random([0; 10]),
        epoch: Epoch(1),
        waking: 1,
        gears: Ladder::hd().gears.into(),
        standby: None,
        audio: [].into(),
    }
}

/// A node: its registry, and its side of the board.
struct Node {
    registry: EtcdRegistry,
    queue: EtcdQueue,
    /// To look at what is there.
    client: Client,
}

impl Node {
    /// The node with this number.
    async fn new(etcd: &Etcd, number: u16) -> Self {
        let settings = settings(etcd.endpoints(), &format!("127.0.0.1:{}", 7000 + number));
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        let connected = EtcdRegistry::connect(settings, random(), TestClock::start(), Arc::new(metrics)).await;
        let registry = connected.unwrap();
        let queue = EtcdQueue::new(&registry);
        Self { registry, queue, client: Client::connect(etcd.endpoints(), None).await.unwrap() }
    }

    async fn take(&self) -> (JobId, Job) {
        soon(self.queue.take()).await
    }

    /// Waits until it sees so many jobs without a taker.
    async fn sees(&self, waiting: usize) {
        let seen = async {
            while self.queue.waiting().await != waiting {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("not {waiting} jobs wait"));
    }

    async fn keys(&self, folder: &str) -> usize {
        let key = format!("headwater/{folder}/");
        self.client.clone().get(key, Some(GetOptions::new().with_prefix())).await.unwrap().kvs().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_takers_take_each_job_once() {
    let etcd = Etcd::start(1);
    let home = Node::new(&etcd, 0).await;
    let mut taking = JoinSet::new();
    for number in 1..=10 {
        let node = Node::new(&etcd, number).await;
        taking.spawn(async move {
            let mut taken = Vec::new();
            // It looks up every now and then, as a worker does.
            for _ in 0..40 {
                if let Ok(job) = timeout(Duration::from_millis(50), node.queue.take()).await {
                    taken.push(job);
                }
            }
            (taken, node)
        });
    }
    let mut posted = HashSet::new();
    for number in 0..100 {
        posted.insert((home.queue.post(job(number)).await, job(number).stream));
    }
    let mut taken = Vec::new();
    let mut most = 0;
    let mut workers = Vec::new();
    while let Some(done) = taking.join_next().await {
        let (jobs, node) = done.unwrap();
        most = most.max(jobs.len());
        taken.extend(jobs.into_iter().map(|(id, job)| (id, job.stream)));
        workers.push(node);
    }
    // What a taker had in hand when it looked up went back.
    let late = async {
        while taken.len() < posted.len() {
            let (id, job) = workers[0].queue.take().await;
            taken.push((id, job.stream));
        }
    };
    soon(late).await;
    assert_eq!(taken.len(), posted.len(), "nothing is taken twice");
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), posted);
    assert!(most < 50, "one took {most} of 100");
    home.sees(0).await;
}

#[tokio::test]
async fn a_job_is_gone_when_it_is_complete_and_waits_again_when_it_is_given_back() {
    let etcd = Etcd::start(1);
    let (home, one) = (Node::new(&etcd, 0).await, Node::new(&etcd, 1).await);
    let first = home.queue.post(job(1)).await;
    home.queue.post(job(2)).await;
    one.sees(2).await;
    assert_eq!(one.take().await, (first, job(1)));
    one.queue.release(first).await;
    // What it gave back comes after what it never had.
    let (second, taken) = one.take().await;
    assert_eq!(taken, job(2));
    assert_eq!(one.take().await, (first, job(1)));
    one.queue.complete(first).await;
    one.queue.complete(second).await;
    home.sees(0).await;
    assert_eq!((home.keys("jobs").await, home.keys("taken").await), (0, 0));
    // Done is done.
    one.queue.release(first).await;
    assert_eq!(home.keys("taken").await, 0);
}

#[tokio::test]
async fn a_worker_that_is_lost_returns_its_job_and_cannot_give_back_another_ones() {
    let etcd = Etcd::start(1);
    let home = Node::new(&etcd, 0).await;
    let (one, two) = (Node::new(&etcd, 1).await, Node::new(&etcd, 2).await);
    let id = home.queue.post(job(1)).await;
    assert_eq!(one.take().await.0, id);
    one.registry.leave().await;
    assert_eq!(two.take().await, (id, job(1)));
    // It comes back and knows nothing yet.
    one.queue.release(id).await;
    two.sees(0).await;
    assert_eq!(home.keys("taken").await, 1);
    // The home can take it away from a worker that says nothing.
    home.queue.release(id).await;
    assert_eq!(two.take().await.0, id);
}

#[tokio::test]
async fn jobs_of_a_home_that_is_lost_are_gone() {
    let etcd = Etcd::start(1);
    let home = Node::new(&etcd, 0).await;
    let worker = Node::new(&etcd, 1).await;
    home.queue.post(job(1)).await;
    let taken = home.queue.post(job(2)).await;
    worker.sees(2).await;
    worker.take().await;
    home.registry.leave().await;
    worker.sees(0).await;
    assert_eq!(worker.keys("jobs").await, 0);
    worker.queue.complete(taken).await;
}

/// Either the job is taken and stays on the board, or it is off and nobody gets it.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawing_and_taking_never_both_happen() {
    let etcd = Etcd::start(1);
    let (home, worker) = (Node::new(&etcd, 0).await, Node::new(&etcd, 1).await);
    let (mut taken, mut withdrawn) = (0, 0);
    for number in 0..100 {
        let id = home.queue.post(job(number)).await;
        let take = async { timeout(PATIENCE, worker.queue.take()).await.ok() };
        let withdraw = async {
            sleep(Duration::from_micros(number as u64 * 30)).await;
            home.queue.withdraw(id).await;
            // When it is off the board, nothing will ever be there to take.
            home.keys("jobs").await == 0
        };
        let mut take = std::pin::pin!(take);
        let gone = tokio::select! {
            got = &mut take => { assert_eq!(got.map(|got| got.0), Some(id)); None }
            gone = withdraw => Some(gone),
        };
        match gone {
            Some(true) => withdrawn += 1,
            _ => {
                if gone.is_some() {
                    assert_eq!(take.await.map(|got| got.0), Some(id), "it is on the board, because it was taken");
                }
                taken += 1;
                worker.queue.complete(id).await;
            }
        }
        assert_eq!((home.keys("jobs").await, home.keys("taken").await), (0, 0), "job {number}");
    }
    assert_eq!(taken + withdrawn, 100);
}

/// A taker that goes away in the middle of a request loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_waits_for_any_more_goes_back() {
    let etcd = Etcd::start(1);
    let (home, one, two) = (Node::new(&etcd, 0).await, Node::new(&etcd, 1).await, Node::new(&etcd, 2).await);
    let id = home.queue.post(job(1)).await;
    one.sees(1).await;
    for micros in (0..3000).step_by(100) {
        if timeout(Duration::from_micros(micros), one.queue.take()).await.is_ok() {
            one.queue.release(id).await;
        }
    }
    assert_eq!(two.take().await.0, id);
}

/// A watch that breaks, or that etcd cannot take up again because it has forgotten what came between.
#[tokio::test]
async fn the_board_is_followed_across_a_restart_of_etcd_and_a_compaction() {
    let mut etcd = Etcd::start(1);
    let (home, worker) = (Node::new(&etcd, 0).await, Node::new(&etcd, 1).await);
    let first = home.queue.post(job(1)).await;
    assert_eq!(worker.take().await.0, first);
    etcd.member(0).kill();
    etcd.member(0).restart();
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    let second = home.queue.post(job(2)).await;
    let revision = client.get("x", None).await.unwrap().header().unwrap().revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    assert_eq!(worker.take().await.0, second);
    worker.queue.complete(first).await;
    worker.queue.complete(second).await;
    assert_eq!((home.keys("jobs").await, home.keys("taken").await), (0, 0));
}
