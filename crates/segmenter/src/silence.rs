//! AAC-LC frames that decode to silence, to fill holes in an audio track so that its decode times always meet.

use bytes::Bytes;
use headwater_media::AudioConfig;

/// One raw AAC-LC frame of 1024 silent samples: a single channel element, all spectral data zero.
const MONO: &[u8] = &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80];
/// The same with a channel pair element.
const STEREO: &[u8] = &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];

/// A silent frame that decodes with `config`; empty where sound must be decoded anyway, which then means silence.
pub(crate) fn silent_frame(config: &AudioConfig) -> Bytes {
    match config {
        AudioConfig::Aac(aac) if aac.passes_through() => {
            Bytes::from_static(if aac.channels == 1 { MONO } else { STEREO })
        }
        _ => Bytes::new(),
    }
}
