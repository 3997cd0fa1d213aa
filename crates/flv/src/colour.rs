//! Video metadata: colour.

use bytes::{BufMut, BytesMut};
use headwater_amf0::{Limits, Object, Value, read_all, write};

/// `colorInfo`: how colours of the following pictures are meant, where the bitstream does not say it. Nothing at all
/// takes back what was said before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColourInfo {
    /// `colorPrimaries`, a code point of ITU-T H.273.
    pub primaries: Option<u8>,
    /// `transferCharacteristics`, a code point of ITU-T H.273.
    pub transfer: Option<u8>,
    /// `matrixCoefficients`, a code point of ITU-T H.273.
    pub matrix: Option<u8>,
    /// `bitDepth`.
    pub bit_depth: Option<u8>,
    /// All of it, in its order: `colorConfig`, `hdrCll`, `hdrMdcv`.
    pub properties: Object,
}

impl ColourInfo {
    /// Picks the known properties. Numbers that are no code points are as good as missing.
    pub fn new(properties: Object) -> Self {
        let config = properties.get("colorConfig").and_then(Value::as_object);
        let code = |name| {
            let number = config?.number(name).filter(|number| (0.0..=255.0).contains(number))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
            Some(number as u8)
        };
        Self {
            primaries: code("colorPrimaries"),
            transfer: code("transferCharacteristics"),
            matrix: code("matrixCoefficients"),
            bit_depth: code("bitDepth"),
            properties,
        }
    }

    /// Reads pairs of names and values; `None` when `colorInfo` is not among them. What cannot be decoded is cut off.
    pub(crate) fn read(payload: &[u8], limits: Limits) -> Option<Self> {
        let values = read_all(payload, limits).values;
        let at = values.iter().position(|value| value.as_str() == Some(NAME))?;
        Some(Self::new(values.get(at + 1).and_then(Value::as_object).cloned().unwrap_or_default()))
    }

    pub(crate) fn write(&self) -> BytesMut {
        let mut out = Vec::new();
        write(&mut out, &NAME.into());
        write(&mut out, &Value::Object(self.properties.clone()));
        let mut bytes = BytesMut::new();
        bytes.put_slice(&out);
        bytes
    }
}

const NAME: &str = "colorInfo";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[Value]) -> Option<ColourInfo> {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| write(&mut bytes, value));
        ColourInfo::read(&bytes, Limits::default())
    }

    ///
    #[test]
    fn colour_is_read_and_taken_back() {
        let config = Object::default()
            .with("bitDepth", 10u32)
            .with("colorPrimaries", 9u32)
            .with("transferCharacteristics", 16u32)
            .with("matrixCoefficients", 300u32);
        let info = read(&["colorInfo".into(), Object::default().with("colorConfig", config).into()]).unwrap();
        assert_eq!((info.primaries, info.transfer, info.matrix, info.bit_depth), (Some(9), Some(16), None, Some(10)));
        assert_eq!(read(&["colorInfo".into(), Value::Undefined]), Some(ColourInfo::default()));
        assert_eq!(read(&["colorInfo".into(), Object::default().into()]), Some(ColourInfo::default()));
        assert_eq!(read(&["else".into(), Object::default().into()]), None);
        assert_eq!(ColourInfo::read(&info.write(), Limits::default()), Some(info));
    }
}
