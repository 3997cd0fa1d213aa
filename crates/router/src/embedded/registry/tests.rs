use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headwater_media::{
    AacConfig, AudioConfig, Cut, CutKind, Epoch, FrameRate, Instant, MediaSequence, RenditionName, SessionId, Timestamp,
};
use headwater_segmenter::{Grid, Profile};

use super::*;
use crate::claim::{Base, Claimant, Event, Holder, Lease, Newcomer, Outcome, Stop, Waits};
use crate::{Outline, OutlinedRendition, RenditionKind};

fn session(byte: u8) -> SessionId {
    SessionId::from_random([byte; 10])
}

fn stream() -> StreamName {
    "live/show".parse().unwrap()
}

fn node() -> NodeId {
    NodeId("a".into())
}

/// A record of the first session, before its first cut.
fn record(epoch: u64) -> Record {
    Record {
        epoch: Epoch(epoch),
        session: session(1),
        home: node(),
        state: RecordState::Live,
        reserved: MediaSequence(3),
        revision: 0,
        written: WallTime::default(),
        outline: None,
    }
}

/// Writes over whatever is there.
async fn write(registry: &EmbeddedRegistry, stream: &StreamName, record: Record) {
    let expected = registry.record(stream).map_or(0, |record| record.revision);
    let written = registry.request(stream, RegistryRequest::Write { expected, record }).await;
    assert_eq!(written, RegistryReply::Written { revision: expected + 1 });
}

async fn unfinished(registry: &EmbeddedRegistry) -> Vec<(StreamName, bool)> {
    registry.unfinished().await.unwrap().into_iter().map(|found| (found.stream, found.home_lives)).collect()
}

#[tokio::test]
async fn of_two_writes_on_one_revision_the_second_is_refused() {
    let registry = EmbeddedRegistry::new(node());
    let first = RegistryRequest::Write { expected: 0, record: record(1) };
    assert_eq!(registry.request(&stream(), first.clone()).await, RegistryReply::Written { revision: 1 });
    assert_eq!(registry.request(&stream(), first).await, RegistryReply::Conflict);
    let RegistryReply::Record { record: Some(read), home_lives: true } =
        registry.request(&stream(), RegistryRequest::Read).await
    else {
        panic!("it is there, and this process is its home")
    };
    assert_eq!((read.epoch, read.revision), (Epoch(1), 1));
}

#[tokio::test]
async fn ended_records_are_bounded_and_a_stream_that_began_again_is_not_among_them() {
    let registry = EmbeddedRegistry::new(node());
    let ended = || Record { state: RecordState::Ended, outline: Some(outline()), ..record(1) };
    write(&registry, &stream(), ended()).await;
    assert_eq!(registry.record(&stream()).unwrap().outline, None);
    write(&registry, &stream(), record(2)).await;
    for number in 0..ENDED_MAX + 10 {
        write(&registry, &format!("live/{number}").parse().unwrap(), ended()).await;
    }
    assert!(registry.shared.records().map.len() <= ENDED_MAX + 1);
    assert_eq!(registry.record(&stream()).unwrap().epoch, Epoch(2));
    assert_eq!(unfinished(&registry).await, [(stream(), true)]);
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Instant {
        Instant::default()
    }

    fn wall(&self) -> WallTime {
        WallTime { unix_millis: 1_700_000_000_000 }
    }
}

/// A folder of its own, which is removed.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("headwater-state-{}-{count}", std::process::id())))
    }

    fn open(&self) -> EmbeddedRegistry {
        EmbeddedRegistry::open(node(), &self.0, Arc::new(Noon)).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.0.join("streams.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn outline() -> Arc<Outline> {
    let audio = AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap());
    Arc::new(Outline {
        grid: Grid::new(Profile::Low, FrameRate::FPS_30),
        window_segments: 8,
        since: WallTime { unix_millis: 5 },
        renditions: vec![OutlinedRendition {
            name: RenditionName::source(),
            kind: RenditionKind::Source,
            average_bps: 1,
            peak_bps: 2,
            channels: None,
            standby: false,
        }],
        audio: Some(Arc::new(audio)),
        cuts: vec![Arc::new(Cut {
            msn: MediaSequence(7),
            start: Timestamp::video(240_000),
            discontinuity: 1,
            program_date_time: WallTime { unix_millis: 6 },
            kind: CutKind::Media,
            renditions: [].into(),
        })],
    })
}

/// What was acknowledged is there for the next process, whatever becomes of this one: nothing is written at its end.
#[tokio::test]
async fn what_was_acknowledged_is_in_the_file() {
    let folder = Folder::new();
    let registry = folder.open();
    let live = Record { reserved: MediaSequence(9), outline: Some(outline()), ..record(1) };
    write(&registry, &stream(), live.clone()).await;
    let over: StreamName = "live/over".parse().unwrap();
    write(&registry, &over, Record { state: RecordState::Ended, ..record(1) }).await;
    let file = std::fs::read(folder.file()).unwrap();
    drop(registry);
    std::fs::write(folder.file(), file).unwrap();

    // The next process is another node.
    let registry = EmbeddedRegistry::open(NodeId("b".into()), &folder.0, Arc::new(Noon)).unwrap();
    assert_eq!(unfinished(&registry).await, [(stream(), false)]);
    let kept = registry.record(&stream()).unwrap();
    assert_eq!(kept, Record { revision: 1, written: Noon.wall(), ..live });
}

