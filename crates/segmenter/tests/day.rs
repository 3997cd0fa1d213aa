//! A day of a publisher whose clocks drift, wrap and begin anew: sound stays with the picture.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "numbers of a test, which are below 2^53"
)]

use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{
    AacConfig, AccessUnit, AudioConfig, AudioFrame, AvcConfig, Instant, Timestamp, VideoConfig, WallTime,
};
use headwater_segmenter::timeline::Config;
use headwater_segmenter::{Event, Profile, Timeline};

/// A record of x264; where it comes from is said in its folder.
const AVCC: &[u8] = include_bytes!("../../media/src/testdata/x264-1080p29.avcc");
const FPS: f64 = 15.0;
const HOUR: f64 = 3600.0;

/// A publisher on paper.
#[derive(Clone, Copy, Debug)]
struct Publisher {
    sample_rate: u32,
    /// Its clock against true time, and its sound card against its clock, in parts per million.
    clock_ppm: f64,
    card_ppm: f64,
    /// What its clock shows at the beginning, and after how many bits it wraps.
    begins: u64,
    bits: u32,
    /// Hours after which it loses its connection for 5 s, again and again.
    reconnects: f64,
}

const PLAIN: Publisher =
    Publisher { sample_rate: 48_000, clock_ppm: 0.0, card_ppm: 0.0, begins: 5000, bits: 32, reconnects: 7.3 };

/// What came of it.
#[derive(Debug, Default)]
struct Day {
    /// The greatest error of sound against pictures, in seconds.
    error: f64,
    discontinuities: u64,
    /// Frames of sound.
    frames: u64,
    silent: u64,
    /// How far timestamps and a count of 1024 samples for each frame were apart at most, in seconds. Only for sound that
    /// is passed through.
    stretched: f64,
}

impl Publisher {
    fn config(&self) -> Arc<AudioConfig> {
        Arc::new(AudioConfig::Aac(AacConfig::lc(self.sample_rate, 2).unwrap()))
    }

    /// What its clock shows at true time `seconds`, in whole and in sent milliseconds.
    fn millis(&self, seconds: f64) -> u32 {
        let millis = self.begins + (seconds * 1000.0 * (1.0 + self.clock_ppm / 1e6)).round() as u64;
        (millis % (1 << self.bits)) as u32
    }

