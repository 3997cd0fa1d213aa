//! A home's hold on its stream: what the state machine of the claim wants of it, and what it asks that machine.

use std::collections::HashMap;
use std::sync::Arc;

use headwater_media::{Cut, Epoch, Instant, Part, RenditionName, Timestamp};
use headwater_router::claim::{
    Base, Claimed, Event, Holder, PeerReply, RegistryReply, RegistryRequest, RequestId, Sealed, Stop, Yield, YieldId,
    takeover,
};
use headwater_router::{NodeId, Outline};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::{Gone, HoldLost, Home, Inner, Seat, Wanted};

/// Cuts that are recorded beyond those that a playlist lists.
const EXTRA_CUTS: usize = 4;

/// What others wait for, and what the registry is to be asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: HashMap<YieldId, (Asker, oneshot::Sender<PeerReply>)>,
    last: u64,
    request: Option<Asked>,
}

/// Where a newcomer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asker {
    /// On this node.
    Here,
    /// On another one.
    Elsewhere,
}

/// A request for the registry, and which hold it is of.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) epoch: Epoch,
    pub(crate) id: RequestId,
    pub(crate) request: RegistryRequest,
}

/// The parts of a sealed home on another node, which are awaited before anything of this one is put.
#[derive(Debug)]
pub(super) struct Fetching {
    answer: Arc<Sealed>,
}

impl Fetching {
    /// What has to be fetched for this claim at `node`.
    pub(super) fn of(claimed: &Claimed, node: &NodeId) -> Option<Self> {
        match &claimed.base {
            Base::Sealed(answer) if answer.home != *node => Some(Self { answer: answer.clone() }),
            Base::Sealed(_) | Base::Unsealed | Base::Fresh => None,
        }
    }
}

impl Home {
    /// Who publishes, now and later.
    pub(crate) fn seats(&self) -> watch::Receiver<Seat> {
        self.seat.subscribe()
    }

    /// The publisher's priority; `None` while there is none.
    pub(crate) fn priority(&self) -> Option<i32> {
        self.inner().publisher.as_ref().map(|publisher| publisher.priority)
    }

