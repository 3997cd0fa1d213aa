//! A worker's side: what a job makes goes to its session's home on another node.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use headwater_media::{Clock, Init, MediaSequence, Part, PartIndex, RenditionName, Timestamp};
use headwater_router::{BoxFuture, Job, JobId, NoWriter, PutOutcome, StreamLog, Writer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tracing::warn;

use super::super::convert::{self, Malformed, SentInits};
use super::super::wire::uplink_service_client::UplinkServiceClient;
use super::super::wire::{self, write_reply, write_request};
use super::{BEAT, MESSAGE_BYTES_MAX, PART_BYTES_MAX, RENDITIONS_MAX, UplinkMetrics};

/// A home that does not give turns within this is not there.
const GIVEN_WITHIN: Duration = Duration::from_secs(2);
/// What was said last has this long to reach the home after its job ended.
const FLUSH_WITHIN: Duration = Duration::from_secs(10);
/// Requests that wait for the connection, and the bytes of media in them: a few seconds of a large ladder.
const WAITING_MAX: usize = 512;
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Writes jobs whose homes are on other nodes.
#[derive(Clone)]
pub struct Uplink {
    clock: Arc<dyn Clock>,
    metrics: UplinkMetrics,
}

impl fmt::Debug for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uplink")
    }
}

impl Uplink {
    /// With the process's clock.
    pub fn new(clock: Arc<dyn Clock>, metrics: UplinkMetrics) -> Self {
        Self { clock, metrics }
    }

    /// Begins to write a job over a connection to the node that is the home of `log`'s session; `log` is what the job reads.
    pub async fn write(
        &self,
        home: Channel,
        log: Arc<StreamLog>,
        id: JobId,
        job: &Job,
    ) -> Result<Arc<dyn Writer>, NoWriter> {
        if log.state().borrow().epoch < job.epoch {
            // The home that posted the job is news here.
            return Err(NoWriter::NotNow { reason: "it is not known yet".to_owned() });
        }
        let (requests, waiting) = mpsc::channel::<Waiting>(WAITING_MAX);
        let begin = wire::BeginWriting {
            stream: job.stream.to_string(),
            session: job.session.to_string(),
            waking: job.waking,
            job: id.0,
            renditions: job.renditions().map(ToString::to_string).collect(),
        };
        let begin = Waiting { request: write_request::Request::Begin(begin), _room: None };
        let _ = requests.try_send(begin);
        let mut client = UplinkServiceClient::new(home)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        // What a request holds of the bound it gives back when the connection takes it.
        let waiting = ReceiverStream::new(waiting).map(|next| wire::WriteRequest { request: Some(next.request) });
        let asked = async {
            let mut replies = client.write(waiting).await?.into_inner();
            let given = replies.message().await?;
            Ok::<_, Status>((given, replies))
        };
        let (given, replies) = match timeout(GIVEN_WITHIN, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) if status.code() == Code::NotFound => return Err(NoWriter::Over),
            Ok(Err(status)) => return Err(NoWriter::NotNow { reason: status.to_string() }),
            Err(_) => return Err(NoWriter::NotNow { reason: "it does not answer".to_owned() }),
        };
        let Some(wire::WriteReply { reply: Some(write_reply::Reply::Given(given)) }) = given else {
            return Err(NoWriter::NotNow { reason: "it gives no turns".to_owned() });
        };
        let (begins, renditions) = read(given, job).map_err(|error| NoWriter::NotNow { reason: error.to_string() })?;
        let writer = Arc::new(RemoteWriter {
            log,
            begins,
            made: Mutex::new(Made { renditions, inits: SentInits::default() }),
            requests,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            read: AtomicU64::new(0),
            lost: watch::Sender::new(false),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        });
        tokio::spawn(beat(Arc::downgrade(&writer), writer.lost.clone(), replies));
        Ok(writer)
    }
}

