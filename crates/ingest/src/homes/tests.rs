use bytes::Bytes;
use headwater_media::{
    AccessUnit, AudioFrame, AvcConfig, Clock, Epoch, Instant, MediaSequence, Part, PartPayload, RenditionName,
    VideoConfig, WallTime,
};
use headwater_router::claim::{Lease, RegistryReply, RegistryRequest};
use headwater_router::embedded::{EmbeddedLog, EmbeddedQueue, EmbeddedRegistry};
use headwater_router::log::{FeedItem, Limits};
use headwater_router::{BoxFuture, Found, Ladder, Log, NodeId, Peers, RecordState, Registry, Unavailable};

use tokio::sync::mpsc;

use super::*;
use crate::{Metrics, webhook};

mod nodes;
mod restart;

/// The paused clock of the runtime.
struct Virtual(tokio::time::Instant);

impl Clock for Virtual {
    fn now(&self) -> Instant {
        Instant::default() + self.0.elapsed()
    }

    fn wall(&self) -> WallTime {
        WallTime { unix_millis: i64::try_from(self.0.elapsed().as_millis()).unwrap() }
    }
}

/// The nodes that are there, and the way between them.
#[derive(Default)]
struct Net(Mutex<HashMap<NodeId, Node>>);

type Node = (Arc<Homes>, Arc<EmbeddedLog>);

impl Net {
    fn lives(&self, node: &NodeId) -> bool {
        self.0.lock().unwrap().contains_key(node)
    }

    fn node(&self, node: &NodeId) -> Option<Node> {
        self.0.lock().unwrap().get(node).cloned()
    }
}

/// As a node reaches the others.
struct Way(Arc<Net>);

impl Peers for Way {
    fn ask<'a>(&'a self, home: &'a NodeId, stream: &'a StreamName, asked: Yield) -> BoxFuture<'a, Option<PeerReply>> {
        Box::pin(async move {
            match self.0.node(home) {
                Some((homes, _)) => homes.asked(Asker::Elsewhere, stream, asked).await,
                None => Some(PeerReply::Unreachable),
            }
        })
    }

    fn fetch<'a>(
        &'a self,
        home: &'a NodeId,
        stream: &'a StreamName,
        session: SessionId,
        into: mpsc::Sender<(RenditionName, Arc<Part>)>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some((_, logs)) = self.0.node(home) else { return };
            let Some(log) = logs.find_session(stream, session).await else { return };
            let names: Vec<_> = log.state().borrow().renditions.iter().map(|known| known.name.clone()).collect();
            for name in names {
                let mut reader = log.read_parts(&name).unwrap();
                while let Ok(Some(item)) = reader.try_next() {
                    if let FeedItem::Part(part) = item {
                        into.send((name.clone(), part)).await.unwrap();
                    }
                }
            }
        })
    }
}

/// One process's view of the registry, which stays when it is lost.
struct Process {
    registry: Arc<EmbeddedRegistry>,
    node: NodeId,
    net: Arc<Net>,
    lease: watch::Sender<Lease>,
    /// It answers nothing.
    is_away: watch::Sender<bool>,
}

impl Registry for Process {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.subscribe()
    }

    fn request<'a>(&'a self, stream: &'a StreamName, request: RegistryRequest) -> BoxFuture<'a, RegistryReply> {
        Box::pin(async move {
            self.is_away.subscribe().wait_for(|is_away| !is_away).await.unwrap();
            match self.registry.answer(stream, &self.node, request).await {
                RegistryReply::Record { record, .. } => {
                    let home_lives = record.as_ref().is_some_and(|record| self.net.lives(&record.home));
                    RegistryReply::Record { record, home_lives }
                }
                reply => reply,
            }
        })
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Found>, Unavailable>> {
        Box::pin(async move {
            let found = self.registry.unfinished().await?.into_iter();
            Ok(found.map(|found| Found { home_lives: self.net.lives(&found.record.home), ..found }).collect())
        })
    }
}

/// A server on paper.
struct Server {
    homes: Arc<Homes>,
    registry: Arc<Process>,
    log: Arc<EmbeddedLog>,
    settings: Arc<Settings>,
    clock: Arc<Virtual>,
}

