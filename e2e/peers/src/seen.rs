//! What all players of a server have seen together. Names mean the same bytes to each of them, and no playlist goes back
//! behind what another player has been shown (architecture's invariants 2 and 3).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use headwater_hls::{MediaPlaylist, check};

use crate::clock::Stopwatch;
use crate::http::Response;

/// How long the server may hold a request, and what a busy machine may add: more than any profile's hold.
const HOLD_MAX: Duration = Duration::from_secs(9 + 3);

/// Shared by players.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Hashes of what is named for ever, by its path.
    bytes: HashMap<String, u64>,
    /// The newest version of each media playlist.
    playlists: HashMap<String, Arc<MediaPlaylist>>,
    requests: u64,
    slowest: Duration,
    late: Vec<String>,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Counts a request.
    pub fn asked<T>(&self, request: impl FnOnce() -> T) -> T {
        self.lock().requests += 1;
        request()
    }

    /// Counts a request that may be held, and measures how long it takes.
    pub fn held(&self, path: &str, request: impl FnOnce() -> std::io::Result<Response>) -> std::io::Result<Response> {
        let watch = Stopwatch::start();
        let answer = self.asked(request);
        let took = watch.elapsed();
        let mut inner = self.lock();
        inner.slowest = inner.slowest.max(took);
        if took > HOLD_MAX && answer.is_ok() {
            inner.late.push(format!("{path}: held for {} ms", took.as_millis()));
        }
        answer
    }

    /// Notes the bytes of a name. Gives what is wrong with them.
    pub fn bytes(&self, path: &str, data: &[u8]) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        let hash = hasher.finish();
        let known = *self.lock().bytes.entry(path.to_owned()).or_insert(hash);
        (known != hash).then(|| format!("{path} has other bytes than before"))
    }

    /// The newest version of a playlist that anybody was shown until now.
    pub fn playlist(&self, path: &str) -> Option<Arc<MediaPlaylist>> {
        self.lock().playlists.get(path).cloned()
    }

    /// Notes a version of a playlist. `before` is what [`playlist`](Self::playlist) gave before it was asked for. Gives
    /// what is wrong with it as a successor.
    pub fn compare(&self, path: &str, before: Option<&MediaPlaylist>, playlist: &MediaPlaylist) -> Vec<String> {
        let mut violations = before.map_or(Vec::new(), |before| check::successor(before, playlist));
        // A home that is lost may have told one edge a part more than another: what is not whole at either, and where the
        // next segment's sound begins, may differ.
        let is_gap = |msn: u64| {
            let both = before.into_iter().chain([playlist]);
            both.filter_map(|known| known.segment(msn)).any(|segment| segment.gap)
        };
        violations.retain(|found| found.msn.is_none_or(|msn| !is_gap(msn) && !is_gap(msn.saturating_sub(1))));
        let mut inner = self.lock();
        let newer = inner.playlists.get(path).is_none_or(|known| progress(known) < progress(playlist));
        if newer {
            inner.playlists.insert(path.to_owned(), Arc::new(playlist.clone()));
        }
        violations.iter().map(|violation| format!("after what another player saw: {violation}")).collect()
    }

    /// Requests that were made.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// Names whose bytes are known.
    pub fn names(&self) -> usize {
        self.lock().bytes.len()
    }

    /// How long the slowest held request took, and those that took too long.
    pub fn slow(&self) -> (Duration, Vec<String>) {
        let inner = self.lock();
        (inner.slowest, inner.late.clone())
    }
}

/// Rises from version to version.
fn progress(playlist: &MediaPlaylist) -> (u64, usize, bool) {
    (playlist.media_sequence + playlist.segments.len() as u64, playlist.open.parts.len(), playlist.ended)
}
