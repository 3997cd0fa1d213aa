//! Following one home: its snapshot and its news, laid into the log here.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Cut, Epoch, Instant};
use headwater_router::{GoingOn, Item, NodeId, StaleEpoch, StreamLog, Unannounced};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tracing::warn;

use super::wishing::Wishing;
use super::{Link, Ready};
use crate::log::cluster_log::Shared;
use crate::log::convert::{KnownInits, Malformed, ReadSamples, ReadSnapshot, Sampled, read_batch, read_snapshot};
use crate::log::nodes::address;
use crate::log::wire;
use wire::subscribe_reply::Reply;

/// Requests that wait for the connection. There is one in a second, and one for whatever is read for the first time.
const REQUESTS_WAITING: usize = 16;
/// What a replica keeps of so many segments of a session: its home is not believed that has more.
const MEDIA_BYTES_MAX: usize = 1 << 30;
const MEDIA_SEGMENTS: u32 = 60;
/// How often that is looked at.
const WEIGH_EVERY: Duration = Duration::from_secs(1);

/// Why a home is not followed any more.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It cannot be reached, or is not the home.
    Lost(Status),
    /// It does not have the session.
    Unknown(Status),
    /// This node is the home.
    Taken,
    /// It has more than can be believed.
    TooMuch,
}

/// Follows one home after another.
pub(super) struct Following {
    shared: Arc<Shared>,
    link: Arc<Link>,
    wishing: Wishing,
    was_heard: bool,
    inits: KnownInits,
    samples: ReadSamples,
    weighed: Instant,
}

/// Why news cannot be laid into the log.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Unannounced(#[from] Unannounced),
    #[error(transparent)]
    Stale(#[from] StaleEpoch),
    #[error("news of a session before its snapshot")]
    NoSnapshot,
    #[error("the session has {bytes} bytes of media, at most {limit} are kept")]
    TooMuch { bytes: usize, limit: usize },
}

impl Following {
    pub(super) fn new(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        Self {
            wishing: Wishing::new(shared.clock.clone()),
            shared,
            link,
            was_heard: false,
            inits: KnownInits::default(),
            samples: ReadSamples::default(),
            weighed: Instant::default(),
        }
    }

    /// The home that was followed last has said something.
    pub(super) fn was_heard(&self) -> bool {
        self.was_heard
    }

    /// Follows `home`, which has the session in `epoch` or a later one, until that fails. May be dropped at any time.
    pub(super) async fn follow(&mut self, home: &NodeId, epoch: Epoch) -> Stopped {
        self.was_heard = false;
        self.inits = KnownInits::default();
        self.samples = ReadSamples::default();
        let connection = self.shared.nodes.connection(address(home));
        let mut client = match connection.client(address(home)).await {
            Ok(client) => client,
            Err(status) => return Stopped::Lost(status),
        };
        let (requests, waiting) = mpsc::channel(REQUESTS_WAITING);
        let first = wire::SubscribeRequest {
            stream: self.link.stream.to_string(),
            session: self.link.session.to_string(),
            ..self.wishing.begin(self.link.log(), home, epoch)
        };
        if requests.try_send(first).is_err() {
            return Stopped::Lost(Status::internal("a new channel is full"));
        }
        let mut replies = match client.subscribe(ReceiverStream::new(waiting)).await {
            Ok(replies) => replies.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Stopped::Unknown(status),
            Err(status) => return Stopped::Lost(status),
        };
        loop {
            tokio::select! {
                reply = replies.message() => {
                    let reply = match reply {
                        Ok(Some(reply)) => reply,
                        Ok(None) => return Stopped::Lost(Status::unavailable("the home has nothing more to say")),
                        Err(status) => return Stopped::Lost(status),
                    };
                    let taken = match reply.reply {
                        Some(Reply::Snapshot(snapshot)) => self.take_snapshot(snapshot, home, epoch),
                        Some(Reply::Batch(batch)) => self.take_batch(batch),
                        // What a later version may say.
                        None => Ok(()),
                    };
                    if let Err(unfit) = taken {
                        return self.stop(&unfit);
                    }
                    self.was_heard = true;
                }
                request = self.wishing.next() => {
                    if requests.send(request).await.is_err() {
                        return Stopped::Lost(Status::unavailable("the home hears nothing more"));
                    }
                }
            }
        }
    }

    fn stop(&self, unfit: &Unfit) -> Stopped {
        match unfit {
            Unfit::Stale(_) if self.link.log().is_some_and(|log| !log.is_replica()) => return Stopped::Taken,
            Unfit::Stale(_) => {}
            Unfit::TooMuch { .. } => {
                self.shared.metrics.malformed.inc();
                warn!(stream = %self.link.stream, session = %self.link.session, %unfit, "session not followed any more");
                return Stopped::TooMuch;
            }
            _ => {
                self.shared.metrics.malformed.inc();
            }
        }
        Stopped::Lost(Status::internal(unfit.to_string()))
    }

