//! Fetches the window's parts from the sealed home before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Part, RenditionName};
use headwater_router::claim::Sealed;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::Deps;
use crate::home::Home;

/// What is not here by then is a gap (architecture 8).
const FETCH_TIME: Duration = Duration::from_millis(2500);
/// Bytes that are taken of a window at most; what comes on top counts as not fetched.
const FETCHED_BYTES_MAX: usize = 512 << 20;
/// Parts on their way from the connection.
const CHANNEL: usize = 16;

/// Fetches what `answer`'s home has for the home that goes on after it.
pub(super) async fn fetch(deps: Arc<Deps>, home: Arc<Home>, answer: Arc<Sealed>) {
    let (stream, session) = (home.stream(), home.session());
    let mut fetched: HashMap<RenditionName, Vec<Arc<Part>>> = HashMap::new();
    let mut bytes = 0;
    let (into, mut parts) = mpsc::channel::<(RenditionName, Arc<Part>)>(CHANNEL);
    // Ends when the sender does; or when too much comes, and then the sender finds nobody there.
    let collect = async {
        let (fetched, bytes) = (&mut fetched, &mut bytes);
        while let Some((rendition, part)) = parts.recv().await {
            *bytes += part.bytes();
            if *bytes > FETCHED_BYTES_MAX {
                return parts.close();
            }
            fetched.entry(rendition).or_default().push(part);
        }
    };
    let both = async { tokio::join!(deps.peers.fetch(&answer.home, stream, session, into), collect) };
    let in_time = timeout(FETCH_TIME, both).await.is_ok();
    let count = fetched.values().map(Vec::len).sum::<usize>();
    if in_time {
        info!(%stream, %session, home = %answer.home.0, parts = count, bytes, "fetched what the home before had");
    } else {
        warn!(%stream, %session, home = %answer.home.0, parts = count, bytes, "the home before did not send all that it had in time");
    }
    home.fetched(&answer, &fetched);
}
