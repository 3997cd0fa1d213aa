//! From the state of a window to its playlist.

use std::fmt;

use headwater_media::{CutKind, InitId, MediaSequence, PartIndex, RenditionName};

use super::segment::Entry;
use super::{Position, Window};
use crate::path::{self, File};
use crate::{Lead, MediaPlaylist, PartLine, RenditionReport, Seconds, Segment, ServerControl};

/// EXT-X-VERSION of a playlist with EXT-X-MAP (H-6).
pub(super) const VERSION: u8 = 6;

impl Window {
    /// The text of the playlist. Windows in the same state give the same bytes (H-5).
    pub fn render(&self) -> String {
        self.to_string()
    }

    /// The playlist as a struct.
    pub fn playlist(&self) -> MediaPlaylist {
        let mut playlist = MediaPlaylist {
            version: VERSION,
            target_duration: self.config.target_duration,
            server_control: Some(self.server_control()),
            part_target: Some(self.part_target()),
            ended: self.ended,
            ..MediaPlaylist::default()
        };
        if let Some(front) = self.listed().next() {
            playlist.media_sequence = front.cut.msn.0;
            playlist.discontinuity_sequence = front.cut.discontinuity - u64::from(front.discontinuity);
        }
        let with_parts_from = self.with_parts_from();
        let mut map = MapTag::default();
        for entry in self.listed() {
            let uri = map.before(entry);
            match &entry.closed {
                Some(closed) => {
                    playlist.segments.push(Segment {
                        lead: self.lead(entry, uri, entry.cut.msn >= with_parts_from),
                        gap: closed.gap,
                        duration: closed.duration(),
                        byte_range: None,
                        uri: File::Segment(entry.cut.msn).to_string(),
                    });
                }
                None => playlist.open = self.lead(entry, uri, true),
            }
        }
        if self.config.preload_hints {
            playlist.preload_hint = self.next_part().map(|(msn, part)| File::Part(msn, part).to_string());
        }
        if let Some(position) = self.position().filter(|_| !self.ended) {
            playlist.rendition_reports = self.others.iter().map(|other| report(other, position)).collect();
        }
        playlist
    }

    /// The newest segment and part of the playlist. It never falls, but for a window that starts anew.
    pub fn position(&self) -> Option<Position> {
        let last = self.listed().last()?;
        let part = last.next_index().0.checked_sub(1).map(PartIndex);
        Some(Position { msn: last.cut.msn, part })
    }

    /// The part that will come next: what the preload hint names (H-32). `None` before the first part and after the
    /// end.
    pub fn next_part(&self) -> Option<(MediaSequence, PartIndex)> {
        self.first.filter(|_| !self.ended)?;
        let open = self.entries.iter().find(|entry| entry.closed.is_none() && entry.cut.kind == CutKind::Media);
        match open {
            Some(open) => Some((open.cut.msn, open.next_index())),
            None => self.entries.back().map(|last| (last.cut.msn.next(), PartIndex(0))),
        }
    }

    /// PART-TARGET as printed.
    pub(crate) fn part_target(&self) -> Seconds {
        Seconds::round_up(self.config.part_target)
    }

    /// Complete segments that are listed, and the open one once it has a part.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Entry> {
        let first = self.first.unwrap_or(MediaSequence(u64::MAX));
        let from_first = self.entries.iter().skip_while(move |entry| entry.cut.msn < first);
        from_first.take_while(|entry| entry.closed.is_some() || entry.has_parts())
    }

    pub(super) fn server_control(&self) -> ServerControl {
        ServerControl {
            can_block_reload: true,
            can_skip_until: None,
            hold_back: Some(Seconds::whole(self.config.target_duration).times(3)),
            part_hold_back: Some(self.part_target().times(3)),
        }
    }

    /// The first segment whose parts are listed: older ones end more than 3 x TARGETDURATION before the end of the
    /// playlist (H-30). Counted in printed lengths, as a player counts.
    fn with_parts_from(&self) -> MediaSequence {
        let limit = Seconds::whole(self.config.target_duration).times(3);
        let mut from = MediaSequence(u64::MAX);
        let mut after = Seconds::default();
        for entry in self.entries.iter().rev() {
            if after > limit {
                break;
            }
            from = entry.cut.msn;
            let parts = || entry.parts.first().zip(entry.parts_end());
            let open = || parts().map_or(Seconds::default(), |(first, end)| Seconds::between(first.start, end));
            after = after.plus(entry.closed.map_or_else(open, |closed| closed.duration()));
        }
        from
    }

    pub(super) fn lead(&self, entry: &Entry, map: Option<String>, with_parts: bool) -> Lead {
        let lines = entry.parts.iter().zip(0..).filter(|_| with_parts).map(|(part, index)| PartLine {
            duration: Seconds::between(part.start, part.end),
            uri: File::Part(entry.cut.msn, PartIndex(index)).to_string(),
            independent: part.independent,
            gap: part.gap,
        });
        Lead {
            discontinuity: entry.discontinuity,
            map,
            program_date_time: Some(entry.program_date_time(self.config.kind)),
            parts: lines.collect(),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.playlist().fmt(f)
    }
}

fn report(other: &RenditionName, position: Position) -> RenditionReport {
    RenditionReport {
        uri: path::from_other_rendition(other),
        last_msn: position.msn.0,
        last_part: position.part.map(|part| part.0),
    }
}

/// Where EXT-X-MAP is written: before the first segment, after each discontinuity, and when the init changes (H-15).
#[derive(Default)]
pub(super) struct MapTag {
    in_force: Option<InitId>,
}

impl MapTag {
    /// The URI to write before `entry`.
    pub(super) fn before(&mut self, entry: &Entry) -> Option<String> {
        let id = entry.init?;
        let again = self.in_force != Some(id) || entry.discontinuity;
        self.in_force = Some(id);
        again.then(|| File::Init(id).to_string())
    }
}
