//! The end of a session that has no home.

use std::time::Duration;

use headwater_media::Instant;

use super::{RegistryRequest, takeover};
use crate::{Record, RecordState};

/// Watches the record of a stream and ends its session when it has had no home for the whole reconnect window. Any node
/// may have one; several do no harm.
///
/// The time is counted on this node's clock, from when it saw the record for the first time as it is: a record that is
/// written again starts it anew.
#[derive(Clone, Debug)]
pub struct Ending {
    window: Duration,
    /// The revision without a home, and since when it is known.
    homeless: Option<(u64, Instant)>,
}

impl Ending {
    /// Nothing is known yet. `window` is the reconnect window.
    pub fn new(window: Duration) -> Self {
        Self { window, homeless: None }
    }

    /// When the session is to end, if its record stays as it is. `None` while it has a home.
    pub fn due(&self) -> Option<Instant> {
        self.homeless.map(|(_, since)| since + self.window)
    }

    /// What was read of the stream's record, and whether the node that it names is there. Answers with the write that ends
    /// the session when that is due; what becomes of the write shows when the record is read next.
    pub fn handle_record(
        &mut self,
        now: Instant,
        record: Option<&Record>,
        home_lives: bool,
    ) -> Option<RegistryRequest> {
        let homeless = record.filter(|record| match record.state {
            RecordState::Idle => true,
            RecordState::Live | RecordState::Stale => !home_lives,
            RecordState::Ended => false,
        });
        let Some(record) = homeless else {
            self.homeless = None;
            return None;
        };
        let since = match self.homeless {
            Some((revision, since)) if revision == record.revision => since,
            _ => now,
        };
        self.homeless = Some((record.revision, since));
        if now < since + self.window {
            return None;
        }
        Some(RegistryRequest::Write { expected: record.revision, record: takeover::ended(record) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::takeover::tests::{cut, record};
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_session_without_a_home_ends_after_the_window_counted_from_the_last_change() {
        let mut ending = Ending::new(Duration::from_secs(60));
        let mut homeless = record(9, vec![cut(7)]);
        assert_eq!(ending.handle_record(at(0), Some(&homeless), true), None);
        assert_eq!(ending.handle_record(at(1000), Some(&homeless), false), None);
        assert_eq!(ending.due(), Some(at(61_000)));
        homeless.revision += 1;
        assert_eq!(ending.handle_record(at(2000), Some(&homeless), false), None);
        assert_eq!(ending.handle_record(at(61_999), Some(&homeless), false), None);
        let Some(RegistryRequest::Write { expected, record }) =
            ending.handle_record(at(62_000), Some(&homeless), false)
        else {
            panic!("it ends now")
        };
        assert_eq!((expected, record.state, record.epoch), (41, RecordState::Ended, homeless.epoch));
        assert_eq!(ending.handle_record(at(63_000), Some(&record), false), None);
        assert_eq!(ending.due(), None);
    }
}
