//! A newcomer's side of the claim: how a publisher that has authenticated becomes a stream's home, or does not.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Epoch, Instant, MediaSequence, SessionId, Timestamp, WallTime};

use super::holder::REQUEST_TIMEOUT;
use super::takeover::{self, Claiming};
use super::{Base, Claimed, PeerReply, RegistryReply, RegistryRequest, RequestId, Sealed, Yield};
use crate::{NodeId, Record, RecordState};

/// How long a newcomer's `publish` is held at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the home of a `stale` record has to answer.
const STALE_ANSWER: Duration = Duration::from_millis(100);
/// Time between two looks at the record of a home that does not answer.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time between two questions to it: the first may be lost.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Who wants a stream.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// The node that has the publisher.
    pub node: NodeId,
    /// The session's name, if a new one begins.
    pub fresh: SessionId,
    /// The publisher's priority.
    pub priority: i32,
}

/// How a claim ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The node is the stream's home.
    Won(Claimed),
    /// It is not.
    Denied(Denied),
}

/// Why a newcomer does not get the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// The home says that its publisher is alive.
    #[error("the stream has a publisher, in epoch {epoch:?}")]
    Held {
        /// The home's epoch.
        epoch: Epoch,
    },
    /// The home is there according to the registry, and did not answer for 10 s.
    #[error("the home of epoch {epoch:?} does not answer")]
    NoAnswer {
        /// The home's epoch.
        epoch: Epoch,
    },
    /// The registry takes no writes, or did not answer for 10 s.
    #[error("the registry takes no claims now")]
    Unavailable,
}

/// One attempt to claim a stream. A node has one per stream at a time, and none while it holds the stream with a
/// publisher.
///
/// ```text
///  Reading --none, idle, ended-----------------------------> Writing --written, or read back--> won
///     ^ \---live or stale: the home is asked to yield          ^  \---conflict, unknown outcome: Reading again
///     |         |                                              |
///  Waiting <----/--- sealed, not held, unreachable, gone ------/--- refused: denied
/// ```
#[derive(Debug)]
pub struct Claimant {
    newcomer: Newcomer,
    began: Instant,
    wall: WallTime,
    step: Step,
    /// What was read last, and whether its home lives.
    known: Option<(Record, bool)>,
    asking: Option<Asking>,
    /// The last write that may have been made, or may yet be.
    attempt: Option<Attempt>,
    /// It has won this epoch.
    won: Option<Epoch>,
    last_id: RequestId,
    outgoing: Option<(RequestId, RegistryRequest)>,
    question: Option<(NodeId, Yield)>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum Step {
    Reading { id: RequestId, since: Instant },
    Waiting { until: Instant },
    Writing { id: RequestId, since: Instant },
    Done,
}

/// A claim that was written.
#[derive(Debug)]
struct Attempt {
    record: Record,
    base: Base,
    /// The revision that it compares: when that is not there any more, it was made or never will be.
    expected: u64,
}

/// What is known of the home of one epoch.
#[derive(Debug)]
struct Asking {
    epoch: Epoch,
    home: NodeId,
    since: Instant,
    again: Instant,
    /// It does not hold that epoch.
    gone: bool,
    answer: Option<Arc<Sealed>>,
}

impl Claimant {
    /// Begins a claim at `now`, which is `wall` by the wall clock.
    pub fn new(now: Instant, wall: WallTime, newcomer: Newcomer) -> Self {
        let mut claimant = Self {
            newcomer,
            began: now,
            wall,
            step: Step::Done,
            known: None,
            asking: None,
            attempt: None,
            won: None,
            last_id: RequestId::default(),
            outgoing: None,
            question: None,
            outcome: None,
        };
        claimant.read(now);
        claimant
    }

    /// Whether the node may hold `epoch` or a later one without having a home for it yet: then it does not answer *not held*,
    /// or another node would take a stream that was just won. Who asks has read of `epoch` before, so the node looks here
    /// first and for its home then, and keeps this claim until that is there.
    pub fn may_have_won(&self, epoch: Epoch) -> bool {
        let newest = self.attempt.as_ref().map(|attempt| attempt.record.epoch).max(self.won);
        newest.is_some_and(|newest| newest >= epoch)
    }

