use bytes::Bytes;
use headwater_media::{
    AccessUnit, AudioFrame, AvcConfig, Instant, MediaSequence, PartPayload, RenditionName, VideoConfig, WallTime,
};
use headwater_router::embedded::{EmbeddedLog, EmbeddedQueue, EmbeddedRegistry};
use headwater_router::log::{FeedItem, Limits};
use headwater_router::{Ladder, NodeId, Progress, State};

use super::*;
use crate::webhook;

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

/// A server on paper. The registry stays when it is lost.
struct Server {
    homes: Arc<Homes>,
    log: Arc<EmbeddedLog>,
    settings: Arc<Settings>,
    clock: Arc<Virtual>,
}

impl Server {
    fn start(registry: &Arc<EmbeddedRegistry>) -> Self {
        let clock = Arc::new(Virtual(tokio::time::Instant::now()));
        let log = Arc::new(EmbeddedLog::new(Limits::default()));
        let deps = Deps {
            clock: clock.clone(),
            registry: registry.clone(),
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
        Self { homes: Arc::new(Homes::new(deps)), log, settings: Arc::new(settings), clock }
    }

    fn alone() -> Self {
        Self::start(&Arc::new(EmbeddedRegistry::new(NodeId("test".into()))))
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
        self.homes.tasks.lock().unwrap().abort_all();
    }
}

fn stream() -> StreamName {
    "live/show".parse().unwrap()
}

fn taken() -> PublishError {
    PublishError::Taken { stream: stream() }
}

/// Some media, perhaps too late.
fn media(hold: &Hold) -> bool {
    let frame = AudioFrame { data: Bytes::from_static(b"a"), pts_millis: 0 };
    hold.home.audio(hold.epoch, Instant::default(), frame).is_ok()
}

fn is_held(hold: &Hold) -> bool {
    *hold.home.epoch().borrow() == hold.epoch
}

#[tokio::test(start_paused = true)]
async fn media_after_a_newcomer_asked_keeps_the_stream() {
    let server = Arc::new(Server::alone());
    let holder = server.publish(0).await.unwrap();
    assert!(media(&holder));
    let newcomer = server.ask(0);
    sleep(Duration::from_millis(1900)).await;
    assert!(!newcomer.is_finished(), "media from before proves nothing");
    assert!(media(&holder));
    assert_eq!(newcomer.await.unwrap().unwrap_err(), taken());
    assert!(media(&holder));
}

/// A half-open connection: the holder is there, and says nothing.
#[tokio::test(start_paused = true)]
async fn a_silent_publisher_is_taken_over_after_two_seconds() {
    let server = Arc::new(Server::alone());
    let holder = server.publish(0).await.unwrap();
    assert!(media(&holder));
    let asked = tokio::time::Instant::now();
    let newcomer = server.publish(0).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_secs(2));
    assert_eq!(newcomer.home.session(), holder.home.session());
    assert!(newcomer.epoch > holder.epoch && !is_held(&holder) && !media(&holder) && media(&newcomer));
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

/// R-111, as architecture 5 has it.
#[tokio::test(start_paused = true)]
async fn a_higher_priority_takes_over_at_once_three_times_a_minute() {
    let server = Arc::new(Server::alone());
    let mut holder = server.publish(0).await.unwrap();
    let began = tokio::time::Instant::now();
    for priority in 1..=3 {
        let next = server.publish(priority).await.unwrap();
        assert!(!is_held(&holder) && is_held(&next));
        holder = next;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);

    let fourth = server.ask(4);
    sleep(Duration::from_millis(10)).await;
    assert!(media(&holder));
    let error = fourth.await.unwrap().unwrap_err();
    assert_eq!(error, PublishError::Damped { stream: stream() });
    assert!(error.to_string().contains("taken over 3 times within a minute"), "{error}");
    // Silence frees it all the same, and is not counted.
    let holder = server.publish(4).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(2010));
    let lower = server.ask(3);
    sleep(Duration::from_millis(10)).await;
    assert!(media(&holder));
    assert_eq!(lower.await.unwrap().unwrap_err(), taken());

