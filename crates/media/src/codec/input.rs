//! A publisher's video: configuration records and payloads in, configurations and clean access units out.

use std::sync::Arc;

use bytes::Bytes;

use super::{Av1Config, AvcConfig, CodecError, Colour, HevcConfig, NormalisedUnit, VideoCoding, VideoConfig};
use super::{Vp9Config, Vp9Record};

/// One track of video, as it comes.
///
/// H.264 and HEVC are configured by their record, and by parameter sets in pictures: they take the place of those with
/// their ids, and of a record that does not come. AV1 and VP9 say all that matters again in every keyframe,
/// and that counts: the record of VP9 lacks the pictures' size, and encoders leave records out.
#[derive(Clone, Debug)]
pub struct VideoInput {
    coding: VideoCoding,
    /// What came last. The same again changes nothing, although parameter sets may have come since.
    record: Bytes,
    /// What the bitstream says.
    said: Option<VideoConfig>,
    /// That, with what it leaves open about colour.
    config: Option<Arc<VideoConfig>>,
    /// Of VP9.
    vp9: Option<Vp9Record>,
    colour: Option<Colour>,
}

impl VideoInput {
    /// A track of which nothing has come.
    pub fn new(coding: VideoCoding) -> Self {
        Self { coding, record: Bytes::new(), said: None, config: None, vp9: None, colour: None }
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
            // Encoders that send start codes in place of lengths may do so here too.
            VideoCoding::Avc => {
                let config = AvcConfig::parse(&record);
                Some(config.or_else(|error| AvcConfig::parse_annex_b(&record).map_err(|_| error))?.into())
            }
            VideoCoding::Hevc => {
                let config = HevcConfig::parse(&record);
                let config = config.or_else(|error| HevcConfig::parse_annex_b(&record).map_err(|_| error))?;
                Some(VideoConfig::Hevc(config))
            }
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
    pub fn hint_colour(&mut self, colour: Option<Colour>) {
        self.colour = colour;
        if let Some(said) = self.said.take() {
            self.change(said);
        }
    }

    /// Cleans the payload of one picture. Before it, a configuration in it takes effect. `None`: nothing is known yet
    /// that would decode it.
    pub fn access_unit(&mut self, payload: &Bytes) -> Result<Option<NormalisedUnit>, CodecError> {
        match self.coding {
            VideoCoding::Avc | VideoCoding::Hevc => return self.nal_units(payload),
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

    fn nal_units(&mut self, payload: &Bytes) -> Result<Option<NormalisedUnit>, CodecError> {
        if self.config.is_none()
            && let Some(config) = VideoConfig::in_band(self.coding, payload)
        {
            self.change(config);
        }
        let Some(config) = &self.config else { return Ok(None) };
        let mut unit = config.access_unit(payload)?;
        if let Some(changed) = config.with_sets(&unit.parameter_sets) {
            // Whether decoding can begin with a picture is for the sets to say that come with it.
            unit = changed.access_unit(payload)?;
            self.change(changed);
        }
        Ok(Some(unit))
    }

    fn change(&mut self, mut config: VideoConfig) {
        self.said = Some(config.clone());
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
    const AVCC_SMALL: &[u8] = include_bytes!("../testdata/x264-baseline60.avcc");
    const HVCC: &[u8] = include_bytes!("../testdata/x265-main.hvcc");
    const AV1C: &[u8] = include_bytes!("../testdata/svtav1-main.av1c");
    /// As in `vp9.rs`, 322x182; and an inter frame.
    const VP9_KEYFRAME: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x00, 0x14, 0x10, 0x0B, 0x50, 0x00];
    const VP9_FRAME: &[u8] = &[0x86, 0];

    fn payload(units: &[&Bytes]) -> Bytes {
        let units = units.iter();
        units.flat_map(|unit| [&u32::try_from(unit.len()).unwrap().to_be_bytes()[..], unit].concat()).collect()
    }

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

    /// what a picture brings counts until another record comes.
    #[test]
    fn parameter_sets_in_a_picture_change_the_configuration() {
        let (large, small) = (AvcConfig::parse(AVCC).unwrap(), AvcConfig::parse(AVCC_SMALL).unwrap());
        let mut input = VideoInput::new(VideoCoding::Avc);
        input.set_record(Bytes::from_static(AVCC)).unwrap();
        let first = input.config().unwrap().clone();
        let idr = Bytes::from_static(&[0x65, 0x88, 0x84]);
        let own = payload(&[&large.sps[0], &large.pps[0], &idr]);
        assert!(input.access_unit(&own).unwrap().is_some_and(|unit| unit.idr && unit.has_picture));
        assert!(Arc::ptr_eq(&first, input.config().unwrap()), "nothing new");
        let other = payload(&[&small.sps[0], &small.pps[0], &idr]);
        assert!(input.access_unit(&other).unwrap().is_some_and(|unit| unit.idr));
        assert_eq!(input.config().unwrap().size(), (small.parsed.width, small.parsed.height));
        input.set_record(Bytes::from_static(AVCC)).unwrap();
        assert_eq!(input.config().unwrap().size(), (small.parsed.width, small.parsed.height), "the same record again");
        let hint = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        input.hint_colour(Some(hint));
        let config = input.config().unwrap();
        assert_eq!((config.size().0, config.colour()), (small.parsed.width, Some(hint)));
    }

    ///
    #[test]
    fn without_a_record_the_parameter_sets_of_a_keyframe_configure() {
        let hevc = HevcConfig::parse(HVCC).unwrap();
        let avc = AvcConfig::parse(AVCC).unwrap();
        for (coding, sets, idr) in [
            (VideoCoding::Avc, vec![&avc.sps[0], &avc.pps[0]], &[0x65, 0x88, 0x84]),
            (VideoCoding::Hevc, vec![&hevc.vps[0], &hevc.sps[0], &hevc.pps[0]], &[40, 1, 0xAF]),
        ] {
            let idr = Bytes::copy_from_slice(idr);
            let mut input = VideoInput::new(coding);
            assert_eq!(input.access_unit(&payload(&[&idr])), Ok(None));
            let units: Vec<&Bytes> = sets.iter().copied().chain([&idr]).collect();
            assert!(input.access_unit(&payload(&units)).unwrap().is_some_and(|unit| unit.idr), "{coding}");
            assert!(input.config().is_some());
            let mut input = VideoInput::new(coding);
            let record: Vec<u8> = sets.iter().flat_map(|set| [&[0, 0, 0, 1], &set[..]].concat()).collect();
            input.set_record(record.into()).unwrap();
            assert!(input.access_unit(&payload(&[&idr])).unwrap().is_some_and(|unit| unit.idr), "{coding}");
        }
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
        input.hint_colour(Some(hint));
        input.set_record(Bytes::from_static(AVCC)).unwrap();
        assert_eq!(input.config().unwrap().colour(), Some(hint));
        input.hint_colour(None);
        assert_eq!(input.config().unwrap().colour(), None);
    }
}
