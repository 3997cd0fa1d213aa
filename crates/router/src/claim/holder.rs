//! A home's side of the claim.

mod recording;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Cut, Epoch, Instant, MediaSequence};

pub(super) use self::recording::REQUEST_TIMEOUT;
use self::recording::Recording;
use super::{Base, Claimed, Lease, PeerReply, RegistryReply, RegistryRequest, RequestId, Sealed, Yield, YieldId};
use crate::{Outline, RecordState};

/// Silence after which a publisher counts as gone: the record says `stale`, and who asks gets the stream.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a sealed home waits for the claim before it gives the stream up.
const SEALED_WAIT: Duration = Duration::from_secs(2);
/// Takeovers by priority within [`PRIORITY_TIME`]; after them a higher priority counts as an equal one.
const PRIORITY_MAX: usize = 3;
const PRIORITY_TIME: Duration = Duration::from_secs(60);
/// Newcomers that wait for an answer. More are refused.
const WAITING_MAX: usize = 64;

/// How long a session goes on without a publisher.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// After a lost connection: the reconnect window.
    pub reconnect: Duration,
    /// After a clean end.
    pub clean_end: Duration,
}

/// What the service has to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// More numbers are reserved or more cuts are recorded: what waited for it may go on.
    Acknowledged,
    /// The stream is taken over. Close the publisher, take no further sample and no further part, and say where everything
    /// ends by [`Holder::handle_sealed`]. [`Holder::may_append`] refuses from now on.
    Seal,
    /// The session is over: its publisher did not come back in time. Close the log and say how it ends by
    /// [`Holder::handle_end`]. [`Holder::may_append`] refuses from now on.
    End,
    /// This node holds the stream no longer. Close the publisher. Nothing follows.
    Stopped(Stop),
}

/// Why a home holds its stream no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Stop {
    /// The registry has not answered in time.
    #[error("the registry has not confirmed this node's lease for too long")]
    LeaseOver,
    /// The record shows another epoch or home.
    #[error("the stream is at epoch {current:?} now")]
    Overtaken {
        /// The epoch that it shows.
        current: Epoch,
    },
    /// The session is over.
    #[error("the session has ended")]
    Ended,
}

/// Why a sample or a part is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotHolding {
    /// The home is sealed: it never takes anything again in this epoch.
    #[error("the stream is being taken over")]
    Sealed,
    /// The reconnect window is over and the session is being ended.
    #[error("the session is being ended")]
    Ending,
    /// It stopped.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

/// One epoch of a stream at the node that won it.
///
/// ```text
///  Holding --asked to yield, silent or outranked--> Sealing --log closed--> Sealed --2 s without a claim--> writes `idle`
///     |  \--no publisher for the window--> Closing --log closed--> Ending --`ended` is written--\
///     |                                                                                         v
///     \-- from anywhere: lease over, record shows another epoch or home --------------------> Stopped
/// ```
///
/// Call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) has passed, and drain
/// `poll_event`, `poll_request` and `poll_reply` after each call. The service asks [`may_append`](Self::may_append) before
/// each sample and part, [`may_stamp`](Self::may_stamp) before each number and [`may_leave`](Self::may_leave) before a cut
/// goes to anybody. One that may not yet waits for [`Event::Acknowledged`].
#[derive(Debug)]
pub struct Holder {
    waits: Waits,
    recording: Recording,
    phase: Phase,
    lease: Lease,
    /// `None` while there is no publisher.
    publisher: Option<i32>,
    /// Without a publisher: when the session is to end.
    ends: Option<Instant>,
    last_media: Instant,
    /// Newcomers whose answer is not known yet.
    waiting: Vec<YieldId>,
    /// Takeovers by priority before this epoch, as ages when it began.
    by_priority: Vec<Duration>,
    began: Instant,
    /// Outranked now: this takeover counts.
    outranked: bool,
    replies: VecDeque<(YieldId, PeerReply)>,
    events: VecDeque<Event>,
}

#[derive(Clone, Debug)]
enum Phase {
    Holding,
    Sealing,
    Sealed { answer: Arc<Sealed>, since: Instant },
    Closing,
    Ending,
    Stopped(Stop),
}

