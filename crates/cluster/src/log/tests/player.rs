//! An edge's window over a log, and what a player sees in it.

use std::sync::Arc;

use headwater_hls::{Config, MediaPlaylist, Window, check};
use headwater_media::{Pieces, RenditionName, TrackKind};
use headwater_router::{FeedItem, PartReader, ReadError, StreamLog};
use tokio::time::timeout;

use super::world::PATIENCE;

pub(super) struct Player {
    reader: PartReader,
    window: Window,
    playlist: MediaPlaylist,
    pub(super) bytes: Vec<Pieces>,
    pub(super) has_ended: bool,
}

impl Player {
    pub(super) fn new(log: &Arc<StreamLog>, name: &RenditionName) -> Self {
        let session = log.session();
        let config = Config {
            kind: TrackKind::Video,
            target_duration: session.grid.target_duration,
            part_target: session.grid.part_target,
            segments: 6,
            preload_hints: true,
            independent_segments: true,
        };
        let mut window = Window::new(config, Vec::new());
        if let Some(standing) = log.stands_still(name) {
            window.begin_with_gap(&standing.cut, standing.end);
        }
        let playlist = window.playlist();
        Self { reader: log.read_parts(name).unwrap(), window, playlist, bytes: Vec::new(), has_ended: false }
    }

    /// The playlist's text.
    pub(super) fn text(&self) -> String {
        self.window.render()
    }

    /// `3` a segment, `3~` one that is a gap, `3!` one after a discontinuity, `3+2` the open one with its parts, `.` the end.
    pub(super) fn seen(&self) -> String {
        let mark = |discontinuity: bool| if discontinuity { "!" } else { "" };
        let complete = (self.playlist.media_sequence..).zip(&self.playlist.segments).map(|(msn, segment)| {
            format!("{msn}{}{}", mark(segment.lead.discontinuity), if segment.gap { "~" } else { "" })
        });
        let open = &self.playlist.open;
        let msn = self.playlist.media_sequence + self.playlist.segments.len() as u64;
        let open = (!open.parts.is_empty()).then(|| format!("{msn}{}+{}", mark(open.discontinuity), open.parts.len()));
        let end = self.has_ended.then(|| ".".to_owned());
        complete.chain(open).chain(end).collect::<Vec<_>>().join(" ")
    }

    /// Reads until the playlist is as `expected`; what it is otherwise on the way there only goes on (invariant 3).
    pub(super) async fn sees(&mut self, expected: &str) {
        let reading = async {
            while self.seen() != expected {
                self.step().await;
            }
        };
        if timeout(PATIENCE, reading).await.is_err() {
            panic!("saw {:?}, expected {expected:?}", self.seen());
        }
    }

    pub(super) async fn step(&mut self) {
        match self.reader.next().await {
            Ok(FeedItem::Cut(cut)) => self.window.push_cut(&cut).unwrap(),
            Ok(FeedItem::Part(part)) => {
                if self.window.push_part(&part).is_ok()
                    && let headwater_media::PartPayload::Media { data, .. } = &part.payload
                {
                    self.bytes.push(data.clone());
                }
            }
            Ok(FeedItem::ClosedBelow(msn)) => self.window.close_below(msn),
            Err(ReadError::Ended) => {
                self.window.end();
                self.has_ended = true;
            }
            Err(ReadError::Lagged) => {}
            Err(error) => panic!("{error}"),
        }
        if self.window.is_empty() {
            return;
        }
        let playlist = self.window.playlist();
        assert_eq!(check::successor(&self.playlist, &playlist), [], "invariant 3");
        assert_eq!(check::playlist(&playlist), []);
        self.playlist = playlist;
    }

    /// The reader's rendition has stopped.
    pub(super) async fn is_cold(&mut self) {
        let reading = async {
            loop {
                match self.reader.next().await {
                    Err(ReadError::Cold) => return,
                    Err(other) => panic!("{other}"),
                    Ok(_) => {}
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("it becomes cold");
    }
}
