//! The multivariant playlist: what variants a stream has. Checklist section 8.

use std::fmt;

use headwater_media::{FrameRate, Timestamp, VideoRange};

/// A multivariant playlist. Displays as its text; variants in the order of [`variants`](Self::variants).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Multivariant {
    /// EXT-X-INDEPENDENT-SEGMENTS: every segment begins with an IDR (H-20).
    pub independent_segments: bool,
    /// EXT-X-MEDIA lines of TYPE=AUDIO.
    pub audio: Vec<AudioRendition>,
    /// EXT-X-MEDIA lines of TYPE=CLOSED-CAPTIONS: the INSTREAM-ID of each, which is its name too (H-72).
    pub captions: Vec<&'static str>,
    /// EXT-X-STREAM-INF lines. A player starts with the first one.
    pub variants: Vec<Variant>,
    /// EXT-X-I-FRAME-STREAM-INF lines.
    pub i_frames: Vec<IFrameVariant>,
}

/// An audio rendition with its own playlist (H-71).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AudioRendition {
    /// GROUP-ID: variants refer to it.
    pub group: String,
    /// Number of channels.
    pub channels: u8,
    /// URI of its media playlist.
    pub uri: String,
}

/// A variant (H-70): a video rendition with the audio that goes with it, or audio alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Variant {
    /// BANDWIDTH and AVERAGE-BANDWIDTH, audio included.
    pub bandwidth: Bandwidth,
    /// CODECS of the variant and of its audio, from the init segments (H-77).
    pub codecs: Vec<String>,
    /// RESOLUTION: display size; `None` for audio alone.
    pub resolution: Option<(u32, u32)>,
    /// FRAME-RATE; `None` for audio alone.
    pub frame_rate: Option<FrameRate>,
    /// VIDEO-RANGE, written if that of any variant is not SDR.
    pub range: VideoRange,
    /// AUDIO: group of an [`AudioRendition`].
    pub audio: Option<String>,
    /// URI of its media playlist.
    pub uri: String,
}

/// The I-frame playlist of a video rendition (H-74).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IFrameVariant {
    /// BANDWIDTH and AVERAGE-BANDWIDTH of the I-frames alone.
    pub bandwidth: Bandwidth,
    /// CODECS of the video.
    pub codecs: String,
    /// RESOLUTION: display size.
    pub resolution: Option<(u32, u32)>,
    /// VIDEO-RANGE, as of variants.
    pub range: VideoRange,
    /// URI of its I-frame playlist.
    pub uri: String,
}

/// Declared rates of a variant, bits per second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bandwidth {
    /// BANDWIDTH.
    pub peak_bps: u64,
    /// AVERAGE-BANDWIDTH.
    pub average_bps: u64,
}

/// What packaging adds to a rendition (H-76): box headers of each part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overhead {
    /// Bytes of `moof` and of the `mdat` header in one part.
    pub header_bytes: u64,
    /// Length of a part.
    pub part: Timestamp,
}

/// A player's start variant is the one nearest to this average rate (H-73).
const START_BPS: u64 = 2_000_000;
/// GROUP-ID of the captions.
const CAPTIONS_GROUP: &str = "cc";

impl Multivariant {
    /// Puts variants in order: the one to start with first, the others by rising rate (H-73).
    pub fn new(independent_segments: bool, audio: Vec<AudioRendition>, mut variants: Vec<Variant>) -> Self {
        variants.sort_by_key(|variant| variant.bandwidth.average_bps);
        let distance = |variant: &Variant| variant.bandwidth.average_bps.abs_diff(START_BPS);
        let start = variants.iter().enumerate().min_by_key(|(_, variant)| distance(variant)).map(|(place, _)| place);
        if let Some(start) = start {
            variants[..=start].rotate_right(1);
        }
        Self { independent_segments, audio, captions: Vec::new(), variants, i_frames: Vec::new() }
    }
}

impl Bandwidth {
    /// Rates of a video rendition with audio, by the formula of H-76. `buffer_bits` is the encoder's VBV buffer and
    /// `target_duration` in seconds. Audio that is absent has rate 0.
    pub fn of_video(
        average_bps: u64,
        rate_max_bps: u64,
        buffer_bits: u64,
        target_duration: u32,
        audio_bps: u64,
        overheads: &[Overhead],
    ) -> Self {
        let overhead: u64 = overheads.iter().map(Overhead::bps).sum();
        let burst = buffer_bits.div_ceil(u64::from(target_duration.max(1)));
        Self {
            peak_bps: to_thousands(rate_max_bps + burst + with_margin(audio_bps) + overhead),
            average_bps: to_thousands(average_bps + audio_bps + overhead),
        }
    }

