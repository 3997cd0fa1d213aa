//! Nodes, the records that they see, and the media that a home makes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use headwater_media::captions::Channels;
use headwater_media::*;
use headwater_router::claim::{Lease, PeerReply, RegistryReply, RegistryRequest, Yield};
use headwater_router::embedded::EmbeddedQueue;
use headwater_router::*;
use headwater_segmenter::{Grid, Profile};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::Tls;
use crate::etcd::Watched;
use crate::log::{ClusterLog, Deps, LogServer, Metrics, Nodes, Parts, Records, Uplink, UplinkMetrics, Uplinks};

/// What nobody waits for longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap() + 1_000_000_000)
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }
}

/// The records that all nodes see at once.
pub(super) struct World {
    pub(super) clock: Arc<dyn Clock>,
    records: Mutex<HashMap<StreamName, watch::Sender<Option<Watched>>>>,
    pub(super) reads: AtomicUsize,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        let clock = Arc::new(TestClock(tokio::time::Instant::now()));
        Arc::new(Self { clock, records: Mutex::default(), reads: AtomicUsize::new(0) })
    }

    fn sender(&self, stream: &StreamName) -> watch::Sender<Option<Watched>> {
        let nothing = Watched { record: None, home_lives: false };
        let mut records = self.records.lock().unwrap();
        records.entry(stream.clone()).or_insert_with(|| watch::Sender::new(Some(nothing))).clone()
    }

    /// Writes the record of [`show`]: `home` has `session` in `epoch`.
    pub(super) fn record(&self, log: &StreamLog, home: &NodeId, epoch: u64, state: RecordState, cuts: Vec<Arc<Cut>>) {
        let known = log.state().borrow().clone();
        let reserved = MediaSequence(cuts.last().map_or(1, |cut| cut.msn.0) + 2);
        let outline = (!cuts.is_empty()).then(|| Arc::new(Outline::new(&known, None, cuts)));
        let record = Record {
            epoch: Epoch(epoch),
            session: known.session.id,
            home: home.clone(),
            state,
            reserved,
            revision: 1,
            written: WallTime::default(),
            outline,
        };
        self.sender(log.stream()).send_replace(Some(Watched { record: Some(record), home_lives: true }));
    }

    pub(super) fn record_of(&self, stream: &StreamName) -> Option<Record> {
        self.sender(stream).borrow().clone()?.record
    }
}

/// One node's view of the records.
struct View {
    world: Arc<World>,
    node: NodeId,
}

impl Records for View {
    fn watch(&self, stream: &StreamName) -> watch::Receiver<Option<Watched>> {
        self.world.sender(stream).subscribe()
    }
}

impl Registry for View {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn lease(&self) -> watch::Receiver<Lease> {
        watch::Sender::new(Lease::for_ever()).subscribe()
    }

    fn request<'a>(&'a self, stream: &'a StreamName, _: RegistryRequest) -> BoxFuture<'a, RegistryReply> {
        self.world.reads.fetch_add(1, Ordering::SeqCst);
        let Watched { record, home_lives } = self.world.sender(stream).borrow().clone().unwrap();
        Box::pin(async move { RegistryReply::Record { record, home_lives } })
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Found>, Unavailable>> {
        let records = self.world.records.lock().unwrap();
        let found = records.iter().filter_map(|(stream, known)| {
            let Watched { record, home_lives } = known.borrow().clone()?;
            Some(Found { stream: stream.clone(), record: record?, home_lives })
        });
        let found = found.collect();
        Box::pin(async move { Ok(found) })
    }
}

/// Answers as it was told to.
pub(super) struct Answers(pub(super) Mutex<Option<PeerReply>>);

impl Holders for Answers {
    fn asked<'a>(&'a self, _: &'a StreamName, _: Yield) -> BoxFuture<'a, Option<PeerReply>> {
        let answer = self.0.lock().unwrap().clone();
        Box::pin(async move { answer })
    }
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) log: ClusterLog,
    pub(super) nodes: Arc<Nodes>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) answers: Arc<Answers>,
    server: Mutex<Option<Serving>>,
}

pub(super) type Serving = (oneshot::Sender<()>, JoinHandle<()>);

