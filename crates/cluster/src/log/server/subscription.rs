//! One follower on another node: cursors into a log, and what was sent of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_media::{Epoch, RenditionName};
use headwater_router::{
    Demand, FeedItem, Follower, Item, PartReader, ReadError, RenditionProgress, SampleReader, SamplesFrom,
    SessionState, Snapshot, State, StreamLog,
};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use tracing::debug;

use super::{Deps, ITEM_BYTES_MAX, MEDIA_BYTES, bounded};
use crate::log::convert::{Malformed, Place, SentInits, Wishes, WriteSamples, demand, feed_item, snapshot, state};
use crate::log::wire;
use wire::subscribe_reply::Reply;

/// What one follower gets. Sends all that is there, then waits; a slow connection makes messages larger and, in the end,
/// cursors fall off the log, which moves them on.
pub(super) struct Subscription {
    deps: Arc<Deps>,
    log: Arc<StreamLog>,
    follower: Follower,
    /// To be sent before anything else.
    snapshot: Option<Snapshot>,
    /// What was read before it.
    pending: Vec<wire::RenditionItems>,
    epoch: Epoch,
    state: watch::Receiver<Arc<SessionState>>,
    demand: watch::Receiver<Demand>,
    told_demand: wire::Demand,
    told_progress: Vec<RenditionProgress>,
    inits: SentInits,
    renditions: BTreeMap<RenditionName, Rendition>,
    samples: Option<Samples>,
    stop: watch::Receiver<bool>,
}

/// A rendition that was wished.
struct Rendition {
    /// `None`: all was sent.
    reader: Option<PartReader>,
    /// Parts before this one are known.
    from: Place,
}

struct Samples {
    reader: SampleReader,
    writer: WriteSamples,
    /// What was asked for is not there.
    moved_on: bool,
    /// All was sent.
    ended: bool,
}

/// How much more media goes into a message.
struct Room(usize);

impl Room {
    fn take(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }

    fn is_left(&self) -> bool {
        self.0 > 0
    }
}

impl Subscription {
    pub(super) fn new(deps: Arc<Deps>, log: Arc<StreamLog>, stop: watch::Receiver<bool>) -> Self {
        deps.metrics.subscriptions.inc();
        let (snapshot, follower) = log.follow();
        Self {
            follower,
            epoch: snapshot.epoch,
            snapshot: Some(snapshot),
            pending: Vec::new(),
            state: log.state(),
            demand: log.demand(),
            told_demand: wire::Demand::default(),
            told_progress: Vec::new(),
            inits: SentInits::default(),
            renditions: BTreeMap::new(),
            samples: None,
            stop,
            deps,
            log,
        }
    }

    /// What the follower wants from now on.
    pub(super) fn take(&mut self, request: wire::SubscribeRequest) -> Result<(), Malformed> {
        // It may wake the ladder, which says with which segment windows begin.
        if request.watched && !self.log.is_replica() {
            self.log.watched(self.deps.clock.now());
        }
        let Some(wishes) = request.wishes else { return Ok(()) };
        let wishes = Wishes::try_from(wishes)?;
        self.renditions.retain(|name, _| wishes.renditions.iter().any(|(wished, _)| wished == name));
        for (name, from) in wishes.renditions {
            if !self.renditions.contains_key(&name)
                && let Some(reader) = self.log.read_parts(&name)
            {
                self.renditions.insert(name, Rendition { reader: Some(reader), from });
            }
        }
        self.samples = match (self.samples.take(), wishes.samples) {
            (_, None) => None,
            (Some(samples), Some(_)) => Some(samples),
            (None, Some(from)) => {
                let reader = self.log.follow_samples(from);
                let moved_on = matches!(from, SamplesFrom::Position(position) if position != reader.position());
                Some(Samples { reader, writer: WriteSamples::default(), moved_on, ended: false })
            }
        };
        Ok(())
    }

