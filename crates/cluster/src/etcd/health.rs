//! What etcd says of itself.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

use super::READ;
use super::connection::Connection;
use super::metrics::Metrics;

/// Time between two looks. A database fills in hours.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks again and again.
pub(super) async fn run(connection: Arc<Connection>, metrics: Arc<Metrics>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_full = false;
    loop {
        look.tick().await;
        let Ok((bytes, is_full)) = connection.call(READ, state).await else { continue };
        metrics.set_database_bytes(bytes);
        metrics.set_full(is_full);
        if is_full != was_full {
            was_full = is_full;
            match is_full {
                true => error!(
                    bytes,
                    "etcd is full (alarm NOSPACE): no publisher can be accepted; compact, defragment, disarm"
                ),
                false => info!(bytes, "etcd takes writes again"),
            }
        }
    }
}

/// Size of the database, and whether it is over its quota. Asking for alarms themselves would be an entry in etcd's log.
async fn state(mut client: Client) -> Result<(i64, bool), etcd_client::Error> {
    let status = client.status().await?;
    Ok((status.db_size(), status.errors().iter().any(|error| error.contains("NOSPACE"))))
}