impl Holder {
    /// The home of a claim that was won at `now`, whose publisher has `priority`.
    pub fn new(now: Instant, claimed: &Claimed, lease: Lease, priority: i32, waits: Waits) -> Self {
        let by_priority = match &claimed.base {
            Base::Sealed(answer) => answer.by_priority.clone(),
            Base::Fresh | Base::Unsealed => Vec::new(),
        };
        Self {
            waits,
            recording: Recording::new(claimed.record.clone()),
            phase: Phase::Holding,
            lease,
            publisher: Some(priority),
            ends: None,
            last_media: now,
            waiting: Vec::new(),
            by_priority,
            began: now,
            outranked: false,
            replies: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        self.recording.stored().epoch
    }

    /// Neither sealed nor stopped nor ending, as far as is known. Only [`may_append`](Self::may_append) looks at the lease.
    pub fn is_holding(&self) -> bool {
        matches!(self.phase, Phase::Holding)
    }

    /// Whether a publisher is attached.
    pub fn has_publisher(&self) -> bool {
        self.publisher.is_some()
    }

    /// Whether it gives way to a newcomer of higher priority.
    pub fn is_outranked(&self) -> bool {
        self.outranked
    }

    /// Whether a sample or a part may be taken at `now`. To be asked for each one: a process that was stopped for a while
    /// learns here that it is late.
    pub fn may_append(&mut self, now: Instant) -> Result<(), NotHolding> {
        self.check_lease(now);
        match self.phase {
            Phase::Holding => Ok(()),
            Phase::Sealing | Phase::Sealed { .. } => Err(NotHolding::Sealed),
            Phase::Closing | Phase::Ending => Err(NotHolding::Ending),
            Phase::Stopped(stop) => Err(stop.into()),
        }
    }

    /// Whether number `msn` is reserved by an acknowledged write, so that samples may be stamped with it.
    pub fn may_stamp(&self, msn: MediaSequence) -> bool {
        msn < self.recording.stored().reserved
    }

    /// Whether `cut` may leave the home, `before` being the one before it. One with a discontinuity, and the first of a
    /// session, must be recorded: another home could not go on from it otherwise.
    pub fn may_leave(&self, before: Option<&Cut>, cut: &Cut) -> bool {
        let joins = before.is_some_and(|before| before.discontinuity == cut.discontinuity);
        self.may_stamp(cut.msn) && (joins || self.recording.is_recorded(cut.msn))
    }

    /// The lease was kept alive, or is known not to be.
    pub fn handle_lease(&mut self, now: Instant, lease: Lease) {
        self.lease = lease;
        self.advance(now);
    }

    /// A publisher is attached: a new one, or the last one is back.
    pub fn handle_publisher(&mut self, now: Instant, priority: i32) {
        self.publisher = Some(priority);
        self.ends = None;
        self.last_media = now;
        self.advance(now);
    }

    /// The publisher is gone; `clean` says whether it said so.
    pub fn handle_publisher_gone(&mut self, now: Instant, clean: bool) {
        if self.publisher.take().is_some() {
            self.ends = Some(now + if clean { self.waits.clean_end } else { self.waits.reconnect });
        }
        self.advance(now);
    }

    /// The session is to end now: the service stops for good, and nobody is to go on with it.
    pub fn finish(&mut self, now: Instant) {
        self.publisher = None;
        self.ends = Some(now);
        self.advance(now);
    }

    /// Media came in, whether or not its number is reserved already: the publisher is alive.
    pub fn handle_media(&mut self, now: Instant) {
        if self.may_append(now).is_ok() {
            self.last_media = now;
            self.answer_all(&PeerReply::Refused);
        }
        self.advance(now);
    }

    /// The session was cut: `outline` has the new cut as its last. It is recorded, and numbers up to the one after it are
    /// reserved, as soon as the write that is on its way is done.
    pub fn handle_cut(&mut self, now: Instant, outline: Arc<Outline>) {
        if self.may_append(now).is_ok() {
            self.recording.set_outline(outline);
        }
        self.advance(now);
    }

    /// The log is closed, in answer to [`Event::Seal`]. `sealed.by_priority` is filled in here.
    pub fn handle_sealed(&mut self, now: Instant, mut sealed: Sealed) {
        if matches!(self.phase, Phase::Sealing) {
            sealed.by_priority = self.takeovers_by_priority(now).collect();
            if self.outranked {
                sealed.by_priority.push(Duration::ZERO);
            }
            let answer = Arc::new(sealed);
            self.phase = Phase::Sealed { answer: answer.clone(), since: now };
            self.answer_all(&PeerReply::Sealed(answer));
        }
        self.advance(now);
    }

    /// The log is closed, in answer to [`Event::End`]. `outline` has [`takeover::end`](super::takeover::end) as its last
    /// cut; `None` when the session never had one.
    pub fn handle_end(&mut self, now: Instant, outline: Option<Arc<Outline>>) {
        if matches!(self.phase, Phase::Closing) {
            self.phase = Phase::Ending;
            self.recording.finish(outline);
        }
        self.advance(now);
    }

    /// Gives the stream up of its own accord, for a drain: who claims it gets the answer of a sealed home.
    pub fn seal(&mut self, now: Instant) {
        self.check_lease(now);
        self.begin_sealing();
        self.advance(now);
    }

    /// A newcomer asks the home to yield. The answer comes out of [`poll_reply`](Self::poll_reply), at once or later. A
    /// question about a later epoch than this one is for the node's claim, if it has one on its way
    /// ([`Claimant::may_have_won`](super::Claimant::may_have_won)): then nothing is answered.
    pub fn handle_yield(&mut self, now: Instant, id: YieldId, asked: Yield) {
        self.check_lease(now);
        let answer = match &self.phase {
            _ if asked.epoch != self.epoch() => Some(PeerReply::NotHeld),
            Phase::Stopped(_) => Some(PeerReply::NotHeld),
            Phase::Sealed { answer, .. } => Some(PeerReply::Sealed(answer.clone())),
            _ if self.waiting.len() >= WAITING_MAX => Some(PeerReply::Refused),
            Phase::Holding | Phase::Sealing | Phase::Closing | Phase::Ending => None,
        };
        match answer {
            Some(answer) => self.replies.push_back((id, answer)),
            None => {
                self.waiting.push(id);
                let higher = self.publisher.is_some_and(|priority| asked.priority > priority);
                if self.is_holding() && higher && self.takeovers_by_priority(now).count() < PRIORITY_MAX {
                    self.outranked = true;
                    self.begin_sealing();
                }
            }
        }
        self.advance(now);
    }

    /// What became of a request to the registry.
    pub fn handle_reply(&mut self, now: Instant, id: RequestId, reply: RegistryReply) {
        let reserved = self.recording.stored().reserved;
        let revision = self.recording.stored().revision;
        if let Err(stop) = self.recording.handle_reply(now, id, reply) {
            self.stop(stop);
        } else if self.recording.stored().revision != revision || self.recording.stored().reserved != reserved {
            self.events.push_back(Event::Acknowledged);
        }
        self.advance(now);
    }

    /// `now` has passed [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silent = self.last_media + SILENCE;
        let phase = match &self.phase {
            Phase::Stopped(_) => return None,
            Phase::Holding => {
                let stale = self.recording.state() == RecordState::Live || !self.waiting.is_empty();
                earliest([stale.then_some(silent), self.ends])
            }
            Phase::Sealed { since, .. } if self.recording.state() != RecordState::Idle => Some(*since + SEALED_WAIT),
            Phase::Sealed { .. } | Phase::Sealing | Phase::Closing | Phase::Ending => None,
        };
        earliest([phase, self.recording.poll_timeout(), Some(self.lease.until())])
    }