/// The renditions that the home gives, and where windows begin.
fn read(given: wire::Given, job: &Job) -> Result<(MediaSequence, Vec<Rendition>), Malformed> {
    let found = given.renditions.len();
    if found > RENDITIONS_MAX {
        return Err(Malformed::TooLong { field: "renditions", found, limit: RENDITIONS_MAX });
    }
    let renditions = given.renditions.into_iter().map(|given| {
        let next = given.next.map(convert::Place::try_from).transpose()?;
        let name = convert::rendition_name(&given.name)?;
        Ok(Rendition {
            is_audio: job.audio.iter().any(|gear| gear.name == name),
            name,
            next,
            covered: given.covered.map(Timestamp::try_from).transpose()?,
            shed: None,
        })
    });
    Ok((convert::msn(given.begins)?, renditions.collect::<Result<_, _>>()?))
}

/// A request that waits for the connection.
struct Waiting {
    request: write_request::Request,
    _room: Option<OwnedSemaphorePermit>,
}

/// The turns of a job at a home elsewhere.
struct RemoteWriter {
    log: Arc<StreamLog>,
    begins: MediaSequence,
    made: Mutex<Made>,
    requests: mpsc::Sender<Waiting>,
    /// Bytes of media that may wait.
    room: Arc<Semaphore>,
    read: AtomicU64,
    lost: watch::Sender<bool>,
    clock: Arc<dyn Clock>,
    metrics: UplinkMetrics,
}

/// What was sent.
struct Made {
    renditions: Vec<Rendition>,
    inits: SentInits,
}

/// A rendition that is this writer's.
struct Rendition {
    name: RenditionName,
    is_audio: bool,
    next: Option<(MediaSequence, PartIndex)>,
    covered: Option<Timestamp>,
    /// The rest of this segment is left out.
    shed: Option<MediaSequence>,
}

impl RemoteWriter {
    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Says what must not be left out; without room for it the job is lost.
    fn say(&self, request: write_request::Request) {
        if self.requests.try_send(Waiting { request, _room: None }).is_err() && !self.is_lost() {
            self.lost.send_replace(true);
        }
    }

    fn send(&self, name: &RenditionName, part: &Part) -> PutOutcome {
        let mut made = self.made();
        let Made { renditions, inits } = &mut *made;
        let Some(rendition) = renditions.iter_mut().find(|rendition| rendition.name == *name) else {
            return PutOutcome::Dropped;
        };
        let known = rendition.next.is_some_and(|next| (part.msn, part.index) < next);
        if self.is_lost() || known || rendition.is_shed(part) {
            return PutOutcome::Dropped;
        }
        let Some((room, place)) = self.room(part.bytes()) else {
            self.shed(rendition, part);
            return PutOutcome::Dropped;
        };
        let part_on_wire = convert::part(part, self.clock.now(), inits);
        let put = wire::PutPart { inits: inits.take(), rendition: name.to_string(), part: Some(part_on_wire) };
        place.send(Waiting { request: write_request::Request::Put(put), _room: Some(room) });
        rendition.next = Some((part.msn, PartIndex(part.index.0 + 1)));
        rendition.covered = Some(part.end);
        PutOutcome::Put
    }

    fn room(&self, bytes: usize) -> Option<(OwnedSemaphorePermit, mpsc::Permit<'_, Waiting>)> {
        let bytes = u32::try_from(bytes).ok().filter(|_| bytes <= PART_BYTES_MAX)?;
        let room = self.room.clone().try_acquire_many_owned(bytes).ok()?;
        Some((room, self.requests.try_reserve().ok()?))
    }

    /// Nothing waits for a home that does not take parts fast enough. Pictures go on with the next segment, and what is
    /// left out is a gap; sound has no gaps, and begins anew from what the home has.
    fn shed(&self, rendition: &mut Rendition, part: &Part) {
        self.metrics.parts_shed.inc();
        let session = self.log.session();
        let (stream, session, rendition_name) = (&session.stream, session.id, &rendition.name);
        warn!(%stream, %session, rendition = %rendition_name, "the session's home does not take parts fast enough");
        if rendition.is_audio {
            self.lost.send_replace(true);
        } else {
            rendition.shed = Some(part.msn);
        }
    }
}