    /// Rates of the I-frames of a rendition, from measured ones (H-75). They are measured over what is past, so a quarter
    /// is added; and scenes differ most in their I-frames, so neither is less than what the rate control allows:
    /// `peak_allowed_bps` at a time, half of it on average.
    pub fn of_i_frames(average_bps: u64, peak_bps: u64, peak_allowed_bps: u64) -> Self {
        let with_quarter = |bps: u64| bps + bps.div_ceil(4);
        let peak = with_quarter(peak_bps).max(peak_allowed_bps);
        let average = with_quarter(average_bps).max(peak_allowed_bps / 2);
        Self { peak_bps: to_thousands(peak), average_bps: to_thousands(average) }
    }

    /// Rates of an audio rendition alone.
    pub fn of_audio(audio_bps: u64, overhead: Overhead) -> Self {
        Self {
            peak_bps: to_thousands(with_margin(audio_bps) + overhead.bps()),
            average_bps: to_thousands(audio_bps + overhead.bps()),
        }
    }
}

/// Audio peaks at 1.05 of its rate.
const fn with_margin(audio_bps: u64) -> u64 {
    audio_bps + audio_bps.div_ceil(20)
}

const fn to_thousands(bps: u64) -> u64 {
    bps.div_ceil(1000) * 1000
}

impl Overhead {
    /// Video parts of `samples` pictures: 112 bytes, and 8 for the size and flags of each.
    pub const fn video(samples: u64, part: Timestamp) -> Self {
        Self { header_bytes: 112 + 8 * samples, part }
    }

    /// Audio parts of `samples` frames: 100 bytes, and 4 for the size of each.
    pub const fn audio(samples: u64, part: Timestamp) -> Self {
        Self { header_bytes: 100 + 4 * samples, part }
    }

    /// Captions in video parts of `samples` pictures: 19 bytes around those of each picture, and the 1800 bytes a second
    /// that captions have at any frame rate (C-34).
    pub fn captions(samples: u64, part: Timestamp) -> Self {
        let per_second = u64::from(part.timescale.units_per_second());
        let data = (1800 * part.ticks.unsigned_abs()).div_ceil(per_second);
        Self { header_bytes: 19 * samples + data, part }
    }

    /// Bits per second, rounded up.
    pub fn bps(&self) -> u64 {
        let bits = u128::from(self.header_bytes) * 8 * u128::from(self.part.timescale.units_per_second());
        u64::try_from(bits.div_ceil(u128::from(self.part.ticks.max(1).unsigned_abs()))).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Multivariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SERVICEn is of version 7.
        let version = if self.captions.iter().any(|name| name.starts_with("SERVICE")) { 7 } else { 6 };
        writeln!(f, "#EXTM3U\n#EXT-X-VERSION:{version}")?;
        if self.independent_segments {
            writeln!(f, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        self.audio.iter().try_for_each(|audio| write!(f, "{audio}"))?;
        self.captions.iter().try_for_each(|name| write_captions(f, name))?;
        let captions = if self.captions.is_empty() { "NONE".to_owned() } else { format!("\"{CAPTIONS_GROUP}\"") };
        let hdr = self.variants.iter().any(|variant| variant.range != VideoRange::Sdr);
        self.variants.iter().try_for_each(|variant| variant.write(f, hdr, &captions))?;
        self.i_frames.iter().try_for_each(|i_frames| i_frames.write(f, hdr))
    }
}

impl fmt::Display for AudioRendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{}\",NAME=\"Main\",LANGUAGE=\"und\"", self.group)?;
        writeln!(f, ",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"{}\",URI=\"{}\"", self.channels, self.uri)
    }
}

/// A line for captions in the video, whose language nobody tells us.
fn write_captions(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(f, "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"{CAPTIONS_GROUP}\",NAME=\"{name}\",LANGUAGE=\"und\"")?;
    writeln!(f, ",AUTOSELECT=YES,INSTREAM-ID=\"{name}\"")
}

