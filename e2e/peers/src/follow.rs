//! A player that wants everything: follows every rendition by blocking reload, and fetches each part three ways, as a
//! hint before it exists, by its name, and within its segment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use headwater_hls::{MediaPlaylist, Seconds, check};

use crate::clock::Stopwatch;
use crate::http::{Hangup, Http, Response};
use crate::rendition::{Listed, Rendition};
use crate::seen::Seen;
use crate::server::{Server, multivariant_path};

/// Renditions by name.
pub type Renditions = BTreeMap<String, Rendition>;

/// Caches may keep media for a day at least (H-56).
const IMMUTABLE: &str = "immutable";

/// A player at work.
#[derive(Debug)]
pub struct Follower {
    /// The multivariant playlist.
    pub multivariant: String,
    /// Where media playlists are: the path above the renditions, which names the session.
    pub session_path: String,
    hangup: Hangup,
    shared: Shared,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<(Mutex<Renditions>, Condvar)>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Renditions> {
        self.0.0.lock().unwrap()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Rendition)) {
        change(self.lock().entry(name.to_owned()).or_default());
        self.0.1.notify_all();
    }
}

impl Follower {
    /// Follows all renditions of `stream` as soon as it is live.
    #[track_caller]
    pub fn start(server: &Server, stream: &str) -> Self {
        Self::follow(server, stream, server.multivariant(stream), &Seen::default())
    }

    /// Follows `stream` if it is live now, and compares with what others have seen.
    pub fn join(server: &Server, stream: &str, seen: &Seen) -> Option<Self> {
        let answer = server.player().request("GET", &multivariant_path(stream)).ok()?;
        (answer.status == 200).then(|| Self::follow(server, stream, answer.text(), seen))
    }

    fn follow(server: &Server, stream: &str, multivariant: String, seen: &Seen) -> Self {
        let base = multivariant_path(stream);
        let base = base.strip_suffix("index.m3u8").unwrap();
        let (hangup, shared) = (Hangup::default(), Shared::default());
        let uris = playlist_uris(&multivariant);
        let session = uris[0].split('/').next().unwrap();
        let session_path = format!("{base}{session}");
        for uri in &uris {
            shared.lock().entry(rendition_of(uri).to_owned()).or_default();
        }
        let threads = follow(server, uris.iter().map(|uri| format!("{base}{uri}")), &hangup, &shared, seen);
        Self { multivariant, session_path, hangup, shared, threads }
    }

    /// Goes on with what an earlier follower has [finished](Self::finish) with, at another server or the same: by the rules
    /// it is the same playlists.
    pub fn go_on(server: &Server, session_path: &str, renditions: Renditions) -> Self {
        let paths: Vec<String> = renditions.keys().map(|name| format!("{session_path}/{name}/index.m3u8")).collect();
        let (hangup, shared) = (Hangup::default(), Shared::default());
        *shared.lock() = renditions;
        let threads = follow(server, paths.into_iter(), &hangup, &shared, &Seen::default());
        Self { multivariant: String::new(), session_path: session_path.to_owned(), hangup, shared, threads }
    }

    /// Waits until the renditions are as wanted.
    #[track_caller]
    pub fn wait_until(&self, what: &str, limit: Duration, wanted: impl Fn(&Renditions) -> bool) {
        let watch = Stopwatch::start();
        let mut renditions = self.shared.lock();
        while !wanted(&renditions) {
            let left = watch.left(limit);
            if left.is_zero() {
                let state: String =
                    renditions.iter().map(|(name, one)| format!("\n{name}:\n{}", one.playlist)).collect();
                panic!("{what}: not within {} s{state}", limit.as_secs());
            }
            renditions = self.shared.0.1.wait_timeout(renditions, left).unwrap().0;
        }
    }

    /// Waits until `more` parts of every rendition came that were not there at the call.
    #[track_caller]
    pub fn expect_more(&self, more: usize) {
        let before: BTreeMap<String, usize> =
            self.shared.lock().iter().map(|(name, one)| (name.clone(), one.parts.len())).collect();
        let come = |name: &String, one: &Rendition| one.parts.len() >= before.get(name).unwrap_or(&0) + more;
        let limit = Duration::from_secs(15);
        self.wait_until("more parts", limit, |all| all.iter().all(|(name, one)| come(name, one)));
    }

    /// The same for one rendition alone.
    #[track_caller]
    pub fn expect_more_of(&self, name: &str, more: usize) {
        let before = self.shared.lock()[name].parts.len();
        self.wait_until("more parts", Duration::from_secs(15), |all| all[name].parts.len() >= before + more);
    }

