//! What each request gets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_hls::path::{File, Target};
use headwater_media::{InitId, MediaSequence, PartIndex, RenditionName, StreamName};
use headwater_router::{SessionState, State, StreamLog};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::body::Buffers;
use crate::live::{Form, Live, Part, Playlist, Segment};
use crate::response::{self, Caching, refusal};
use crate::{Edge, master, poster, range, trick_play};

/// A request is never held longer than this, whatever the TARGETDURATION (architecture 9).
const HOLD_MAX: Duration = Duration::from_secs(9);
/// While nothing comes, a playlist request is held no longer than this: Shaka Player gives an answer up of which nothing
/// has come for 5 s.
const STILL_MAX: Duration = Duration::from_secs(4);
/// A multivariant playlist waits for gears until this long after the ladder was woken, or after the publisher came back
/// (architecture 6)...
const GEARS_WAIT: Duration = Duration::from_millis(2500);
/// ...but not longer than this in all.
const MULTIVARIANT_WAIT: Duration = Duration::from_millis(4800);
/// Who asks for media of a rendition that nobody has read here yet waits for what there is of it: another edge may list it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Kinds of answers of which a part can be had: those whose bytes never change.
const RANGED: [&str; 3] = ["init", "segment", "part"];

/// Answers one request.
pub(crate) async fn answer<B>(edge: &Arc<Edge>, request: &Request<B>) -> Response<Buffers> {
    let (kind, response) = match *request.method() {
        Method::OPTIONS => ("preflight", response::preflight()),
        Method::GET | Method::HEAD => {
            let is_get = request.method() == Method::GET;
            let (kind, response) = route(edge, request, is_get).await;
            let response = if RANGED.contains(&kind) { range::apply(request, response) } else { response };
            (kind, response)
        }
        _ => ("method", response::method_not_allowed()),
    };
    edge.deps.metrics.answer(kind, response.status().as_u16(), response.body().length());
    response
}

async fn route<B>(edge: &Arc<Edge>, request: &Request<B>, may_wait: bool) -> (&'static str, Response<Buffers>) {
    let path = request.uri().path();
    match path {
        "/healthz" | "/readyz" => {
            return ("health", response::with(StatusCode::OK, response::TEXT_TYPE, Caching::No, Bytes::from("ok\n")));
        }
        "/" => return ("page", asset(edge, "index.html", Caching::No)),
        "/streams.json" => return ("streams", streams(edge).await),
        _ => {}
    }
    if let Some(file) = path.strip_prefix("/assets/") {
        // The names of built files carry a hash of their content.
        return ("page", asset(edge, &format!("assets/{file}"), response::INIT));
    }
    if let Some(stream) = path.strip_prefix("/watch/") {
        return match stream.parse::<StreamName>() {
            Ok(_) => ("page", asset(edge, "watch.html", Caching::No)),
            Err(error) => ("page", refusal(StatusCode::NOT_FOUND, Caching::Seconds(60), &error.to_string())),
        };
    }
    match Target::parse(path) {
        Some(Target::Multivariant(stream)) => ("multivariant", multivariant(edge, &stream, may_wait).await),
        Some(Target::Rendition { stream, session, rendition, file }) => {
            let Some(log) = edge.deps.log.find_session(&stream, session).await else {
                return ("unknown", not_live(&stream));
            };
            if may_wait {
                log.watched(edge.deps.clock.now());
            }
            let Some(live) = edge.subscribe(&log, &rendition) else {
                let text = format!("{stream} has no rendition {rendition}");
                return ("unknown", refusal(StatusCode::NOT_FOUND, Caching::Seconds(1), &text));
            };
            let (query, headers) = (request.uri().query(), request.headers());
            let wanted = Wanted { edge, log: &log, live: &live, rendition: &rendition, query, headers, may_wait };
            match file {
                File::Playlist => ("playlist", wanted.playlist(Form::Media).await),
                File::IFrames if wanted.is_audio() => {
                    let text = format!("{rendition} has no pictures");
                    ("unknown", refusal(StatusCode::NOT_FOUND, Caching::Seconds(60), &text))
                }
                File::IFrames => ("playlist", wanted.playlist(Form::IFrames).await),
                File::Init(id) => ("init", wanted.init(id).await),
                File::Segment(msn) => ("segment", wanted.segment(msn).await),
                File::Part(msn, index) => ("part", wanted.part(msn, index).await),
            }
        }
        Some(Target::Poster(stream)) => ("poster", poster::answer(edge, &stream, may_wait).await),
        None => ("unknown", refusal(StatusCode::NOT_FOUND, Caching::Seconds(60), "there is nothing under this path")),
    }
}

