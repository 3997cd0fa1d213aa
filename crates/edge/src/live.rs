//! One rendition in use: its window, its playlist as text, its bytes; shared by all viewers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use headwater_hls::{Config, Decision, DirectiveError, Directives, PartState, SegmentState, Window};
use headwater_media::{Init, InitId, Instant, MediaSequence, PartIndex, PartPayload, Pieces, RenditionName, TrackKind};
use headwater_router::{FeedItem, PartReader, ReadError, RenditionKind, SessionState, StreamLog};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::metrics::Metrics;
use crate::version::Text;

/// A rendition's playlist and bytes, kept in step with its log.
pub(crate) struct Live {
    /// For telling it from another one of the same session.
    log: Weak<StreamLog>,
    rendition: RenditionName,
    state: watch::Receiver<Arc<SessionState>>,
    inner: Mutex<Inner>,
    progress: watch::Sender<()>,
    waiting: AtomicUsize,
    /// The rendition stopped: this window will never go on.
    retired: AtomicBool,
}

struct Inner {
    window: Window,
    text: Text,
    /// The I-frame playlist, once somebody asked for it since the last change.
    i_frames: Option<Text>,
    parts: BTreeMap<(MediaSequence, PartIndex), Stored>,
    inits: Vec<Arc<Init>>,
}

/// A part's bytes, and when its last frame came in.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) data: Pieces,
    pub(crate) received: Instant,
    init: Arc<Init>,
}

/// Which of a rendition's playlists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Media,
    /// Its I-frames alone (H-74).
    IFrames,
}

/// What a playlist request gets now.
#[derive(Debug)]
pub(crate) enum Playlist {
    Ready { text: Text, ended: bool },
    Wait,
    Bad(DirectiveError),
}

/// What a part request gets now.
#[derive(Debug)]
pub(crate) enum Part {
    Ready(Stored),
    Wait,
    /// It may still come.
    NotYet,
    Missing,
}

/// What a segment request gets now.
#[derive(Debug)]
pub(crate) enum Segment {
    Ready(Vec<Pieces>),
    /// It may still come.
    NotYet,
    Missing,
}

/// How following a rendition ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Followed {
    /// With the session; the playlist has its ENDLIST.
    ToTheEnd,
    /// Nobody watches: who asks next gets a new window.
    Cold,
}