    /// Waits for EXT-X-ENDLIST in every rendition, and until all that was listed is fetched.
    #[track_caller]
    pub fn expect_end(&self, limit: Duration) {
        self.wait_until("EXT-X-ENDLIST", limit, |all| all.values().all(|one| one.finished));
    }

    /// Looks at the renditions as they are now.
    pub fn look<T>(&self, look: impl FnOnce(&Renditions) -> T) -> T {
        look(&self.shared.lock())
    }

    /// Stops, and fails when a rule was broken in any rendition or between two of them.
    #[track_caller]
    pub fn finish(mut self) -> Renditions {
        self.hang_up();
        let renditions = std::mem::take(&mut *self.shared.lock());
        for (name, rendition) in &renditions {
            rendition.expect_no_problems(name);
        }
        let misaligned = misaligned(&renditions);
        assert!(misaligned.is_empty(), "{misaligned:#?}");
        renditions
    }

    /// Stops, and gives every rule that was broken in any rendition or between two of them.
    pub fn stop(mut self) -> Vec<String> {
        self.hang_up();
        let renditions = std::mem::take(&mut *self.shared.lock());
        let path = &self.session_path;
        let broken = renditions
            .iter()
            .flat_map(|(name, one)| one.problems.iter().map(move |problem| format!("{path}/{name}: {problem}")));
        let between = misaligned(&renditions).into_iter().map(|found| format!("{path}: {found}"));
        broken.chain(between).collect()
    }

    /// Whether everything of the session is here.
    pub fn is_finished(&self) -> bool {
        self.shared.lock().values().all(|one| one.finished)
    }

