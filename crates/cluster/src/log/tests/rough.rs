//! Peers that are slow, stopped, or make no sense.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::*;
use headwater_router::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};

use super::player::Player;
use super::world::*;
use crate::log::nodes::address;
use crate::log::server::Replies;
use crate::log::wire::log_service_client::LogServiceClient;
use crate::log::wire::log_service_server::{LogService, LogServiceServer};
use crate::log::{transport, wire};

async fn client(node: &Node) -> LogServiceClient<tonic::transport::Channel> {
    let channel = transport::endpoint(address(&node.id), None).unwrap().connect().await.unwrap();
    LogServiceClient::new(channel).max_decoding_message_size(transport::MESSAGE_BYTES_MAX)
}

fn wish(names: &[RenditionName]) -> wire::SubscribeRequest {
    let renditions = names.iter().map(|name| wire::RenditionWish { name: name.to_string(), from: None });
    let wishes = wire::Wishes { renditions: renditions.collect(), samples: None };
    wire::SubscribeRequest { stream: show().to_string(), wishes: Some(wishes), ..Default::default() }
}

type Requests = mpsc::Sender<wire::SubscribeRequest>;

async fn subscribe(
    client: &LogServiceClient<tonic::transport::Channel>,
    first: wire::SubscribeRequest,
) -> (Requests, Result<Streaming<wire::SubscribeReply>, Status>) {
    let (sender, receiver) = mpsc::channel(4);
    sender.send(first).await.unwrap();
    let replies = client.clone().subscribe(ReceiverStream::new(receiver)).await;
    (sender, replies.map(Response::into_inner))
}

/// Places of parts in a reply.
fn parts(reply: &wire::SubscribeReply) -> Vec<(u64, u32)> {
    let Some(wire::subscribe_reply::Reply::Batch(batch)) = &reply.reply else { return Vec::new() };
    let items = batch.items.iter().flat_map(|of| &of.items);
    let places = items.filter_map(|item| match &item.item {
        Some(wire::feed_item::Item::Part(part)) => Some((part.msn, part.index)),
        _ => None,
    });
    places.collect()
}

fn large(msn: u64, index: u32) -> Part {
    let part = part(msn, index, Instant::default());
    let PartPayload::Media { independent, intra, init, received, .. } = part.payload else { unreachable!() };
    let data = Pieces::from(bytes::Bytes::from(vec![3; 400_000]));
    Part { payload: PartPayload::Media { data, independent, intra, init, received }, ..part }
}

/// One that does not read gets older and older parts, then none, and is moved on; another one on the same connection gets
/// all of them, as they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_slow_is_moved_on_and_holds_up_nobody_on_its_connection() {
    let world = World::new();
    let a = Node::start(&world).await;
    let home = Home::begin(&world, &a);
    let client = client(&a).await;
    let (_slow_requests, slow) = subscribe(&client, wish(&[source()])).await;
    let mut slow = slow.unwrap();
    let (_requests, replies) = subscribe(&client, wish(&[source()])).await;
    let mut replies = replies.unwrap();
    let mut read = Vec::new();
    for msn in 1..=40 {
        home.append(Item::Cut(cut(msn)));
        for index in 0..10 {
            home.append(part_end(msn, index));
            assert_eq!(home.put(&source(), large(msn, index)), PutOutcome::Put);
            while read.last() != Some(&(msn, index)) {
                let reply = timeout(PATIENCE, replies.message()).await.expect("it comes").unwrap().unwrap();
                read.extend(parts(&reply));
            }
        }
    }
    assert_eq!(read, (1..=40).flat_map(|msn| (0..10).map(move |index| (msn, index))).collect::<Vec<_>>());
    // 160 MB were made; the slow one has at most what fits in its window, and what was about to be sent.
    let mut late = Vec::new();
    while late.last() != Some(&(40, 9)) {
        let reply = timeout(PATIENCE, slow.message()).await.expect("it comes").unwrap().unwrap();
        late.extend(parts(&reply));
    }
    assert!(late.windows(2).all(|pair| pair[0] < pair[1]) && late.len() < 300, "{}", late.len());
    assert!(late.starts_with(&[(1, 0)]), "{:?}", &late[..3]);
    assert!(a.metrics.times_moved_on("parts") > 0);
}

