//! A publisher's video: configuration records and payloads in, configurations and clean access units out.

use std::sync::Arc;

use bytes::Bytes;

use super::{Av1Config, AvcConfig, CodecError, Colour, HevcConfig, NormalisedUnit, VideoCoding, VideoConfig};
use super::{Vp9Config, Vp9Record};

/// One track of video, as it comes.
///
/// H.264 and HEVC are configured by their record alone. AV1 and VP9 say all that matters again in every keyframe, and
/// that counts: the record of VP9 lacks the pictures' size, and encoders leave records out.
#[derive(Clone, Debug)]
pub struct VideoInput {
    coding: VideoCoding,
    record: Bytes,
    config: Option<Arc<VideoConfig>>,
    /// Of VP9.
    vp9: Option<Vp9Record>,
    colour: Option<Colour>,
}

impl VideoInput {
    /// A track of which nothing has come.
    pub fn new(coding: VideoCoding) -> Self {
        Self { coding, record: Bytes::new(), config: None, vp9: None, colour: None }
    }

    /// The codec.
    pub fn coding(&self) -> VideoCoding {
        self.coding
    }

    /// What decodes the next picture; the same `Arc` as long as it does not change.
    pub fn config(&self) -> Option<&Arc<VideoConfig>> {
        self.config.as_ref()
    }

    /// Takes a configuration record. One that equals the last changes nothing.
    pub fn set_record(&mut self, record: Bytes) -> Result<(), CodecError> {
        if record == self.record {
            return Ok(());
        }
        let config = match self.coding {
            VideoCoding::Avc => Some(AvcConfig::parse(&record)?.into()),
            VideoCoding::Hevc => Some(VideoConfig::Hevc(HevcConfig::parse(&record)?)),
            VideoCoding::Av1 => Av1Config::parse(&record)?.map(VideoConfig::Av1),
            VideoCoding::Vp9 => {
                self.vp9 = Some(Vp9Record::parse(&record)?);
                None
            }
        };
        self.record = record;
        if let Some(config) = config {
            self.change(config);
        }
        Ok(())
    }

    /// How colours are meant where the bitstream does not say it; `None` takes back what was said. Holds from the
    /// next configuration on, and at once if there is one.
    pub fn hint_colour(&mut self, colour: Option<Colour>) -> Result<(), CodecError> {
        if self.colour == colour {
            return Ok(());
        }
        self.colour = colour;
        // What the bitstream itself said is in the record, or comes with the next keyframe.
        let record = std::mem::take(&mut self.record);
        if record.is_empty() { Ok(()) } else { self.set_record(record) }
    }

    /// Cleans the payload of one picture. Before it, a configuration in it takes effect. `None`: nothing is known yet
    /// that would decode it.
    pub fn access_unit(&mut self, payload: &Bytes) -> Result<Option<NormalisedUnit>, CodecError> {
        match self.coding {
            VideoCoding::Avc | VideoCoding::Hevc => {}
            VideoCoding::Av1 => {
                if let Some(config) = Av1Config::from_temporal_unit(payload)? {
                    self.change(VideoConfig::Av1(config));
                }
            }
            VideoCoding::Vp9 => {
                if let Ok(config) = Vp9Config::from_keyframe(payload, self.vp9) {
                    self.change(VideoConfig::Vp9(config));
                }
            }
        }
        self.config.as_ref().map(|config| config.access_unit(payload)).transpose()
    }

    fn change(&mut self, mut config: VideoConfig) {
        if let Some(hint) = self.colour {
            config.hint_colour(hint);
        }
        if self.config.as_deref() != Some(&config) {
            self.config = Some(Arc::new(config));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVCC: &[u8] = include_bytes!("../testdata/x264-1080p29.avcc");
    const AV1C: &[u8] = include_bytes!("../testdata/svtav1-main.av1c");
    /// As in `vp9.rs`, 322x182; and an inter frame.
    const VP9_KEYFRAME: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x00, 0x14, 0x10, 0x0B, 0x50, 0x00];
    const VP9_FRAME: &[u8] = &[0x86, 0];

    ///
    #[test]
    fn the_same_record_again_is_the_same_configuration() {
        let mut input = VideoInput::new(VideoCoding::Avc);
        input.set_record(Bytes::from_static(AVCC)).unwrap();
        let first = input.config().unwrap().clone();
        input.set_record(Bytes::from_static(AVCC)).unwrap();
        assert!(Arc::ptr_eq(&first, input.config().unwrap()));
        assert!(input.set_record(Bytes::from_static(&[0])).is_err());
        assert!(Arc::ptr_eq(&first, input.config().unwrap()));
    }

    #[test]
    fn av1_is_configured_by_its_record_or_by_a_keyframe() {
        let mut input = VideoInput::new(VideoCoding::Av1);
        let frame = Bytes::from_static(&[0x32, 1, 0x30]);
        assert_eq!(input.access_unit(&frame), Ok(None));
        let keyframe = [&AV1C[4..], &[0x32, 1, 0x10]].concat();
        assert!(input.access_unit(&keyframe.into()).unwrap().is_some_and(|unit| unit.idr));
        let first = input.config().unwrap().clone();
        input.set_record(Bytes::from_static(AV1C)).unwrap();
        assert!(Arc::ptr_eq(&first, input.config().unwrap()));
        assert!(input.access_unit(&frame).unwrap().is_some());
    }

    #[test]
    fn vp9_is_configured_by_its_keyframes_and_what_the_record_adds() {
        let mut input = VideoInput::new(VideoCoding::Vp9);
        input.set_record(Bytes::from_static(&[0, 30, 0x82, 1, 1, 1, 0, 0])).unwrap();
        assert_eq!(input.access_unit(&Bytes::from_static(VP9_FRAME)), Ok(None));
        assert_eq!(input.config(), None);
        assert!(input.access_unit(&Bytes::from_static(VP9_KEYFRAME)).unwrap().is_some_and(|unit| unit.idr));
        let first = input.config().unwrap().clone();
        assert_eq!((first.size(), first.codec_string()), ((322, 182), "vp09.00.30.08".into()));
        assert!(input.access_unit(&Bytes::from_static(VP9_FRAME)).unwrap().is_some_and(|unit| !unit.idr));
        assert!(Arc::ptr_eq(&first, input.config().unwrap()));
    }

    ///
    #[test]
    fn a_hint_of_colours_makes_another_configuration_and_can_be_taken_back() {
        let mut input = VideoInput::new(VideoCoding::Avc);
        let hint = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        input.hint_colour(Some(hint)).unwrap();
        input.set_record(Bytes::from_static(AVCC)).unwrap();
        assert_eq!(input.config().unwrap().colour(), Some(hint));
        input.hint_colour(None).unwrap();
        assert_eq!(input.config().unwrap().colour(), None);
    }
}
