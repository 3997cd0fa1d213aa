//! Reads media playlists, ours and others' (H-7). Unknown tags and attributes are passed over.

use std::str::FromStr;

use headwater_media::{ByteRange, WallTime};

use crate::{MediaPlaylist, PartLine, RenditionReport, Seconds, Segment, ServerControl};

/// Why a text is not a media playlist.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The first line is not `#EXTM3U`.
    #[error("the first line is not #EXTM3U")]
    NotAPlaylist,
    /// A tag that may be there once is there again.
    #[error("line {line}: a second {tag}")]
    Repeated {
        /// Line number, from 1.
        line: usize,
        /// The tag.
        tag: &'static str,
    },
    /// Tags of multivariant playlists.
    #[error("line {line}: {tag} belongs to a multivariant playlist")]
    Multivariant {
        /// Line number, from 1.
        line: usize,
        /// The tag.
        tag: &'static str,
    },
    /// A tag's value cannot be read.
    #[error("line {line}: {tag} has no readable {what}")]
    Value {
        /// Line number, from 1.
        line: usize,
        /// The tag.
        tag: &'static str,
        /// What is missing or wrong.
        what: &'static str,
    },
    /// A segment's URI without EXTINF.
    #[error("line {line}: a segment without EXTINF")]
    NoDuration {
        /// Line number, from 1.
        line: usize,
    },
    /// A tag without which it is not a media playlist.
    #[error("{tag} is missing")]
    Missing {
        /// The tag.
        tag: &'static str,
    },
}

impl FromStr for MediaPlaylist {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(first, _)| first.trim_end() != "#EXTM3U") {
            return Err(ParseError::NotAPlaylist);
        }
        let mut reader = Reader::default();
        for (text, line) in lines {
            reader.line(line, text.trim_end())?;
        }
        reader.finish()
    }
}

#[derive(Default)]
struct Reader {
    playlist: MediaPlaylist,
    version: Option<u8>,
    target_duration: Option<u32>,
    duration: Option<Seconds>,
    byte_range: Option<ByteRange>,
    gap: bool,
}

impl Reader {
    fn line(&mut self, line: usize, text: &str) -> Result<(), ParseError> {
        if text.is_empty() {
            return Ok(());
        }
        let Some(tag) = text.strip_prefix('#') else { return self.segment(line, text) };
        let (name, rest) = tag.split_once(':').unwrap_or((tag, ""));
        let playlist = &mut self.playlist;
        match name {
            "EXT-X-VERSION" => once(&mut self.version, line, "EXT-X-VERSION", rest)?,
            "EXT-X-TARGETDURATION" => once(&mut self.target_duration, line, "EXT-X-TARGETDURATION", rest)?,
            "EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = number(line, "EXT-X-MEDIA-SEQUENCE", rest)?,
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                playlist.discontinuity_sequence = number(line, "EXT-X-DISCONTINUITY-SEQUENCE", rest)?;
            }
            "EXT-X-I-FRAMES-ONLY" => playlist.i_frames_only = true,
            "EXT-X-BYTERANGE" => self.byte_range = Some(self.byte_range(line, rest)?),
            "EXT-X-SERVER-CONTROL" => playlist.server_control = Some(server_control(&Tag::new(line, rest))),
            "EXT-X-PART-INF" => {
                playlist.part_target = Some(Tag::new(line, rest).need("EXT-X-PART-INF", "PART-TARGET")?);
            }
            "EXT-X-DISCONTINUITY" => playlist.open.discontinuity = true,
            "EXT-X-MAP" => playlist.open.map = Some(Tag::new(line, rest).uri("EXT-X-MAP")?),
            "EXT-X-PROGRAM-DATE-TIME" => {
                let time = wall_time(rest);
                let tag = "EXT-X-PROGRAM-DATE-TIME";
                playlist.open.program_date_time = Some(time.ok_or(ParseError::Value { line, tag, what: "date" })?);
            }
            "EXT-X-PART" => playlist.open.parts.push(part(&Tag::new(line, rest))?),
            "EXT-X-GAP" => self.gap = true,
            "EXTINF" => {
                let length = rest.split_once(',').map_or(rest, |(length, _)| length);
                self.duration = Some(value(line, "EXTINF", length)?);
            }
            "EXT-X-PRELOAD-HINT" => {
                let tag = Tag::new(line, rest);
                if tag.text("TYPE") == Some("PART") {
                    let uri = tag.uri("EXT-X-PRELOAD-HINT")?;
                    if playlist.preload_hint.replace(uri).is_some() {
                        return Err(ParseError::Repeated { line, tag: "EXT-X-PRELOAD-HINT" });
                    }
                }
            }
            "EXT-X-RENDITION-REPORT" => playlist.rendition_reports.push(report(&Tag::new(line, rest))?),
            "EXT-X-ENDLIST" => playlist.ended = true,
            "EXT-X-I-FRAME-STREAM-INF" => {
                return Err(ParseError::Multivariant { line, tag: "EXT-X-I-FRAME-STREAM-INF" });
            }
            "EXT-X-STREAM-INF" => return Err(ParseError::Multivariant { line, tag: "EXT-X-STREAM-INF" }),
            "EXT-X-MEDIA" => return Err(ParseError::Multivariant { line, tag: "EXT-X-MEDIA" }),
            _ => {}
        }
        Ok(())
    }

    fn segment(&mut self, line: usize, uri: &str) -> Result<(), ParseError> {
        let duration = self.duration.take().ok_or(ParseError::NoDuration { line })?;
        let lead = std::mem::take(&mut self.playlist.open);
        let gap = std::mem::take(&mut self.gap);
        let byte_range = self.byte_range.take();
        self.playlist.segments.push(Segment { lead, gap, duration, byte_range, uri: uri.to_owned() });
        Ok(())
    }

    /// `length[@offset]`; without an offset it begins where the range of the segment before ends.
    fn byte_range(&self, line: usize, text: &str) -> Result<ByteRange, ParseError> {
        const TAG: &str = "EXT-X-BYTERANGE";
        let (length, offset) = match text.split_once('@') {
            Some((length, offset)) => (length, value(line, TAG, offset)?),
            None => {
                let before = self.playlist.segments.last().and_then(|before| before.byte_range);
                let end = before.and_then(|before| before.offset.checked_add(before.length));
                (text, end.ok_or(ParseError::Value { line, tag: TAG, what: "offset" })?)
            }
        };
        Ok(ByteRange { offset, length: value(line, TAG, length)? })
    }

    fn finish(self) -> Result<MediaPlaylist, ParseError> {
        let target_duration = self.target_duration.ok_or(ParseError::Missing { tag: "EXT-X-TARGETDURATION" })?;
        Ok(MediaPlaylist { version: self.version.unwrap_or(1), target_duration, ..self.playlist })
    }
}