/// A way between nodes that can be held up without being closed, as when a process is stopped.
async fn hold_up(to: String, held: watch::Receiver<bool>) -> NodeId {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = NodeId(format!("{}~1", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        loop {
            let (from, _) = listener.accept().await.unwrap();
            let to = TcpStream::connect(&to).await.unwrap();
            let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
            for (mut read, mut write) in [(from_read, to_write), (to_read, from_write)] {
                let mut held = held.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    loop {
                        let length = read.read(&mut buffer).await.unwrap_or(0);
                        held.wait_for(|held| !held).await.unwrap();
                        if length == 0 || write.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_is_stopped_and_not_closed_is_noticed_within_about_a_second() {
    let world = World::new();
    let (held, stopped) = (watch::Sender::new(false), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let reached = hold_up(stopped.local_addr().unwrap().to_string(), held.subscribe()).await;
    let a = Node::known_as(&world, stopped, Limits::default(), reached, None);
    let b = Node::start(&world).await;
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    let replica = b.log.find(&show()).await.unwrap();
    let mut player = Player::new(&replica, &source());
    player.sees("1 2+3").await;
    held.send_replace(true);
    let before = tokio::time::Instant::now();
    until("it is noticed", || b.metrics.reconnects.get() > 0).await;
    let noticed = before.elapsed();
    assert!(noticed < Duration::from_millis(2500), "{noticed:?}");
    home.make_part(2, 3);
    held.send_replace(false);
    player.sees("1 2+4").await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let world = World::new();
    let a = Node::start(&world).await;
    let home = Home::begin(&world, &a);
    home.make(1..=1, 1);
    let client = client(&a).await;
    let refused = async |request: wire::SubscribeRequest| subscribe(&client, request).await.1.unwrap_err().code();
    let named = |stream: &str| wire::SubscribeRequest { stream: stream.into(), ..Default::default() };
    assert_eq!(refused(named("no stream")).await, Code::InvalidArgument);
    assert_eq!(refused(named("live/nobody")).await, Code::NotFound);
    assert_eq!(refused(wire::SubscribeRequest { session: "~".into(), ..wish(&[]) }).await, Code::InvalidArgument);
    let mut strange = wish(&[source()]);
    strange.wishes.as_mut().unwrap().renditions[0].name = "Ä".into();
    assert_eq!(refused(strange.clone()).await, Code::InvalidArgument);
    // Longer than any message may be.
    assert_eq!(refused(named(&"x".repeat(17 << 20))).await, Code::OutOfRange);
    // Later on it ends the subscription, and nothing else.
    let (requests, replies) = subscribe(&client, wish(&[])).await;
    let mut replies = replies.unwrap();
    replies.message().await.unwrap().unwrap();
    requests.send(strange).await.unwrap();
    let status = loop {
        match timeout(PATIENCE, replies.message()).await.unwrap() {
            Ok(Some(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(a.metrics.malformed.get() >= 4);
    let (_requests, replies) = subscribe(&client, wish(&[])).await;
    assert!(replies.unwrap().message().await.unwrap().is_some());
}

#[tokio::test]
async fn who_is_not_the_home_says_so() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=1, 1);
    let client = client(&a).await;
    let (_requests, replies) = subscribe(&client, wish(&[source()])).await;
    let mut replies = replies.unwrap();
    replies.message().await.unwrap().unwrap();
    let mut player = Player::new(&home.log, &source());
    player.sees("1+1").await;
    world.record(&home.log, &b.id, 2, RecordState::Live, Vec::new());
    a.log.close(&home.log);
    let status = loop {
        match timeout(PATIENCE, replies.message()).await.unwrap() {
            Ok(Some(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(status.code(), Code::FailedPrecondition);
}

/// A peer that says nonsense.
struct Nonsense(wire::Snapshot);

#[tonic::async_trait]
impl LogService for Nonsense {
    async fn r#yield(&self, _: Request<wire::YieldRequest>) -> Result<Response<wire::YieldReply>, Status> {
        let sealed = wire::Sealed { epoch: u64::MAX, ..Default::default() };
        Ok(Response::new(wire::YieldReply { reply: Some(wire::yield_reply::Reply::Sealed(sealed)) }))
    }

    type FetchStream = Replies<wire::FetchReply>;

    async fn fetch(&self, _: Request<wire::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented(""))
    }

    type SubscribeStream = ReceiverStream<Result<wire::SubscribeReply, Status>>;

    async fn subscribe(
        &self,
        _: Request<Streaming<wire::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let reply = wire::subscribe_reply::Reply::Snapshot(self.0.clone());
        sender.try_send(Ok(wire::SubscribeReply { reply: Some(reply) })).unwrap();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn nonsense(snapshot: wire::Snapshot) -> NodeId {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = NodeId(format!("{}~1", listener.local_addr().unwrap()));
    let service = LogServiceServer::new(Nonsense(snapshot)).max_encoding_message_size(64 << 20);
    let serving = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    id
}

#[tokio::test]
async fn a_home_that_makes_no_sense_is_not_believed() {
    let world = World::new();
    let b = Node::start(&world).await;
    let log = Arc::new(StreamLog::new(session(1), Limits::default()));
    let good = crate::log::convert::snapshot(&log.follow().0, &mut Default::default());
    let cut = wire::Cut { msn: u64::MAX, ..Default::default() };
    let other = wire::Session { id: session(2).session.id.to_string(), ..good.session.clone().unwrap() };
    let too_long = wire::Cut {
        renditions: vec![wire::CutRendition { name: "x".repeat(17 << 20), off: None }],
        ..Default::default()
    };
    for (snapshot, is_malformed) in [
        (wire::Snapshot::default(), true),
        (wire::Snapshot { cuts: vec![cut], ..good.clone() }, true),
        (wire::Snapshot { session: Some(other), ..good.clone() }, true),
        // More than a message may have: it is not even read.
        (wire::Snapshot { cuts: vec![too_long], ..good.clone() }, false),
    ] {
        let (before, tried) = (b.metrics.malformed.get(), b.metrics.reconnects.get());
        let id = nonsense(snapshot).await;
        world.record(&log, &id, 1, RecordState::Live, Vec::new());
        let stream = show();
        let found = timeout(Duration::from_millis(300), b.log.find(&stream)).await;
        assert!(found.is_err() || found.unwrap().is_none());
        until("it is noticed", || b.metrics.reconnects.get() > tried).await;
        assert_eq!(b.metrics.malformed.get() > before, is_malformed);
    }
    let peers: &dyn Peers = &*b.nodes;
    let id = nonsense(good).await;
    let asked = headwater_router::claim::Yield { epoch: Epoch(1), priority: 0 };
    assert_eq!(peers.ask(&id, &show(), asked).await, None);
}
