//! Claims between nodes of this process, with the registry in real etcds (architecture 8).
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod chaos;
mod claims;
mod faults;
mod node;
mod promises;
mod queue;
mod race;
mod watch;

use std::time::Duration;

use headwater_media::StreamName;

/// Longer than anything that a test waits for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// What `future` gives in time.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}
