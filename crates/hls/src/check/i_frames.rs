//! Rules of I-frame playlists (H-74, H-38).

use super::{Findings, Violation};
use crate::MediaPlaylist;

/// EXT-X-VERSION from which EXT-X-I-FRAMES-ONLY may have EXT-X-MAP (draft, section 8).
const VERSION: u8 = 5;

/// What an I-frame playlist must have and must not.
pub(super) fn check_i_frames(playlist: &MediaPlaylist, findings: &mut Findings) {
    let version = playlist.version;
    findings.expect(version >= VERSION, "H-74", None, || format!("EXT-X-I-FRAMES-ONLY in version {version}"));
    let has_parts = playlist.leads().any(|(_, lead)| !lead.parts.is_empty());
    let parts = has_parts || playlist.part_target.is_some() || playlist.preload_hint.is_some();
    findings.expect(!parts, "H-38", None, || "an I-frame playlist with parts".to_owned());
    for (msn, segment) in playlist.numbered().filter(|(_, segment)| !segment.gap) {
        let has_bytes = segment.byte_range.is_none_or(|range| range.length > 0);
        findings.expect(has_bytes, "H-74", Some(msn), || "an empty EXT-X-BYTERANGE".to_owned());
    }
}

/// Whether an I-frame playlist of ours goes with the media playlist of the same rendition, read at the same time or
/// later: pieces of the same segments, with the same numbers, lengths and tags (H-74).
pub fn trick_play(media: &MediaPlaylist, i_frames: &MediaPlaylist) -> Vec<Violation> {
    let mut findings = Findings::default();
    findings.expect(i_frames.i_frames_only, "H-74", None, || "no EXT-X-I-FRAMES-ONLY".to_owned());
    let header = |playlist: &MediaPlaylist| (playlist.target_duration, playlist.server_control);
    findings.expect(header(media) == header(i_frames), "H-35", None, || {
        format!("{:?} in one, {:?} in the other", header(media), header(i_frames))
    });
    for ((msn, discontinuity, map), (_, segment)) in i_frames.in_force().zip(i_frames.numbered()) {
        let Some(whole) = media.segment(msn) else { continue };
        let place = (segment.duration, &segment.uri, segment.lead.program_date_time);
        let expected = (whole.duration, &whole.uri, whole.lead.program_date_time);
        findings.expect(place == expected, "H-74", Some(msn), || format!("{place:?} of {expected:?}"));
        findings.expect(segment.gap || !whole.gap, "H-74", Some(msn), || "an I-frame of a gap".to_owned());
        let piece = segment.gap || segment.byte_range.is_some();
        findings.expect(piece, "H-74", Some(msn), || "no EXT-X-BYTERANGE".to_owned());
        let in_force = media.in_force().find(|(number, ..)| *number == msn).map(|(_, count, map)| (count, map));
        // The media playlist's own first EXT-X-MAP is the one in force, so both begin alike.
        findings.expect(in_force == Some((discontinuity, map)), "H-74", Some(msn), || {
            format!("discontinuity number and EXT-X-MAP are {:?}, {in_force:?} in the segments", (discontinuity, map))
        });
    }
    findings.0
}
