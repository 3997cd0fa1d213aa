use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headwater_media::{AacConfig, AudioConfig, Cut, CutKind, FrameRate, Instant, RenditionName, Timestamp};
use headwater_segmenter::{Grid, Profile};

use super::*;
use crate::claim::{Base, Claimant, Event, Holder, Lease, Newcomer, Outcome, Stop, Waits};
use crate::{Outline, OutlinedRendition, RenditionKind};

fn below(number: u64) -> Progress {
    Progress { below: MediaSequence(number), outline: None }
}

fn session(byte: u8) -> SessionId {
    SessionId::from_random([byte; 10])
}

fn stream() -> StreamName {
    "live/show".parse().unwrap()
}

fn node() -> NodeId {
    NodeId("a".into())
}

#[tokio::test]
async fn a_live_stream_is_claimed_once() {
    let registry = EmbeddedRegistry::new(node());
    let claim = registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    assert_eq!((claim.record.epoch, claim.resumed), (Epoch(1), false));
    let second = registry.claim(&stream(), &node(), session(2), None).await.unwrap_err();
    assert_eq!(second, ClaimError::Held { home: node(), epoch: Epoch(1) });
}

#[tokio::test]
async fn a_takeover_names_the_epoch_that_it_found() {
    let registry = EmbeddedRegistry::new(node());
    registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    let next = registry.claim(&stream(), &node(), session(2), Some(Epoch(1))).await.unwrap();
    assert_eq!((next.record.epoch, next.resumed, next.record.session), (Epoch(2), true, session(1)));
    assert!(registry.claim(&stream(), &node(), session(3), Some(Epoch(1))).await.is_err());
}

#[tokio::test]
async fn an_ended_stream_begins_a_new_session_at_a_higher_epoch() {
    let registry = EmbeddedRegistry::new(node());
    registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    registry.set_state(&stream(), Epoch(1), RecordState::Ended).await.unwrap();
    let next = registry.claim(&stream(), &node(), session(2), None).await.unwrap();
    assert_eq!((next.record.epoch, next.resumed, next.record.session), (Epoch(2), false, session(2)));
}

#[tokio::test]
async fn reserved_numbers_never_fall_and_an_old_epoch_reserves_nothing() {
    let registry = EmbeddedRegistry::new(node());
    registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    assert_eq!(registry.reserve(&stream(), Epoch(1), below(9)).await, Ok(MediaSequence(9)));
    assert_eq!(registry.reserve(&stream(), Epoch(1), below(5)).await, Ok(MediaSequence(9)));
    registry.claim(&stream(), &node(), session(2), Some(Epoch(1))).await.unwrap();
    let lost = registry.reserve(&stream(), Epoch(1), below(12)).await;
    assert_eq!(lost, Err(Lost { current: Epoch(2) }));
}

#[tokio::test]
async fn ended_records_are_bounded_and_a_stream_that_began_again_is_not_among_them() {
    let registry = EmbeddedRegistry::new(node());
    let end = async |stream: &StreamName| {
        let epoch = registry.claim(stream, &node(), session(1), None).await.unwrap().record.epoch;
        registry.set_state(stream, epoch, RecordState::Ended).await.unwrap();
    };
    end(&stream()).await;
    registry.claim(&stream(), &node(), session(2), None).await.unwrap();
    for number in 0..ENDED_MAX + 10 {
        end(&format!("live/{number}").parse().unwrap()).await;
    }
    assert!(registry.shared.records().map.len() <= ENDED_MAX + 1);
    assert_eq!(registry.record(&stream()).unwrap().epoch, Epoch(2));
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
    registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    let progress = Progress { below: MediaSequence(9), outline: Some(outline()) };
    registry.reserve(&stream(), Epoch(1), progress).await.unwrap();
    let over: StreamName = "live/over".parse().unwrap();
    registry.claim(&over, &node(), session(3), None).await.unwrap();
    registry.set_state(&over, Epoch(1), RecordState::Ended).await.unwrap();
    let file = std::fs::read(folder.file()).unwrap();
    drop(registry);
    std::fs::write(folder.file(), file).unwrap();

    let registry = folder.open();
    let sessions = registry.sessions().await;
    assert_eq!(sessions.len(), 1);
    let (found, record) = &sessions[0];
    assert_eq!((found, record.session, record.reserved), (&stream(), session(1), MediaSequence(9)));
    assert_eq!((record.outline.clone(), record.written), (Some(outline()), Noon.wall()));
    // The next process is another node: it takes the stream over.
    let next = registry.claim(&stream(), &NodeId("b".into()), session(2), Some(Epoch(1))).await.unwrap();
    assert_eq!(
        (next.record.epoch, next.record.session, next.record.reserved),
        (Epoch(2), session(1), MediaSequence(9))
    );
    assert_eq!(next.record.outline, Some(outline()));
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
    registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    drop(registry);
    let mut damaged = std::fs::read(folder.file()).unwrap();
    damaged[2] ^= 1;
    std::fs::write(folder.file(), &damaged).unwrap();

    let registry = folder.open();
    assert_eq!(registry.sessions().await, []);
    assert_eq!(std::fs::read(folder.0.join("streams.jsonl.bad")).unwrap(), damaged);
    let claim = registry.claim(&stream(), &node(), session(2), None).await.unwrap();
    assert_eq!((claim.record.session, claim.resumed), (session(2), false));
}

/// Each write of a long life: the file stays as long as its records are.
#[tokio::test]
async fn the_file_is_bounded() {
    let folder = Folder::new();
    let registry = folder.open();
    registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    let mut long = Outline::clone(&outline());
    long.cuts = vec![long.cuts[0].clone(); 2000];
    let long = Arc::new(long);
    let mut longest = 0;
    for number in 3..40 {
        let progress = Progress { below: MediaSequence(number), outline: Some(long.clone()) };
        registry.reserve(&stream(), Epoch(1), progress).await.unwrap();
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
    registry.claim(&stream(), &node(), session(1), None).await.unwrap();
    assert!(!folder.file().exists());
    registry.reserve(&stream(), Epoch(1), below(5)).await.unwrap();
    assert!(!folder.file().exists());

    std::fs::remove_dir(folder.0.join("streams.jsonl.new")).unwrap();
    registry.reserve(&stream(), Epoch(1), below(7)).await.unwrap();
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