    fn hang_up(&mut self) {
        self.hangup.now();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a reader failed");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// A thread for each playlist.
fn follow(
    server: &Server,
    paths: impl Iterator<Item = String>,
    hangup: &Hangup,
    shared: &Shared,
    seen: &Seen,
) -> Vec<JoinHandle<()>> {
    let thread = |path: String| {
        let name = rendition_of(&path).to_owned();
        let reader = Reader::new(server.http, path, name, hangup.clone(), shared.clone(), seen.clone());
        std::thread::spawn(move || reader.run())
    };
    paths.map(thread).collect()
}

/// What does not agree between renditions.
fn misaligned(renditions: &Renditions) -> Vec<String> {
    let mut misaligned = Vec::new();
    for (place, (name, one)) in renditions.iter().enumerate() {
        for (other_name, other) in renditions.iter().skip(place + 1) {
            // Sound that comes as it was may have longer frames than AAC.
            let frame = match [name, other_name] {
                names if names.iter().any(|name| *name == "audio-source") => 11_000,
                names if names.iter().any(|name| name.starts_with("audio")) => 2_323,
                _ => 0,
            };
            let found = check::aligned(&one.playlist, &other.playlist, Seconds { centi_millis: frame });
            misaligned.extend(found.iter().map(|found| format!("{name} and {other_name}: {found}")));
            if frame == 0 {
                misaligned.extend(differing_segments(one, other));
            }
        }
    }
    misaligned
}

/// Video renditions have the same segments and parts, exactly (C-51, architecture's invariant 4).
fn differing_segments(one: &Rendition, other: &Rendition) -> Vec<String> {
    let lengths = one.lengths.iter().filter_map(|(msn, length)| Some((msn, length, other.lengths.get(msn)?)));
    let lengths = lengths.filter(|(_, here, there)| here != there);
    let mut found: Vec<String> =
        lengths.map(|(msn, here, there)| format!("segment {msn} is {here} s long, and {there} s")).collect();
    for (address, part) in &one.parts {
        if let Some(there) = other.parts.get(address).filter(|there| there.start != part.start) {
            found.push(format!("part {address:?} starts at {:?}, and at {:?}", part.start, there.start));
        }
    }
    found
}

/// URIs of all media playlists in a multivariant playlist, each once, without those of I-frames alone.
pub fn playlist_uris(multivariant: &str) -> Vec<String> {
    let mut uris: Vec<String> = Vec::new();
    for line in multivariant.lines().filter(|line| !line.starts_with("#EXT-X-I-FRAME-STREAM-INF")) {
        let uri = match line.strip_prefix('#') {
            Some(tag) => tag.split_once("URI=\"").and_then(|(_, rest)| rest.split('"').next()),
            None => Some(line),
        };
        if let Some(uri) = uri.filter(|uri| !uri.is_empty() && !uris.iter().any(|known| known == uri)) {
            uris.push(uri.to_owned());
        }
    }
    uris
}

/// Name of the rendition whose playlist is at `path`.
fn rendition_of(path: &str) -> &str {
    path.rsplit('/').nth(1).unwrap_or_default()
}

/// Whether the part that was to come next never came: it is a gap, or the publisher was lost or the stream ended before
/// it. Only then may a hint be wrong (architecture's invariant 6).
fn never_came(playlist: &MediaPlaylist, next: Option<(u64, usize)>) -> bool {
    let Some((msn, part)) = next else { return false };
    let index = usize::try_from(msn.saturating_sub(playlist.media_sequence)).unwrap();
    if playlist.segments.get(index).is_some_and(|segment| segment.gap) {
        return true;
    }
    let leads = playlist.segments.iter().map(|segment| &segment.lead).chain([&playlist.open]);
    let mut leads = leads.skip(index);
    match leads.next().and_then(|lead| lead.parts.get(part)) {
        Some(listed) => listed.gap,
        None => {
            leads.next().map_or(playlist.ended, |after| after.discontinuity || (playlist.ended && after.is_empty()))
        }
    }
}

/// Follows one rendition.
struct Reader {
    address: SocketAddr,
    folder: String,
    playlist_path: String,
    name: String,
    hangup: Hangup,
    shared: Shared,
    seen: Seen,
    http: Http,
    /// The connection of the last hint, for the next one.
    spare: Option<Http>,
}

/// A request that is held: its connection, and the answer.
type Held = JoinHandle<(Http, std::io::Result<Response>)>;

impl Reader {
    fn new(
        address: SocketAddr,
        playlist_path: String,
        name: String,
        hangup: Hangup,
        shared: Shared,
        seen: Seen,
    ) -> Self {
        let (folder, _) = playlist_path.rsplit_once('/').unwrap();
        let folder = format!("{folder}/");
        let http = Http::new(address, hangup.clone());
        Self { address, folder, playlist_path, name, hangup, shared, seen, http, spare: None }
    }

    fn problem(&self, text: String) {
        if !self.hangup.is_done() {
            self.shared.change(&self.name, |rendition| rendition.problems.push(text));
        }
    }

    fn run(mut self) {
        let mut hinted: BTreeMap<String, Bytes> = BTreeMap::new();
        let known = self.shared.lock()[&self.name].reloads > 0;
        let mut next: Option<(u64, usize)> = known.then(|| self.shared.lock()[&self.name].position());
        let mut hint: Option<String> = None;
        while !self.hangup.is_done() {
            let held = hint.take().map(|uri| self.hold(uri));
            let Some(playlist) = self.reload(next) else { return };
            let ended = playlist.ended;
            let progress = next.is_none_or(|next| {
                let open = playlist.media_sequence + playlist.segments.len() as u64;
                ended || next < (open, playlist.open.parts.len())
            });
            // While the publisher is away nobody knows whether the hint was right, and it may be held for longer.
            if let Some((uri, held)) = held.filter(|_| progress) {
                let (http, answer) = held.join().unwrap();
                self.spare = Some(http);
                match answer {
                    Ok(answer) if answer.status == 200 => {
                        hinted.insert(uri, answer.body);
                    }
                    Ok(_) if never_came(&playlist, next) => {}
                    Ok(answer) => self.problem(format!("hinted {uri}: {}", answer.status)),
                    Err(error) => self.problem(format!("hinted {uri}: {error}")),
                }
            }
            hint.clone_from(&playlist.preload_hint);
            self.take(playlist, &mut hinted);
            next = Some(self.shared.lock()[&self.name].position());
            if ended {
                self.fetch_all_again();
                self.shared.change(&self.name, |rendition| rendition.finished = true);
                return;
            }
            if !progress {
                // The publisher is away: the unchanged playlist after the hold.
                hint = None;
            }
        }
    }

    /// Asks for a part that is not there yet.
    fn hold(&mut self, uri: String) -> (String, Held) {
        let mut http = self.spare.take().unwrap_or_else(|| Http::new(self.address, self.hangup.clone()));
        let path = format!("{}{uri}", self.folder);
        let seen = self.seen.clone();
        let ask = move || {
            let answer = seen.held(&path, || http.request("GET", &path));
            (http, answer)
        };
        (uri, std::thread::spawn(ask))
    }

    fn reload(&mut self, next: Option<(u64, usize)>) -> Option<MediaPlaylist> {
        let path = match next {
            Some((msn, part)) => format!("{}?_HLS_msn={msn}&_HLS_part={part}", self.playlist_path),
            None => self.playlist_path.clone(),
        };
        let before = self.seen.playlist(&self.playlist_path);
        let answer = match self.seen.held(&path, || self.http.request("GET", &path)) {
            Ok(answer) => answer,
            Err(error) => {
                self.problem(format!("{path}: {error}"));
                return None;
            }
        };
        if answer.status != 200 || answer.header("content-type") != Some("application/vnd.apple.mpegurl") {
            self.problem(format!("{path}: {} {}", answer.status, answer.text()));
            return None;
        }
        // A player that asks for the same again hears what there is now (H-57).
        let kept = answer.header("cache-control").unwrap_or_default().to_owned();
        match answer.text().parse::<MediaPlaylist>() {
            Ok(playlist) => {
                if !playlist.ended && kept != "public, max-age=0, s-maxage=1" {
                    self.problem(format!("{path}: a live playlist with cache-control {kept}"));
                }
                for violation in self.seen.compare(&self.playlist_path, before.as_deref(), &playlist) {
                    self.problem(violation);
                }
                Some(playlist)
            }
            Err(error) => {
                self.problem(format!("{path}: {error}"));
                None
            }
        }
    }

    fn take(&mut self, playlist: MediaPlaylist, hinted: &mut BTreeMap<String, Bytes>) {
        let (mut parts, mut segments) = Default::default();
        let maps: Vec<String> = (playlist.segments.iter().map(|segment| &segment.lead))
            .chain([&playlist.open])
            .filter_map(|lead| lead.map.clone())
            .collect();
        for uri in maps {
            if !self.shared.lock()[&self.name].inits.contains_key(&uri)
                && let Some(data) = self.media(&uri)
            {
                self.shared.change(&self.name, |rendition| {
                    rendition.inits.insert(uri, data);
                });
            }
        }
        self.shared.change(&self.name, |rendition| (parts, segments) = rendition.take(playlist));
        for listed in &parts {
            self.take_part(listed, hinted.remove(&listed.uri));
        }
        for (msn, uri) in segments {
            if let Some(data) = self.media(&uri) {
                self.shared.change(&self.name, |rendition| rendition.take_segment(msn, &uri, data));
            }
        }
    }

    fn take_part(&mut self, listed: &Listed, hinted: Option<Bytes>) {
        let Some(data) = self.media(&listed.uri) else { return };
        if hinted.is_some_and(|hinted| hinted != data) {
            self.problem(format!("part {} is not what its hint gave", listed.uri));
        }
        self.shared.change(&self.name, |rendition| {
            let before = rendition.problems.len();
            rendition.take_part(listed, data);
            if rendition.problems.len() > before {
                // What it was found in has moved on when somebody reads of it.
                rendition.problems.push(format!("the playlist at that moment:\n{}", rendition.playlist));
            }
        });
    }

    /// Something with a name of its own.
    fn media(&mut self, uri: &str) -> Option<Bytes> {
        let path = format!("{}{uri}", self.folder);
        let expected = if self.name.starts_with("audio") { "audio/mp4" } else { "video/mp4" };
        match self.seen.asked(|| self.http.request("GET", &path)) {
            Ok(answer) if answer.status == 200 => {
                if let Some(changed) = self.seen.bytes(&path, &answer.body) {
                    self.problem(changed);
                }
                let cached = answer.header("cache-control").is_some_and(|value| value.contains(IMMUTABLE));
                let typed = answer.header("content-type") == Some(expected);
                let open = answer.header("access-control-allow-origin") == Some("*");
                if !(cached && typed && open) {
                    self.problem(format!("{path}: {answer:?}"));
                }
                Some(answer.body)
            }
            Ok(answer) => {
                self.problem(format!("{path}: {} {}", answer.status, answer.text()));
                None
            }
            Err(error) => {
                self.problem(format!("{path}: {error}"));
                None
            }
        }
    }

    /// What the last playlist names is still there, and the same.
    fn fetch_all_again(&mut self) {
        let (parts, segments) = {
            let shared = self.shared.lock();
            let rendition = &shared[&self.name];
            let listed = (rendition.playlist.media_sequence..).zip(&rendition.playlist.segments);
            let (mut parts, mut segments) = (Vec::new(), Vec::new());
            for (msn, segment) in listed.filter(|(_, segment)| !segment.gap) {
                segments.push((segment.uri.clone(), rendition.segments.get(&msn).cloned()));
                for (index, part) in segment.lead.parts.iter().enumerate().filter(|(_, part)| !part.gap) {
                    let known = rendition.parts.get(&(msn, index)).map(|part| part.data.clone());
                    parts.push((part.uri.clone(), known));
                }
            }
            (parts, segments)
        };
        for (uri, known) in parts.into_iter().chain(segments) {
            let now = self.media(&uri);
            if known.is_some() && known != now {
                self.problem(format!("{uri} has changed"));
            }
        }
    }
}