    /// The epoch that is held; `None` when none is.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.inner().epoch()
    }

    /// Has the publisher sent away. `false` when there is none.
    pub(crate) fn kick(&self) -> bool {
        let inner = self.inner();
        if inner.publisher.is_some() {
            self.seat.send_modify(|seat| seat.gone = Some(Gone::Kicked));
        }
        inner.publisher.is_some()
    }

    /// A newcomer asks for the stream. The answer comes when the home has decided; nothing when it holds nothing.
    pub(crate) fn ask(&self, asker: Asker, asked: Yield) -> Option<oneshot::Receiver<PeerReply>> {
        let mut inner = self.inner();
        let now = self.deps.clock.now();
        let Inner { holder, questions, .. } = &mut *inner;
        let holder = holder.as_mut()?;
        let (answer, answered) = oneshot::channel();
        // Who does not wait any more is not answered.
        questions.waiting.retain(|_, (_, waiting)| !waiting.is_closed());
        questions.last += 1;
        let id = YieldId(questions.last);
        questions.waiting.insert(id, (asker, answer));
        holder.handle_yield(now, id, asked);
        self.settle(&mut inner, now);
        self.wake.notify_one();
        Some(answered)
    }

    /// Gives the stream up to whoever claims it.
    pub(crate) fn hand_over(&self) {
        self.with_holder(Holder::seal);
    }

    /// The session is to end now.
    pub(crate) fn finish(&self) {
        self.with_holder(Holder::finish);
    }

    /// The registry has a newer word on the stream than this home.
    pub(crate) fn forget(&self, stop: Stop) {
        let mut inner = self.inner();
        if inner.holder.is_some() {
            self.stop(&mut inner, stop);
        }
    }

    /// Whether it gave the stream up, and nobody has claimed it yet.
    pub(crate) fn is_given_up(&self) -> bool {
        self.inner().holder.as_ref().is_some_and(|holder| !holder.is_holding())
    }

    fn with_holder(&self, act: impl FnOnce(&mut Holder, Instant)) {
        let mut inner = self.inner();
        let now = self.deps.clock.now();
        if let Some(holder) = &mut inner.holder {
            act(holder, now);
        }
        self.settle(&mut inner, now);
        self.wake.notify_one();
    }

    /// What the registry is to be asked, and when to call [`handle_time`](Self::handle_time).
    pub(crate) fn poll(&self) -> (Option<Asked>, Option<Instant>) {
        let mut inner = self.inner();
        (inner.questions.request.take(), inner.holder.as_ref().and_then(Holder::poll_timeout))
    }

    /// What became of a request.
    pub(crate) fn handle_reply(&self, epoch: Epoch, id: RequestId, reply: RegistryReply) {
        self.with_holder(|holder, now| {
            if holder.epoch() == epoch {
                holder.handle_reply(now, id, reply);
            }
        });
    }

    /// The lease is another, or time has passed.
    pub(crate) fn handle_time(&self) {
        let lease = *self.lease.borrow();
        self.with_holder(|holder, now| holder.handle_lease(now, lease));
    }

    /// Waits until there is something to ask the registry, or an earlier time to wait for.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What is to be fetched of the home before.
    pub(crate) fn fetching(&self) -> Option<Arc<Sealed>> {
        self.inner().fetching.as_ref().map(|fetching| fetching.answer.clone())
    }

    /// What could be fetched of the home before that is `answer`: nothing more will come.
    pub(crate) fn fetched(&self, answer: &Arc<Sealed>, parts: &HashMap<RenditionName, Vec<Arc<Part>>>) {
        let mut inner = self.inner();
        let now = self.deps.clock.now();
        if inner.fetching.as_ref().is_none_or(|fetching| !Arc::ptr_eq(&fetching.answer, answer)) {
            return;
        }
        self.restore(&mut inner, parts);
        self.flush(&mut inner, now);
        self.settle(&mut inner, now);
    }

    fn restore(&self, inner: &mut Inner, parts: &HashMap<RenditionName, Vec<Arc<Part>>>) {
        let Some(Fetching { answer }) = inner.fetching.take() else { return };
        let Some(open) = &mut inner.open else { return };
        for known in &answer.renditions {
            open.log.restore(&known.name, parts.get(&known.name).map_or(&[][..], Vec::as_slice), known.missing);
        }
        // Somebody watched them there.
        if open.log.state().borrow().renditions.iter().any(|known| known.begun && known.kind.is_encoded()) {
            open.log.watched(self.deps.clock.now());
        }
        open.give_turns();
        self.wanted.send_replace(Some(Wanted::of(&open.log)));
    }

    /// The fence: nothing of a publisher that lost the stream gets in.
    pub(super) fn hold(&self, inner: &Inner, seat: u64) -> Result<(), HoldLost> {
        if inner.publisher.is_some() && inner.seat == seat {
            return Ok(());
        }
        Err(HoldLost(self.seat.borrow().gone_for(seat).unwrap_or(Gone::TakenOver)))
    }

    /// The same, and this node still holds the stream.
    pub(super) fn may_append(&self, inner: &mut Inner, seat: u64, now: Instant) -> Result<(), HoldLost> {
        self.hold(inner, seat)?;
        if inner.holder.as_mut().is_some_and(|holder| holder.may_append(now).is_ok()) {
            return Ok(());
        }
        self.settle(inner, now);
        Err(HoldLost(self.seat.borrow().gone_for(seat).unwrap_or(Gone::LeaseOver)))
    }

    /// Media came: its publisher is alive.
    pub(super) fn handle_media(&self, inner: &mut Inner, seat: u64, now: Instant) -> Result<(), HoldLost> {
        self.may_append(inner, seat, now)?;
        if let Some(holder) = &mut inner.holder {
            holder.handle_media(now);
        }
        Ok(())
    }

    /// Has a cut recorded, and the numbers after it reserved.
    pub(super) fn announce(&self, inner: &mut Inner, cut: &Arc<Cut>, now: Instant) {
        if inner.note(cut, self.settings.window_segments) {
            self.record(inner, now);
        }
    }

    /// Has the session recorded as it is.
    pub(super) fn record(&self, inner: &mut Inner, now: Instant) {
        if let Some(outline) = inner.outline(inner.cuts.iter().cloned().collect())
            && let Some(holder) = &mut inner.holder
        {
            holder.handle_cut(now, outline);
        }
    }

    /// Does what the machine wants: after each call that may have changed something.
    pub(super) fn settle(&self, inner: &mut Inner, now: Instant) {
        while let Some(holder) = &mut inner.holder {
            if let Some((id, reply)) = holder.poll_reply() {
                inner.questions.answer(id, reply);
                continue;
            }
            match holder.poll_event() {
                Some(Event::Acknowledged) => self.flush(inner, now),
                Some(Event::Seal) => self.seal(inner, now),
                Some(Event::End) => self.end(inner, now),
                Some(Event::Stopped(stop)) => self.stop(inner, stop),
                None => {
                    if let Some((id, request)) = holder.poll_request() {
                        inner.questions.request = Some(Asked { epoch: holder.epoch(), id, request });
                        self.wake.notify_one();
                    }
                    return;
                }
            }
        }
    }

    /// The stream is taken over.
    fn seal(&self, inner: &mut Inner, now: Instant) {
        let (stream, session) = (&self.stream, self.session);
        if inner.holder.as_ref().is_some_and(Holder::is_outranked) {
            info!(%stream, %session, "publisher gives way to one of higher priority");
        } else if inner.questions.waiting.is_empty() {
            info!(%stream, %session, "stream is handed over to whoever comes");
        } else if inner.publisher.is_some() {
            info!(%stream, %session, "publisher silent for 2 s, taken over");
        }
        // What it was to fetch itself is lost.
        self.restore(inner, &HashMap::new());
        let end = self.close(inner, now);
        self.send_away(inner, Gone::TakenOver);
        let outline = inner.outline(inner.cuts.iter().cloned().collect());
        let renditions = inner.open.as_ref().map_or(Vec::new(), |open| open.log.seal());
        if let Some(open) = inner.open.as_ref().filter(|_| inner.questions.are_from_here()) {
            open.log.keep_parts();
        }
        let home = self.deps.registry.node().clone();
        let stamped = inner.stamped;
        if let Some(holder) = &mut inner.holder {
            let epoch = holder.epoch();
            let sealed = Sealed { epoch, home, outline, stamped, end, renditions, by_priority: Vec::new() };
            holder.handle_sealed(now, sealed);
        }
    }

    /// Nobody came in time: the session ends.
    fn end(&self, inner: &mut Inner, now: Instant) {
        let end = self.close(inner, now);
        self.send_away(inner, Gone::TakenOver);
        let mut cuts: Vec<_> = inner.cuts.iter().cloned().collect();
        if let Some(last) = cuts.last().cloned() {
            if !inner.stamped {
                cuts.pop();
            }
            cuts.push(Arc::new(takeover::end(&last, inner.stamped, end)));
        }
        let outline = inner.outline(cuts);
        inner.closed = true;
        if let Some(holder) = &mut inner.holder {
            holder.handle_end(now, outline);
        }
    }

    /// Nothing follows.
    fn stop(&self, inner: &mut Inner, stop: Stop) {
        if let Some(mut holder) = inner.holder.take() {
            while let Some((id, reply)) = holder.poll_reply() {
                inner.questions.answer(id, reply);
            }
        }
        let ended_here = stop == Stop::Ended && inner.closed;
        if !ended_here {
            let (stream, session) = (&self.stream, self.session);
            match inner.publisher {
                Some(_) => warn!(%stream, %session, %stop, "this node has lost the stream of its publisher"),
                None => info!(%stream, %session, %stop, "this node holds the stream no longer"),
            }
        }
        self.send_away(inner, if stop == Stop::LeaseOver { Gone::LeaseOver } else { Gone::TakenOver });
        if let Some(open) = &inner.open {
            if ended_here {
                open.log.end();
            } else {
                open.log.seal();
            }
        }
        self.stopped.send_replace(Some(stop));
        self.wake.notify_one();
    }

    fn send_away(&self, inner: &mut Inner, gone: Gone) {
        if inner.publisher.take().is_some() {
            self.seat.send_modify(|seat| seat.gone = Some(gone));
            if let Some(open) = &inner.open {
                open.log.set_publisher(None);
            }
        }
    }
}

