//! ADTS: AAC frames that carry their configuration in a header each (ISO/IEC 13818-7, 6.2). FLV has no place for it, and
//! some encoders put it there.

use super::AacConfig;

/// One frame of ADTS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdtsFrame {
    /// What its header says, as the record that FLV should have carried. `None` when it has channels that only the
    /// bitstream tells, or a rate that nobody knows.
    pub config: Option<AacConfig>,
    /// Bytes of its header: 7, or 9 with a checksum.
    pub header_bytes: usize,
    /// Bytes of it, with the header.
    pub frame_bytes: usize,
}

impl AdtsFrame {
    /// The frame at the start of `data`, if there is one: it must end where the data ends, or where the next one begins.
    /// What an AAC encoder makes without ADTS never looks like that: it would begin with the end of a frame.
    pub fn find(data: &[u8]) -> Option<Self> {
        let frame = Self::read(data)?;
        let rest = data.get(frame.frame_bytes..)?;
        (rest.is_empty() || Self::read(rest).is_some()).then_some(frame)
    }

    fn read(data: &[u8]) -> Option<Self> {
        let header: &[u8; 7] = data.first_chunk()?;
        // Twelve ones, a bit for MPEG-2, two zeros for the layer, and a bit that says that there is no checksum.
        if header[0] != 0xFF || header[1] & 0xF6 != 0xF0 {
            return None;
        }
        let header_bytes = if header[1] & 1 == 1 { 7 } else { 9 };
        let frame_bytes = usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5] >> 5);
        // One raw data block: more than one in a frame is seen nowhere.
        if frame_bytes <= header_bytes || header[6] & 3 != 0 {
            return None;
        }
        let object_type = (header[2] >> 6) + 1;
        let rate_index = header[2] >> 2 & 0xF;
        let channels = (header[2] & 1) << 2 | header[3] >> 6;
        // AudioSpecificConfig: five bits, four, four, and three zeros.
        let record = [object_type << 3 | rate_index >> 1, (rate_index & 1) << 7 | channels << 3];
        let config = AacConfig::parse(bytes::Bytes::copy_from_slice(&record)).ok();
        let config = config.filter(|config| config.channels > 0);
        Some(Self { config, header_bytes, frame_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC of 44.1 kHz, stereo, `payload` bytes behind the header.
    fn frame(payload: usize, checksum: bool) -> Vec<u8> {
        let length = payload + if checksum { 9 } else { 7 };
        let mut frame = vec![0xFF, if checksum { 0xF0 } else { 0xF1 }, 0x50, 0x80, 0, 0x1F, 0xFC];
        frame[3] |= u8::try_from(length >> 11).unwrap();
        frame[4] = u8::try_from(length >> 3 & 0xFF).unwrap();
        frame[5] |= u8::try_from(length & 7).unwrap() << 5;
        frame.resize(length, 0x21);
        frame
    }

    #[test]
    fn a_header_is_a_configuration() {
        for (checksum, bytes) in [(false, 7), (true, 9)] {
            let found = AdtsFrame::find(&frame(300, checksum)).unwrap();
            assert_eq!((found.header_bytes, found.frame_bytes), (bytes, 300 + bytes));
            assert_eq!(found.config, Some(AacConfig::lc(44_100, 2).unwrap()));
        }
    }

    #[test]
    fn several_frames_are_found_one_by_one() {
        let data = [frame(10, false), frame(20, false)].concat();
        let first = AdtsFrame::find(&data).unwrap();
        assert_eq!(first.frame_bytes, 17);
        assert_eq!(AdtsFrame::find(&data[17..]).unwrap().frame_bytes, 27);
    }

    #[test]
    fn what_does_not_fit_is_no_adts() {
        let whole = frame(100, false);
        assert_eq!(AdtsFrame::find(&whole[..50]), None, "longer than what is there");
        assert_eq!(AdtsFrame::find(&[&whole[..], &[0x21; 10]].concat()), None, "something else behind it");
        assert_eq!(AdtsFrame::find(&[0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C, 0, 0]), None);
        assert_eq!(AdtsFrame::find(&[0xFF; 40]), None);
        assert_eq!(AdtsFrame::find(&[]), None);
    }
}