#[test]
fn a_folder_has_one_process_at_a_time() {
    let folder = Folder::new();
    let _first = folder.open();
    let second = EmbeddedRegistry::open(node(), &folder.0, Arc::new(Noon)).unwrap_err();
    assert!(matches!(second, StateError::Locked { .. }), "{second}");
    let nowhere = EmbeddedRegistry::open(node(), &folder.file(), Arc::new(Noon)).unwrap_err();
    assert!(matches!(nowhere, StateError::Unusable { .. }), "{nowhere}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_kept_aside_and_costs_its_sessions_only() {
    let folder = Folder::new();
    let registry = folder.open();
    write(&registry, &stream(), record(1)).await;
    drop(registry);
    let mut damaged = std::fs::read(folder.file()).unwrap();
    damaged[2] ^= 1;
    std::fs::write(folder.file(), &damaged).unwrap();

    let registry = folder.open();
    assert_eq!(unfinished(&registry).await, []);
    assert_eq!(std::fs::read(folder.0.join("streams.jsonl.bad")).unwrap(), damaged);
    write(&registry, &stream(), record(1)).await;
}

/// Each write of a long life: the file stays as long as its records are.
#[tokio::test]
async fn the_file_is_bounded() {
    let folder = Folder::new();
    let registry = folder.open();
    let mut long = Outline::clone(&outline());
    long.cuts = vec![long.cuts[0].clone(); 2000];
    let long = Arc::new(long);
    let mut longest = 0;
    for number in 3..40 {
        let longer = Record { reserved: MediaSequence(number), outline: Some(long.clone()), ..record(1) };
        write(&registry, &stream(), longer).await;
        longest = longest.max(std::fs::metadata(folder.file()).unwrap().len());
    }
    assert!((1 << 20..2 << 20).contains(&longest), "{longest}");
    drop(registry);
    assert_eq!(folder.open().record(&stream()).unwrap().reserved, MediaSequence(39));
}

/// A full disk: streams go on, and a restart must not believe what the file said before.
#[tokio::test]
async fn a_file_that_cannot_be_written_is_taken_away_until_it_can() {
    let folder = Folder::new();
    let (mut file, _) = StateFile::open(&folder.0).unwrap();
    file.fill_up();
    std::fs::create_dir(folder.0.join("streams.jsonl.new")).unwrap();
    let shared = Arc::new(Shared::default());
    let writing = shared.clone();
    let writer = std::thread::spawn(move || writer::run(&writing, file));
    let lease = watch::Sender::new(Lease::for_ever());
    let registry = EmbeddedRegistry { node: node(), lease, shared, clock: Some(Arc::new(Noon)), writer: Some(writer) };
    write(&registry, &stream(), record(1)).await;
    assert!(!folder.file().exists());
    write(&registry, &stream(), record(1)).await;
    assert!(!folder.file().exists());

    std::fs::remove_dir(folder.0.join("streams.jsonl.new")).unwrap();
    write(&registry, &stream(), Record { reserved: MediaSequence(7), ..record(1) }).await;
    drop(registry);
    assert_eq!(folder.open().record(&stream()).unwrap().reserved, MediaSequence(7));
}

/// What the machine at `node` asks is answered until it asks no more.
macro_rules! converse {
    ($registry:expr, $node:expr, $machine:expr) => {
        while let Some((id, request)) = $machine.poll_request() {
            let reply = $registry.answer(&stream(), $node, request).await;
            $machine.handle_reply(Instant::from_millis(1), id, reply);
        }
    };
}

/// The state machines that a cluster will have, on one machine: a claim, a home that reserves, a restart, a takeover.
#[tokio::test]
async fn the_claims_state_machines_work_with_this_registry() {
    let registry = EmbeddedRegistry::new(node());
    let now = Instant::from_millis(0);
    let claim = |node: &NodeId, fresh| {
        let newcomer = Newcomer { node: node.clone(), fresh, priority: 0 };
        Claimant::new(now, WallTime::default(), newcomer)
    };
    let won = |claimant: &mut Claimant| match claimant.poll_outcome() {
        Some(Outcome::Won(claimed)) => claimed,
        other => panic!("{other:?}"),
    };
    let mut claimant = claim(&node(), session(1));
    converse!(registry, &node(), claimant);
    let claimed = won(&mut claimant);
    let mut lease = Lease::default();
    lease.kept_alive(now);
    let waits = Waits { reconnect: Duration::from_secs(60), clean_end: Duration::from_secs(5) };
    let mut holder = Holder::new(now, &claimed, lease, 0, waits);
    holder.handle_cut(now, outline());
    converse!(registry, &node(), holder);
    let recorded = registry.record(&stream()).unwrap();
    let cut = outline().cuts.last().unwrap().msn;
    assert_eq!(recorded.reserved, MediaSequence(cut.0 + 2));
    assert!(holder.may_stamp(cut.next()));

    let restarted = NodeId("a, restarted".into());
    let mut claimant = claim(&restarted, session(2));
    converse!(registry, &restarted, claimant);
    let claimed = won(&mut claimant);
    assert_eq!((claimed.base.clone(), claimed.record.session), (Base::Unsealed, session(1)));
    assert_eq!(claimed.first(), recorded.reserved);
    holder.handle_publisher_gone(Instant::from_millis(1), true);
    holder.handle_timeout(Instant::from_millis(2900));
    converse!(registry, &node(), holder);
    assert_eq!(holder.poll_event(), Some(Event::Acknowledged));
    let overtaken = Stop::Overtaken { current: claimed.record.epoch };
    assert_eq!(holder.poll_event(), Some(Event::Stopped(overtaken)));
}