impl Rendition {
    /// Whether the part is of what is left out, or cannot be shown without it.
    fn is_shed(&mut self, part: &Part) -> bool {
        let shed = self.shed.is_some_and(|msn| part.msn <= msn || part.index != PartIndex(0));
        if !shed {
            self.shed = None;
        }
        shed
    }
}

impl Drop for RemoteWriter {
    fn drop(&mut self) {
        // A home that does not hear it takes the job for lost, and puts it back where it was taken off.
        let _ = self
            .requests
            .try_send(Waiting { request: write_request::Request::Finished(wire::Nothing {}), _room: None });
    }
}

impl Writer for RemoteWriter {
    fn log(&self) -> &Arc<StreamLog> {
        &self.log
    }

    fn has(&self, rendition: &RenditionName) -> bool {
        self.made().renditions.iter().any(|known| known.name == *rendition)
    }

    fn next_part(&self, rendition: &RenditionName) -> Option<(MediaSequence, PartIndex)> {
        self.made().renditions.iter().find(|known| known.name == *rendition)?.next
    }

    fn covered(&self, rendition: &RenditionName) -> Option<Timestamp> {
        self.made().renditions.iter().find(|known| known.name == *rendition)?.covered
    }

    fn begins(&self) -> MediaSequence {
        self.begins
    }

    fn put_part<'a>(&'a self, rendition: &'a RenditionName, part: Part) -> BoxFuture<'a, PutOutcome> {
        Box::pin(async move { self.send(rendition, &part) })
    }

    fn switch(&self, rendition: &RenditionName, off: Option<Arc<str>>) {
        let off = off.map(|why| why.to_string());
        self.say(write_request::Request::Switch(wire::SwitchRendition { rendition: rendition.to_string(), off }));
    }

    fn opened(&self, rendition: &RenditionName, init: Arc<Init>) {
        let opened = wire::EncoderOpened { rendition: rendition.to_string(), init: Some((&*init).into()) };
        self.say(write_request::Request::Opened(opened));
    }

    fn set_read(&self, items: u64) {
        self.read.store(items, Ordering::Relaxed);
    }

    fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }
}

