//! A home's writes: one on its way at most, which carries the newest state.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Instant, MediaSequence};

use super::{RegistryReply, RegistryRequest, RequestId, Stop};
use crate::{Outline, Record, RecordState};

/// A request without an answer has an unknown outcome after this time.
pub(in crate::claim) const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Time until a refused write or a failed read is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What is stored, what is to be stored, and the request between the two.
#[derive(Debug)]
pub(super) struct Recording {
    /// The record as it is known to be stored: acknowledged, or read back.
    stored: Record,
    state: RecordState,
    reserved: MediaSequence,
    outline: Option<Arc<Outline>>,
    step: Step,
    last_id: RequestId,
    outgoing: Option<(RequestId, RegistryRequest)>,
}

#[derive(Debug)]
enum Step {
    /// Nothing is on its way.
    Rest,
    Writing {
        id: RequestId,
        record: Record,
        since: Instant,
    },
    /// A write has an unknown outcome, or met another revision than expected: what is there now?
    Reading {
        id: RequestId,
        since: Instant,
    },
    /// The registry takes no writes, or was not heard. At `until` the record is read before anything is written: another
    /// home may have taken the stream before the registry was full.
    Pausing {
        until: Instant,
    },
    Stopped,
}

impl Recording {
    pub(super) fn new(stored: Record) -> Self {
        Self {
            state: stored.state,
            reserved: stored.reserved,
            outline: stored.outline.clone(),
            stored,
            step: Step::Rest,
            last_id: RequestId::default(),
            outgoing: None,
        }
    }

    pub(super) fn stored(&self) -> &Record {
        &self.stored
    }

    /// The newest state, stored or not.
    pub(super) fn state(&self) -> RecordState {
        self.state
    }

    pub(super) fn is_recorded(&self, msn: MediaSequence) -> bool {
        let newest = self.stored.outline.as_ref().and_then(|outline| outline.cuts.last());
        newest.is_some_and(|cut| cut.msn >= msn)
    }

    pub(super) fn set_state(&mut self, state: RecordState) {
        self.state = state;
    }

    pub(super) fn set_outline(&mut self, outline: Arc<Outline>) {
        if let Some(cut) = outline.cuts.last() {
            self.reserved = self.reserved.max(MediaSequence(cut.msn.0 + 2));
        }
        self.outline = Some(outline);
    }

    /// How the session ends.
    pub(super) fn finish(&mut self, outline: Option<Arc<Outline>>) {
        self.outline = outline;
        self.state = RecordState::Ended;
    }

    pub(super) fn stop(&mut self) {
        self.step = Step::Stopped;
        self.outgoing = None;
    }

    pub(super) fn poll_request(&mut self) -> Option<(RequestId, RegistryRequest)> {
        self.outgoing.take()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Step::Writing { since, .. } | Step::Reading { since, .. } => Some(since + REQUEST_TIMEOUT),
            Step::Pausing { until, .. } => Some(until),
            Step::Rest | Step::Stopped => None,
        }
    }

    /// `Err` when the stream is this home's no longer.
    pub(super) fn handle_reply(&mut self, now: Instant, id: RequestId, reply: RegistryReply) -> Result<(), Stop> {
        match &self.step {
            Step::Writing { id: expected, record, .. } if *expected == id => match reply {
                RegistryReply::Written { revision } => {
                    let record = Record { revision, ..record.clone() };
                    return self.adopt(record);
                }
                RegistryReply::Refused => self.step = Step::Pausing { until: now + RETRY },
                RegistryReply::Conflict | RegistryReply::Unknown | RegistryReply::Record { .. } => self.read(now),
            },
            Step::Reading { id: expected, .. } if *expected == id => match reply {
                RegistryReply::Record { record: Some(record), .. } => return self.adopt(record),
                RegistryReply::Record { record: None, .. } => {
                    return Err(Stop::Overtaken { current: headwater_media::Epoch(0) });
                }
                _ => self.step = Step::Pausing { until: now + RETRY },
            },
            _ => {}
        }
        Ok(())
    }

    /// Takes what is stored for what it is. That the revision is not the expected one is no loss: a write of this home
    /// that had been given up was made after all.
    fn adopt(&mut self, record: Record) -> Result<(), Stop> {
        self.step = Step::Rest;
        if record.epoch != self.stored.epoch || record.home != self.stored.home {
            return Err(Stop::Overtaken { current: record.epoch });
        }
        let ended = record.state == RecordState::Ended;
        self.stored = record;
        if ended { Err(Stop::Ended) } else { Ok(()) }
    }

    /// Gives up what takes too long, and starts the next request if there is something to do.
    pub(super) fn advance(&mut self, now: Instant) {
        self.only_finish(now);
        if matches!(self.step, Step::Rest) && self.has_news() {
            let record = Record {
                state: self.state,
                reserved: self.reserved.max(self.stored.reserved),
                outline: self.outline.clone(),
                ..self.stored.clone()
            };
            let id = self.next_id();
            self.outgoing =
                Some((id, RegistryRequest::Write { expected: self.stored.revision, record: record.clone() }));
            self.step = Step::Writing { id, record, since: now };
        }
    }

    /// Sees requests through to their end, and starts no new write.
    pub(super) fn only_finish(&mut self, now: Instant) {
        match self.step {
            Step::Writing { since, .. } if now >= since + REQUEST_TIMEOUT => self.read(now),
            Step::Reading { since, .. } if now >= since + REQUEST_TIMEOUT => self.read(now),
            Step::Pausing { until } if now >= until => self.read(now),
            _ => {}
        }
    }

    fn has_news(&self) -> bool {
        let Record { state, reserved, outline, .. } = &self.stored;
        *state != self.state || *reserved < self.reserved || *outline != self.outline
    }

    fn read(&mut self, now: Instant) {
        let id = self.next_id();
        self.outgoing = Some((id, RegistryRequest::Read));
        self.step = Step::Reading { id, since: now };
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id.0 += 1;
        self.last_id
    }
}
