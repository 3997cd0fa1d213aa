//! The registry's own promises.

use std::collections::HashSet;
use std::sync::Arc;

use headwater_cluster::etcd::{ConnectError, EtcdRegistry, Metrics, Settings};
use headwater_e2e::etcd::Etcd;
use headwater_media::{Clock, Epoch, MediaSequence, SessionId, WallTime};
use headwater_router::claim::{RegistryReply, RegistryRequest};
use headwater_router::written::to_json;
use headwater_router::{NodeId, Record, RecordState, Registry};

use crate::node::{Network, Node, TestClock, random, settings};
use crate::{soon, stream};

pub(crate) fn record(epoch: u64, home: &NodeId, state: RecordState) -> Record {
    Record {
        epoch: Epoch(epoch),
        session: SessionId::from_random([7; 10]),
        home: home.clone(),
        state,
        reserved: MediaSequence(3),
        revision: 0,
        written: WallTime::default(),
        outline: None,
    }
}

async fn node(etcd: &Etcd) -> Arc<Node> {
    Node::start(etcd.endpoints(), "127.0.0.1:7001", &TestClock::start(), &Arc::<Network>::default()).await
}

/// Registers a process that uses `settings`.
pub(crate) async fn connect(settings: Settings) -> Result<EtcdRegistry, ConnectError> {
    let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
    EtcdRegistry::connect(settings, random(), TestClock::start(), Arc::new(metrics)).await
}

#[tokio::test]
async fn a_write_compares_the_revision_and_a_read_says_whether_the_home_lives() {
    let etcd = Etcd::start(1);
    let node = node(&etcd).await;
    let show = stream("live/show");
    let read = async || node.registry.request(&show, RegistryRequest::Read).await;
    let write =
        async |expected, record| node.registry.request(&show, RegistryRequest::Write { expected, record }).await;
    assert_eq!(read().await, RegistryReply::Record { record: None, home_lives: false });
    let mine = record(1, node.id(), RecordState::Live);
    assert_eq!(write(5, mine.clone()).await, RegistryReply::Conflict);
    let before = node.clock.wall();
    let RegistryReply::Written { revision } = write(0, mine.clone()).await else { panic!("it is written") };
    let RegistryReply::Record { record: Some(found), home_lives: true } = read().await else { panic!("it is there") };
    assert!(found.written >= before, "the registry says when");
    assert_eq!(found, Record { revision, written: found.written, ..mine.clone() });
    assert_eq!(write(0, mine.clone()).await, RegistryReply::Conflict);
    let NodeId(id) = node.id();
    let elsewhere = NodeId(id.replace("7001", "7002"));
    let RegistryReply::Written { revision: second } = write(revision, record(2, &elsewhere, RecordState::Live)).await
    else {
        panic!("it is written")
    };
    assert!(second > revision);
    assert!(matches!(read().await, RegistryReply::Record { home_lives: false, .. }));
    let another = NodeId(format!("{id}0"));
    write(second, record(3, &another, RecordState::Live)).await;
    assert!(matches!(read().await, RegistryReply::Record { home_lives: false, .. }), "another instance");
}

