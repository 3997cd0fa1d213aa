//! The I-frame playlist of a rendition, for trick play (H-74): one IDR of each segment, as a byte range of it.
//!
//! Only the IDR with which a segment begins is listed, so that segments have the same numbers, lengths and dates here as
//! in the media playlist, on every edge. Gears have no others.

use super::Window;
use super::listing::{MapTag, VERSION};
use crate::path::File;
use crate::{Decision, Directives, MediaPlaylist, Segment};

impl Window {
    /// The I-frame playlist as a struct: complete segments only, without parts (H-38). A segment that does not begin with
    /// an IDR is a gap.
    pub fn i_frame_playlist(&self) -> MediaPlaylist {
        let mut playlist = MediaPlaylist {
            version: VERSION,
            i_frames_only: true,
            target_duration: self.config.target_duration,
            server_control: Some(self.server_control()),
            ended: self.ended,
            ..MediaPlaylist::default()
        };
        if let Some(front) = self.listed().next() {
            playlist.media_sequence = front.cut.msn.0;
            playlist.discontinuity_sequence = front.cut.discontinuity - u64::from(front.discontinuity);
        }
        let mut map = MapTag::default();
        for entry in self.listed() {
            let Some(closed) = &entry.closed else { break };
            let byte_range = entry.intra.filter(|_| !closed.gap);
            playlist.segments.push(Segment {
                lead: self.lead(entry, map.before(entry), false),
                gap: byte_range.is_none(),
                duration: closed.duration(),
                byte_range,
                uri: File::Segment(entry.cut.msn).to_string(),
            });
        }
        playlist
    }

    /// What to do with a request for the I-frame playlist. It has no parts, so one that asks for a part waits for the
    /// segment (H-38).
    pub fn decide_i_frames(&self, directives: &Directives) -> Decision {
        let after = directives.after.map(|(msn, _)| (msn, None));
        self.decide(&Directives { after, ..*directives })
    }
}
