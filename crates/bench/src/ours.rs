//! The real transcoding path, from a publisher's access units to parts: timeline, log, queue, job. No sockets.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::captions::Channels;
use headwater_media::{Clock, Epoch, Instant, PartPayload, RenditionName, SessionId, StreamName, WallTime};
use headwater_router::embedded::{EmbeddedLog, EmbeddedQueue};
use headwater_router::{
    FeedItem, Gear, Item, Job, Limits, Log, PartReader, Posters, Queue, ReadError, Rendition, RenditionKind, Session,
    SessionState, State, StreamLog,
};
use headwater_segmenter::timeline::{Config, Started};
use headwater_segmenter::{Event, Profile, Timeline};
use headwater_transcode::{Deps, Metrics, Settings};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::{BenchError, Clip};

/// Parts that the timeline is ahead of the slowest gear, at most: fewer than a segment has, so that the gears begin with
/// the first one, and enough to keep them busy.
const AHEAD: usize = 8;
/// A part takes a fraction of a second.
const STUCK_SECONDS: u64 = 60;
const EPOCH: Epoch = Epoch(1);

/// CPU seconds by what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stages {
    /// Decoding the source, once.
    pub decode: f64,
    /// All sizes.
    pub scale: f64,
    /// All gears.
    pub encode: f64,
    /// Samples to parts, and parts into the log.
    pub package: f64,
}

/// The four numbers, one behind the other.
impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decode, scale, encode, package } = self;
        write!(f, "{decode} {scale} {encode} {package}")
    }
}

impl FromStr for Stages {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Vec<f64> = text.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| ())?;
        let [decode, scale, encode, package] = numbers[..] else { return Err(()) };
        Ok(Self { decode, scale, encode, package })
    }
}