    /// What became of a request to the registry.
    pub fn handle_reply(&mut self, now: Instant, id: RequestId, reply: RegistryReply) {
        match self.step {
            Step::Reading { id: expected, .. } if expected == id => match reply {
                RegistryReply::Record { record, home_lives } => self.handle_record(now, record, home_lives),
                _ => self.step = Step::Waiting { until: now + LOOK_EVERY },
            },
            Step::Writing { id: expected, .. } if expected == id => match reply {
                RegistryReply::Written { revision } => {
                    if let Some(Attempt { record, base, .. }) = self.attempt.take() {
                        self.win(Record { revision, ..record }, base);
                    }
                }
                RegistryReply::Refused => self.deny(Denied::Unavailable),
                RegistryReply::Conflict | RegistryReply::Unknown | RegistryReply::Record { .. } => self.read(now),
            },
            _ => {}
        }
        self.advance(now);
    }

    /// What the home of `epoch` answered, or that it could not be reached.
    pub fn handle_peer(&mut self, now: Instant, epoch: Epoch, reply: PeerReply) {
        if let Some(asking) = self.asking.as_mut().filter(|asking| asking.epoch == epoch) {
            match reply {
                // It was alive when it said so; a claim that is on its way may have been made before.
                PeerReply::Refused if self.attempt.is_none() => return self.deny(Denied::Held { epoch }),
                PeerReply::Refused => {}
                PeerReply::Sealed(answer) if answer.epoch == epoch => asking.answer = Some(answer),
                PeerReply::Sealed(_) => {}
                PeerReply::NotHeld | PeerReply::Unreachable => asking.gone = true,
            }
            if matches!(self.step, Step::Waiting { .. })
                && let Some((record, home_lives)) = self.known.take()
            {
                self.handle_record(now, Some(record), home_lives);
            }
        }
        self.advance(now);
    }

    /// The publisher is gone. A write that is on its way may still be made; then this node answers *not held* for it.
    pub fn give_up(&mut self) {
        self.step = Step::Done;
        self.outgoing = None;
        self.question = None;
    }