impl Variant {
    /// Its lines; `hdr`: VIDEO-RANGE is written; `captions` is the value of CLOSED-CAPTIONS, which all variants share
    /// (H-70, H-72).
    fn write(&self, f: &mut fmt::Formatter<'_>, hdr: bool, captions: &str) -> fmt::Result {
        let Bandwidth { peak_bps, average_bps } = self.bandwidth;
        write!(f, "#EXT-X-STREAM-INF:BANDWIDTH={peak_bps},AVERAGE-BANDWIDTH={average_bps}")?;
        write!(f, ",CODECS=\"{}\"", self.codecs.join(","))?;
        if let Some((width, height)) = self.resolution {
            write!(f, ",RESOLUTION={width}x{height}")?;
        }
        if let Some(rate) = self.frame_rate {
            let (numerator, denominator) = rate.fraction();
            let thousandths = (u64::from(numerator) * 1000 + u64::from(denominator) / 2) / u64::from(denominator);
            write!(f, ",FRAME-RATE={}.{:03}", thousandths / 1000, thousandths % 1000)?;
        }
        if hdr && self.resolution.is_some() {
            write!(f, ",VIDEO-RANGE={}", self.range)?;
        }
        if let Some(group) = &self.audio {
            write!(f, ",AUDIO=\"{group}\"")?;
        }
        writeln!(f, ",CLOSED-CAPTIONS={captions}\n{}", self.uri)
    }
}