/// Writes of many streams share transactions: etcd syncs its disk for a few of them only. Each has its own outcome.
#[tokio::test]
async fn writes_of_many_streams_share_transactions_and_keep_their_own_outcomes() {
    const STREAMS: usize = 200;
    let etcd = Etcd::start(1);
    let node = node(&etcd).await;
    let mine = record(1, node.id(), RecordState::Live);
    let committed = || etcd.members()[0].metric("etcd_server_proposals_committed_total").unwrap();
    let before = committed();
    let write = |number: usize, expected: u64| {
        let (registry, record) = (node.registry.clone(), mine.clone());
        let name = stream(&format!("live/{number}"));
        tokio::spawn(async move { registry.request(&name, RegistryRequest::Write { expected, record }).await })
    };
    let all =
        |expected: fn(usize) -> u64| (0..STREAMS).map(|number| write(number, expected(number))).collect::<Vec<_>>();
    let mut written = HashSet::new();
    for reply in all(|_| 0) {
        match reply.await.unwrap() {
            RegistryReply::Written { revision } => written.insert(revision),
            other => panic!("{other:?}"),
        };
    }
    let (transactions, proposals) = (node.metric("registry_transaction_writes_count"), committed() - before);
    println!("{STREAMS} writes: {transactions} transactions, {proposals} proposals");
    assert!(transactions < 20.0 && proposals < 20.0, "{transactions} transactions, {proposals} proposals");
    assert_eq!(written.len().to_string(), transactions.to_string(), "each has one revision");
    // Every third one expects what is not there.
    for (number, reply) in all(|number| if number % 3 == 0 { 1_000_000 } else { 0 }).into_iter().enumerate() {
        assert_eq!(reply.await.unwrap(), RegistryReply::Conflict, "{number}");
    }
    let revisions: Vec<u64> = {
        let found = node.registry.unfinished().await.unwrap();
        let by_name = |number: usize| found.iter().find(|it| it.stream == stream(&format!("live/{number}"))).unwrap();
        (0..STREAMS).map(|number| by_name(number).record.revision).collect()
    };
    let half: Vec<_> = (0..STREAMS).map(|number| write(number, revisions[number] + (number as u64 % 2))).collect();
    for (number, reply) in half.into_iter().enumerate() {
        match reply.await.unwrap() {
            RegistryReply::Written { .. } => assert_eq!(number % 2, 0, "{number}"),
            RegistryReply::Conflict => assert_eq!(number % 2, 1, "{number}"),
            other => panic!("{number}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn all_sessions_that_are_not_over_are_found_however_many_there_are() {
    let etcd = Etcd::start(1);
    let node = node(&etcd).await;
    let elsewhere = NodeId("127.0.0.1:7009~gone".into());
    let write = |number: usize| {
        let home = if number.is_multiple_of(2) { node.id() } else { &elsewhere };
        let state = if number % 10 == 9 { RecordState::Ended } else { RecordState::Live };
        let (registry, record) = (node.registry.clone(), record(1, home, state));
        let name = stream(&format!("live/{number}"));
        tokio::spawn(async move { registry.request(&name, RegistryRequest::Write { expected: 0, record }).await })
    };
    for reply in (0..500).map(write).collect::<Vec<_>>() {
        assert!(matches!(reply.await.unwrap(), RegistryReply::Written { .. }));
    }
    let found = node.registry.unfinished().await.unwrap();
    assert_eq!(found.len(), 450);
    assert!(found.iter().all(|it| it.home_lives == (it.record.home == *node.id())));
    assert_eq!(found.iter().map(|it| it.stream.clone()).collect::<HashSet<_>>().len(), 450);
}

/// A record that a later version wrote is not overwritten, and does not hide the others.
#[tokio::test]
async fn what_cannot_be_read_is_no_record_and_not_nothing() {
    let etcd = Etcd::start(1);
    let node = node(&etcd).await;
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    client.put("headwater/streams/live/strange", "{\"epoch\": \"later\"}", None).await.unwrap();
    let strange = stream("live/strange");
    assert_eq!(node.registry.request(&strange, RegistryRequest::Read).await, RegistryReply::Unknown);
    let expected = RegistryRequest::Write { expected: 0, record: record(1, node.id(), RecordState::Live) };
    assert_eq!(node.registry.request(&strange, expected.clone()).await, RegistryReply::Conflict);
    node.registry.request(&stream("live/show"), expected).await;
    assert_eq!(node.registry.unfinished().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_record_of_a_session_that_ended_a_day_ago_is_deleted() {
    let etcd = Etcd::start(1);
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    let now = TestClock::start().wall().unix_millis;
    let gone = NodeId("127.0.0.1:7009~gone".into());
    for (name, state, hours) in [
        ("live/old", RecordState::Ended, 24),
        ("live/new", RecordState::Ended, 23),
        ("live/idle", RecordState::Idle, 100),
    ] {
        let written = WallTime { unix_millis: now - hours * 3_600_000 };
        let text = to_json(&stream(name), &Record { written, ..record(5, &gone, state) });
        client.put(format!("headwater/streams/{name}"), text, None).await.unwrap();
    }
    let node = node(&etcd).await;
    let mut old = node.registry.watch(&stream("live/old"));
    soon(old.wait_for(|it| it.as_ref().is_some_and(|it| it.record.is_none()))).await.unwrap();
    for name in ["live/new", "live/idle"] {
        let reply = node.registry.request(&stream(name), RegistryRequest::Read).await;
        assert!(matches!(reply, RegistryReply::Record { record: Some(_), .. }), "{name}: {reply:?}");
    }
}

#[tokio::test]
async fn a_process_that_does_not_reach_etcd_says_so() {
    let nobody = settings(vec!["http://127.0.0.1:9".into()], "127.0.0.1:7001");
    let error = connect(nobody).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot register this node: etcd does not answer: "), "{error}");
}
