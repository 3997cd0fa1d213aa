//! Records and nodes as edges follow them.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, CompactionOptions};
use headwater_cluster::etcd::Watched;
use headwater_e2e::etcd::Etcd;
use headwater_router::claim::{RegistryReply, RegistryRequest};
use headwater_router::{NodeId, RecordState, Registry};
use tokio::sync::watch::Receiver;

use crate::node::{Network, Node, TestClock};
use crate::promises::record;
use crate::{soon, stream};

/// Waits until what is known of a stream is so; epochs rise meanwhile.
async fn until(watched: &mut Receiver<Option<Watched>>, is_so: impl Fn(&Watched) -> bool) -> Watched {
    let mut last = 0;
    soon(async {
        loop {
            let now = watched.borrow_and_update().clone();
            if let Some(now) = now {
                let epoch = now.record.as_ref().map_or(0, |record| record.epoch.0);
                assert!(epoch >= last, "epoch {epoch} after {last}");
                last = epoch;
                if is_so(&now) {
                    return now;
                }
            }
            watched.changed().await.unwrap();
        }
    })
    .await
}

fn epoch(watched: &Watched) -> u64 {
    watched.record.as_ref().map_or(0, |record| record.epoch.0)
}

async fn write(node: &Node, expected: u64, epoch: u64, home: &NodeId) -> u64 {
    let record = record(epoch, home, RecordState::Live);
    match node.registry.request(&stream("live/show"), RegistryRequest::Write { expected, record }).await {
        RegistryReply::Written { revision } => revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_edge_sees_records_and_whether_their_homes_live() {
    let etcd = Etcd::start(1);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let edge = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    let home = Node::start(etcd.endpoints(), "127.0.0.1:7002", &clock, &network).await;
    let mut watched = edge.registry.watch(&stream("live/show"));
    let mut beside = edge.registry.watch(&stream("live/show"));
    assert_eq!(until(&mut watched, |_| true).await, Watched { record: None, home_lives: false });
    let revision = write(&home, 0, 1, home.id()).await;
    let seen = until(&mut watched, |it| epoch(it) == 1 && it.home_lives).await;
    assert_eq!(seen.record.unwrap().revision, revision);
    write(&home, revision, 2, home.id()).await;
    until(&mut watched, |it| epoch(it) == 2).await;
    let mut nodes = edge.registry.nodes();
    soon(nodes.wait_for(|nodes| nodes.has(home.id()) && nodes.iter().count() == 2)).await.unwrap();
    // The home says that it goes; its record stays.
    home.registry.leave().await;
    until(&mut watched, |it| epoch(it) == 2 && !it.home_lives).await;
    until(&mut beside, |it| epoch(it) == 2 && !it.home_lives).await;
    soon(nodes.wait_for(|nodes| !nodes.has(home.id()))).await.unwrap();
    assert_eq!(edge.metric("registry_watched"), 1.0, "both share a watch");
}

/// An edge's member is stopped for a while. Meanwhile the stream goes on, and etcd compacts its history away.
#[tokio::test]
async fn a_watch_that_fell_behind_a_compaction_reads_the_record_and_goes_on() {
    let mut etcd = Etcd::start(3);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let slow = (etcd.leader() + 1) % 3;
    let mut others = etcd.endpoints();
    let own = others.remove(slow);
    let edge = Node::start(vec![own], "127.0.0.1:7001", &clock, &network).await;
    let home = Node::start(others.clone(), "127.0.0.1:7002", &clock, &network).await;
    let mut revision = write(&home, 0, 1, home.id()).await;
    let mut watched = edge.registry.watch(&stream("live/show"));
    until(&mut watched, |it| epoch(it) == 1 && it.home_lives).await;
    etcd.member(slow).freeze();
    // The edge gives the silent member up, and has no other.
    soon(async {
        while edge.metric("registry_watch_restarts_total") < 1.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for epoch in 2..=5 {
        revision = write(&home, revision, epoch, home.id()).await;
    }
    let mut client = Client::connect(others, None).await.unwrap();
    let last = i64::try_from(revision).unwrap();
    client.compact(last, Some(CompactionOptions::new().with_physical())).await.unwrap();
    etcd.member(slow).thaw();
    until(&mut watched, |it| epoch(it) == 5).await;
    assert!(edge.metric("registry_watch_compactions_total") >= 1.0);
    // It is watched from there on.
    write(&home, revision, 6, home.id()).await;
    until(&mut watched, |it| epoch(it) == 6 && it.home_lives).await;
}

/// A member is killed; the watch goes on at another one where it was.
#[tokio::test]
async fn a_watch_goes_on_when_its_member_is_killed() {
    let mut etcd = Etcd::start(3);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    // Nodes begin with the first endpoint.
    let edge = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    let mut endpoints = etcd.endpoints();
    endpoints.rotate_left(1);
    let home = Node::start(endpoints, "127.0.0.1:7002", &clock, &network).await;
    let mut revision = write(&home, 0, 1, home.id()).await;
    let mut watched = edge.registry.watch(&stream("live/show"));
    until(&mut watched, |it| epoch(it) == 1 && it.home_lives).await;
    etcd.member(0).kill();
    for epoch in 2..=4 {
        let record = record(epoch, home.id(), RecordState::Live);
        let request = RegistryRequest::Write { expected: revision, record };
        // The first one may have been the leader.
        revision = soon(async {
            loop {
                match home.registry.request(&stream("live/show"), request.clone()).await {
                    RegistryReply::Written { revision } => return revision,
                    RegistryReply::Unknown => {}
                    RegistryReply::Conflict => match read(&home).await {
                        Some((found, revision)) if found == epoch => return revision,
                        _ => {}
                    },
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
    }
    until(&mut watched, |it| epoch(it) == 4).await;
}

/// Epoch and revision of the record.
async fn read(node: &Node) -> Option<(u64, u64)> {
    match node.registry.request(&stream("live/show"), RegistryRequest::Read).await {
        RegistryReply::Record { record: Some(record), .. } => Some((record.epoch.0, record.revision)),
        _ => None,
    }
}