    sleep(Duration::from_secs(60)).await;
    assert!(media(&holder));
    let asked = tokio::time::Instant::now();
    assert!(is_held(&server.publish(5).await.unwrap()));
    assert_eq!(asked.elapsed(), Duration::ZERO);
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
    let (home, epoch) = (&hold.home, hold.epoch);
    let config: Arc<VideoConfig> = Arc::new(AvcConfig::parse(AVC_CONFIG).unwrap().into());
    home.video_config(epoch, config.clone(), None).unwrap();
    home.hint_frame_rate(epoch, 30.0).unwrap();
    let unit = |frame: u32| AccessUnit {
        data: Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x88]),
        idr: frame.is_multiple_of(60),
        recovery: None,
        dts_millis: frame * 100 / 3,
        composition_millis: 0,
    };
    for frame in 0..seconds * 30 {
        if let Some(frame) = behind.and_then(|behind| frame.checked_sub(behind)) {
            assert!(home.track_video(epoch, server.clock.now(), 1, unit(frame), config.clone()).unwrap());
        }
        let unit = unit(frame);
        home.video_start(epoch, unit.dts_millis, unit.idr).unwrap();
        home.video(epoch, server.clock.now(), unit).unwrap();
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

/// Architecture 5, unsealed takeover, and invariants 2 and 3 of section 9.
#[tokio::test(start_paused = true)]
async fn a_restarted_server_goes_on_with_the_session_above_all_numbers_that_were_used() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play(&first, &hold, 5).await;
    assert_eq!(listed(&first).await, ["c1+0", "p1", "c2+0", "p2", "c3+0", "p3"]);
    let session = hold.home.session();
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.epoch, record.reserved), (Epoch(1), MediaSequence(5)));
    assert_eq!(record.outline.unwrap().cuts.len(), 3);
    first.crash();

    // Twice: nobody came back to the second server.
    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    second.crash();
    let third = Server::start(&registry);
    third.homes.resume(&third.settings).await;
    let log = third.log.find(&stream()).await.unwrap();
    assert_eq!(log.state().borrow().state, State::Waiting);
    assert_eq!(listed(&third).await, ["g4", "c5+1"]);
    sleep(Duration::from_secs(30)).await;
    let hold = third.publish(0).await.unwrap();
    assert_eq!((hold.home.session(), hold.epoch), (session, Epoch(2)));
    play(&third, &hold, 3).await;
    assert_eq!(listed(&third).await, ["g4", "c5+1", "p5", "c6+1", "p6"]);
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.session, record.reserved), (session, MediaSequence(8)));
    let recorded: Vec<u64> = record.outline.unwrap().cuts.iter().map(|cut| cut.msn.0).collect();
    assert_eq!(recorded, [1, 2, 3, 4, 5, 6]);
    // The one who left comes back while nothing was lost: it goes on without a gap.
    third.homes.release(&hold, Ending::Lost);
    let hold = third.publish(0).await.unwrap();
    play(&third, &hold, 1).await;
    assert_eq!(listed(&third).await, ["g4", "c5+1", "p5", "c6+1", "p6", "c7+2", "p7"]);
}

/// the first part that the second server makes is whole, however late the track is.
#[tokio::test(start_paused = true)]
async fn a_restarted_server_goes_on_with_the_tracks_that_are_the_ladder() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play_tracks(&first, &hold, 5, Some(0)).await;
    let track = RenditionName::new("track-1").unwrap();
    assert_eq!(listed_of(&first, &track).await, ["c1+0", "p1", "c2+0", "p2", "c3+0", "p3"]);
    first.crash();

    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    let hold = second.publish(0).await.unwrap();
    play_tracks(&second, &hold, 3, Some(20)).await;
    for name in [RenditionName::source(), track] {
        assert_eq!(listed_of(&second, &name).await, ["g4", "c5+1", "p5", "c6+1", "p6"], "{name}");
    }
    // Each part of the track is as long as the source's.
    let log = second.log.find(&stream()).await.unwrap();
    let starts = |name: &str| {
        let mut reader = log.read_parts(&RenditionName::new(name).unwrap()).unwrap();
        let items = std::iter::from_fn(move || reader.try_next().ok().flatten());
        items
            .filter_map(|item| if let FeedItem::Part(part) = item { Some(part.start) } else { None })
            .collect::<Vec<_>>()
    };
    let (source, track) = (starts("source"), starts("track-1"));
    assert!(source.starts_with(&track) && track.len() > 5, "{source:?} {track:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_goes_on_with_ends_after_the_window() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play(&first, &hold, 3).await;
    first.crash();

    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    let log = second.log.find(&stream()).await.unwrap();
    sleep(Duration::from_millis(59_900)).await;
    assert_eq!(log.state().borrow().state, State::Waiting);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(log.state().borrow().state, State::Ended);
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
    assert!(registry.sessions().await.is_empty());
    let next = second.publish(0).await.unwrap();
    assert_ne!(next.home.session(), hold.home.session());
}