    /// Publishes for `hours`. Each frame of sound carries the true time at which it was recorded.
    fn publish(&self, hours: f64) -> Day {
        let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
        let mut day = Day::default();
        let clock = 1.0 + self.clock_ppm / 1e6;
        let frame_seconds = 1024.0 / f64::from(self.sample_rate) / (1.0 + self.card_ppm / 1e6) / clock;
        let picture_seconds = 1.0 / FPS / clock;
        let (mut sound, mut picture) = (0_u64, 0_u64);
        let mut next_loss = 0.0;
        // How true time lies on the session's timeline, by the pictures: the last one's time and slot.
        let mut shown: Option<(f64, f64)> = None;
        let mut end: Option<Timestamp> = None;
        let mut stretched = 0_i64;
        let avc: Arc<VideoConfig> = Arc::new(AvcConfig::parse(AVCC).unwrap().into());
        while picture as f64 * picture_seconds < hours * HOUR {
            let seconds = picture as f64 * picture_seconds;
            let now = Instant::from_millis((seconds * 1000.0) as u64);
            if seconds >= next_loss {
                next_loss = seconds + self.reconnects * HOUR;
                timeline.end_publisher();
                timeline.begin_publisher(now, WallTime::default());
                timeline.set_video_config(avc.clone());
                timeline.set_audio_config(self.config());
                timeline.hint_frame_rate(FPS);
                // Five seconds are gone.
                picture += 75;
                sound = (picture as f64 * picture_seconds / frame_seconds).ceil() as u64;
                shown = None;
                continue;
            }
            while sound as f64 * frame_seconds <= seconds {
                let recorded = sound as f64 * frame_seconds;
                let data = Bytes::copy_from_slice(&recorded.to_be_bytes());
                timeline.handle_audio(now, AudioFrame { data, pts_millis: self.millis(recorded) });
                sound += 1;
            }
            let unit = AccessUnit {
                data: Bytes::from_static(b"picture"),
                idr: picture % 30 == 0,
                recovery: None,
                dts_millis: self.millis(seconds),
                composition_millis: 0,
            };
            timeline.handle_video(now, unit).unwrap();
            timeline.handle_timeout(now);
            picture += 1;
            while let Some(event) = timeline.poll_event() {
                match event {
                    Event::Cut(cut) => day.discontinuities = cut.discontinuity,
                    // The first picture of a stretch is where its milliseconds say; later ones are moved by up to half
                    // a slot, which is no error of the sound.
                    Event::Video(video) if shown.is_none() => {
                        let start = timeline.grid().unwrap().slot_start(video.slot.0);
                        shown = Some((seconds, start.ticks as f64 / 120_000.0));
                    }
                    Event::Audio(audio) => {
                        day.frames += 1;
                        stretched += i64::from(audio.length_samples) - 1024;
                        day.stretched = day.stretched.max(stretched.abs() as f64 / f64::from(self.sample_rate));
                        if self.config().passes_through() && end.is_some_and(|end| end != audio.start) {
                            // Only where a stretch begins.
                            assert!(shown.is_some_and(|(since, _)| seconds - since < 1.0), "{audio:?}");
                        }
                        end = Some(audio.end());
                        let (Ok(recorded), Some((since, slot))) = (audio.data[..].try_into(), shown) else {
                            day.silent += 1;
                            continue;
                        };
                        let ideal = slot + (f64::from_be_bytes(recorded) - since) * clock;
                        let found = audio.start.ticks as f64 / f64::from(audio.start.timescale.units_per_second());
                        if ideal >= slot {
                            day.error = day.error.max((found - ideal).abs());
                        }
                    }
                    _ => {}
                }
            }
        }
        day
    }
}

/// Half a frame at 48 kHz.
const HALF_A_FRAME: f64 = 0.5 * 1024.0 / 48_000.0;

/// Sound is never half a frame off, neither for players that follow timestamps nor for those that count samples, and a
/// discontinuity comes with each new connection and with nothing else.
fn expect_day(publisher: Publisher) -> Day {
    let day = publisher.publish(24.0);
    assert!(day.error < HALF_A_FRAME, "{publisher:?}: {day:?}");
    assert!(day.stretched < 0.001_4, "{publisher:?}: {day:?}");
    assert_eq!(day.discontinuities, 3, "{publisher:?}");
    day
}

#[test]
fn a_clock_that_is_fast_or_slow_moves_sound_and_picture_alike() {
    for clock_ppm in [-100.0, 100.0] {
        let day = expect_day(Publisher { clock_ppm, ..PLAIN });
        assert!(day.silent < 10, "{day:?}");
    }
}

#[test]
fn a_sound_card_that_drifts_is_corrected_by_a_frame_when_it_is_half_a_frame_off() {
    for card_ppm in [-100.0, 100.0] {
        let day = expect_day(Publisher { card_ppm, ..PLAIN });
        // 8.64 s in a day are 405 frames.
        let silent = if card_ppm < 0.0 { 400..420 } else { 0..10 };
        assert!(silent.contains(&day.silent), "{day:?}");
        // What is encoded again is moved by 2 ms at a time, whatever its frames are.
        let day = expect_day(Publisher { card_ppm, sample_rate: 22_050, ..PLAIN });
        assert!(day.error < 0.003, "{day:?}");
    }
}

#[test]
fn clocks_that_wrap_go_on_without_a_discontinuity() {
    for (bits, begins) in [(32, (1 << 32) - 40_000_000), (31, (1 << 31) - 40_000_000), (24, 5000)] {
        expect_day(Publisher { bits, begins, clock_ppm: 100.0, ..PLAIN });
    }
}
