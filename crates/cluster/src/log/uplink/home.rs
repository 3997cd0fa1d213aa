//! A home's side: takes what workers elsewhere make, and puts jobs back on the board whose workers are lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Clock, Init, RenditionName};
use headwater_router::{JobId, LocalWriter, Log, Queue, Writer};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::super::convert::{self, KnownInits, Malformed};
use super::super::wire::uplink_service_server::{UplinkService, UplinkServiceServer};
use super::super::wire::{self, write_request};
use super::{MESSAGE_BYTES_MAX, RENDITIONS_MAX, UplinkMetrics};

/// A worker that says nothing for so long while the source goes on is lost (architecture 6).
const SILENCE_MAX: Duration = Duration::from_millis(400);
/// So is one that is alive but does not get on with reading: longer, because a machine that is too slow is no better served
/// by another start.
const STILL_MAX: Duration = Duration::from_secs(2);
/// A source that gives nothing for so long pauses.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked at.
const TICK: Duration = Duration::from_millis(50);
/// What is asked for first comes at once.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);

/// The homes' service for workers on other nodes.
#[derive(Clone)]
pub struct Uplinks {
    log: Arc<dyn Log>,
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    metrics: UplinkMetrics,
    /// Turns true when the node serves no longer.
    stop: Option<watch::Receiver<bool>>,
}

impl fmt::Debug for Uplinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uplinks")
    }
}

impl Uplinks {
    /// For the sessions of this node in `log`, whose jobs are on the board `queue`.
    pub fn new(log: Arc<dyn Log>, queue: Arc<dyn Queue>, clock: Arc<dyn Clock>, metrics: UplinkMetrics) -> Self {
        Self { log, queue, clock, metrics, stop: None }
    }

    /// The same, until `stop` is true.
    pub(in super::super) fn until(self, stop: watch::Receiver<bool>) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// The service, for the node's gRPC server.
    pub fn service(self) -> UplinkServiceServer<impl UplinkService> {
        UplinkServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Gives the turns that a job asks for.
    async fn begin(&self, begin: wire::BeginWriting) -> Result<(Job, wire::Given), Status> {
        let asked = Asked::read(begin).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let log = self.log.find_session(&asked.stream, asked.session).await;
        let log = log.ok_or_else(|| Status::not_found("there is no such session"))?;
        if !log.demand().borrow().is_awake_for(asked.waking) {
            return Err(Status::not_found("nobody watches any more"));
        }
        let writer = LocalWriter::new(log, &asked.renditions);
        if writer.is_lost() {
            return Err(Status::failed_precondition("the session has another home"));
        }
        let given = wire::Given {
            begins: writer.begins().0,
            renditions: writer.turns().iter().map(|(name, turn)| given(&writer, name, (*turn).into())).collect(),
        };
        let job = Job { id: asked.id, waking: asked.waking, writer, inits: KnownInits::default() };
        Ok((job, given))
    }
}

fn given(writer: &LocalWriter, name: &RenditionName, turn: wire::Turn) -> wire::GivenRendition {
    wire::GivenRendition {
        name: name.to_string(),
        turn: Some(turn),
        next: writer.next_part(name).map(wire::Place::from),
        covered: writer.covered(name).map(wire::Time::from),
    }
}

#[tonic::async_trait]
impl UplinkService for Uplinks {
    type WriteStream = ReceiverStream<Result<wire::WriteReply, Status>>;