impl Live {
    pub(crate) fn new(log: &Arc<StreamLog>, rendition: &RenditionName, preload_hints: bool) -> Self {
        let session = log.session();
        let state = log.state().borrow().clone();
        let kind = state.renditions.iter().find(|known| known.name == *rendition).map(|known| &known.kind);
        let has_gears = state.renditions.iter().any(|known| matches!(known.kind, RenditionKind::Gear(_)));
        let config = Config {
            kind: if kind.is_some_and(RenditionKind::is_audio) { TrackKind::Audio } else { TrackKind::Video },
            target_duration: session.grid.target_duration,
            part_target: session.grid.part_target,
            segments: usize::try_from(session.window_segments).unwrap_or(usize::MAX),
            preload_hints,
            independent_segments: has_gears,
        };
        let mut window = Window::new(config, others(&state, rendition));
        if let Some(standing) = log.stands_still(rendition) {
            window.begin_with_gap(&standing.cut, standing.end);
        }
        let text = Text::new(window.render());
        Self {
            log: Arc::downgrade(log),
            rendition: rendition.clone(),
            state: log.state(),
            inner: Mutex::new(Inner { window, text, i_frames: None, parts: BTreeMap::new(), inits: Vec::new() }),
            progress: watch::Sender::new(()),
            waiting: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// Whether this is the log that it follows.
    pub(crate) fn is_of(&self, log: &Arc<StreamLog>) -> bool {
        std::ptr::eq(self.log.as_ptr(), Arc::as_ptr(log))
    }

    /// Whether all parts before `next` have come here, or never will: until then nothing can be said of what is missing.
    pub(crate) fn has_all_before(&self, next: (MediaSequence, PartIndex)) -> bool {
        let window = &self.inner().window;
        window.has_ended() || self.is_retired() || window.next_part() >= Some(next)
    }

    /// Whether its rendition stopped, so that who asks for it has to subscribe again.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes to the playlist from now on.
    pub(crate) fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    /// Playlist requests that are held.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts a held playlist request until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Follows the log until the session is over, or the rendition stops because nobody watches.
    pub(crate) async fn follow(&self, mut reader: PartReader, metrics: &Metrics) -> Followed {
        // Parts that were there before anybody asked say nothing of how fast new ones come.
        let mut caught_up = false;
        loop {
            let first = match reader.next().await {
                Ok(item) => item,
                Err(ReadError::Ended) => break,
                Err(ReadError::Cold) => {
                    self.retired.store(true, Ordering::Relaxed);
                    self.progress.send_replace(());
                    return Followed::Cold;
                }
                Err(_) => {
                    warn!(rendition = %self.rendition, "an edge's reader fell behind the log");
                    continue;
                }
            };
            let mut inner = self.inner();
            let (mut next, mut ended) = (Some(first), false);
            // What is already there goes into the same text, the end too: a first request gets all of it.
            while let Some(item) = next {
                if let Some(received) = inner.take(item, &self.rendition)
                    && caught_up
                {
                    metrics.available(&self.rendition, received);
                }
                let more = reader.try_next();
                ended = matches!(more, Err(ReadError::Ended));
                next = more.ok().flatten();
            }
            caught_up = true;
            inner.window.set_others(others(&self.state.borrow(), &self.rendition));
            if ended {
                inner.window.end();
            }
            inner.render();
            drop(inner);
            self.progress.send_replace(());
            if ended {
                return Followed::ToTheEnd;
            }
        }
        let mut inner = self.inner();
        inner.window.end();
        inner.render();
        drop(inner);
        self.progress.send_replace(());
        Followed::ToTheEnd
    }

    /// The playlist as the directives in `query` want it.
    pub(crate) fn playlist(&self, form: Form, query: Option<&str>) -> Playlist {
        let mut inner = self.inner();
        let directives = match inner.window.directives(query) {
            Ok(directives) => directives,
            Err(error) => return Playlist::Bad(error),
        };
        let decision = match form {
            Form::Media => inner.window.decide(&directives),
            Form::IFrames => inner.window.decide_i_frames(&directives),
        };
        match decision {
            Decision::Ready => inner.playlist(form),
            Decision::Wait => Playlist::Wait,
            Decision::BadRequest(error) => Playlist::Bad(error),
        }
    }

    /// The playlist as it is; `Wait` when the rendition has not begun.
    pub(crate) fn current_playlist(&self, form: Form) -> Playlist {
        let mut inner = self.inner();
        let has_begun = match form {
            Form::Media => !inner.window.is_empty(),
            Form::IFrames => inner.window.decide_i_frames(&Directives::default()) == Decision::Ready,
        };
        if has_begun { inner.playlist(form) } else { Playlist::Wait }
    }

    /// A part.
    pub(crate) fn part(&self, msn: MediaSequence, index: PartIndex) -> Part {
        let inner = self.inner();
        match inner.window.part(msn, index) {
            PartState::Media => match inner.parts.get(&(msn, index)) {
                Some(stored) => Part::Ready(stored.clone()),
                None => Part::Missing,
            },
            PartState::Next | PartState::Ahead => Part::Wait,
            PartState::Future => Part::NotYet,
            PartState::Missing | PartState::Gone => Part::Missing,
        }
    }

    /// A segment, as its parts.
    pub(crate) fn segment(&self, msn: MediaSequence) -> Segment {
        let inner = self.inner();
        match inner.window.segment(msn) {
            SegmentState::Complete(indexes) => {
                let stored = indexes.iter().map(|index| inner.parts.get(&(msn, *index)).map(|part| part.data.clone()));
                stored.collect::<Option<Vec<Pieces>>>().map_or(Segment::Missing, Segment::Ready)
            }
            SegmentState::Open => Segment::NotYet,
            SegmentState::Gap | SegmentState::Gone => Segment::Missing,
        }
    }

    /// An init segment.
    pub(crate) fn init(&self, id: InitId) -> Option<Bytes> {
        self.inner().inits.iter().find(|init| init.id == id).map(|init| init.data.clone())
    }
}

/// The other renditions that a multivariant playlist may list: those that have begun (H-34).
fn others(state: &SessionState, rendition: &RenditionName) -> Vec<RenditionName> {
    let begun = state.renditions.iter().filter(|known| known.begun && known.name != *rendition);
    begun.map(|known| known.name.clone()).collect()
}

impl Inner {
    fn playlist(&mut self, form: Form) -> Playlist {
        let text = match form {
            Form::Media => self.text.clone(),
            Form::IFrames => {
                let render = || Text::new(self.window.i_frame_playlist().to_string());
                self.i_frames.get_or_insert_with(render).clone()
            }
        };
        Playlist::Ready { text, ended: self.window.has_ended() }
    }

    fn render(&mut self) {
        self.text = Text::new(self.window.render());
        self.i_frames = None;
    }

    /// Takes what comes of the rendition; when the last frame of a part came in.
    fn take(&mut self, item: FeedItem, rendition: &RenditionName) -> Option<Instant> {
        match item {
            FeedItem::Cut(cut) => {
                if let Err(refused) = self.window.push_cut(&cut) {
                    // A reader that fell behind sees cuts again that it has.
                    debug!(%rendition, %refused, "cut left out");
                }
                if let Some(oldest) = self.window.retained_from() {
                    self.parts = self.parts.split_off(&(oldest, PartIndex(0)));
                    let needed = |init: &Arc<Init>| self.parts.values().any(|part| Arc::ptr_eq(&part.init, init));
                    // The last one is what comes next needs.
                    let last = self.inits.pop();
                    self.inits.retain(needed);
                    self.inits.extend(last);
                }
                None
            }
            FeedItem::ClosedBelow(msn) => {
                self.window.close_below(msn);
                None
            }
            FeedItem::Part(part) => match self.window.push_part(&part) {
                Ok(()) => {
                    if let PartPayload::Media { data, init, received, .. } = &part.payload {
                        let known = self.inits.iter().find(|known| *known == init).cloned();
                        let init = known.unwrap_or_else(|| {
                            self.inits.push(init.clone());
                            init.clone()
                        });
                        let stored = Stored { data: data.clone(), received: *received, init };
                        self.parts.insert((part.msn, part.index), stored);
                        return Some(*received);
                    }
                    None
                }
                Err(refused) => {
                    debug!(%rendition, %refused, "part left out");
                    None
                }
            },
        }
    }
}

/// A held playlist request.
pub(crate) struct Waiting<'a>(&'a Live);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
