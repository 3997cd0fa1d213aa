//! What breaks, and what goes on.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions};
use headwater_e2e::etcd::Etcd;
use headwater_media::{Clock, Epoch};
use headwater_router::claim::{Denied, Lease, RegistryReply, RegistryRequest, Stop};
use headwater_router::{NodeId, RecordState, Registry};

use crate::node::{Network, Node, TestClock, settings};
use crate::promises::{connect, record};
use crate::{soon, stream};

/// Waits until the node's lease holds, or holds no more.
async fn lease(node: &Node, holds: bool) {
    let mut lease = node.registry.lease();
    soon(lease.wait_for(|lease| lease.holds(node.clock.now()) == holds)).await.unwrap();
}

/// Waits until the node's lease has been kept alive again.
async fn kept_alive(node: &Node) {
    let mut lease = node.registry.lease();
    let until = lease.borrow_and_update().until();
    soon(lease.wait_for(|lease| lease.until() > until)).await.unwrap();
}

/// Somebody takes the lease away: its homes stop within a beat, and the node comes back as the process that it is.
#[tokio::test]
async fn a_node_whose_lease_is_lost_stops_its_homes_and_registers_again() {
    let etcd = Etcd::start(1);
    let node = Node::start(etcd.endpoints(), "127.0.0.1:7001", &TestClock::start(), &Arc::default()).await;
    let show = stream("live/show");
    let mut home = node.publish(&show, 0).await.unwrap();
    home.cut().await.unwrap();
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    let leases = client.leases().await.unwrap();
    let [only] = leases.leases() else { panic!("the node has one lease: {leases:?}") };
    client.lease_revoke(only.id()).await.unwrap();
    assert_eq!(soon(home.stopped()).await, Stop::LeaseOver);
    lease(&node, true).await;
    assert!(node.metric("registry_leases_lost_total") >= 1.0);
    // The record names this process, which is there again; its home is not.
    let lives = async || match node.registry.request(&show, RegistryRequest::Read).await {
        RegistryReply::Record { home_lives, .. } => home_lives,
        other => panic!("{other:?}"),
    };
    assert!(!lives().await && !node.registry.unfinished().await.unwrap()[0].home_lives);
    let mut watched = node.registry.watch(&show);
    let seen = soon(watched.wait_for(Option::is_some)).await.unwrap().clone().unwrap();
    assert_eq!((seen.record.unwrap().home, seen.home_lives), (node.id().clone(), false));
    assert_eq!(soon(node.publish(&show, 0)).await.unwrap().epoch(), Epoch(2));
    assert!(lives().await);
}

/// etcd stands still for longer than a lease. Homes stop by themselves 3 s after the last keepalive was sent, before others
/// can believe that they are gone.
#[tokio::test]
async fn homes_stop_when_etcd_is_silent_and_go_on_in_the_same_session_when_it_is_back() {
    let mut etcd = Etcd::start(1);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let node = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    let show = stream("live/show");
    let mut home = node.publish(&show, 0).await.unwrap();
    home.cut().await.unwrap();
    etcd.member(0).freeze();
    let since = clock.now();
    assert_eq!(soon(home.stopped()).await, Stop::LeaseOver);
    let passed = clock.now().saturating_since(since);
    assert!(passed <= Lease::AT_REGISTRY, "{passed:?}");
    // Nobody can claim now, and is told so.
    assert_eq!(soon(node.publish(&stream("live/other"), 0)).await.unwrap_err(), Denied::Unavailable);
    etcd.member(0).thaw();
    lease(&node, true).await;
    let next = soon(node.publish(&show, 0)).await.unwrap();
    assert_eq!(next.epoch(), Epoch(2));
    network.history.assert_linearizable();
}

/// Two processes that are configured with one address: the newer one runs, and the older one comes back when it is gone.
#[tokio::test]
async fn of_two_processes_with_one_address_the_newer_one_runs() {
    let etcd = Etcd::start(1);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let older = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    let newer = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    lease(&older, false).await;
    assert!(older.metric("registry_leases_lost_total") >= 1.0);
    kept_alive(&newer).await;
    kept_alive(&newer).await;
    assert!(!older.registry.lease().borrow().holds(clock.now()), "it does not come back");
    newer.registry.leave().await;
    lease(&older, true).await;
    let nodes = older.registry.nodes().wait_for(|nodes| nodes.has(older.id())).await.unwrap().clone();
    assert_eq!(nodes.iter().collect::<Vec<_>>(), [older.id().clone()]);
}

