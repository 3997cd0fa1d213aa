//! An edge: the real windows, and who it listens to.

use std::sync::Arc;

use bytes::Bytes;
use headwater_hls::{Config, MediaPlaylist, PartRefused, Window};
use headwater_media::{
    Cut, CutKind, Epoch, Init, Instant, MediaSequence, Part, PartIndex, PartPayload, SessionId, Timestamp, TrackKind,
};
use headwater_router::RecordState;
use headwater_router::claim::{RegistryReply, RegistryRequest, RequestId};

use crate::bug::Bug;
use crate::checks::{Place, Rendition};
use crate::clock::MILLI;
use crate::context::{Address, Caller, Context, Happening, Message, REGISTRY};
use crate::log::{Feed, FeedKind, Item, PART_TICKS, Piece, TARGET_DURATION, WINDOW_SEGMENTS};
use crate::node::address_of;

const PULL_EVERY: u64 = 150 * MILLI;
const LOOK_EVERY: u64 = 400 * MILLI;
/// How long what a home had before the end may take.
const END_GRACE: u64 = 2500 * MILLI;

#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) address: Address,
    process: u64,
    pub(crate) epoch: Epoch,
    session: Option<SessionId>,
    /// Items of the epoch that it has had; `None` before the snapshot.
    version: Option<usize>,
    home: Option<(Epoch, Address)>,
    windows: [Window; 2],
    playlists: [MediaPlaylist; 2],
    init: Arc<Init>,
    next_look: u64,
    looks: u64,
    /// When the source's playlist grew last.
    pub(crate) grown: u64,
    pub(crate) ended: bool,
    /// The record says that the session is over: its home may have told everything before, until then.
    ending: Option<u64>,
    newest_cut: Option<Cut>,
    pub(crate) up: bool,
    pub(crate) paused_until: u64,
    /// What it listed of a session before it was restarted.
    before: Option<(SessionId, [MediaPlaylist; 2])>,
}

fn window() -> Window {
    let config = Config {
        kind: TrackKind::Video,
        target_duration: TARGET_DURATION,
        part_target: Timestamp::video(PART_TICKS),
        segments: WINDOW_SEGMENTS as usize,
        preload_hints: true,
        independent_segments: true,
    };
    Window::new(config, Vec::new())
}

