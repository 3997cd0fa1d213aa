//! A publisher's sound: audio packets in, configurations and frames out.

use std::sync::Arc;

use bytes::Bytes;
use headwater_flv::{AudioCodec, AudioContent};
use headwater_media::{AacConfig, Ac3Config, AdtsFrame, AudioConfig, CodecError, FlacConfig, Mp3Config, OpusConfig};
use smallvec::SmallVec;

use crate::publisher::MediaTrouble;

/// What a packet comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// Sound is coded like this from here on.
    Config(Arc<AudioConfig>),
    /// The same, but nobody has said so: the publisher sends AAC without a configuration.
    Guess(Arc<AudioConfig>),
    /// One frame.
    Frame {
        data: Bytes,
        /// How much later than its packet it is.
        after_millis: u32,
    },
}

/// What a packet comes to, in order: nearly always one frame.
pub(crate) type AllHeard = SmallVec<[Heard; 1]>;

/// Why a packet cannot be taken.
#[derive(Clone, Debug)]
pub(crate) enum SoundError {
    /// It cannot be read. The next may be better.
    Damaged(CodecError),
    /// None like it can be taken.
    Trouble(MediaTrouble),
}

impl From<CodecError> for SoundError {
    fn from(error: CodecError) -> Self {
        Self::Damaged(error)
    }
}

/// What is known of a publisher's sound.
#[derive(Debug, Default)]
pub(crate) struct Sound {
    config: Option<Arc<AudioConfig>>,
    /// The configuration record that came last, with what it is of.
    record: Option<(AudioCodec, Bytes)>,
    /// What metadata say: rate in Hz, and channels.
    hint: (Option<u32>, Option<u8>),
}