/// A server that was away for longer than the window, and a session that has no sample yet.
#[tokio::test(start_paused = true)]
async fn a_session_of_long_ago_is_over_at_the_start() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    first.crash();
    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended, "it has no cut");
    let again = second.publish(0).await.unwrap();
    assert_ne!(again.home.session(), hold.home.session());
    play(&second, &again, 3).await;
    second.crash();

    let third = Server::start(&registry);
    let settings = Settings { reconnect_window: Duration::ZERO, ..Settings::clone(&third.settings) };
    third.homes.resume(&Arc::new(settings)).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
    assert!(third.log.find(&stream()).await.is_none());
}

/// With SIGTERM and a state that outlives the process.
#[tokio::test(start_paused = true)]
async fn sessions_that_are_kept_do_not_end_when_the_server_stops() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play(&first, &hold, 3).await;
    first.homes.stopping(Sessions::Keep);
    first.homes.release(&hold, Ending::Clean);
    sleep(Duration::from_secs(10)).await;
    first.homes.shut_down().await;
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.session, record.state), (hold.home.session(), RecordState::Live));

    let second = Server::start(&registry);
    let hold = second.publish(0).await;
    assert!(matches!(hold, Err(PublishError::Taken { .. })), "it has not looked yet");
    second.homes.resume(&second.settings).await;
    let hold = second.publish(0).await.unwrap();
    assert_eq!(hold.home.session(), record.session);
    second.homes.stopping(Sessions::End);
    second.homes.shut_down().await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
}

/// Architecture 5: a discontinuity that another home would not know of leaves only when it is recorded.
#[tokio::test(start_paused = true)]
async fn a_cut_with_a_discontinuity_waits_for_its_record() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let server = Server::start(&registry);
    let hold = server.publish(0).await.unwrap();
    play(&server, &hold, 3).await;
    server.homes.release(&hold, Ending::Lost);
    let hold = server.publish(0).await.unwrap();
    // Nobody writes from here on.
    server.homes.tasks.lock().unwrap().abort_all();
    play(&server, &hold, 1).await;
    assert_eq!(listed(&server).await, ["c1+0", "p1", "c2+0", "p2"]);
    let (progress, newest) = hold.home.progress();
    assert_eq!(newest, Some(MediaSequence(3)));
    let Progress { below, outline } = progress.clone();
    assert_eq!((below, outline.unwrap().cuts.last().unwrap().discontinuity), (MediaSequence(5), 1));
    let reserved = registry.reserve(&stream(), hold.epoch, progress).await.unwrap();
    hold.home.acknowledge(reserved, newest);
    assert_eq!(listed(&server).await, ["c1+0", "p1", "c2+0", "p2", "c3+1", "p3"]);
}

/// A registry that never acknowledges must not fill the memory.
#[tokio::test(start_paused = true)]
async fn a_publisher_whose_numbers_are_never_recorded_is_sent_away() {
    let server = Server::alone();
    let hold = server.publish(0).await.unwrap();
    server.homes.tasks.lock().unwrap().abort_all();
    let (home, epoch) = (&hold.home, hold.epoch);
    home.video_config(epoch, Arc::new(AvcConfig::parse(AVC_CONFIG).unwrap().into()), None).unwrap();
    home.hint_frame_rate(epoch, 30.0).unwrap();
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
        if let Err(refused) = home.video(epoch, now, unit) {
            break refused;
        }
        sent += 1;
        assert!(sent < 1000);
    };
    assert_eq!(refused, crate::home::SampleError::Unrecorded);
}