impl IFrameVariant {
    fn write(&self, f: &mut fmt::Formatter<'_>, hdr: bool) -> fmt::Result {
        let Bandwidth { peak_bps, average_bps } = self.bandwidth;
        write!(f, "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak_bps},AVERAGE-BANDWIDTH={average_bps}")?;
        write!(f, ",CODECS=\"{}\"", self.codecs)?;
        if let Some((width, height)) = self.resolution {
            write!(f, ",RESOLUTION={width}x{height}")?;
        }
        if hdr {
            write!(f, ",VIDEO-RANGE={}", self.range)?;
        }
        writeln!(f, ",URI=\"{}\"", self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gear(average: u64, buffer: u64, audio: u64, size: (u32, u32), codecs: [&str; 2], uri: &str) -> Variant {
        let second = Timestamp::video(120_000);
        let overheads = [Overhead::video(30, second), Overhead::audio(47, second)];
        Variant {
            bandwidth: Bandwidth::of_video(average, average + average / 10, buffer, 4, audio, &overheads),
            codecs: codecs.map(str::to_owned).to_vec(),
            resolution: Some(size),
            frame_rate: Some(FrameRate::FPS_30),
            range: VideoRange::Sdr,
            audio: Some("audio".to_owned()),
            uri: uri.to_owned(),
        }
    }

    #[test]
    fn the_checklists_ladder_has_its_rates_and_order() {
        let audio = AudioRendition {
            group: "audio".to_owned(),
            channels: 2,
            uri: "~abcdefghij234567/audio/index.m3u8".to_owned(),
        };
        let variants = vec![
            gear(7_800_000, 7_800_000, 128_000, (1920, 1080), ["avc1.640028", "mp4a.40.2"], "nine"),
            gear(365_000, 365_000, 128_000, (640, 360), ["avc1.64001e", "mp4a.40.2"], "two"),
            gear(2_000_000, 2_000_000, 128_000, (960, 540), ["avc1.64001f", "mp4a.40.2"], "five"),
        ];
        assert_eq!(
            Multivariant::new(true, vec![audio], variants).to_string(),
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Main\",LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"~abcdefghij234567/audio/index.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=2840000,AVERAGE-BANDWIDTH=2134000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=960x540,FRAME-RATE=30.000,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE
five
#EXT-X-STREAM-INF:BANDWIDTH=633000,AVERAGE-BANDWIDTH=499000,CODECS=\"avc1.64001e,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=30.000,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE
two
#EXT-X-STREAM-INF:BANDWIDTH=10670000,AVERAGE-BANDWIDTH=7934000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=1920x1080,FRAME-RATE=30.000,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE
nine
"
        );
    }

    #[test]
    fn audio_alone_is_a_variant_of_its_own() {
        let variant = Variant {
            bandwidth: Bandwidth::of_audio(128_000, Overhead::audio(10, Timestamp::video(25_600))),
            codecs: vec!["mp4a.40.2".to_owned()],
            resolution: None,
            frame_rate: None,
            range: VideoRange::Sdr,
            audio: None,
            uri: "~abcdefghij234567/audio/index.m3u8".to_owned(),
        };
        assert_eq!(
            Multivariant::new(true, Vec::new(), vec![variant]).to_string(),
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=140000,AVERAGE-BANDWIDTH=134000,CODECS=\"mp4a.40.2\",CLOSED-CAPTIONS=NONE
~abcdefghij234567/audio/index.m3u8
"
        );
    }

    #[test]
    fn i_frame_playlists_come_last_and_have_their_own_rates() {
        let mut playlist = Multivariant::new(true, Vec::new(), Vec::new());
        playlist.i_frames.push(IFrameVariant {
            bandwidth: Bandwidth::of_i_frames(190_000, 240_100, 0),
            codecs: "avc1.64001f".to_owned(),
            resolution: Some((960, 540)),
            range: VideoRange::Sdr,
            uri: "~abcdefghij234567/540p-2000/iframes.m3u8".to_owned(),
        });
        assert_eq!(
            playlist.to_string(),
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=301000,AVERAGE-BANDWIDTH=238000,CODECS=\"avc1.64001f\",RESOLUTION=960x540,URI=\"~abcdefghij234567/540p-2000/iframes.m3u8\"
"
        );
    }

    #[test]
    fn i_frames_are_declared_with_what_the_rate_control_allows_at_least() {
        let rates = |average, peak, allowed| {
            let bandwidth = Bandwidth::of_i_frames(average, peak, allowed);
            (bandwidth.peak_bps, bandwidth.average_bps)
        };
        assert_eq!(rates(40_000, 60_000, 750_000), (750_000, 375_000));
        assert_eq!(rates(400_000, 800_000, 750_000), (1_000_000, 500_000));
    }

    /// H-70: VIDEO-RANGE, on all that has pictures, unless everything is SDR.
    #[test]
    fn the_range_is_said_when_something_is_hdr() {
        let sdr = gear(365_000, 1, 0, (640, 360), ["a", "b"], "two");
        let hdr = Variant { range: VideoRange::Pq, ..gear(2_000_000, 1, 0, (960, 540), ["a", "b"], "five") };
        let sound = Variant { resolution: None, frame_rate: None, ..sdr.clone() };
        let text = |variants: &[&Variant]| {
            let variants = variants.iter().map(|variant| (*variant).clone()).collect();
            let mut playlist = Multivariant::new(true, Vec::new(), variants);
            playlist.i_frames.push(IFrameVariant {
                bandwidth: Bandwidth::of_i_frames(1, 1, 1),
                codecs: "a".to_owned(),
                resolution: None,
                range: VideoRange::Sdr,
                uri: "i".to_owned(),
            });
            playlist.to_string()
        };
        assert!(!text(&[&sdr, &sound]).contains("VIDEO-RANGE"));
        let text = text(&[&sdr, &hdr, &sound]);
        assert_eq!((text.matches("VIDEO-RANGE=PQ,").count(), text.matches("VIDEO-RANGE=SDR,").count()), (1, 2));
    }

    #[test]
    fn fractional_frame_rates_have_three_decimals() {
        let mut variant = gear(2_000_000, 1, 0, (2, 2), ["a", "b"], "u");
        variant.frame_rate = FrameRate::snap(29.97);
        assert!(Multivariant::new(true, Vec::new(), vec![variant]).to_string().contains("FRAME-RATE=29.970,"));
    }

    #[test]
    fn captions_are_announced_on_all_variants_or_on_none() {
        let variants = vec![
            gear(365_000, 1, 0, (640, 360), ["a", "b"], "two"),
            gear(2_000_000, 1, 0, (960, 540), ["a", "b"], "five"),
        ];
        let none = Multivariant::new(true, Vec::new(), variants);
        assert_eq!(none.to_string().matches(",CLOSED-CAPTIONS=NONE\n").count(), 2);
        let some = Multivariant { captions: vec!["CC1", "CC3"], ..none }.to_string();
        assert_eq!(some.matches(",CLOSED-CAPTIONS=\"cc\"\n").count(), 2);
        assert!(some.starts_with("#EXTM3U\n#EXT-X-VERSION:6\n"));
        for name in ["CC1", "CC3"] {
            let line = format!(
                "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"{name}\",LANGUAGE=\"und\",AUTOSELECT=YES,\
                 INSTREAM-ID=\"{name}\"\n"
            );
            assert!(some.contains(&line), "{some}");
        }
    }

    #[test]
    fn services_of_cea_708_need_version_7() {
        let variants = vec![gear(365_000, 1, 0, (640, 360), ["a", "b"], "two")];
        let services = Multivariant { captions: vec!["CC1", "SERVICE1"], ..Multivariant::new(true, vec![], variants) };
        assert!(services.to_string().starts_with("#EXTM3U\n#EXT-X-VERSION:7\n"));
    }
}