impl Sound {
    /// Metadata came. It matters only where nothing better does.
    pub(crate) fn hint(&mut self, sample_rate: Option<f64>, stereo: Option<bool>) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        let rate = sample_rate.filter(|rate| (7350.0..=96_000.0).contains(rate)).map(|rate| rate as u32);
        self.hint = (rate, stereo.map(|stereo| if stereo { 2 } else { 1 }));
    }

    /// Takes one packet.
    pub(crate) fn take(&mut self, codec: AudioCodec, content: AudioContent) -> Result<AllHeard, SoundError> {
        let mut heard = AllHeard::new();
        match (codec, content) {
            (AudioCodec::Legacy(_) | AudioCodec::Other(_), _) => {
                return Err(SoundError::Trouble(MediaTrouble::Codec { codec: codec.to_string(), expected: EXPECTED }));
            }
            (_, AudioContent::Config(record)) => self.record(codec, record, &mut heard)?,
            (_, AudioContent::Frame(data)) => match codec {
                AudioCodec::Aac => self.aac(data, &mut heard),
                AudioCodec::Mp3 => {
                    self.change(AudioConfig::Mp3(Mp3Config::parse(&data)?), &mut heard);
                    heard.push(Heard::Frame { data, after_millis: 0 });
                }
                AudioCodec::Opus => self.opus(data, &mut heard)?,
                AudioCodec::Flac => {
                    FlacConfig::block_samples(&data)?;
                    if matches!(self.config.as_deref(), Some(AudioConfig::Flac(_))) {
                        heard.push(Heard::Frame { data, after_millis: 0 });
                    }
                }
                AudioCodec::Ac3 | AudioCodec::Eac3 => {
                    self.ac3(Ac3Config::parse(&data)?, &mut heard);
                    heard.push(Heard::Frame { data, after_millis: 0 });
                }
                AudioCodec::Legacy(_) | AudioCodec::Other(_) => {}
            },
            // Where the channels belong is what the codecs say themselves.
            (_, AudioContent::EndOfSequence | AudioContent::Channels(_)) => {}
        }
        Ok(heard)
    }

    fn change(&mut self, config: AudioConfig, heard: &mut AllHeard) {
        if self.config.as_deref() != Some(&config) {
            let config = Arc::new(config);
            self.config = Some(config.clone());
            heard.push(Heard::Config(config));
        }
    }

    /// A configuration record came. The same one again changes nothing.
    fn record(&mut self, codec: AudioCodec, record: Bytes, heard: &mut AllHeard) -> Result<(), SoundError> {
        let is_still = match self.config.as_deref() {
            None => true,
            Some(AudioConfig::Aac(_)) => codec == AudioCodec::Aac,
            Some(AudioConfig::Opus(_)) => codec == AudioCodec::Opus,
            Some(AudioConfig::Flac(_)) => codec == AudioCodec::Flac,
            Some(AudioConfig::Mp3(_) | AudioConfig::Ac3(_)) => false,
        };
        if is_still && self.record.as_ref().is_some_and(|known| *known == (codec, record.clone())) {
            return Ok(());
        }
        let trouble = |error: CodecError| SoundError::Trouble(error.into());
        match codec {
            AudioCodec::Aac => {
                let aac = AacConfig::parse(record.clone()).map_err(trouble)?;
                let (sample_rate, channels) = (aac.extension_sample_rate.unwrap_or(aac.sample_rate), aac.channels);
                let config = AudioConfig::Aac(aac);
                if !config.is_decodable() {
                    let codec = config.to_string();
                    return Err(SoundError::Trouble(MediaTrouble::Audio { codec, sample_rate, channels }));
                }
                self.change(config, heard);
            }
            AudioCodec::Flac => {
                self.change(AudioConfig::Flac(FlacConfig::parse(&record).map_err(trouble)?), heard);
            }
            // How long packets are is not in the record of Opus: the next one tells.
            AudioCodec::Opus => self.config = None,
            _ => {}
        }
        self.record = Some((codec, record));
        Ok(())
    }

    /// A message of AAC: a raw frame, or frames of ADTS.
    fn aac(&mut self, mut data: Bytes, heard: &mut AllHeard) {
        let told = matches!(self.record, Some((AudioCodec::Aac, _)));
        let mut samples = 0;
        while let Some(frame) = AdtsFrame::find(&data) {
            if let Some(config) = frame.config.filter(|_| !told) {
                self.change(AudioConfig::Aac(config), heard);
            }
            self.guess(heard);
            let Some(config) = &self.config else { return };
            let after_millis = samples * 1000 / config.sample_rate();
            samples += config.frame_samples();
            heard.push(Heard::Frame { data: data.slice(frame.header_bytes..frame.frame_bytes), after_millis });
            data = data.slice(frame.frame_bytes..);
        }
        if !data.is_empty() {
            self.guess(heard);
            heard.push(Heard::Frame { data, after_millis: 0 });
        }
    }

    /// Without any word about AAC it is what metadata say, or what FLV's header says of all AAC: 44.1 kHz, stereo.
    fn guess(&mut self, heard: &mut AllHeard) {
        if matches!(self.config.as_deref(), Some(AudioConfig::Aac(_))) {
            return;
        }
        let (rate, channels) = self.hint;
        if let Ok(config) = AacConfig::lc(rate.unwrap_or(44_100), channels.unwrap_or(2)) {
            let config = Arc::new(AudioConfig::Aac(config));
            self.config = Some(config.clone());
            heard.push(Heard::Guess(config));
        }
    }

    /// A packet of Opus. One that is longer than those before is as good as another configuration.
    fn opus(&mut self, data: Bytes, heard: &mut AllHeard) -> Result<(), SoundError> {
        let samples = OpusConfig::packet_samples(&data)?;
        let known = match self.config.as_deref() {
            Some(AudioConfig::Opus(opus)) => opus.frame_samples >= samples,
            _ => false,
        };
        if !known {
            let head = self.record.as_ref().filter(|(codec, head)| *codec == AudioCodec::Opus && !head.is_empty());
            let config = match head {
                Some((_, head)) => OpusConfig::parse(head, &data).map_err(|error| SoundError::Trouble(error.into()))?,
                None => OpusConfig::guess(&data)?,
            };
            self.change(AudioConfig::Opus(config), heard);
        }
        heard.push(Heard::Frame { data, after_millis: 0 });
        Ok(())
    }

    /// Frames of AC-3 say what they are. The bitrate of E-AC-3 may differ from frame to frame, which changes nothing.
    fn ac3(&mut self, mut config: Ac3Config, heard: &mut AllHeard) {
        if let Some(AudioConfig::Ac3(known)) = self.config.as_deref()
            && known.enhanced
            && config.enhanced
        {
            config.bitrate_kbps = known.bitrate_kbps;
        }
        self.change(AudioConfig::Ac3(config), heard);
    }
}