pub(crate) fn not_live(stream: &StreamName) -> Response<Buffers> {
    refusal(StatusCode::NOT_FOUND, Caching::Seconds(1), &format!("{stream} is not live"))
}

fn asset(edge: &Edge, name: &str, caching: Caching) -> Response<Buffers> {
    match (edge.deps.assets)(name) {
        Some(asset) => {
            let data = match asset.data {
                std::borrow::Cow::Borrowed(data) => Bytes::from_static(data),
                std::borrow::Cow::Owned(data) => Bytes::from(data),
            };
            response::with(StatusCode::OK, &asset.mime, caching, data)
        }
        None => refusal(StatusCode::NOT_FOUND, Caching::Seconds(1), "there is no such page"),
    }
}

/// One live stream, for the front page.
#[derive(Serialize)]
struct Listed {
    name: String,
    since: String,
    renditions: Vec<String>,
    /// Path of its poster, when it has pictures and posters are made.
    poster: Option<String>,
}

async fn streams(edge: &Edge) -> Response<Buffers> {
    let mut listed = Vec::new();
    for log in edge.deps.log.list().await {
        let state = log.state().borrow().clone();
        if state.state == State::Live {
            let made = state.renditions.iter().filter(|known| known.is_listed());
            let has_pictures = state.renditions.iter().any(|known| !known.kind.is_audio());
            let poster = has_pictures && edge.deps.posters.interval().is_some();
            listed.push(Listed {
                name: state.session.stream.to_string(),
                since: state.session.since.to_string(),
                renditions: made.map(|rendition| rendition.name.to_string()).collect(),
                poster: poster.then(|| Target::Poster(state.session.stream.clone()).to_string()),
            });
        }
    }
    match serde_json::to_vec(&listed) {
        Ok(json) => response::with(StatusCode::OK, response::JSON_TYPE, Caching::Seconds(1), Bytes::from(json)),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, Caching::No, &error.to_string()),
    }
}

/// The multivariant playlist. Wakes a cold ladder, and is held for a moment while gears are being started.
async fn multivariant(edge: &Arc<Edge>, stream: &StreamName, may_wait: bool) -> Response<Buffers> {
    let Some(log) = edge.deps.log.find(stream).await else { return not_live(stream) };
    let mut state = log.state();
    let session = log.session();
    if may_wait {
        log.watched(edge.deps.clock.now());
        let latest = deadline(MULTIVARIANT_WAIT);
        let mut since = log.demand().borrow().since.unwrap_or_default();
        if master::playlist(&state.borrow()).is_none() {
            // After a restart, say: whoever asks again only in a while would hear late that the publisher is back.
            let Some(_hold) = edge.hold() else { return response::overloaded() };
            let something =
                |state: &Arc<SessionState>| master::playlist(state).is_some() || state.state == State::Ended;
            if timeout_at(deadline(STILL_MAX), state.wait_for(something)).await.is_ok() {
                // Sound and gears could not begin before.
                since = edge.deps.clock.now();
            }
        }
        let left = GEARS_WAIT.saturating_sub(edge.deps.clock.now().saturating_since(since));
        if !left.is_zero() && !master::is_complete(&state.borrow()) {
            let Some(_hold) = edge.hold() else { return response::overloaded() };
            let complete = state.wait_for(|state| master::is_complete(state) || state.state == State::Ended);
            // The late ones are left out.
            let _ = timeout_at(deadline(left).min(latest), complete).await.map(drop);
        }
    }
    let current = state.borrow().clone();
    match master::playlist(&current) {
        Some(mut playlist) => {
            playlist.i_frames = trick_play::variants(&log, &current);
            let caching = Caching::Seconds(session.grid.target_duration / 2);
            response::with(StatusCode::OK, response::PLAYLIST_TYPE, caching, Bytes::from(playlist.to_string()))
        }
        None => refusal(StatusCode::NOT_FOUND, Caching::Seconds(1), &format!("{stream} has no media yet")),
    }
}

