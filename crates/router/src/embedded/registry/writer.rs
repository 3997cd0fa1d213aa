//! The thread that writes the file: one sync at a time, with the newest state of all streams that changed meanwhile.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use headwater_media::StreamName;
use tracing::{error, info, warn};

use super::{Shared, StateFile};
use crate::Record;

/// How often a file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be written at once.
struct Batch {
    records: HashMap<StreamName, Record>,
    version: u64,
}

/// Writes until the registry is gone and all is written.
///
/// A file that cannot be written is taken away: then a restart begins new sessions, streams that are live go on, and it is
/// tried again. When it cannot be taken away either nothing is acknowledged, because a restart would believe it and give
/// numbers again that were used meanwhile.
pub(super) fn run(shared: &Shared, mut file: StateFile) {
    let mut broken = false;
    loop {
        let whole = broken || file.is_long();
        let Some(batch) = next(shared, whole, broken) else { return };
        let done = if whole { file.rewrite(&batch.records) } else { file.append(&batch.records) };
        match done {
            Ok(()) => {
                if broken {
                    info!("state of streams is written again");
                }
                broken = false;
                shared.synced.send_replace(batch.version);
            }
            Err(error) => {
                let removed = file.remove();
                if !broken {
                    error!(%error, "state of streams cannot be written: a restart would begin new sessions");
                    if let Err(error) = &removed {
                        warn!(%error, "nor can the file be removed: streams wait until it can");
                    }
                }
                broken = true;
                if removed.is_ok() {
                    shared.synced.send_replace(batch.version);
                }
            }
        }
    }
}

/// Waits for something to write: what has changed, or the `whole` of it. `None` when the registry is gone.
fn next(shared: &Shared, whole: bool, retry: bool) -> Option<Batch> {
    let mut records = shared.records();
    while records.dirty.is_empty() && !records.closed {
        if !retry {
            records = shared.changed.wait(records).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let (woken, timeout) = shared.changed.wait_timeout(records, RETRY).unwrap_or_else(PoisonError::into_inner);
        records = woken;
        if timeout.timed_out() {
            break;
        }
    }
    if records.closed && records.dirty.is_empty() {
        return None;
    }
    let dirty = std::mem::take(&mut records.dirty);
    let is_wanted = |stream: &StreamName| whole || dirty.contains(stream);
    let wanted = records.map.iter().filter(|(stream, _)| is_wanted(stream));
    let version = records.version;
    Some(Batch { records: wanted.map(|(stream, record)| (stream.clone(), record.clone())).collect(), version })
}