    /// What the service has to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A request for the registry.
    pub fn poll_request(&mut self) -> Option<(RequestId, RegistryRequest)> {
        self.recording.poll_request()
    }

    /// An answer to a newcomer.
    pub fn poll_reply(&mut self) -> Option<(YieldId, PeerReply)> {
        self.replies.pop_front()
    }

    /// Does what time and state demand.
    fn advance(&mut self, now: Instant) {
        self.check_lease(now);
        let silent = self.publisher.is_none() || now >= self.last_media + SILENCE;
        if self.is_holding() && silent && !self.waiting.is_empty() {
            self.begin_sealing();
        }
        if self.is_holding() && self.ends.is_some_and(|ends| now >= ends) {
            self.phase = Phase::Closing;
            self.events.push_back(Event::End);
        }
        match &self.phase {
            Phase::Holding if now >= self.last_media + SILENCE => self.recording.set_state(RecordState::Stale),
            Phase::Holding => self.recording.set_state(RecordState::Live),
            Phase::Ending => self.recording.set_state(RecordState::Ended),
            Phase::Sealed { since, .. } if now >= *since + SEALED_WAIT => self.recording.set_state(RecordState::Idle),
            // The claim that is to come compares revisions: nothing is written that does not have to be.
            Phase::Sealing | Phase::Sealed { .. } | Phase::Closing => return self.recording.only_finish(now),
            Phase::Stopped(_) => return,
        }
        self.recording.advance(now);
    }

    fn check_lease(&mut self, now: Instant) {
        if !self.lease.holds(now) {
            self.stop(Stop::LeaseOver);
        }
    }

    fn begin_sealing(&mut self) {
        if self.is_holding() {
            self.phase = Phase::Sealing;
            self.events.push_back(Event::Seal);
        }
    }

    fn stop(&mut self, stop: Stop) {
        if !matches!(self.phase, Phase::Stopped(_)) {
            self.phase = Phase::Stopped(stop);
            self.recording.stop();
            self.answer_all(&PeerReply::NotHeld);
            self.events.push_back(Event::Stopped(stop));
        }
    }

    fn answer_all(&mut self, answer: &PeerReply) {
        self.replies.extend(self.waiting.drain(..).map(|id| (id, answer.clone())));
    }

    /// Ages of those of the last minute before this epoch.
    fn takeovers_by_priority(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let passed = now.saturating_since(self.began);
        self.by_priority.iter().map(move |age| *age + passed).filter(|age| *age < PRIORITY_TIME)
    }
}

fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

#[cfg(test)]
mod tests;