pub(super) fn serve(
    world: &World,
    log: &ClusterLog,
    holders: Arc<Answers>,
    metrics: Arc<Metrics>,
    listener: TcpListener,
    tls: Option<Tls>,
) -> Serving {
    let uplinks = UplinkMetrics::new(&mut prometheus_client::registry::Registry::default());
    let uplinks = Uplinks::new(log.local(), Arc::new(EmbeddedQueue::default()), world.clock.clone(), uplinks);
    let server = LogServer::new(Deps {
        log: log.local(),
        holders,
        clock: world.clock.clone(),
        metrics,
        uplinks: Some(uplinks),
        tls,
    });
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { drop(stopped.await) };
    (stop, tokio::spawn(async move { server.run(listener, shutdown).await.unwrap() }))
}

impl Node {
    pub(super) async fn start(world: &Arc<World>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::at(world, listener, Limits::default()).await
    }

    pub(super) async fn at(world: &Arc<World>, listener: TcpListener, limits: Limits) -> Self {
        let id = NodeId(format!("{}~1", listener.local_addr().unwrap()));
        Self::known_as(world, listener, limits, id, None)
    }

    /// A node that others reach in another way than where it listens.
    pub(super) fn known_as(
        world: &Arc<World>,
        listener: TcpListener,
        limits: Limits,
        id: NodeId,
        tls: Option<Tls>,
    ) -> Self {
        let clock = world.clock.clone();
        let metrics = Arc::new(Metrics::default());
        let nodes = Arc::new(Nodes::new(clock.clone(), metrics.clone(), tls.clone()));
        let view = Arc::new(View { world: world.clone(), node: id.clone() });
        let uplinks = UplinkMetrics::new(&mut prometheus_client::registry::Registry::default());
        let log = ClusterLog::new(Parts {
            limits,
            clock: clock.clone(),
            registry: view.clone(),
            records: view,
            nodes: nodes.clone(),
            uplink: Uplink::new(clock, uplinks),
            metrics: metrics.clone(),
        });
        let answers = Arc::new(Answers(Mutex::default()));
        let server = Mutex::new(Some(serve(world, &log, answers.clone(), metrics.clone(), listener, tls)));
        Self { id, log, nodes, metrics, answers, server }
    }

    /// Closes all connections and takes no new ones.
    pub(super) async fn stop_serving(&self) {
        let (stop, server) = self.server.lock().unwrap().take().unwrap();
        drop(stop);
        server.await.unwrap();
    }
}

pub(super) fn show() -> StreamName {
    "live/show".parse().unwrap()
}

pub(super) fn source() -> RenditionName {
    RenditionName::source()
}

pub(super) fn gear() -> Gear {
    Gear::new(320, 180, 400, "superfast")
}

pub(super) fn session(number: u8) -> SessionState {
    let session = Session {
        stream: show(),
        id: SessionId::from_random([number; 10]),
        grid: Grid::new(Profile::Low, FrameRate::FPS_30),
        window_segments: 6,
        since: WallTime::default(),
    };
    let rendition = |name, kind| Rendition {
        name,
        kind,
        init: None,
        begun: false,
        average_bps: 1000,
        peak_bps: 2000,
        frame_rate: None,
        channels: None,
        standby: false,
        off: None,
    };
    SessionState {
        session: Arc::new(session),
        epoch: Epoch(1),
        state: State::Live,
        publisher: None,
        renditions: [
            rendition(source(), RenditionKind::Source),
            rendition(gear().name, RenditionKind::Gear(gear())),
            rendition(RenditionName::audio(), RenditionKind::Audio),
        ]
        .into(),
        captions: Channels::default(),
    }
}

pub(super) fn cut(msn: u64) -> Arc<Cut> {
    Arc::new(Cut {
        msn: MediaSequence(msn),
        start: Timestamp::video(240_000 * (msn.cast_signed() - 1)),
        discontinuity: 0,
        program_date_time: WallTime { unix_millis: 2000 * (msn.cast_signed() - 1) },
        kind: CutKind::Media,
        renditions: [].into(),
    })
}