impl Server {
    /// Alone: every other process is gone.
    fn start(registry: &Arc<EmbeddedRegistry>) -> Self {
        Self::join(registry, &Arc::default(), "test")
    }

    /// Beside others, at this address.
    fn join(registry: &Arc<EmbeddedRegistry>, net: &Arc<Net>, address: &str) -> Self {
        let clock = Arc::new(Virtual(tokio::time::Instant::now()));
        let log = Arc::new(EmbeddedLog::new(Limits::default()));
        let registry = Arc::new(Process {
            registry: registry.clone(),
            node: NodeId(format!("{address}{}", random_session())),
            net: net.clone(),
            lease: watch::Sender::new(Lease::for_ever()),
            is_away: watch::Sender::new(false),
        });
        let deps = Deps {
            clock: clock.clone(),
            registry: registry.clone(),
            peers: Arc::new(Way(net.clone())),
            log: log.clone(),
            queue: Arc::new(EmbeddedQueue::default()),
            metrics: Arc::new(Metrics::new(&mut prometheus_client::registry::Registry::default(), clock.clone())),
        };
        let settings = Settings {
            ladder: Ladder::default(),
            reconnect_window: Duration::from_secs(60),
            end_grace: Duration::from_secs(5),
            ..Settings::clone(&webhook::settings())
        };
        let homes = Arc::new(Homes::new(deps));
        net.0.lock().unwrap().insert(registry.node.clone(), (homes.clone(), log.clone()));
        Self { homes, registry, log, settings: Arc::new(settings), clock }
    }

    fn alone() -> Self {
        Self::start(&Arc::new(EmbeddedRegistry::new(NodeId("test".into()))))
    }

    /// The epoch that is held, while one is.
    fn epoch(&self) -> Option<u64> {
        self.homes.home(&stream()).and_then(|home| home.epoch()).map(|epoch| epoch.0)
    }

    /// Some media, perhaps too late.
    fn media(&self, hold: &Hold) -> bool {
        let frame = AudioFrame { data: Bytes::from_static(b"a"), pts_millis: 0 };
        hold.home.audio(hold.seat, self.clock.now(), frame).is_ok()
    }

    async fn publish(&self, priority: i32) -> Result<Hold, PublishError> {
        let info = PublisherInfo { address: "192.0.2.1:1".into(), encoder: None, since: self.clock.wall(), priority };
        self.homes.publish(&stream(), info, self.settings.clone()).await
    }

    /// Asks in the background.
    fn ask(self: &Arc<Self>, priority: i32) -> tokio::task::JoinHandle<Result<Hold, PublishError>> {
        let server = self.clone();
        tokio::spawn(async move { server.publish(priority).await })
    }

    /// Loses all that is in memory, without a word.
    fn crash(self) {
        self.registry.net.0.lock().unwrap().remove(&self.registry.node);
        self.homes.tasks.lock().unwrap().abort_all();
    }
}

fn stream() -> StreamName {
    "live/show".parse().unwrap()
}

fn taken() -> PublishError {
    PublishError::Taken { stream: stream() }
}

fn is_held(hold: &Hold) -> bool {
    hold.home.seats().borrow().gone_for(hold.seat).is_none()
}

#[tokio::test(start_paused = true)]
async fn media_after_a_newcomer_asked_keeps_the_stream() {
    let server = Arc::new(Server::alone());
    let holder = server.publish(0).await.unwrap();
    assert!(server.media(&holder));
    let newcomer = server.ask(0);
    sleep(Duration::from_millis(1900)).await;
    assert!(!newcomer.is_finished(), "media from before proves nothing");
    assert!(server.media(&holder));
    assert_eq!(newcomer.await.unwrap().unwrap_err(), taken());
    assert!(server.media(&holder));
}

/// A half-open connection: the holder is there, and says nothing.
#[tokio::test(start_paused = true)]
async fn a_silent_publisher_is_taken_over_after_two_seconds() {
    let server = Arc::new(Server::alone());
    let holder = server.publish(0).await.unwrap();
    play(&server, &holder, 3).await;
    assert!(server.media(&holder));
    let asked = tokio::time::Instant::now();
    let newcomer = server.publish(0).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_secs(2));
    assert_eq!(newcomer.home.session(), holder.home.session());
    assert!(!is_held(&holder) && !server.media(&holder) && server.media(&newcomer));
}