    /// Sends until nobody listens, or this node is not the home any more.
    pub(super) async fn run(
        mut self,
        mut requests: Streaming<wire::SubscribeRequest>,
        replies: mpsc::Sender<Result<wire::SubscribeReply, Status>>,
    ) {
        loop {
            while let Some(reply) = self.next_reply() {
                let is_last = reply.is_err();
                let reply = reply.map(|reply| wire::SubscribeReply { reply: Some(reply) });
                if replies.send(reply).await.is_err() || is_last {
                    return;
                }
            }
            tokio::select! {
                () = replies.closed() => return,
                () = stopped(&mut self.stop) => {
                    let _ = replies.send(Err(Status::unavailable("the node stops"))).await;
                    return;
                }
                request = requests.message() => {
                    let Ok(Some(request)) = request else { return };
                    if let Err(malformed) = self.take(request) {
                        self.deps.metrics.malformed.inc();
                        let _ = replies.send(Err(Status::invalid_argument(malformed.to_string()))).await;
                        return;
                    }
                }
                () = self.follower.changed() => {}
                _ = self.state.changed() => self.state.mark_changed(),
                _ = self.demand.changed() => {}
                () = sampled(self.samples.as_mut()) => {}
            }
        }
    }

    /// What is news; `None` when nothing is.
    fn next_reply(&mut self) -> Option<Result<Reply, Status>> {
        if self.log.is_replica() {
            return Some(Err(Status::failed_precondition("this node is not the session's home")));
        }
        let (epoch, begins) = self.follower.epoch_and_begins();
        if epoch != self.epoch {
            self.renew();
        }
        let mut room = Room(MEDIA_BYTES);
        let mut batch = wire::Batch { items: std::mem::take(&mut self.pending), ..wire::Batch::default() };
        // Parts are read before the timeline and told after it: no part goes before its cut.
        if self.snapshot.is_none() {
            self.read_parts(&mut batch, &mut room);
            if self.read_timeline(&mut batch).is_err() {
                self.deps.metrics.moved_on("timeline");
                debug!(stream = %self.log.stream(), "a follower's timeline fell behind the log");
                self.renew();
            }
        }
        if let Some(first) = self.snapshot.take() {
            self.state.borrow_and_update();
            self.told_demand = demand(first.demand, first.begins);
            self.told_progress.clone_from(&first.renditions);
            self.pending = batch.items;
            return Some(Ok(Reply::Snapshot(snapshot(&first, &mut self.inits))));
        }
        self.read_samples(&mut batch, &mut room);
        // The ladder may have been woken since: where it begins is known before that it is awake.
        let now = *self.demand.borrow_and_update();
        let begins =
            Some(self.follower.epoch_and_begins()).filter(|(now, _)| *now == epoch).map_or(begins, |now| now.1);
        let current = demand(now, begins);
        if current != self.told_demand {
            self.told_demand = current;
            batch.demand = Some(current);
        }
        self.read_progress(&mut batch);
        // An end is told after the last sample.
        let ends = self.state.borrow().state == State::Ended;
        if self.state.has_changed().unwrap_or(false) && (!ends || self.has_told_all_samples()) {
            batch.state = Some(state(&self.state.borrow_and_update().clone(), &mut self.inits));
        }
        batch.inits = self.inits.take();
        self.deps.metrics.sent_bytes.inc_by((MEDIA_BYTES - room.0) as u64);
        (batch != wire::Batch::default()).then_some(Ok(Reply::Batch(batch)))
    }

    /// Begins anew with a snapshot.
    fn renew(&mut self) {
        let (snapshot, follower) = self.log.follow();
        self.epoch = snapshot.epoch;
        self.snapshot = Some(snapshot);
        self.follower = follower;
    }