    /// `now` has passed [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let step = match self.step {
            Step::Reading { since, .. } | Step::Writing { since, .. } => since + REQUEST_TIMEOUT,
            Step::Waiting { until } => until,
            Step::Done => return None,
        };
        Some(step.min(self.began + PATIENCE))
    }

    /// A request for the registry.
    pub fn poll_request(&mut self) -> Option<(RequestId, RegistryRequest)> {
        self.outgoing.take()
    }

    /// A question for a home, which may be this node itself: then the answer is *not held* unless it has a [`Holder`]
    /// of that epoch.
    ///
    /// [`Holder`]: super::Holder
    pub fn poll_question(&mut self) -> Option<(NodeId, Yield)> {
        self.question.take()
    }

    /// How the claim ended. Nothing follows.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    fn advance(&mut self, now: Instant) {
        if matches!(self.step, Step::Done) {
            return;
        }
        if now >= self.began + PATIENCE {
            let why = match (&self.step, &self.asking) {
                (Step::Reading { .. } | Step::Waiting { .. }, Some(home)) => Denied::NoAnswer { epoch: home.epoch },
                _ => Denied::Unavailable,
            };
            return self.deny(why);
        }
        match self.step {
            Step::Reading { since, .. } | Step::Writing { since, .. } if now >= since + REQUEST_TIMEOUT => {
                self.read(now);
            }
            Step::Waiting { until } if now >= until => self.read(now),
            _ => {}
        }
    }

    /// Decides by what is in the registry, and by what the home has said.
    fn handle_record(&mut self, now: Instant, record: Option<Record>, home_lives: bool) {
        let Some(record) = record else { return self.write(now, None, Base::Fresh) };
        if let Some(Attempt { record: attempt, base, expected }) = &self.attempt {
            if (attempt.epoch, &attempt.home, RecordState::Live) == (record.epoch, &record.home, record.state) {
                // The claim of unknown outcome was made; or an older one of this node was, of which only the record is known.
                let same = attempt.reserved == record.reserved && mark(attempt) == mark(&record);
                let base = match record.outline {
                    Some(_) if same => base.clone(),
                    Some(_) => Base::Unsealed,
                    None => Base::Fresh,
                };
                return self.win(record, base);
            }
            if *expected != record.revision {
                self.attempt = None;
            }
        }
        let answer =
            self.asking.as_ref().filter(|asking| asking.epoch == record.epoch).and_then(|it| it.answer.clone());
        if let Some(answer) = answer.filter(|_| record.state != RecordState::Ended) {
            return self.write(now, Some(record), Base::Sealed(answer));
        }
        match record.state {
            RecordState::Ended => self.write(now, Some(record), Base::Fresh),
            RecordState::Idle => self.write(now, Some(record), Base::Unsealed),
            RecordState::Live | RecordState::Stale => self.ask(now, record, home_lives),
        }
    }

    fn ask(&mut self, now: Instant, record: Record, home_lives: bool) {
        let known = self.asking.take().filter(|asking| asking.epoch == record.epoch);
        let asking = self.asking.insert(known.unwrap_or_else(|| Asking {
            epoch: record.epoch,
            home: record.home.clone(),
            since: now,
            again: now,
            gone: false,
            answer: None,
        }));
        let no_answer = record.state == RecordState::Stale && now >= asking.since + STALE_ANSWER;
        if asking.gone || !home_lives || no_answer {
            return self.write(now, Some(record), Base::Unsealed);
        }
        if now >= asking.again {
            asking.again = now + ASK_EVERY;
            let question = Yield { epoch: asking.epoch, priority: self.newcomer.priority };
            self.question = Some((asking.home.clone(), question));
        }
        let stale = (record.state == RecordState::Stale).then_some(asking.since + STALE_ANSWER);
        let until = stale.map_or(now + LOOK_EVERY, |stale| stale.min(now + LOOK_EVERY));
        self.known = Some((record, home_lives));
        self.step = Step::Waiting { until };
    }

    /// Claims: compare-and-set on the revision of `before`.
    fn write(&mut self, now: Instant, before: Option<Record>, base: Base) {
        let Newcomer { node, fresh, .. } = &self.newcomer;
        let millis = i64::try_from(now.saturating_since(self.began).as_millis()).unwrap_or(i64::MAX);
        let wall = self.wall.plus(Timestamp::video(millis.saturating_mul(120)));
        let by = Claiming { node, fresh: *fresh, wall };
        let goes_on = before.as_ref().and_then(|before| match &base {
            Base::Fresh => None,
            Base::Unsealed => takeover::unsealed(before, by),
            Base::Sealed(answer) => takeover::sealed(before, answer, by),
        });
        let (record, base) = match goes_on {
            Some(record) => (record, base),
            None => (takeover::fresh(before.as_ref(), by), Base::Fresh),
        };
        let expected = before.map_or(0, |before| before.revision);
        self.attempt = Some(Attempt { record: record.clone(), base, expected });
        let id = self.next_id();
        self.outgoing = Some((id, RegistryRequest::Write { expected, record }));
        self.step = Step::Writing { id, since: now };
    }

    fn read(&mut self, now: Instant) {
        let id = self.next_id();
        self.outgoing = Some((id, RegistryRequest::Read));
        self.step = Step::Reading { id, since: now };
    }

    fn win(&mut self, record: Record, base: Base) {
        self.give_up();
        self.won = Some(record.epoch);
        self.outcome = Some(Outcome::Won(Claimed { record, base }));
    }

    fn deny(&mut self, why: Denied) {
        self.give_up();
        self.outcome = Some(Outcome::Denied(why));
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id.0 += 1;
        self.last_id
    }
}

/// What tells a claim from another one of the same node and epoch: its first cut. A registry keeps less of a cut than is
/// written, so that whole outlines would not be equal.
fn mark(record: &Record) -> Option<(MediaSequence, Timestamp, WallTime, u64)> {
    let cut = record.outline.as_ref()?.cuts.last()?;
    Some((cut.msn, cut.start, cut.program_date_time, cut.discontinuity))
}

#[cfg(test)]
mod tests;
