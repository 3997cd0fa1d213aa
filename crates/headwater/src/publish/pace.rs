//! When each tag of a file is sent and which timestamp it gets, as the file is played again and again.

use std::time::Duration;

use bytes::Bytes;
use headwater_flv::{AudioContent, AudioTag, VideoContent, VideoTag};
use headwater_rtmp::MediaKind;

/// The time of one tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Time {
    /// From the start of publishing.
    pub(crate) after: Duration,
    /// Milliseconds as RTMP writes them, wrapping.
    pub(crate) timestamp: u32,
}

/// Gives tags their times.
///
/// Time starts at the first picture or sound: what stands before it, metadata and configuration, is sent at once
/// whatever its timestamp. In the first pass timestamps stay as they are in the file; each further pass is shifted by
/// the length of the file. All times come from timestamps alone, so nothing adds up.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Time of the first picture or sound.
    origin: Option<i64>,
    /// Time of the last tag of any kind in this pass, unwrapped.
    last: Option<i64>,
    audio: Track,
    video: Track,
    /// What this pass is shifted by.
    shift: i64,
}

#[derive(Debug, Default)]
struct Track {
    last: Option<i64>,
    /// Where the next tag would be, going by the last two.
    end: Option<i64>,
}

/// How long the only picture of a file lasts.
const LONE_MILLIS: i64 = 40;

impl Pace {
    /// The time of the next tag of the file.
    pub(crate) fn next(&mut self, kind: MediaKind, timestamp: u32, body: &Bytes) -> Time {
        let time = self.unwrap(timestamp);
        let track = match kind {
            MediaKind::Video if is_picture(body) => Some(&mut self.video),
            MediaKind::Audio if is_sound(body) => Some(&mut self.audio),
            _ => None,
        };
        if let Some(track) = track {
            track.push(time);
            self.origin.get_or_insert(time);
        }
        let Some(origin) = self.origin else { return Time { after: Duration::ZERO, timestamp } };
        // From the second pass on, configuration does not go back behind the end of the pass before.
        let time = if self.shift > 0 { time.max(origin) } else { time } + self.shift;
        let after = Duration::from_millis(u64::try_from(time - origin).unwrap_or(0));
        Time { after, timestamp: wire(time) }
    }

    /// The file begins again. False when nothing in it takes time.
    pub(crate) fn rewind(&mut self) -> bool {
        let end = self.audio.end.max(self.video.end);
        let (Some(origin), Some(end)) = (self.origin, end) else { return false };
        self.shift += (end - origin).max(1);
        (self.last, self.audio.last, self.video.last) = (None, None, None);
        true
    }

    fn unwrap(&mut self, timestamp: u32) -> i64 {
        let time = match self.last {
            None => i64::from(timestamp),
            // The nearest time that is written like this, before or after the last.
            Some(last) => last + i64::from(timestamp.wrapping_sub(wire(last)).cast_signed()),
        };
        self.last = Some(time);
        time
    }
}

impl Track {
    fn push(&mut self, time: i64) {
        let interval = self.last.map_or(LONE_MILLIS, |last| (time - last).max(1));
        self.last = Some(time);
        self.end = self.end.max(Some(time + interval));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "RTMP's timestamps wrap at 32 bits")]
fn wire(time: i64) -> u32 {
    time as u32
}

fn is_picture(body: &Bytes) -> bool {
    VideoTag::read(body.clone())
        .is_ok_and(|tag| tag.packets.iter().any(|packet| matches!(packet.content, VideoContent::Frame { .. })))
}

fn is_sound(body: &Bytes) -> bool {
    AudioTag::read(body.clone())
        .is_ok_and(|tag| tag.packets.iter().any(|packet| matches!(packet.content, AudioContent::Frame(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Bytes = Bytes::from_static(&[0x17, 0, 0, 0, 0, 1]);
    const PICTURE: Bytes = Bytes::from_static(&[0x27, 1, 0, 0, 0, 1]);
    const SOUND: Bytes = Bytes::from_static(&[0xAF, 1, 0x21]);

    fn video(pace: &mut Pace, timestamp: u32) -> (u64, u32) {
        of(pace.next(MediaKind::Video, timestamp, &PICTURE))
    }

    fn of(time: Time) -> (u64, u32) {
        (time.after.as_millis().try_into().unwrap(), time.timestamp)
    }

    #[test]
    fn time_starts_at_the_first_picture_and_timestamps_stay() {
        let mut pace = Pace::default();
        assert_eq!(of(pace.next(MediaKind::Video, 0, &HEADER)), (0, 0));
        assert_eq!(video(&mut pace, 7000), (0, 7000));
        assert_eq!(video(&mut pace, 7033), (33, 7033));
        assert_eq!(of(pace.next(MediaKind::Video, 0, &HEADER)), (0, 0));
    }

    #[test]
    fn each_pass_goes_on_where_the_longer_track_ends() {
        let mut pace = Pace::default();
        for _ in 0..2 {
            pace.next(MediaKind::Video, 0, &HEADER);
            for timestamp in [1000, 1040, 1080] {
                video(&mut pace, timestamp);
            }
            pace.next(MediaKind::Audio, 1080, &SOUND);
            pace.next(MediaKind::Audio, 1101, &SOUND);
            assert!(pace.rewind());
        }
        // 1000 to 1101 + 21, twice.
        assert_eq!(of(pace.next(MediaKind::Video, 0, &HEADER)), (244, 1244));
        assert_eq!(video(&mut pace, 1000), (244, 1244));
        assert_eq!(video(&mut pace, 1040), (284, 1284));
    }

    #[test]
    fn timestamps_wrap_and_the_pace_goes_on() {
        let mut pace = Pace::default();
        assert_eq!(video(&mut pace, u32::MAX - 9), (0, u32::MAX - 9));
        assert_eq!(video(&mut pace, 20), (30, 20));
        assert!(pace.rewind());
        assert_eq!(video(&mut pace, u32::MAX - 9), (60, 50));
        assert_eq!(video(&mut pace, 20), (90, 80));
    }

    #[test]
    fn a_tag_that_goes_back_is_sent_at_once() {
        let mut pace = Pace::default();
        video(&mut pace, 100);
        assert_eq!(video(&mut pace, 90), (0, 90));
    }

    #[test]
    fn a_file_without_pictures_and_sound_cannot_be_repeated() {
        let mut pace = Pace::default();
        pace.next(MediaKind::Data, 0, &Bytes::new());
        pace.next(MediaKind::Video, 0, &HEADER);
        assert!(!pace.rewind());
    }

    #[test]
    fn a_single_picture_repeats_at_25_a_second() {
        let mut pace = Pace::default();
        for pass in 0..3 {
            assert_eq!(video(&mut pace, 0).0, pass * 40);
            assert!(pace.rewind());
        }
    }
}