#[tokio::test(start_paused = true)]
async fn of_several_newcomers_exactly_one_gets_the_stream() {
    let server = Arc::new(Server::alone());
    let holder = server.publish(0).await.unwrap();
    let newcomers: Vec<_> = (0..5).map(|_| server.ask(0)).collect();
    let mut won = Vec::new();
    for newcomer in newcomers {
        match newcomer.await.unwrap() {
            Ok(hold) => won.push(hold),
            Err(error) => assert_eq!(error, taken()),
        }
    }
    assert_eq!(won.len(), 1);
    assert!(is_held(&won[0]) && !is_held(&holder));
}

/// An encoder that comes back while its old connection is being taken down.
#[tokio::test(start_paused = true)]
async fn a_publisher_that_leaves_frees_the_stream_for_who_waits() {
    let server = Arc::new(Server::alone());
    let holder = server.publish(0).await.unwrap();
    let asked = tokio::time::Instant::now();
    let newcomer = server.ask(0);
    sleep(Duration::from_millis(300)).await;
    server.homes.release(&holder, Ending::Lost);
    assert!(is_held(&newcomer.await.unwrap().unwrap()));
    assert_eq!(asked.elapsed(), Duration::from_millis(300));
}

/// R-111, as architecture 8 has it.
#[tokio::test(start_paused = true)]
async fn a_higher_priority_takes_over_at_once_three_times_a_minute() {
    let server = Arc::new(Server::alone());
    let mut holder = server.publish(0).await.unwrap();
    play(&server, &holder, 3).await;
    let began = tokio::time::Instant::now();
    for priority in 1..=3 {
        let next = server.publish(priority).await.unwrap();
        assert!(!is_held(&holder) && is_held(&next));
        holder = next;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);

    let fourth = server.ask(4);
    sleep(Duration::from_millis(10)).await;
    assert!(server.media(&holder));
    let error = fourth.await.unwrap().unwrap_err();
    assert_eq!(error, PublishError::Damped { stream: stream() });
    assert!(error.to_string().contains("taken over 3 times within a minute"), "{error}");
    // Silence frees it all the same, and is not counted.
    let holder = server.publish(4).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(2010));
    let lower = server.ask(3);
    sleep(Duration::from_millis(10)).await;
    assert!(server.media(&holder));
    assert_eq!(lower.await.unwrap().unwrap_err(), taken());

    sleep(Duration::from_secs(60)).await;
    assert!(server.media(&holder));
    let asked = tokio::time::Instant::now();
    let last = server.publish(5).await.unwrap();
    assert!(is_held(&last));
    assert_eq!(asked.elapsed(), Duration::ZERO);
    // All in one session, whose playlist goes on.
    play(&server, &last, 3).await;
    assert_eq!(listed(&server).await, ["c1+0", "p1", "c2+0", "p2", "c3+1", "p3", "c4+1", "p4"]);
}

/// x264's, 320x180.
const AVC_CONFIG: &[u8] = &[
    1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xB4, 0x0A, 0x0C, 0xFC, 0xF8, 0x08, 0x80, 0x00,
    0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x1E, 0x47, 0x8A, 0x15, 0x50, 1, 0, 4, 0x68, 0xEB, 0x8F, 0x20,
];

/// Seconds of video at 30 frames a second with an IDR in every second one, in real time.
async fn play(server: &Server, hold: &Hold, seconds: u32) {
    play_tracks(server, hold, seconds, None).await;
}