impl Edge {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            process: 0,
            epoch: Epoch(0),
            session: None,
            version: None,
            home: None,
            windows: [window(), window()],
            playlists: Default::default(),
            init: Arc::new(Init::new(Bytes::from_static(b"init"), "avc1.64001f", None)),
            next_look: 0,
            looks: 0,
            grown: 0,
            ended: false,
            ending: None,
            newest_cut: None,
            up: true,
            paused_until: 0,
            before: None,
        }
    }

    pub(crate) fn crash(&mut self, cx: &mut Context) {
        cx.checks.stats.edges_restarted += 1;
        let listed = self.session.map(|session| (session, std::mem::take(&mut self.playlists)));
        let before = listed.filter(|(_, playlists)| playlists[0].target_duration > 0).or(self.before.take());
        *self = Self { up: false, before, looks: self.looks + 1, process: self.process + 1, ..Self::new(self.address) };
    }

    pub(crate) fn handle_wake(&mut self, cx: &mut Context) {
        if cx.now >= self.next_look {
            self.next_look = cx.now + LOOK_EVERY;
            self.looks += 1;
            let id = RequestId(self.looks);
            cx.send(self.address, REGISTRY, Message::Ask { caller: Caller::Edge, id, request: RegistryRequest::Read });
        }
        if let Some((_, home)) = self.home {
            let (epoch, version) = self.version.map_or((Epoch(0), 0), |version| (self.epoch, version));
            cx.send(self.address, home, Message::Pull { process: self.process, epoch, version });
        }
        cx.after(PULL_EVERY, Happening::Wake(self.address));
    }

    pub(crate) fn handle(&mut self, cx: &mut Context, message: Message) {
        match message {
            // One that took longer than until the next question is not believed: it may be older than what is known.
            Message::Answer { id, reply: RegistryReply::Record { record: Some(record), .. }, .. }
                if id.0 == self.looks =>
            {
                if self.home.is_none_or(|(epoch, _)| record.epoch > epoch) {
                    self.home = Some((record.epoch, address_of(&record.home)));
                }
                if record.state == RecordState::Ended && self.session == Some(record.session) && !self.ended {
                    let until = *self.ending.get_or_insert(cx.now + END_GRACE);
                    if cx.now >= until {
                        self.end(cx, record.outline.map_or(Vec::new(), |outline| outline.cuts.clone()));
                    }
                }
            }
            Message::Fed { process, feed } if process == self.process => self.handle_feed(cx, &feed),
            _ => {}
        }
    }

    fn handle_feed(&mut self, cx: &mut Context, feed: &Feed) {
        // The recorded home may not know yet that it is one, and still have the log of an epoch long ago.
        let recorded = self.home.filter(|_| cx.bug != Bug::RecordedEpochIgnored).map_or(Epoch(0), |(epoch, _)| epoch);
        let older = feed.epoch < self.epoch.max(recorded) && cx.bug != Bug::EpochDownwards;
        // What was on its way when its session's end was seen.
        if older || (self.ended && self.session == Some(feed.session)) {
            return;
        }
        match &feed.kind {
            FeedKind::Delta { from, items } => {
                if feed.epoch != self.epoch || self.version != Some(*from) {
                    return;
                }
                self.version = Some(from + items.len());
                for item in items {
                    match item {
                        Item::Cut(cut) => self.push_cut(cx, cut),
                        Item::Part(rendition, place, piece) => self.push_part(cx, *rendition, *place, piece),
                        Item::Holes(below) => self.close_below(*below),
                        Item::End(cuts) => self.end(cx, cuts.clone()),
                    }
                }
            }
            FeedKind::Snapshot { version, cuts, holes_below, pieces } => {
                if feed.epoch == self.epoch && self.version.is_some_and(|known| known >= *version) {
                    return;
                }
                cx.checks.edge_epoch(self.address, self.epoch, feed.epoch);
                let newer = feed.epoch > self.epoch;
                if newer {
                    cx.trace(|| format!("edge {} follows {:?}", self.address, feed.epoch));
                }
                if self.session != Some(feed.session) {
                    self.end(cx, Vec::new());
                    self.session = Some(feed.session);
                    self.ended = false;
                    self.ending = None;
                    self.newest_cut = None;
                    self.windows = [window(), window()];
                    self.playlists = Default::default();
                } else if newer && cx.bug == Bug::RewritesClosedLines {
                    self.windows = [window(), window()];
                }
                self.epoch = feed.epoch;
                self.version = Some(*version);
                for cut in cuts {
                    self.push_cut(cx, cut);
                }
                self.close_below(*holes_below);
                for (rendition, pieces) in pieces.iter().enumerate() {
                    for (place, piece) in pieces {
                        self.push_part(cx, rendition, *place, piece);
                    }
                }
            }
        }
        self.compare(cx);
    }

    fn push_cut(&mut self, cx: &mut Context, cut: &Cut) {
        if self.newest_cut.as_ref().is_none_or(|newest| newest.msn <= cut.msn) {
            self.newest_cut = Some(cut.clone());
        }
        for window in &mut self.windows {
            if let Err(refused) = window.push_cut(cut) {
                cx.checks.violate(format!("3: edge {} cannot go on: {refused}", self.address));
            }
        }
    }

    fn close_below(&mut self, below: [u64; 2]) {
        for (window, below) in self.windows.iter_mut().zip(below) {
            window.close_below(MediaSequence(below));
        }
    }

    fn push_part(&mut self, cx: &mut Context, rendition: Rendition, place: Place, piece: &Piece) {
        let payload = match piece.bytes {
            None => PartPayload::Gap,
            Some(_) => PartPayload::Media {
                data: Bytes::new().into(),
                independent: place.1 == 0,
                intra: None,
                init: self.init.clone(),
                received: Instant::default(),
            },
        };
        let part = Part {
            msn: MediaSequence(place.0),
            index: PartIndex(place.1),
            start: Timestamp::video(piece.start),
            end: Timestamp::video(piece.end),
            payload,
        };
        match self.windows[rendition].push_part(&part) {
            Ok(()) => {
                if let (Some(session), Some(bytes)) = (self.session, piece.bytes) {
                    cx.checks.listed(session, rendition, place, bytes);
                }
                if rendition == 0 {
                    self.grown = cx.now;
                }
            }
            // In a snapshot there is much that is known.
            Err(PartRefused::Duplicate { .. } | PartRefused::Closed { .. }) => {}
            Err(refused) => {
                cx.checks.violate(format!("4: edge {}, rendition {rendition}: {refused}", self.address));
            }
        }
    }

    /// Writes ENDLIST. The last of `cuts` is the end; without, nobody knows it any more. What is not whole by then is a
    /// gap, because another edge may have more of it.
    fn end(&mut self, cx: &mut Context, cuts: Vec<Arc<Cut>>) {
        if self.ended || self.session.is_none() {
            return;
        }
        for cut in &cuts {
            self.push_cut(cx, cut);
        }
        if let Some(last) = cuts.last() {
            self.close_below([last.msn.0; 2]);
        } else if let Some(open) = self.newest_cut.clone() {
            self.close_below([open.msn.0; 2]);
            self.push_cut(cx, &Cut { kind: CutKind::Gap, ..open });
        }
        self.ended = true;
        for window in &mut self.windows {
            window.end();
        }
        self.compare(cx);
    }

    fn compare(&mut self, cx: &mut Context) {
        let Some(session) = self.session else { return };
        for rendition in 0..2 {
            // Nothing is there to offer: players wait.
            if self.windows[rendition].is_empty() {
                continue;
            }
            let playlist = self.windows[rendition].playlist();
            if let Some((_, before)) = self.before.as_ref().filter(|(known, _)| *known == session) {
                cx.checks.restarted(self.address, &before[rendition], &playlist);
            }
            if playlist != self.playlists[rendition] {
                cx.checks.playlist(self.address, session, rendition, &self.playlists[rendition], &playlist);
                self.playlists[rendition] = playlist;
            }
        }
    }
}
