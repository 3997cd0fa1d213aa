//! A media playlist as a plain struct, and its text. What is in it is decided in [`window`](crate::Window).

use std::fmt;

use headwater_media::{ByteRange, WallTime};

use crate::Seconds;

/// A media playlist. Displays as its text, tags in the order of H-5.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MediaPlaylist {
    /// EXT-X-VERSION (H-6).
    pub version: u8,
    /// EXT-X-I-FRAMES-ONLY: each segment is one IDR, and its length the time to the next one (H-74).
    pub i_frames_only: bool,
    /// EXT-X-TARGETDURATION in seconds (H-8).
    pub target_duration: u32,
    /// EXT-X-SERVER-CONTROL (H-35).
    pub server_control: Option<ServerControl>,
    /// EXT-X-PART-INF:PART-TARGET (H-24).
    pub part_target: Option<Seconds>,
    /// Number of the first segment listed (H-9).
    pub media_sequence: u64,
    /// Discontinuities before the first segment's own tags (H-9).
    pub discontinuity_sequence: u64,
    /// Complete segments.
    pub segments: Vec<Segment>,
    /// The segment that is still growing; [`Lead::is_empty`] when none of it is listed.
    pub open: Lead,
    /// EXT-X-PRELOAD-HINT:TYPE=PART (H-32).
    pub preload_hint: Option<String>,
    /// EXT-X-RENDITION-REPORT lines (H-34).
    pub rendition_reports: Vec<RenditionReport>,
    /// EXT-X-ENDLIST (H-19).
    pub ended: bool,
}

/// EXT-X-SERVER-CONTROL: the same in all media playlists of a presentation (H-35).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerControl {
    /// CAN-BLOCK-RELOAD=YES.
    pub can_block_reload: bool,
    /// CAN-SKIP-UNTIL: delta updates leave out what is older.
    pub can_skip_until: Option<Seconds>,
    /// HOLD-BACK.
    pub hold_back: Option<Seconds>,
    /// PART-HOLD-BACK.
    pub part_hold_back: Option<Seconds>,
}

/// The lines of a segment up to its last part; they come while the segment is still growing (H-28).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lead {
    /// EXT-X-DISCONTINUITY.
    pub discontinuity: bool,
    /// EXT-X-MAP, its URI.
    pub map: Option<String>,
    /// EXT-X-PROGRAM-DATE-TIME.
    pub program_date_time: Option<WallTime>,
    /// EXT-X-PART lines.
    pub parts: Vec<PartLine>,
}

/// A complete segment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Segment {
    /// What comes before its own line.
    pub lead: Lead,
    /// EXT-X-GAP.
    pub gap: bool,
    /// EXTINF.
    pub duration: Seconds,
    /// EXT-X-BYTERANGE: only this piece of what the URI names.
    pub byte_range: Option<ByteRange>,
    /// Its URI.
    pub uri: String,
}

/// An EXT-X-PART line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PartLine {
    /// DURATION.
    pub duration: Seconds,
    /// URI.
    pub uri: String,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES.
    pub gap: bool,
}

/// An EXT-X-RENDITION-REPORT line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RenditionReport {
    /// URI of the other playlist, relative to this one.
    pub uri: String,
    /// LAST-MSN.
    pub last_msn: u64,
    /// LAST-PART.
    pub last_part: Option<u32>,
}

impl Lead {
    /// Nothing of it is in the playlist.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for MediaPlaylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#EXTM3U")?;
        writeln!(f, "#EXT-X-VERSION:{}", self.version)?;
        if self.i_frames_only {
            writeln!(f, "#EXT-X-I-FRAMES-ONLY")?;
        }
        writeln!(f, "#EXT-X-TARGETDURATION:{}", self.target_duration)?;
        if let Some(control) = &self.server_control {
            write!(f, "{control}")?;
        }
        if let Some(target) = self.part_target {
            writeln!(f, "#EXT-X-PART-INF:PART-TARGET={target}")?;
        }
        writeln!(f, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence)?;
        writeln!(f, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)?;
        self.segments.iter().try_for_each(|segment| write!(f, "{segment}"))?;
        write!(f, "{}", self.open)?;
        if let Some(uri) = &self.preload_hint {
            writeln!(f, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{uri}\"")?;
        }
        self.rendition_reports.iter().try_for_each(|report| write!(f, "{report}"))?;
        if self.ended {
            writeln!(f, "#EXT-X-ENDLIST")?;
        }
        Ok(())
    }
}

impl fmt::Display for ServerControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = ':';
        let mut attribute = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
            let before = std::mem::replace(&mut separator, ',');
            write!(f, "{before}{name}={value}")
        };
        write!(f, "#EXT-X-SERVER-CONTROL")?;
        if self.can_block_reload {
            attribute(f, "CAN-BLOCK-RELOAD", &"YES")?;
        }
        for (name, value) in [
            ("CAN-SKIP-UNTIL", self.can_skip_until),
            ("HOLD-BACK", self.hold_back),
            ("PART-HOLD-BACK", self.part_hold_back),
        ] {
            if let Some(value) = value {
                attribute(f, name, &value)?;
            }
        }
        writeln!(f)
    }
}

impl fmt::Display for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.discontinuity {
            writeln!(f, "#EXT-X-DISCONTINUITY")?;
        }
        if let Some(uri) = &self.map {
            writeln!(f, "#EXT-X-MAP:URI=\"{uri}\"")?;
        }
        if let Some(time) = &self.program_date_time {
            writeln!(f, "#EXT-X-PROGRAM-DATE-TIME:{time}")?;
        }
        self.parts.iter().try_for_each(|part| write!(f, "{part}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.lead)?;
        if self.gap {
            writeln!(f, "#EXT-X-GAP")?;
        }
        writeln!(f, "#EXTINF:{},", self.duration)?;
        if let Some(range) = self.byte_range {
            writeln!(f, "#EXT-X-BYTERANGE:{range}")?;
        }
        writeln!(f, "{}", self.uri)
    }
}

impl fmt::Display for PartLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-PART:DURATION={},URI=\"{}\"", self.duration, self.uri)?;
        if self.independent {
            write!(f, ",INDEPENDENT=YES")?;
        }
        if self.gap {
            write!(f, ",GAP=YES")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for RenditionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-RENDITION-REPORT:URI=\"{}\",LAST-MSN={}", self.uri, self.last_msn)?;
        if let Some(part) = self.last_part {
            write!(f, ",LAST-PART={part}")?;
        }
        writeln!(f)
    }
}
