//! Sessions without a home: those of an earlier process stand still here, and all end after the reconnect window.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::StreamName;
use headwater_router::claim::{self, RegistryReply, RegistryRequest, Stop, takeover};
use headwater_router::log::GoingOn;
use headwater_router::{Found, NodeId, Outline, Record, RecordState, StreamLog};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{END_WAIT, ENDED_KEPT, Homes};
use crate::Settings;

/// Time between two looks at all sessions.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Time until a session that could not be ended is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

impl Homes {
    /// Goes on with the sessions that an earlier process of this node has left: their playlists stand still until their
    /// publishers are back, or the reconnect window is over. One that has not been written for that long is over. From now on
    /// sessions that have no home end after that window, wherever their home was.
    pub(crate) async fn resume(self: &Arc<Self>, settings: &Arc<Settings>) {
        match self.deps.registry.unfinished().await {
            Ok(found) => {
                for found in found.iter().filter(|found| self.was_here(found)) {
                    self.stand_still(found, settings).await;
                }
            }
            Err(error) => warn!(%error, "sessions of an earlier process are not known"),
        }
        let homes = self.clone();
        let window = settings.reconnect_window;
        self.spawn(async move { homes.end_homeless(window).await });
    }

    /// Its home was a process on this address that is gone.
    fn was_here(&self, found: &Found) -> bool {
        !found.home_lives && address(&found.record.home) == address(self.deps.registry.node())
    }

    async fn stand_still(&self, found: &Found, settings: &Settings) {
        let Found { stream, record, .. } = found;
        let written = record.written.unix_millis;
        let age = u64::try_from(self.deps.clock.wall().unix_millis.saturating_sub(written)).unwrap_or(0);
        let recent = Duration::from_millis(age) < settings.reconnect_window;
        let by =
            takeover::Claiming { node: self.deps.registry.node(), fresh: record.session, wall: self.deps.clock.wall() };
        // What a claim would go on with now; but nobody has claimed it.
        let outlines = record.outline.as_ref().zip(takeover::unsealed(record, by).and_then(|next| next.outline));
        let Some((outline, next)) = outlines.filter(|_| recent) else {
            let end = RegistryRequest::Write { expected: record.revision, record: takeover::ended(record) };
            let ended = timeout(END_WAIT, self.deps.registry.request(stream, end)).await;
            let written = matches!(ended, Ok(RegistryReply::Written { .. }));
            info!(%stream, session = %record.session, written, "session of an earlier server is over");
            return;
        };
        info!(%stream, session = %record.session, next = record.reserved.0, "session waits for its publisher");
        let log = self.open(stream, record, outline);
        let stands = GoingOn { epoch: record.epoch, cuts: next.cuts.clone(), writable: Vec::new() };
        // It has had no other epoch.
        let _ = log.go_on(&stands);
        self.deps.log.close(&log);
        self.standing().insert(stream.clone(), log);
    }

    /// Ends sessions that have had no home for `window`, as long as the service runs.
    async fn end_homeless(&self, window: Duration) {
        let mut endings: HashMap<StreamName, claim::Ending> = HashMap::new();
        loop {
            match self.deps.registry.unfinished().await {
                Ok(found) => {
                    endings.retain(|stream, _| found.iter().any(|found| found.stream == *stream));
                    for found in &found {
                        let ending = endings.entry(found.stream.clone()).or_insert_with(|| claim::Ending::new(window));
                        let now = self.deps.clock.now();
                        let has_home = found.home_lives && !self.has_lost(found);
                        if let Some(end) = ending.handle_record(now, Some(&found.record), has_home) {
                            self.end(&found.stream, end).await;
                        }
                    }
                    endings.retain(|_, ending| ending.due().is_some());
                    self.forget(&found).await;
                }
                Err(error) => warn!(%error, "sessions without a home are not known"),
            }
            let now = self.deps.clock.now();
            let due = endings.values().filter_map(claim::Ending::due).min();
            let left = due.map_or(LOOK_EVERY, |due| due.saturating_since(now));
            sleep(if left.is_zero() { AGAIN } else { left.min(LOOK_EVERY) }).await;
        }
    }

    /// Its record names this process, which stopped holding it: it did not hear of its lease for too long, although the lease
    /// never ended.
    fn has_lost(&self, found: &Found) -> bool {
        let Found { stream, record, .. } = found;
        let holds = || self.home(stream).is_some_and(|home| home.epoch() == Some(record.epoch));
        record.home == *self.deps.registry.node() && !self.claims.may_have_won(stream, record.epoch) && !holds()
    }

    async fn end(&self, stream: &StreamName, end: RegistryRequest) {
        let RegistryRequest::Write { record, .. } = end.clone() else { return };
        if let RegistryReply::Written { .. } = self.deps.registry.request(stream, end).await {
            info!(%stream, session = %record.session, "session ended");
            self.finish_standing(stream, Some(&record));
        }
    }

    /// Looks after what is here of sessions whose record is another one now.
    async fn forget(&self, found: &[Found]) {
        let record =
            |stream: &StreamName| found.iter().find(|found| found.stream == *stream).map(|found| &found.record);
        let given_up: Vec<_> = self.homes().values().filter(|home| home.is_given_up()).cloned().collect();
        for home in given_up {
            match record(home.stream()) {
                Some(record) if Some(record.epoch) == home.epoch() => {}
                Some(record) => home.forget(Stop::Overtaken { current: record.epoch }),
                None => home.forget(Stop::Ended),
            }
        }
        let standing: Vec<_> = self.standing().iter().map(|(stream, log)| (stream.clone(), log.session().id)).collect();
        for (stream, session) in standing {
            if record(&stream).is_some_and(|record| record.session == session) {
                continue;
            }
            if let RegistryReply::Record { record, .. } =
                self.deps.registry.request(&stream, RegistryRequest::Read).await
            {
                self.finish_standing(&stream, record.as_ref());
            }
        }
    }

    /// The session that stands still here is over; `record` is what the registry has of the stream.
    fn finish_standing(&self, stream: &StreamName, record: Option<&Record>) {
        let of_session = |log: &StreamLog| record.filter(|record| record.session == log.session().id);
        let log = {
            let mut standing = self.standing();
            let is_over =
                |log: &Arc<StreamLog>| of_session(log).is_none_or(|record| record.state == RecordState::Ended);
            if !standing.get(stream).is_some_and(is_over) {
                return;
            }
            standing.remove(stream)
        };
        // One that follows other nodes hears of the end there.
        let Some(log) = log.filter(|log| !log.is_replica()) else { return };
        if let Some(record) = of_session(&log) {
            let cuts = record.outline.as_deref().map_or(Vec::new(), |Outline { cuts, .. }| cuts.clone());
            // An older epoch knows nothing that this log does not.
            let _ = log.go_on(&GoingOn { epoch: record.epoch, cuts, writable: Vec::new() });
        }
        log.end();
        log.abandon();
        let logs = self.deps.log.clone();
        self.spawn(async move {
            sleep(ENDED_KEPT).await;
            logs.close(&log);
        });
    }
}

/// Where a node is, without which process of it.
fn address(node: &NodeId) -> &str {
    node.0.split('~').next().unwrap_or_default()
}