fn value<T: FromStr>(line: usize, tag: &'static str, text: &str) -> Result<T, ParseError> {
    text.parse().map_err(|_| ParseError::Value { line, tag, what: "number" })
}

/// The number of a first segment. Those behind it have numbers, too.
fn number(line: usize, tag: &'static str, text: &str) -> Result<u64, ParseError> {
    let number: u64 = value(line, tag, text)?;
    if number > u64::MAX / 2 { Err(ParseError::Value { line, tag, what: "number below 2^63" }) } else { Ok(number) }
}

fn once<T: FromStr>(slot: &mut Option<T>, line: usize, tag: &'static str, text: &str) -> Result<(), ParseError> {
    match slot.replace(value(line, tag, text)?) {
        None => Ok(()),
        Some(_) => Err(ParseError::Repeated { line, tag }),
    }
}

/// An attribute list (H-3) and the line that it stands in.
struct Tag<'a> {
    line: usize,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Tag<'a> {
    fn new(line: usize, mut list: &'a str) -> Self {
        let mut attributes = Vec::new();
        while let Some((name, rest)) = list.split_once('=') {
            let (value, rest) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let (value, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                    (value, after.strip_prefix(',').unwrap_or(after))
                }
                None => rest.split_once(',').unwrap_or((rest, "")),
            };
            attributes.push((name.trim(), value));
            list = rest;
        }
        Self { line, attributes }
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    fn yes(&self, name: &str) -> bool {
        self.text(name) == Some("YES")
    }

    /// A URI with a quote in it did not stand in quotes (H-3), and could not be written again.
    fn uri(&self, tag: &'static str) -> Result<String, ParseError> {
        let uri = self.text("URI").filter(|uri| !uri.contains('"'));
        uri.map(str::to_owned).ok_or(ParseError::Value { line: self.line, tag, what: "URI" })
    }

    fn need<T: FromStr>(&self, tag: &'static str, name: &'static str) -> Result<T, ParseError> {
        let value = self.text(name).and_then(|text| text.parse().ok());
        value.ok_or(ParseError::Value { line: self.line, tag, what: name })
    }
}

fn server_control(tag: &Tag<'_>) -> ServerControl {
    let seconds = |name| tag.text(name).and_then(|text| text.parse().ok());
    ServerControl {
        can_block_reload: tag.yes("CAN-BLOCK-RELOAD"),
        can_skip_until: seconds("CAN-SKIP-UNTIL"),
        hold_back: seconds("HOLD-BACK"),
        part_hold_back: seconds("PART-HOLD-BACK"),
    }
}

fn part(tag: &Tag<'_>) -> Result<PartLine, ParseError> {
    Ok(PartLine {
        duration: tag.need("EXT-X-PART", "DURATION")?,
        uri: tag.uri("EXT-X-PART")?,
        independent: tag.yes("INDEPENDENT"),
        gap: tag.yes("GAP"),
    })
}

fn report(tag: &Tag<'_>) -> Result<RenditionReport, ParseError> {
    Ok(RenditionReport {
        uri: tag.uri("EXT-X-RENDITION-REPORT")?,
        last_msn: tag.need("EXT-X-RENDITION-REPORT", "LAST-MSN")?,
        last_part: tag.text("LAST-PART").and_then(|text| text.parse().ok()),
    })
}

