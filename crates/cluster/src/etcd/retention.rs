//! Records of sessions that ended long ago go, so that etcd does not keep every name that was ever published.
//!
//! The next session of such a stream begins with epoch 1 again. Nobody is left who could take it for an older one: homes
//! and edges forget a session a minute after its end.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use headwater_media::{Clock, WallTime};
use headwater_router::{Record, RecordState};
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::connection::Connection;
use super::failure::Failure;
use super::keys::Keys;
use super::{WRITE, record};

/// How long a record is kept after its session's end, by the clocks of two nodes: far more than these may differ.
const KEEP_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Time between two looks. Each node looks; several do no harm.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// Looks again and again.
pub(super) async fn run(connection: Arc<Connection>, keys: Keys, clock: Arc<dyn Clock>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        match forget(&connection, &keys, clock.wall()).await {
            Ok(0) => {}
            Ok(records) => info!(records, "records of sessions that ended a day ago are deleted"),
            Err(failure) => info!(%failure, "old records could not be looked for"),
        }
    }
}

async fn forget(connection: &Connection, keys: &Keys, now: WallTime) -> Result<usize, Failure> {
    let mut old = Vec::new();
    connection
        .range(keys.streams(), |found| {
            if record(found).is_ok_and(|(_, record)| is_old(&record, now)) {
                old.push((found.key().to_vec(), found.mod_revision()));
            }
        })
        .await?;
    for (key, revision) in &old {
        let unchanged = Compare::mod_revision(key.clone(), CompareOp::Equal, *revision);
        let transaction = Txn::new().when([unchanged]).and_then([TxnOp::delete(key.clone(), None)]);
        connection.call(WRITE, async |mut client| client.txn(transaction).await).await?;
    }
    Ok(old.len())
}

fn is_old(record: &Record, now: WallTime) -> bool {
    record.state == RecordState::Ended && now.unix_millis.saturating_sub(record.written.unix_millis) >= KEEP_MILLIS
}