    async fn write(
        &self,
        request: Request<Streaming<wire::WriteRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let mut requests = request.into_inner();
        let first = timeout(BEGIN_WITHIN, requests.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no request came"))??;
        let Some(wire::WriteRequest { request: Some(write_request::Request::Begin(begin)) }) = first else {
            return Err(Status::invalid_argument("the first request must say what is to be written"));
        };
        let (job, given) = self.begin(begin).await?;
        let (replies, stream) = mpsc::channel(1);
        let reply = wire::WriteReply { reply: Some(wire::write_reply::Reply::Given(given)) };
        let _ = replies.try_send(Ok(reply));
        tokio::spawn(self.clone().serve(job, requests, replies));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Uplinks {
    /// Takes what a worker puts, until the job is done or the worker is lost. Replies end when this returns.
    async fn serve(
        self,
        mut job: Job,
        requests: Streaming<wire::WriteRequest>,
        replies: mpsc::Sender<Result<wire::WriteReply, Status>>,
    ) {
        self.metrics.open.inc();
        let end = tokio::select! {
            end = job.take(requests, &*self.clock) => end,
            // The worker gives the job back.
            () = stopped(self.stop.clone()) => End::Over,
        };
        self.metrics.open.dec();
        let log = job.writer.log();
        let (stream, session, id) = (log.stream(), log.session().id, format!("{:016x}", job.id.0));
        let why = match end {
            End::Finished | End::Over => return,
            End::Broken => "broken",
            End::Silent => "silent",
            End::Malformed(error) => {
                warn!(%stream, %session, job = id, %error, "a worker sends what it must not");
                "malformed"
            }
        };
        self.metrics.returned(why);
        info!(%stream, %session, job = id, why, "a worker is lost: its job goes back on the board");
        self.queue.release(job.id).await;
        drop(replies);
    }
}

async fn stopped(stop: Option<watch::Receiver<bool>>) {
    if let Some(mut stop) = stop
        && stop.wait_for(|stop| *stop).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// What a worker asks for.
struct Asked {
    stream: headwater_media::StreamName,
    session: headwater_media::SessionId,
    waking: u64,
    id: JobId,
    renditions: Vec<RenditionName>,
}

impl Asked {
    fn read(begin: wire::BeginWriting) -> Result<Self, Malformed> {
        let found = begin.renditions.len();
        if found > RENDITIONS_MAX {
            return Err(Malformed::TooLong { field: "renditions", found, limit: RENDITIONS_MAX });
        }
        let renditions = begin.renditions.iter().map(|name| convert::rendition_name(name));
        Ok(Self {
            stream: convert::stream(&begin.stream)?,
            session: convert::session_id(&begin.session)?,
            waking: begin.waking,
            id: JobId(begin.job),
            renditions: renditions.collect::<Result<_, _>>()?,
        })
    }
}

/// A job that a worker elsewhere is at.
struct Job {
    id: JobId,
    waking: u64,
    writer: LocalWriter,
    inits: KnownInits,
}

/// How it ends.
enum End {
    /// The worker says so.
    Finished,
    /// It is not wanted any more, or not from there.
    Over,
    Broken,
    Silent,
    Malformed(Malformed),
}

impl Job {
    async fn take(&mut self, mut requests: Streaming<wire::WriteRequest>, clock: &dyn Clock) -> End {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut life = Life::new(Instant::now());
        loop {
            tokio::select! {
                biased;
                request = requests.message() => match request {
                    Ok(Some(wire::WriteRequest { request: Some(request) })) => {
                        let read = if let write_request::Request::Progress(progress) = &request { Some(progress.read) } else { None };
                        life.heard(Instant::now(), read);
                        match self.handle(request, clock) {
                            Ok(Next::More) => {}
                            Ok(Next::Finished) => return End::Finished,
                            Err(error) => return End::Malformed(error),
                        }
                    }
                    // A request of a later version.
                    Ok(Some(_)) => life.heard(Instant::now(), None),
                    Ok(None) | Err(_) => return if self.is_over() { End::Over } else { End::Broken },
                },
                now = ticks.tick() => {
                    if self.is_over() {
                        return End::Over;
                    }
                    if life.is_lost(now, self.writer.log().appended()) {
                        return End::Silent;
                    }
                }
            }
        }
    }

    /// Nobody watches any more, or nothing more is taken from here.
    fn is_over(&self) -> bool {
        !self.writer.log().demand().borrow().is_awake_for(self.waking) || self.writer.is_lost()
    }

    fn handle(&mut self, request: write_request::Request, clock: &dyn Clock) -> Result<Next, Malformed> {
        match request {
            write_request::Request::Begin(_) | write_request::Request::Progress(_) => {}
            write_request::Request::Put(put) => {
                self.inits.take(put.inits)?;
                let rendition = convert::rendition_name(&put.rendition)?;
                let part = put.part.ok_or(Malformed::Missing { field: "part" })?;
                self.writer.put(&rendition, convert::read_part(part, clock.now(), &self.inits)?);
            }
            write_request::Request::Switch(switch) => {
                let rendition = convert::rendition_name(&switch.rendition)?;
                let off = switch.off.map(|why| convert::text(why, "off")).transpose()?;
                self.writer.switch(&rendition, off.map(Into::into));
            }
            write_request::Request::Opened(opened) => {
                let rendition = convert::rendition_name(&opened.rendition)?;
                let init = Init::try_from(opened.init.ok_or(Malformed::Missing { field: "init" })?)?;
                self.writer.opened(&rendition, Arc::new(init));
            }
            write_request::Request::Finished(_) => return Ok(Next::Finished),
        }
        Ok(Next::More)
    }
}

enum Next {
    More,
    Finished,
}

/// A worker's signs of life, beside the source's.
struct Life {
    looked: Instant,
    appended: u64,
    /// When the source gave something last.
    arrived: Option<Instant>,
    heard: Instant,
    read: u64,
    moved: Instant,
}

impl Life {
    fn new(now: Instant) -> Self {
        Self { looked: now, appended: 0, arrived: None, heard: now, read: 0, moved: now }
    }

    fn heard(&mut self, now: Instant, read: Option<u64>) {
        self.heard = now;
        if let Some(read) = read.filter(|read| *read != self.read) {
            self.read = read;
            self.moved = now;
        }
    }

    /// Looks whether the worker is lost, at a log that has `appended` items. Nothing is expected of it while the source
    /// pauses, and after a look that comes late everything stood still.
    fn is_lost(&mut self, now: Instant, appended: u64) -> bool {
        let late = now - self.looked >= 4 * TICK;
        self.looked = now;
        let mut excused = late;
        if appended != self.appended {
            excused |= self.arrived.is_none_or(|last| now - last >= PAUSE);
            (self.appended, self.arrived) = (appended, Some(now));
        }
        if excused {
            (self.heard, self.moved) = (now, now);
        }
        let live = self.arrived.is_some_and(|last| now - last < PAUSE);
        live && (now - self.heard >= SILENCE_MAX || now - self.moved >= STILL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every tick for a second, at a source that gives something every `every` ticks, and hears of the worker what
    /// `hears` says. When it was lost, in milliseconds.
    fn lost_after(every: u32, hears: impl Fn(u32) -> Option<u64>) -> Option<u128> {
        let start = Instant::now();
        let mut life = Life::new(start);
        (1..60).find_map(|tick| {
            let now = start + TICK * tick;
            if let Some(read) = hears(tick) {
                life.heard(now, Some(read));
            }
            life.is_lost(now, u64::from(tick / every)).then(|| (now - start).as_millis())
        })
    }

    #[test]
    fn a_worker_that_says_nothing_is_lost_while_the_source_goes_on() {
        assert_eq!(lost_after(1, |_| None), Some(450));
        assert_eq!(lost_after(4, |_| None), Some(600), "five pictures a second");
        assert_eq!(lost_after(1000, |_| None), None, "the source pauses");
        assert_eq!(lost_after(1, |tick| Some(u64::from(tick))), None);
        // It speaks up to a second.
        assert_eq!(lost_after(1, |tick| (tick <= 20).then_some(u64::from(tick))), Some(1400));
    }

    #[test]
    fn a_worker_that_reads_nothing_is_lost_later() {
        assert_eq!(lost_after(1, |_| Some(0)), Some(2050));
    }

    #[test]
    fn nobody_is_lost_for_a_time_in_which_everything_stood_still() {
        let start = Instant::now();
        let mut life = Life::new(start);
        assert!(!life.is_lost(start + TICK, 1));
        assert!(!life.is_lost(start + Duration::from_secs(30), 2));
        // The source comes back after a pause, and the worker with it.
        let back = start + Duration::from_secs(30);
        assert!(!life.is_lost(back + TICK, 2));
        assert!((2..8).all(|tick| !life.is_lost(back + TICK * tick, 1 + u64::from(tick))));
        assert!(life.is_lost(back + TICK * 9, 100));
    }
}