/// Says every now and then how far the job has read, as long as there is a writer, and tells it when the home wants no more.
async fn beat(writer: Weak<RemoteWriter>, lost: watch::Sender<bool>, mut replies: Streaming<wire::WriteReply>) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            reply = replies.message() => {
                // Nothing else is said yet.
                if !matches!(reply, Ok(Some(_))) {
                    lost.send_replace(true);
                    return;
                }
            }
            _ = beats.tick() => {
                let Some(writer) = writer.upgrade() else { break };
                let progress = wire::WriterProgress { read: writer.read.load(Ordering::Relaxed) };
                // Behind a full queue it would come too late anyway.
                let request = write_request::Request::Progress(progress);
                let _ = writer.requests.try_send(Waiting { request, _room: None });
            }
        }
    }
    // Ending the call now would take back what is on its way.
    let _ = timeout(FLUSH_WITHIN, async { while let Ok(Some(_)) = replies.message().await {} }).await;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::captions::Channels;
    use headwater_media::{Epoch, FrameRate, Instant, PartPayload, SessionId, WallTime};
    use headwater_router::{Limits, Session, SessionState, State};
    use headwater_segmenter::{Grid, Profile};

    use super::*;

    struct NoClock;

    impl Clock for NoClock {
        fn now(&self) -> Instant {
            Instant::default()
        }

        fn wall(&self) -> WallTime {
            WallTime::default()
        }
    }

    fn gear() -> RenditionName {
        RenditionName::new("720p-3000").unwrap()
    }

    /// A writer of a gear and of sound, and the requests that nobody has sent yet.
    fn writer() -> (RemoteWriter, mpsc::Receiver<Waiting>) {
        let session = Session {
            stream: "live/show".parse().unwrap(),
            id: SessionId::from_random([1; 10]),
            grid: Grid::new(Profile::Low, FrameRate::FPS_30),
            window_segments: 6,
            since: WallTime::default(),
        };
        let state = SessionState {
            session: Arc::new(session),
            epoch: Epoch(1),
            state: State::Live,
            publisher: None,
            renditions: [].into(),
            captions: Channels::default(),
        };
        let rendition = |name, is_audio| Rendition { name, is_audio, next: None, covered: None, shed: None };
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        let writer = RemoteWriter {
            log: Arc::new(StreamLog::replica(state, Limits::default())),
            begins: MediaSequence(1),
            made: Mutex::new(Made {
                renditions: vec![rendition(gear(), false), rendition(RenditionName::audio(), true)],
                inits: SentInits::default(),
            }),
            requests,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            read: AtomicU64::new(0),
            lost: watch::Sender::new(false),
            clock: Arc::new(NoClock),
            metrics: UplinkMetrics::new(&mut prometheus_client::registry::Registry::default()),
        };
        (writer, waiting)
    }

    fn part(msn: u64, index: u32, bytes: usize) -> Part {
        Part {
            msn: MediaSequence(msn),
            index: PartIndex(index),
            start: Timestamp::video(0),
            end: Timestamp::video(24_000),
            payload: PartPayload::Media {
                data: [Bytes::from(vec![0; bytes])].into_iter().collect(),
                independent: index == 0,
                intra: None,
                init: Arc::new(Init::new(Bytes::from_static(b"init"), "avc1.64001f", Some((1280, 720)))),
                received: Instant::default(),
            },
        }
    }

    /// Architecture 5: what is not sent in time is left out, and nobody waits. Pictures go on where decoding can begin.
    #[test]
    fn a_home_that_takes_nothing_costs_the_rest_of_a_segment_and_no_waiting() {
        let (writer, mut waiting) = writer();
        let put = |msn, index| writer.send(&gear(), &part(msn, index, 8 << 20));
        let outcomes: Vec<PutOutcome> = (0..6).map(|index| put(1, index)).collect();
        assert_eq!(outcomes[3..5], [PutOutcome::Put, PutOutcome::Dropped]);
        assert_eq!(writer.next_part(&gear()), Some((MediaSequence(1), PartIndex(4))));
        // There is room again, but not for what refers to what was left out.
        while waiting.try_recv().is_ok() {}
        assert_eq!([put(1, 6), put(2, 1)], [PutOutcome::Dropped; 2]);
        assert_eq!([put(2, 0), put(2, 1)], [PutOutcome::Put; 2]);
        assert_eq!(writer.metrics.parts_shed.get(), 1);
        assert!(!writer.is_lost());
    }

    #[test]
    fn a_part_that_no_message_can_hold_is_left_out() {
        let (writer, _waiting) = writer();
        assert_eq!(writer.send(&gear(), &part(1, 0, PART_BYTES_MAX + 1)), PutOutcome::Dropped);
    }

    /// Sound that is left out would be a hole: the job begins anew from what the home has.
    #[test]
    fn sound_that_cannot_be_sent_ends_the_job() {
        let (writer, _waiting) = writer();
        let put = |index| writer.send(&RenditionName::audio(), &part(1, index, 8 << 20));
        let outcomes: Vec<PutOutcome> = (0..5).map(put).collect();
        assert_eq!(outcomes[4], PutOutcome::Dropped);
        assert!(writer.is_lost());
        assert_eq!(writer.send(&gear(), &part(1, 0, 1)), PutOutcome::Dropped);
    }

    #[test]
    fn an_init_segment_is_sent_once() {
        let (writer, mut waiting) = writer();
        let inits: Vec<usize> = (0..2)
            .map(|index| {
                assert_eq!(writer.send(&gear(), &part(1, index, 100)), PutOutcome::Put);
                match waiting.try_recv().unwrap().request {
                    write_request::Request::Put(put) => put.inits.len(),
                    other => panic!("{other:?}"),
                }
            })
            .collect();
        assert_eq!(inits, [1, 0]);
    }
}
