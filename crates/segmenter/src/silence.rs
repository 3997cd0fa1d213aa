//! AAC-LC frames that decode to silence, to fill holes in an audio track so that its decode times always meet.

use bytes::Bytes;
use headwater_media::AacConfig;

/// One raw AAC-LC frame of 1024 silent samples: a single channel element, all spectral data zero.
const MONO: &[u8] = &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80];
/// The same with a channel pair element.
const STEREO: &[u8] = &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];

/// A silent frame that decodes with `config`; `None` when its layout is not mono or stereo AAC-LC.
pub(crate) fn silent_frame(config: &AacConfig) -> Option<Bytes> {
    match (config.object_type, config.channels) {
        (2, 1) => Some(Bytes::from_static(MONO)),
        (2, 2) => Some(Bytes::from_static(STEREO)),
        _ => None,
    }
}