/// The same, with a second track that is so many frames behind.
async fn play_tracks(server: &Server, hold: &Hold, seconds: u32, behind: Option<u32>) {
    let (home, seat) = (&hold.home, hold.seat);
    let config: Arc<VideoConfig> = Arc::new(AvcConfig::parse(AVC_CONFIG).unwrap().into());
    home.video_config(seat, config.clone(), None).unwrap();
    home.hint_frame_rate(seat, 30.0).unwrap();
    let unit = |frame: u32| AccessUnit {
        data: Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x88]),
        idr: frame.is_multiple_of(60),
        recovery: None,
        dts_millis: frame * 100 / 3,
        composition_millis: 0,
    };
    for frame in 0..seconds * 30 {
        if let Some(frame) = behind.and_then(|behind| frame.checked_sub(behind)) {
            assert!(home.track_video(seat, server.clock.now(), 1, unit(frame), config.clone()).unwrap());
        }
        let unit = unit(frame);
        home.video_start(seat, server.clock.now(), unit.dts_millis, unit.idr).unwrap();
        home.video(seat, server.clock.now(), unit).unwrap();
        // Past the next frame's time: the grid is laid by timestamps.
        sleep(Duration::from_micros(33_334)).await;
    }
}

/// `c4+1` a cut with its count of discontinuities, `p4` a segment with parts, `g3` a cut that is a gap.
async fn listed(server: &Server) -> Vec<String> {
    listed_of(server, &RenditionName::source()).await
}

/// The same of another rendition.
async fn listed_of(server: &Server, name: &RenditionName) -> Vec<String> {
    let log = server.log.find(&stream()).await.unwrap();
    let mut reader = log.read_parts(name).unwrap();
    let all = std::iter::from_fn(|| reader.try_next().ok().flatten()).map(|item| match item {
        FeedItem::ClosedBelow(msn) => format!("x{msn}"),
        FeedItem::Cut(cut) if cut.kind == headwater_media::CutKind::Gap => format!("g{}", cut.msn),
        FeedItem::Cut(cut) => format!("c{}+{}", cut.msn, cut.discontinuity),
        FeedItem::Part(part) => {
            assert!(matches!(part.payload, PartPayload::Media { .. }));
            format!("p{}", part.msn)
        }
    });
    // A segment's last part comes after the next cut.
    let mut listed = Vec::new();
    for item in all {
        if !listed.contains(&item) {
            listed.push(item);
        }
    }
    listed
}

/// Architecture 8: a discontinuity that another home would not know of leaves only when it is recorded.
#[tokio::test(start_paused = true)]
async fn a_cut_with_a_discontinuity_waits_for_its_record() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let server = Server::start(&registry);
    let hold = server.publish(0).await.unwrap();
    play(&server, &hold, 3).await;
    server.homes.release(&hold, Ending::Lost);
    let hold = server.publish(0).await.unwrap();
    server.registry.is_away.send_replace(true);
    play(&server, &hold, 1).await;
    assert_eq!(listed(&server).await, ["c1+0", "p1", "c2+0", "p2"]);
    server.registry.is_away.send_replace(false);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(listed(&server).await, ["c1+0", "p1", "c2+0", "p2", "c3+1", "p3"]);
    let record = registry.record(&stream()).unwrap();
    let last = record.outline.unwrap().cuts.last().unwrap().clone();
    assert_eq!((record.reserved, last.msn, last.discontinuity), (MediaSequence(5), MediaSequence(3), 1));
}

/// A registry that never acknowledges must not fill the memory.
#[tokio::test(start_paused = true)]
async fn a_publisher_whose_numbers_are_never_recorded_is_sent_away() {
    let server = Server::alone();
    let hold = server.publish(0).await.unwrap();
    server.registry.is_away.send_replace(true);
    let (home, seat) = (&hold.home, hold.seat);
    home.video_config(seat, Arc::new(AvcConfig::parse(AVC_CONFIG).unwrap().into()), None).unwrap();
    home.hint_frame_rate(seat, 30.0).unwrap();
    let large = Bytes::from(vec![0; 1 << 20]);
    let mut sent = 0;
    let refused = loop {
        let unit = AccessUnit {
            data: large.clone(),
            idr: sent % 60 == 0,
            recovery: None,
            dts_millis: sent * 100 / 3,
            composition_millis: 0,
        };
        let now = Instant::from_millis(u64::from(sent) * 34);
        if let Err(refused) = home.video(seat, now, unit) {
            break refused;
        }
        sent += 1;
        assert!(sent < 1000);
    };
    assert_eq!(refused, crate::home::SampleError::Unrecorded);
}