pub(super) fn part_end(msn: u64, index: u32) -> Item {
    let start = 60 * (msn.cast_signed() - 1) + 6 * i64::from(index);
    Item::PartEnd(PartEnd {
        msn: MediaSequence(msn),
        index: PartIndex(index),
        start: VideoSlot(start),
        end: VideoSlot(start + 6),
        last: index == 9,
    })
}

pub(super) fn part(msn: u64, index: u32, received: Instant) -> Part {
    let start = 240_000 * (msn.cast_signed() - 1) + 24_000 * i64::from(index);
    Part {
        msn: MediaSequence(msn),
        index: PartIndex(index),
        start: Timestamp::video(start),
        end: Timestamp::video(start + 24_000),
        payload: PartPayload::Media {
            data: [Bytes::from(format!("moof {msn}.{index}")), vec![7; 20_000].into()].into_iter().collect(),
            independent: index == 0,
            intra: (index == 0).then_some(ByteRange { offset: 8, length: 100 }),
            init: Arc::new(Init::new(Bytes::from_static(b"init"), "avc1.64001f", Some((320, 180)))),
            received,
        },
    }
}

const AVCC: &[u8] = include_bytes!("../../../../media/src/testdata/x264-1080p29.avcc");

/// A home's hand: it stamps and packages.
pub(super) struct Home {
    pub(super) log: Arc<StreamLog>,
    pub(super) epoch: Epoch,
    turns: HashMap<RenditionName, Turn>,
    config: Arc<VideoConfig>,
    clock: Arc<dyn Clock>,
}

impl Home {
    pub(super) fn new(world: &World, log: Arc<StreamLog>, epoch: u64) -> Self {
        let turn = |name: RenditionName| (name.clone(), log.give_turn(&name).unwrap());
        let turns = [source(), gear().name, RenditionName::audio()].map(turn).into();
        let config = Arc::new(VideoConfig::Avc(AvcConfig::parse(AVCC).unwrap()));
        Self { log, epoch: Epoch(epoch), turns, config, clock: world.clock.clone() }
    }

    /// A node's home of a new session, recorded.
    pub(super) fn begin(world: &World, node: &Node) -> Self {
        let log = node.log.open(session(1));
        world.record(&log, &node.id, 1, RecordState::Live, Vec::new());
        Self::new(world, log, 1)
    }

    pub(super) fn append(&self, item: Item) {
        self.log.append(self.epoch, item).unwrap();
    }

    pub(super) fn picture(&self, msn: u64, slot: i64, idr: bool) -> Item {
        Item::Video(StampedVideo {
            msn: MediaSequence(msn),
            slot: VideoSlot(slot),
            composition_slots: 0,
            idr,
            recovery: None,
            data: vec![u8::try_from(slot % 251).unwrap(); 3000].into(),
            config: self.config.clone(),
            sent: SentTimes::default(),
            received: self.clock.now(),
        })
    }

    pub(super) fn put(&self, rendition: &RenditionName, part: Part) -> PutOutcome {
        self.log.put_part(rendition, self.turns[rendition], part)
    }

    /// One part of all renditions, with its pictures.
    pub(super) fn make_part(&self, msn: u64, index: u32) {
        let slot = 60 * (msn.cast_signed() - 1) + 6 * i64::from(index);
        (0..6).for_each(|n| self.append(self.picture(msn, slot + n, index == 0 && n == 0)));
        self.append(part_end(msn, index));
        for name in [source(), gear().name, RenditionName::audio()] {
            self.put(&name, part(msn, index, self.clock.now()));
        }
    }

    /// A segment's cut, and so many of its ten parts.
    pub(super) fn make_segment(&self, cut: Arc<Cut>, parts: u32) {
        let msn = cut.msn.0;
        self.append(Item::Cut(cut));
        (0..parts).for_each(|index| self.make_part(msn, index));
    }

    /// Whole segments, and `parts` of the last one.
    pub(super) fn make(&self, segments: std::ops::RangeInclusive<u64>, parts: u32) {
        for msn in segments.clone() {
            self.make_segment(cut(msn), if msn == *segments.end() { parts } else { 10 });
        }
    }
}

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