/// etcd over its quota takes no writes, of one stream or of several at once; leases go on, and so do live streams for as long
/// as their numbers last.
#[tokio::test]
async fn a_full_etcd_refuses_claims_and_keeps_leases() {
    const QUOTA: &str = "--quota-backend-bytes=4000000";
    let etcd = Etcd::start_with(1, &[QUOTA]);
    let node = Node::start(etcd.endpoints(), "127.0.0.1:7001", &TestClock::start(), &Arc::default()).await;
    let show = stream("live/show");
    let mut home = node.publish(&show, 0).await.unwrap();
    home.cut().await.unwrap();
    // What others keep in the same etcd.
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    let error = soon(async {
        loop {
            if let Err(error) = client.put("other", vec![1; 200_000], None).await {
                return error;
            }
        }
    })
    .await;
    assert!(error.to_string().contains("database space exceeded"), "{error}");
    let status = client.status().await.unwrap();
    assert!(status.errors().iter().any(|error| error.contains("NOSPACE")), "where the node looks for it: {status:?}");
    let claim = |number: usize| {
        let (registry, record) = (node.registry.clone(), record(1, node.id(), RecordState::Live));
        let name = stream(&format!("live/{number}"));
        tokio::spawn(async move { registry.request(&name, RegistryRequest::Write { expected: 0, record }).await })
    };
    for reply in (0..30).map(claim).collect::<Vec<_>>() {
        assert_eq!(reply.await.unwrap(), RegistryReply::Refused);
    }
    assert!(node.metric("registry_transaction_writes_count") < 20.0, "most of them were nested");
    assert_eq!(node.metric("registry_full"), 1.0);
    assert_eq!(soon(node.publish(&stream("live/new"), 0)).await.unwrap_err(), Denied::Unavailable);
    let unwritten = node.registry.unfinished().await.unwrap();
    assert!(unwritten.iter().all(|it| it.stream == show) && unwritten.len() == 1, "{unwritten:?}");
    // Who comes now gets no lease, and is told why. That takes 5 s, which is well beyond the length of a lease.
    let late = connect(settings(etcd.endpoints(), "127.0.0.1:7002")).await.unwrap_err();
    assert_eq!(late.to_string(), "cannot register this node: etcd is full (alarm NOSPACE)");
    kept_alive(&node).await;
    assert!(home.runs());
    // The operator makes room. The cut that was refused is written then.
    let cut = tokio::spawn(async move { home.cut().await });
    let now = client.get("other", None).await.unwrap().header().unwrap().revision();
    client.compact(now, Some(CompactionOptions::new().with_physical())).await.unwrap();
    client.defragment().await.unwrap();
    let alarms = client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await.unwrap();
    let mut of = AlarmOptions::new();
    of.with_member(alarms.alarms()[0].member_id());
    client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of)).await.unwrap();
    soon(cut).await.unwrap().unwrap();
    assert_eq!(node.metric("registry_full"), 0.0);
    soon(node.publish(&stream("live/new"), 0)).await.unwrap();
}

/// Of three members one is killed, the leader at that. Two are enough.
#[tokio::test]
async fn claims_and_streams_go_on_when_the_leader_of_three_members_is_killed() {
    let mut etcd = Etcd::start(3);
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let one = Node::start(etcd.endpoints(), "127.0.0.1:7001", &clock, &network).await;
    let other = Node::start(etcd.endpoints(), "127.0.0.1:7002", &clock, &network).await;
    let show = stream("live/show");
    let mut home = one.publish(&show, 0).await.unwrap();
    home.cut().await.unwrap();
    let leader = etcd.leader();
    etcd.member(leader).kill();
    let since = clock.now();
    let cut = soon(home.cut()).await;
    println!("a cut was recorded {:?} after the leader was killed: {cut:?}", clock.now().saturating_since(since));
    match cut {
        Ok(_) => {
            assert_eq!(soon(other.publish(&show, 0)).await.unwrap_err(), Denied::Held { epoch: Epoch(1) });
            home.gone(false);
        }
        // On a machine so busy that the election took longer than a lease.
        Err(stop) => assert_eq!(stop, Stop::LeaseOver),
    }
    let next = soon(other.publish(&show, 0)).await.unwrap();
    assert_eq!(next.epoch(), Epoch(2));
    network.history.assert_linearizable();
    // Without a majority nothing is claimed; nothing is lost either.
    let second = (leader + 1) % 3;
    etcd.member(second).kill();
    assert_eq!(soon(one.publish(&stream("live/other"), 0)).await.unwrap_err(), Denied::Unavailable);
    etcd.member(second).restart();
    lease(&one, true).await;
    let reply = soon(async {
        loop {
            match one.registry.request(&show, RegistryRequest::Read).await {
                RegistryReply::Record { record, .. } => return record,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    let NodeId(home) = reply.unwrap().home;
    assert!(home.starts_with("127.0.0.1:7002"), "{home}");
}