impl Questions {
    /// The hold that they were about is over.
    pub(super) fn forget(&mut self) {
        self.waiting.drain().for_each(|(_, (_, waiting))| _ = waiting.send(PeerReply::NotHeld));
        self.request = None;
    }

    /// Whether newcomers of this node alone wait for an answer: one of them is about to go on.
    fn are_from_here(&self) -> bool {
        !self.waiting.is_empty() && self.waiting.values().all(|(asker, _)| *asker == Asker::Here)
    }

    fn answer(&mut self, id: YieldId, reply: PeerReply) {
        if let Some((_, waiting)) = self.waiting.remove(&id) {
            // Who asked may have gone meanwhile.
            let _ = waiting.send(reply);
        }
    }
}

impl Inner {
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.holder.as_ref().map(Holder::epoch)
    }

    /// Whether pictures of another track than the first can be taken: a session that has begun without it has no rendition
    /// for them.
    pub(super) fn has_place_for(&self, track: u8) -> bool {
        self.open.as_ref().is_none_or(|open| open.tracks.contains_key(&track))
    }

    /// The session's outline with these cuts; `None` before the first.
    fn outline(&self, cuts: Vec<Arc<Cut>>) -> Option<Arc<Outline>> {
        let open = self.open.as_ref().filter(|_| !cuts.is_empty())?;
        let state = open.log.state().borrow().clone();
        Some(Arc::new(Outline::new(&state, open.audio_config.clone(), cuts)))
    }

    /// Remembers a cut. `false` when it is known.
    fn note(&mut self, cut: &Arc<Cut>, window_segments: u32) -> bool {
        match self.cuts.back_mut() {
            Some(last) if last.msn > cut.msn || *last == *cut => return false,
            // The first one of this home has the date of its first sample now.
            Some(last) if last.msn == cut.msn => *last = cut.clone(),
            _ => self.cuts.push_back(cut.clone()),
        }
        let limit = usize::try_from(window_segments).unwrap_or(usize::MAX).saturating_add(EXTRA_CUTS);
        while self.cuts.len() > limit {
            self.cuts.pop_front();
        }
        true
    }

    /// Whether the cut's number is reserved, and the cut recorded where another home could not go on from it otherwise.
    pub(super) fn may_leave(&self, cut: &Cut) -> bool {
        let before = self.cuts.iter().rev().find(|known| known.msn < cut.msn);
        self.holder.as_ref().is_some_and(|holder| holder.may_leave(before.map(Arc::as_ref), cut))
    }

    /// Where what is in the log ends, if `waits` is the first cut that is not.
    pub(super) fn end(&self, waits: Option<&Cut>) -> Timestamp {
        let after_left = self.timeline.end().or(self.cuts.back().map(|cut| cut.start));
        waits.map(|cut| cut.start).or(after_left).unwrap_or(Timestamp::video(0))
    }
}