    fn take_snapshot(&mut self, snapshot: wire::Snapshot, home: &NodeId, recorded: Epoch) -> Result<(), Unfit> {
        let ReadSnapshot { state, demand, first, cuts, part_ends, renditions } =
            read_snapshot(snapshot, &mut self.inits)?;
        let (epoch, session) = (state.epoch, state.session.clone());
        if session.stream != self.link.stream || session.id != self.link.session {
            let found = format!("{} {}", session.stream, session.id);
            return Err(Malformed::Value { field: "session", found, expected: "the one that was asked for" }.into());
        }
        if epoch < recorded {
            // The recorded home does not know yet that it is one.
            return Err(StaleEpoch { current: recorded, found: epoch }.into());
        }
        let known = self.link.log();
        let log = match &known {
            Some(log) => {
                if log.session().grid != session.grid {
                    let found = format!("{:?}", session.grid);
                    return Err(Malformed::Value { field: "grid", found, expected: "the session's" }.into());
                }
                let cuts: Vec<Arc<Cut>> = cuts.iter().filter(|cut| cut.msn <= first).cloned().collect();
                let writable = renditions.iter().map(|told| (told.name.clone(), told.writable)).collect();
                log.mirror_going_on(&GoingOn { epoch, cuts, writable })?;
                log.clone()
            }
            None => Arc::new(StreamLog::replica(state.clone(), self.shared.limits)),
        };
        for cut in cuts {
            log.mirror_cut(epoch, cut)?;
        }
        for end in part_ends {
            log.mirror_part_end(epoch, end)?;
        }
        log.mirror_state(state);
        log.mirror_progress(renditions);
        log.mirror_demand(demand.waking, demand.awake, demand.begins, self.shared.clock.now());
        *self.link.home() = Some(home.clone());
        self.wishing.told(demand.awake, epoch, first, &log);
        if known.is_none() {
            self.link.ready.send_replace(Ready::There(log));
        }
        Ok(())
    }

    fn take_batch(&mut self, mut batch: wire::Batch) -> Result<(), Unfit> {
        let log = self.link.log().filter(|_| self.was_heard).ok_or(Unfit::NoSnapshot)?;
        let now = self.shared.clock.now();
        let (samples, position) = (std::mem::take(&mut batch.samples), batch.samples_position);
        let epoch = log.state().borrow().epoch;
        let batch = read_batch(batch, log.session(), epoch, &mut self.inits, now)?;
        if let Some(demand) = batch.demand {
            log.mirror_demand(demand.waking, demand.awake, demand.begins, now);
            self.wishing.awake(demand.awake);
        }
        for cut in batch.cuts {
            log.mirror_cut(epoch, cut)?;
        }
        for end in batch.part_ends {
            log.mirror_part_end(epoch, end)?;
        }
        if !samples.is_empty() {
            self.take_samples(&log, samples, position)?;
        }
        for (rendition, items) in batch.items {
            for item in items {
                self.shared.metrics.received_bytes.inc_by(bytes(&item));
                if matches!(item, headwater_router::Mirrored::Cold) {
                    self.wishing.stopped(&rendition);
                }
                log.mirror(&rendition, item)?;
            }
        }
        log.mirror_progress(batch.renditions);
        if let Some(state) = batch.state {
            log.mirror_state(state);
        }
        if now.saturating_since(self.weighed) >= WEIGH_EVERY {
            self.weighed = now;
            let bytes = log.media_bytes();
            let times = 1 + log.session().window_segments / MEDIA_SEGMENTS;
            let limit = MEDIA_BYTES_MAX.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX));
            if bytes > limit {
                return Err(Unfit::TooMuch { bytes, limit });
            }
        }
        Ok(())
    }

    fn take_samples(&mut self, log: &StreamLog, samples: Vec<wire::Sample>, position: u64) -> Result<(), Malformed> {
        let now = self.shared.clock.now();
        let (mut items, mut passed) = (Vec::with_capacity(samples.len()), 0);
        for sample in samples {
            match self.samples.read(sample, now)? {
                Sampled::Item(item) => {
                    passed += 1;
                    let bytes = match &item {
                        Item::Video(video) => video.data.len(),
                        Item::Audio(audio) => audio.data.len(),
                        Item::Cut(_) | Item::PartEnd(_) => 0,
                    };
                    self.shared.metrics.received_bytes.inc_by(bytes as u64);
                    if self.wishing.continues(&item, log) {
                        items.push(item);
                    }
                }
                Sampled::MovedOn => {
                    items.clear();
                    log.move_samples_on();
                }
                Sampled::Nothing => {}
            }
        }
        log.mirror_samples(items);
        self.wishing.sampled(position.saturating_add(passed));
        Ok(())
    }
}

fn bytes(item: &headwater_router::Mirrored) -> u64 {
    match item {
        headwater_router::Mirrored::Item(headwater_router::FeedItem::Part(part)) => part.bytes() as u64,
        _ => 0,
    }
}