/// `YYYY-MM-DDThh:mm:ss[.fff](Z|+hh:mm|+hhmm)`, to the millisecond.
fn wall_time(text: &str) -> Option<WallTime> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, zone_minutes) = match time.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => {
            let sign_at = time.rfind(['+', '-'])?;
            let (clock, zone) = time.split_at(sign_at);
            let digits: String = zone[1..].chars().filter(|character| *character != ':').collect();
            let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
            let minutes = number / 100 * 60 + number % 100;
            (clock, if zone.starts_with('-') { -minutes } else { minutes })
        }
    };
    let mut clock = clock.splitn(3, ':');
    let (hour, minute): (i64, i64) = (clock.next()?.parse().ok()?, clock.next()?.parse().ok()?);
    let second: Seconds = clock.next()?.parse().ok()?;
    // The first and the last year are left out: another zone may move them to one that has no four digits.
    let in_range = (1..9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let in_range = in_range && (0..24).contains(&hour) && (0..60).contains(&minute) && second < Seconds::whole(61);
    if !in_range {
        return None;
    }
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - zone_minutes;
    Some(WallTime { unix_millis: minutes * 60_000 + (second.centi_millis + 50).div_euclid(100) })
}

/// Year, month, day to days since 1970-01-01 (Howard Hinnant's algorithm: years begin in March).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ParseError {
        text.parse::<MediaPlaylist>().expect_err("it is not a media playlist")
    }

    #[test]
    fn what_is_unknown_is_passed_over() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-NEW:A=1\n# a remark\n#EXT-X-MAP:X=\"a,b=c\",URI=\"i\"\n#EXTINF:4,title\n1\n";
        let playlist: MediaPlaylist = text.parse().unwrap();
        assert_eq!(playlist.segments.len(), 1);
        assert_eq!(playlist.segments[0].lead.map.as_deref(), Some("i"));
        assert_eq!(playlist.segments[0].duration, Seconds::whole(4));
    }

    #[test]
    fn broken_playlists_are_refused() {
        let tag = "EXT-X-VERSION";
        assert_eq!(error(""), ParseError::NotAPlaylist);
        assert_eq!(error("#EXTM3U8\n"), ParseError::NotAPlaylist);
        assert_eq!(error("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-VERSION:6\n"), ParseError::Repeated { line: 3, tag });
        assert_eq!(error("#EXTM3U\n#EXT-X-VERSION:6\n"), ParseError::Missing { tag: "EXT-X-TARGETDURATION" });
        let multivariant = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n";
        assert_eq!(error(multivariant), ParseError::Multivariant { line: 2, tag: "EXT-X-STREAM-INF" });
        assert_eq!(error("#EXTM3U\n#EXT-X-TARGETDURATION:4\n1.ts\n"), ParseError::NoDuration { line: 3 });
        let part = "#EXTM3U\n#EXT-X-PART:URI=\"a\"\n";
        assert_eq!(error(part), ParseError::Value { line: 2, tag: "EXT-X-PART", what: "DURATION" });
        let map = "#EXTM3U\n#EXT-X-MAP:URI=/\".mp4\n";
        assert_eq!(error(map), ParseError::Value { line: 2, tag: "EXT-X-MAP", what: "URI" });
    }

    #[test]
    fn byte_ranges_without_an_offset_follow_the_one_before() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:4,\n#EXT-X-BYTERANGE:10@5\n1\n#EXTINF:4,\n\
             #EXT-X-BYTERANGE:7\n1\n";
        let playlist: MediaPlaylist = text.parse().unwrap();
        let ranges: Vec<_> = playlist.segments.iter().map(|segment| segment.byte_range).collect();
        assert!(playlist.i_frames_only);
        assert_eq!(ranges, [ByteRange { offset: 5, length: 10 }, ByteRange { offset: 15, length: 7 }].map(Some));
        let (tag, what) = ("EXT-X-BYTERANGE", "offset");
        let first = "#EXTM3U\n#EXTINF:4,\n#EXT-X-BYTERANGE:7\n1\n";
        assert_eq!(error(first), ParseError::Value { line: 3, tag, what });
    }

    #[test]
    fn dates_are_read_in_any_zone() {
        let millis = |text: &str| wall_time(text).map(|time| time.unix_millis);
        assert_eq!(millis("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(millis("2026-03-01T12:00:12.007Z"), Some(1_772_366_412_007));
        assert_eq!(millis("2026-03-01T13:00:12.007+01:00"), Some(1_772_366_412_007));
        assert_eq!(millis("2026-03-01T06:30:12.007-0530"), Some(1_772_366_412_007));
        assert_eq!(millis("2000-02-29T00:00:00.000Z"), Some(951_782_400_000));
        for wrong in ["", "2026-03-01", "2026-13-01T00:00:00Z", "2026-03-01T00:00:00", "2026-03-01T25:00:00Z"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
        for year in ["0000", "9999", "6148914691236514885", "-1"] {
            assert_eq!(millis(&format!("{year}-03-01T00:00:00Z")), None, "{year}");
        }
    }
}