    fn read_parts(&mut self, batch: &mut wire::Batch, room: &mut Room) {
        let now = self.deps.clock.now();
        for (name, rendition) in &mut self.renditions {
            let Some(reader) = &mut rendition.reader else { continue };
            let mut items = Vec::new();
            let nothing = || Some(wire::Nothing {});
            while room.is_left() {
                let item = match reader.try_next() {
                    Ok(Some(FeedItem::Part(part))) if (part.msn, part.index) < rendition.from => continue,
                    Ok(Some(FeedItem::Part(part))) => {
                        let part = bounded(part);
                        room.take(part.bytes().max(1));
                        feed_item(&FeedItem::Part(part), now, &mut self.inits)
                    }
                    Ok(Some(item)) => feed_item(&item, now, &mut self.inits),
                    Ok(None) => break,
                    Err(ReadError::Lagged) => {
                        self.deps.metrics.moved_on("parts");
                        debug!(stream = %self.log.stream(), rendition = %name, "a follower's reader fell behind the log");
                        continue;
                    }
                    Err(ReadError::Ended) => {
                        rendition.reader = None;
                        items.push(wire::FeedItem { item: nothing().map(wire::feed_item::Item::Ended) });
                        break;
                    }
                    // It stopped. `ReadError` may get variants; whatever they say, there is nothing more to read.
                    Err(_) => {
                        rendition.reader = None;
                        items.push(wire::FeedItem { item: nothing().map(wire::feed_item::Item::Cold) });
                        break;
                    }
                };
                items.push(item);
            }
            if !items.is_empty() {
                batch.items.push(wire::RenditionItems { name: name.to_string(), items });
            }
        }
        let is_cold = |item: &wire::FeedItem| matches!(item.item, Some(wire::feed_item::Item::Cold(_)));
        for items in batch.items.iter().filter(|items| items.items.last().is_some_and(is_cold)) {
            // It is wished anew when somebody reads it again.
            self.renditions.retain(|name, _| name.as_str() != items.name);
        }
    }

    fn read_timeline(&mut self, batch: &mut wire::Batch) -> Result<(), ReadError> {
        while let Some(item) = self.follower.try_next()? {
            match item {
                Item::Cut(cut) => batch.cuts.push((&*cut).into()),
                Item::PartEnd(end) => batch.part_ends.push((&end).into()),
                Item::Video(_) | Item::Audio(_) => {}
            }
        }
        Ok(())
    }

    fn read_samples(&mut self, batch: &mut wire::Batch, room: &mut Room) {
        let Some(samples) = self.samples.as_mut().filter(|samples| !samples.ended) else { return };
        let now = self.deps.clock.now();
        let moved_on = || wire::Sample { item: Some(wire::sample::Item::MovedOn(wire::Nothing {})) };
        batch.samples_position = samples.reader.position();
        if std::mem::take(&mut samples.moved_on) {
            batch.samples.push(moved_on());
        }
        while room.is_left() {
            match samples.reader.try_next() {
                Ok(Some(item)) => {
                    let bytes = match &item {
                        Item::Video(video) => video.data.len(),
                        Item::Audio(audio) => audio.data.len(),
                        Item::Cut(_) | Item::PartEnd(_) => 0,
                    };
                    room.take(bytes.max(1));
                    if bytes <= ITEM_BYTES_MAX {
                        samples.writer.write(&item, now, &mut batch.samples);
                    } else {
                        batch.samples.push(moved_on());
                    }
                }
                Ok(None) => break,
                Err(ReadError::Lagged) => {
                    self.deps.metrics.moved_on("samples");
                    batch.samples = vec![moved_on()];
                    batch.samples_position = samples.reader.position();
                    samples.writer = WriteSamples::default();
                }
                Err(_) => {
                    samples.ended = true;
                    break;
                }
            }
        }
        if batch.samples.is_empty() {
            batch.samples_position = 0;
        }
    }

    /// There are no samples to be told before the session's end.
    fn has_told_all_samples(&self) -> bool {
        self.samples.as_ref().is_none_or(|samples| samples.ended)
    }

    fn read_progress(&mut self, batch: &mut wire::Batch) {
        let current = self.follower.progress();
        let news = current.iter().filter(|told| !self.told_progress.contains(told));
        batch.renditions = news.map(Into::into).collect();
        self.told_progress = current;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.deps.metrics.subscriptions.dec();
    }
}

/// Waits until the node serves no longer.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender lives in the service.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for samples, if they are wished.
async fn sampled(samples: Option<&mut Samples>) {
    match samples {
        Some(samples) if !samples.ended => samples.reader.changed().await,
        _ => std::future::pending().await,
    }
}
