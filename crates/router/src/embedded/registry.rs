//! Records in a map. A write is acknowledged when it is made.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_media::{Epoch, MediaSequence, SessionId, StreamName};

use crate::{BoxFuture, Claim, ClaimError, Lost, NodeId, Record, RecordState, Registry};

/// A registry for one process.
#[derive(Debug, Default)]
pub struct EmbeddedRegistry {
    records: Mutex<HashMap<StreamName, Record>>,
}

/// Numbers that a new home may use before its first own reservation is acknowledged.
const FIRST_RESERVATION: u64 = 2;

impl EmbeddedRegistry {
    fn records(&self) -> MutexGuard<'_, HashMap<StreamName, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of `stream`.
    pub fn record(&self, stream: &StreamName) -> Option<Record> {
        self.records().get(stream).cloned()
    }

    fn write<T>(&self, stream: &StreamName, epoch: Epoch, change: impl FnOnce(&mut Record) -> T) -> Result<T, Lost> {
        let mut records = self.records();
        match records.get_mut(stream) {
            Some(record) if record.epoch == epoch => {
                record.revision += 1;
                Ok(change(record))
            }
            other => Err(Lost { current: other.map(|record| record.epoch).unwrap_or_default() }),
        }
    }
}

impl Registry for EmbeddedRegistry {
    fn claim<'a>(
        &'a self,
        stream: &'a StreamName,
        node: &'a NodeId,
        fresh: SessionId,
        takeover: Option<Epoch>,
    ) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        Box::pin(async move {
            let mut records = self.records();
            let before = records.get(stream);
            if let Some(record) = before
                && matches!(record.state, RecordState::Live | RecordState::Stale)
                && takeover != Some(record.epoch)
            {
                return Err(ClaimError::Held { home: record.home.clone(), epoch: record.epoch });
            }
            let resumed = before.filter(|record| record.state != RecordState::Ended);
            let reserved = resumed.map_or(0, |record| record.reserved.0).max(FIRST_RESERVATION);
            let record = Record {
                epoch: Epoch(before.map_or(0, |record| record.epoch.0) + 1),
                session: resumed.map_or(fresh, |record| record.session),
                home: node.clone(),
                state: RecordState::Live,
                reserved: MediaSequence(reserved),
                revision: before.map_or(0, |record| record.revision) + 1,
            };
            let resumed = resumed.is_some();
            records.insert(stream.clone(), record.clone());
            Ok(Claim { stream: stream.clone(), record, resumed })
        })
    }

    fn reserve<'a>(
        &'a self,
        stream: &'a StreamName,
        epoch: Epoch,
        below: MediaSequence,
    ) -> BoxFuture<'a, Result<MediaSequence, Lost>> {
        Box::pin(async move {
            self.write(stream, epoch, |record| {
                record.reserved = record.reserved.max(below);
                record.reserved
            })
        })
    }

    fn set_state<'a>(
        &'a self,
        stream: &'a StreamName,
        epoch: Epoch,
        state: RecordState,
    ) -> BoxFuture<'a, Result<(), Lost>> {
        Box::pin(async move { self.write(stream, epoch, |record| record.state = state) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let registry = EmbeddedRegistry::default();
        let claim = registry.claim(&stream(), &node(), session(1), None).await.unwrap();
        assert_eq!((claim.record.epoch, claim.resumed), (Epoch(1), false));
        let second = registry.claim(&stream(), &node(), session(2), None).await.unwrap_err();
        assert_eq!(second, ClaimError::Held { home: node(), epoch: Epoch(1) });
    }

    #[tokio::test]
    async fn a_takeover_names_the_epoch_that_it_found() {
        let registry = EmbeddedRegistry::default();
        registry.claim(&stream(), &node(), session(1), None).await.unwrap();
        let next = registry.claim(&stream(), &node(), session(2), Some(Epoch(1))).await.unwrap();
        assert_eq!((next.record.epoch, next.resumed, next.record.session), (Epoch(2), true, session(1)));
        assert!(registry.claim(&stream(), &node(), session(3), Some(Epoch(1))).await.is_err());
    }

    #[tokio::test]
    async fn an_ended_stream_begins_a_new_session_at_a_higher_epoch() {
        let registry = EmbeddedRegistry::default();
        registry.claim(&stream(), &node(), session(1), None).await.unwrap();
        registry.set_state(&stream(), Epoch(1), RecordState::Ended).await.unwrap();
        let next = registry.claim(&stream(), &node(), session(2), None).await.unwrap();
        assert_eq!((next.record.epoch, next.resumed, next.record.session), (Epoch(2), false, session(2)));
    }

    #[tokio::test]
    async fn reserved_numbers_never_fall_and_an_old_epoch_reserves_nothing() {
        let registry = EmbeddedRegistry::default();
        registry.claim(&stream(), &node(), session(1), None).await.unwrap();
        assert_eq!(registry.reserve(&stream(), Epoch(1), MediaSequence(9)).await, Ok(MediaSequence(9)));
        assert_eq!(registry.reserve(&stream(), Epoch(1), MediaSequence(5)).await, Ok(MediaSequence(9)));
        registry.claim(&stream(), &node(), session(2), Some(Epoch(1))).await.unwrap();
        let lost = registry.reserve(&stream(), Epoch(1), MediaSequence(12)).await;
        assert_eq!(lost, Err(Lost { current: Epoch(2) }));
    }
}