/// Makes `gears` of `clip`, faster than in real time, and writes each into `folder`.
pub async fn make(clip: &Clip, gears: Vec<Gear>, folder: &Path, clock: Arc<dyn Clock>) -> Result<Stages, BenchError> {
    let metrics = Arc::new(Metrics::new(&mut prometheus_client::registry::Registry::default(), clock.clone()));
    let limits =
        Limits { ring: Duration::from_secs(12), ring_bytes_max: 1 << 30, extra_segments: 8, ..Limits::default() };
    let (log, queue) = (Arc::new(EmbeddedLog::new(limits)), Arc::new(EmbeddedQueue::default()));
    let deps = Deps {
        clock: clock.clone(),
        log: log.clone(),
        queue: queue.clone(),
        posters: Arc::new(Posters::new(None)),
        metrics: metrics.clone(),
        faults: Arc::default(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let settings = Settings { jobs_max: 1, encoder_threads: 1, cores: None, hang: None };
    let worker = tokio::spawn(headwater_transcode::run(settings, deps, async {
        let _ = stopped.await;
    }));

    let mut run = Run { log, queue, gears, folder, open: None, outputs: Vec::new(), ends: 0 };
    let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
    timeline.begin_publisher(Instant::from_nanos(0), clock.wall());
    timeline.set_video_config(clip.config.clone());
    timeline.hint_frame_rate(clip.frame_rate.frames_per_second());
    for unit in &clip.units {
        timeline.handle_video_start(unit.dts_millis, unit.idr);
        // As if it came in real time: the timeline waits a while for sound before it begins without.
        let now = Instant::from_nanos(1_000_000 * u64::from(unit.dts_millis));
        timeline.handle_video(now, unit.clone())?;
        run.flush(&mut timeline).await?;
    }
    timeline.finish();
    run.flush(&mut timeline).await?;
    run.finish().await?;
    let _ = stop.send(());
    let _ = worker.await;
    let [decode, scale, encode, package] = metrics.cpu_seconds();
    Ok(Stages { decode, scale, encode, package })
}

/// Where a gear's media is written.
pub(crate) fn path(folder: &Path, gear: &RenditionName) -> PathBuf {
    folder.join(format!("ours-{gear}.mp4"))
}

struct Run<'a> {
    log: Arc<EmbeddedLog>,
    queue: Arc<EmbeddedQueue>,
    gears: Vec<Gear>,
    folder: &'a Path,
    open: Option<Arc<StreamLog>>,
    outputs: Vec<Output>,
    /// Parts that the timeline has closed.
    ends: usize,
}

impl Run<'_> {
    async fn flush(&mut self, timeline: &mut Timeline) -> Result<(), BenchError> {
        while let Some(event) = timeline.poll_event() {
            let item = match event {
                Event::Started(started) => {
                    self.start(&started).await?;
                    continue;
                }
                Event::Added(_) => continue,
                Event::Cut(cut) => Item::Cut(cut),
                Event::Video(video) => Item::Video(video),
                Event::Audio(audio) => Item::Audio(audio),
                Event::PartEnd(end) => {
                    self.ends += 1;
                    Item::PartEnd(end)
                }
            };
            let Some(open) = &self.open else { continue };
            // There is one epoch only.
            let _ = open.append(EPOCH, item);
            for output in &mut self.outputs {
                while output.parts + AHEAD < self.ends && output.next().await? {}
            }
        }
        Ok(())
    }

    async fn start(&mut self, started: &Started) -> Result<(), BenchError> {
        let stream: StreamName = "bench/clip".parse().expect("an app and a name");
        let session = SessionId::from_random([0; 10]);
        let rendition = |gear: &Gear| Rendition {
            name: gear.name.clone(),
            kind: RenditionKind::Gear(gear.clone()),
            init: None,
            begun: false,
            average_bps: gear.average_bps(),
            peak_bps: gear.peak_bps(started.grid.target_duration),
            frame_rate: Some(gear.frame_rate(started.grid.frame_rate)),
            channels: None,
            standby: false,
            off: None,
        };
        let constants = Session {
            stream: stream.clone(),
            id: session,
            grid: started.grid,
            window_segments: 8,
            since: WallTime::default(),
        };
        let open = self.log.open(SessionState {
            session: Arc::new(constants),
            epoch: EPOCH,
            state: State::Live,
            publisher: None,
            captions: Channels::default(),
            renditions: self.gears.iter().map(rendition).collect(),
        });
        for gear in &self.gears {
            let Some(reader) = open.read_parts(&gear.name) else { continue };
            let path = path(self.folder, &gear.name);
            let file = File::create(&path).map_err(|error| BenchError::File { path: path.clone(), error })?;
            self.outputs.push(Output {
                name: gear.name.clone(),
                reader,
                file: BufWriter::new(file),
                path,
                begun: false,
                parts: 0,
            });
        }
        open.watched(Instant::default());
        let waking = open.demand().borrow().waking;
        self.open = Some(open);
        let gears = self.gears.clone().into();
        self.queue.post(Job { stream, session, epoch: EPOCH, waking, gears, standby: None, audio: [].into() }).await;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BenchError> {
        let Some(open) = &self.open else { return Err(BenchError::NeverBegan) };
        open.end();
        for output in &mut self.outputs {
            while output.next().await? {}
            output.file.flush().map_err(|error| BenchError::File { path: output.path.clone(), error })?;
        }
        Ok(())
    }
}

/// One gear's file.
struct Output {
    name: RenditionName,
    reader: PartReader,
    file: BufWriter<File>,
    path: PathBuf,
    /// The init segment is in the file.
    begun: bool,
    parts: usize,
}

impl Output {
    /// Writes what comes next; `false` at the end.
    async fn next(&mut self) -> Result<bool, BenchError> {
        let stuck = || BenchError::Stuck { rendition: self.name.to_string(), seconds: STUCK_SECONDS };
        let item = timeout(Duration::from_secs(STUCK_SECONDS), self.reader.next()).await.map_err(|_| stuck())?;
        let part = match item {
            Ok(FeedItem::Part(part)) => part,
            Ok(_) => return Ok(true),
            Err(ReadError::Ended) => return Ok(false),
            Err(_) => return Err(stuck()),
        };
        self.parts += 1;
        if let PartPayload::Media { data, init, .. } = &part.payload {
            let init = if self.begun { &[][..] } else { &init.data[..] };
            let written = self.file.write_all(init).and_then(|()| self.file.write_all(&data.to_bytes()));
            written.map_err(|error| BenchError::File { path: self.path.clone(), error })?;
            self.begun = true;
        }
        Ok(true)
    }
}