pub(crate) fn deadline(after: Duration) -> Instant {
    Instant::now() + after
}

/// A request for something of a rendition.
struct Wanted<'a> {
    edge: &'a Arc<Edge>,
    log: &'a Arc<StreamLog>,
    live: &'a Live,
    rendition: &'a RenditionName,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
    may_wait: bool,
}

impl Wanted<'_> {
    fn target_duration(&self) -> u32 {
        self.log.session().grid.target_duration
    }

    /// When a held request is answered at the latest.
    fn hold_ends(&self) -> Instant {
        deadline(Duration::from_secs(3 * u64::from(self.target_duration())).min(HOLD_MAX))
    }

    fn is_audio(&self) -> bool {
        self.rendition.as_str().starts_with("audio")
    }

    fn media_type(&self) -> &'static str {
        if self.is_audio() { response::AUDIO_TYPE } else { response::VIDEO_TYPE }
    }

    /// The media playlist, or the one of its I-frames. A request that asks for progress, or that names the text that there
    /// is now, is held until there is some; while the publisher is away it is answered with the unchanged playlist, which
    /// every player survives (architecture 8).
    async fn playlist(&self, form: Form) -> Response<Buffers> {
        match self.playlist_here(form).await {
            Some(response) => response,
            // Its gear stopped while this request was held, and begins anew.
            None => {
                let live = self.edge.subscribe(self.log, self.rendition);
                let again = match &live {
                    Some(live) => Wanted { live, ..*self }.playlist_here(form).await,
                    None => None,
                };
                again.unwrap_or_else(|| self.nothing_yet())
            }
        }
    }

    /// `None` when the rendition stopped.
    async fn playlist_here(&self, form: Form) -> Option<Response<Buffers>> {
        let mut progress = self.live.progress();
        let mut answer = self.news(form);
        if matches!(answer, Playlist::Wait) && self.may_wait {
            let Some(_hold) = self.edge.hold() else { return Some(response::overloaded()) };
            let _waiting = self.live.wait();
            let ends = self.hold_ends();
            while matches!(answer, Playlist::Wait) && !self.live.is_retired() {
                let has_begun = !matches!(self.live.current_playlist(form), Playlist::Wait);
                let ends = if has_begun { ends.min(deadline(STILL_MAX)) } else { ends };
                if timeout_at(ends, progress.changed()).await.is_err() {
                    break;
                }
                answer = self.news(form);
            }
        }
        if matches!(answer, Playlist::Wait) {
            answer = self.live.current_playlist(form);
        }
        if self.live.is_retired() {
            return None;
        }
        let target_duration = self.target_duration();
        Some(match answer {
            Playlist::Ready { text, ended } => {
                // Players ask again for what they have asked for before (H-57), and want to hear what there is now.
                let caching = if ended { Caching::Seconds(target_duration) } else { Caching::Live };
                response::playlist(&text, text.is_known(self.headers), caching)
            }
            Playlist::Bad(error) => {
                // What is too far ahead will not be for long.
                let caching = if error.may_pass() { Caching::No } else { Caching::Seconds(target_duration) };
                refusal(StatusCode::BAD_REQUEST, caching, &error.to_string())
            }
            Playlist::Wait => self.nothing_yet(),
        })
    }

    fn nothing_yet(&self) -> Response<Buffers> {
        refusal(StatusCode::NOT_FOUND, Caching::Seconds(1), &format!("{} has no media yet", self.rendition))
    }

    /// How long it holds that something is not there. Waits for what there is of the rendition, if it has not all been read
    /// here yet. `None`: there is no room to wait.
    async fn missing(&self) -> Option<Caching> {
        let Some(next) = self.log.next_part(self.rendition) else { return Some(Caching::Seconds(1)) };
        let mut progress = self.live.progress();
        if self.may_wait && !self.live.has_all_before(next) {
            let _hold = self.edge.hold()?;
            let ends = deadline(FIRST_WAIT);
            while !self.live.has_all_before(next) && timeout_at(ends, progress.changed()).await.is_ok() {}
        }
        Some(Caching::Seconds(if self.live.has_all_before(next) { self.target_duration() } else { 1 }))
    }

    /// The playlist as the directives want it, if the player does not have it already. hls.js and others that gave up a held
    /// request ask without directives every few seconds, and would hear that late that the publisher is back.
    fn news(&self, form: Form) -> Playlist {
        match self.live.playlist(form, self.query) {
            Playlist::Ready { text, ended: false } if text.is_known(self.headers) => Playlist::Wait,
            answer => answer,
        }
    }

    /// A part; one that is hinted is held until it is there (H-33).
    async fn part(&self, msn: MediaSequence, index: PartIndex) -> Response<Buffers> {
        let mut progress = self.live.progress();
        let mut answer = self.live.part(msn, index);
        let mut missing = Caching::Seconds(self.target_duration());
        if matches!(answer, Part::Missing | Part::NotYet) {
            let Some(caching) = self.missing().await else { return response::overloaded() };
            (answer, missing) = (self.live.part(msn, index), caching);
        }
        let waited = matches!(answer, Part::Wait);
        if waited && self.may_wait {
            let Some(_hold) = self.edge.hold() else { return response::overloaded() };
            let ends = self.hold_ends();
            while matches!(answer, Part::Wait) {
                if timeout_at(ends, progress.changed()).await.is_err() {
                    break;
                }
                answer = self.live.part(msn, index);
            }
        }
        match answer {
            Part::Ready(stored) => {
                if waited {
                    self.edge.deps.metrics.sent(self.rendition, stored.received);
                }
                response::with(StatusCode::OK, self.media_type(), response::MEDIA, stored.data)
            }
            Part::Wait | Part::NotYet => refusal(StatusCode::NOT_FOUND, Caching::No, "the part is not there yet"),
            Part::Missing => refusal(StatusCode::NOT_FOUND, missing, "the part does not exist or is no longer kept"),
        }
    }

    async fn segment(&self, msn: MediaSequence) -> Response<Buffers> {
        let mut answer = self.live.segment(msn);
        let mut missing = Caching::Seconds(self.target_duration());
        if matches!(answer, Segment::Missing | Segment::NotYet) {
            let Some(caching) = self.missing().await else { return response::overloaded() };
            (answer, missing) = (self.live.segment(msn), caching);
        }
        match answer {
            Segment::Ready(parts) => {
                response::with(StatusCode::OK, self.media_type(), response::MEDIA, Buffers::of(&parts))
            }
            Segment::NotYet => refusal(StatusCode::NOT_FOUND, Caching::No, "the segment is not complete yet"),
            Segment::Missing => {
                refusal(StatusCode::NOT_FOUND, missing, "the segment does not exist or is no longer kept")
            }
        }
    }

    async fn init(&self, id: InitId) -> Response<Buffers> {
        let found = |data| response::with(StatusCode::OK, self.media_type(), response::INIT, data);
        if let Some(data) = self.live.init(id) {
            return found(data);
        }
        let Some(missing) = self.missing().await else { return response::overloaded() };
        let none = || refusal(StatusCode::NOT_FOUND, missing, "the rendition has no such init segment");
        self.live.init(id).map_or_else(none, found)
    }
}