const EXPECTED: &str = "AAC, MP3, Opus, FLAC, AC-3 or E-AC-3";

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &'static [u8]) -> AudioContent {
        AudioContent::Frame(Bytes::from_static(data))
    }

    fn config(data: &'static [u8]) -> AudioContent {
        AudioContent::Config(Bytes::from_static(data))
    }

    fn heard(data: &'static [u8], after_millis: u32) -> Heard {
        Heard::Frame { data: Bytes::from_static(data), after_millis }
    }

    fn lc(rate: u32, channels: u8) -> Arc<AudioConfig> {
        Arc::new(AudioConfig::Aac(AacConfig::lc(rate, channels).unwrap()))
    }

    /// Two frames of ADTS, AAC-LC of 48 kHz, stereo, with one byte each.
    const ADTS: &[u8] =
        &[0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x1F, 0xFC, 0x21, 0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x1F, 0xFC, 0x22];

    ///
    #[test]
    fn aac_that_nobody_describes_is_what_metadata_say_until_a_configuration_comes() {
        let mut sound = Sound::default();
        sound.hint(Some(48_000.0), Some(false));
        let mut take = |content| sound.take(AudioCodec::Aac, content).unwrap().into_vec();
        assert_eq!(take(frame(b"\x21\x10")), [Heard::Guess(lc(48_000, 1)), heard(b"\x21\x10", 0)]);
        assert_eq!(take(frame(b"\x21\x11")), [heard(b"\x21\x11", 0)]);
        assert_eq!(take(config(&[0x12, 0x10])), [Heard::Config(lc(44_100, 2))]);
        assert_eq!(take(config(&[0x12, 0x10])), [], "R-95");
        let mut unknown = Sound::default();
        unknown.hint(Some(0.5), None);
        let first = unknown.take(AudioCodec::Aac, frame(b"\x21")).unwrap();
        assert_eq!(first[0], Heard::Guess(lc(44_100, 2)));
    }

    ///
    #[test]
    fn adts_is_taken_off_and_says_what_it_is_when_nothing_else_does() {
        let frames = [heard(b"\x21", 0), heard(b"\x22", 21)];
        let mut sound = Sound::default();
        let found = sound.take(AudioCodec::Aac, frame(ADTS)).unwrap();
        assert_eq!(found[0], Heard::Config(lc(48_000, 2)));
        assert_eq!(found[1..], frames);
        // What was configured counts, whatever the headers say.
        let mut told = Sound::default();
        assert_eq!(
            told.take(AudioCodec::Aac, config(&[0x11, 0x88])).unwrap().into_vec(),
            [Heard::Config(lc(48_000, 1))]
        );
        assert_eq!(told.take(AudioCodec::Aac, frame(ADTS)).unwrap().into_vec(), frames);
    }

    /// the header of Opus may be missing, and packets may become longer.
    #[test]
    fn opus_is_described_by_its_header_and_its_longest_packet() {
        let channels = |found: &[Heard]| match &found[0] {
            Heard::Config(config) => Some((config.channels(), config.frame_samples())),
            _ => None,
        };
        let mut sound = Sound::default();
        let mut take = |content| sound.take(AudioCodec::Opus, content).unwrap().into_vec();
        assert_eq!(channels(&take(frame(&[0xF4]))), Some((2, 480)));
        assert_eq!(channels(&take(frame(&[0xF4]))), None);
        assert_eq!(channels(&take(frame(&[0xFC]))), Some((2, 960)));
        assert_eq!(channels(&take(frame(&[0xF4]))), None);
        assert_eq!(take(config(b"OpusHead\x01\x01\x38\x01\x80\xBB\0\0\0\0\0")), []);
        assert_eq!(channels(&take(frame(&[0xF8]))), Some((1, 960)));
        assert_eq!(take(config(b"OpusHead\x01\x01\x38\x01\x80\xBB\0\0\0\0\0")), []);
        assert_eq!(channels(&take(frame(&[0xF8]))), None);
        assert!(matches!(sound.take(AudioCodec::Opus, frame(&[0xFB])), Err(SoundError::Damaged(_))));
    }

    #[test]
    fn flac_waits_for_its_header_and_a_header_that_is_none_is_refused() {
        let mut sound = Sound::default();
        let flac = frame(&[0xFF, 0xF8, 0x59, 0x18, 0, 0]);
        assert_eq!(sound.take(AudioCodec::Flac, flac.clone()).unwrap().into_vec(), []);
        let mut header = vec![0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0x02, 0xF0];
        header.resize(34, 0);
        let found = sound.take(AudioCodec::Flac, AudioContent::Config(header.into())).unwrap();
        assert!(matches!(&found[..], [Heard::Config(config)] if config.frame_samples() == 4608));
        assert_eq!(sound.take(AudioCodec::Flac, flac).unwrap().len(), 1);
        assert!(matches!(sound.take(AudioCodec::Flac, frame(b"noise")), Err(SoundError::Damaged(_))));
        assert!(matches!(sound.take(AudioCodec::Flac, config(b"fLaC")), Err(SoundError::Trouble(_))));
    }

    #[test]
    fn a_record_counts_again_when_the_sound_was_another_meanwhile() {
        let mut sound = Sound::default();
        let aac = || config(&[0x11, 0x90]);
        let mp3 = frame(&[0xFF, 0xFB, 0x90, 0x64, 0]);
        for _ in 0..2 {
            let found = sound.take(AudioCodec::Aac, aac()).unwrap().into_vec();
            assert_eq!(found, [Heard::Config(lc(48_000, 2))]);
            assert_eq!(sound.take(AudioCodec::Aac, aac()).unwrap().into_vec(), []);
            assert_eq!(sound.take(AudioCodec::Mp3, mp3.clone()).unwrap().len(), 2);
        }
    }

    #[test]
    fn the_bitrate_of_enhanced_ac3_may_change_from_frame_to_frame() {
        let mut sound = Sound::default();
        let mut take = |words: u8| {
            let data = Bytes::copy_from_slice(&[0x0B, 0x77, 0, words, 0x34, 0x80, 0, 0]);
            sound.take(AudioCodec::Eac3, AudioContent::Frame(data)).unwrap().len()
        };
        assert_eq!((take(191), take(191), take(120)), (2, 1, 1));
    }

    ///
    #[test]
    fn codecs_that_cannot_be_had_are_named() {
        let error = Sound::default().take(AudioCodec::Legacy(11), frame(b"speex")).unwrap_err();
        let SoundError::Trouble(trouble) = error else { panic!("{error:?}") };
        assert_eq!(trouble.to_string(), "Speex is not supported; send AAC, MP3, Opus, FLAC, AC-3 or E-AC-3");
    }
}
