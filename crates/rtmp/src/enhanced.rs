//! What the two ends tell each other of Enhanced RTMP when they connect.

use headwater_amf0::{Object, Value};

/// An extension of RTMP that both ends must know of: a bit of `capsEx`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extensions(pub u32);

impl Extensions {
    /// The publisher can be asked to connect again.
    pub const RECONNECT: Self = Self(1);
    /// Several tracks in one stream.
    pub const MULTITRACK: Self = Self(2);
    /// Headers that go on with something else.
    pub const MOD_EX: Self = Self(4);
    /// Times in nanoseconds.
    pub const NANOSECONDS: Self = Self(8);

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `others` are among them.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    pub(crate) fn of(properties: &Object) -> Self {
        let number = properties.number("capsEx").filter(|number| (0.0..=f64::from(u32::MAX)).contains(number));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
        Self(number.unwrap_or_default() as u32)
    }
}

/// What can be done with a codec: the bits of `videoFourCcInfoMap` and `audioFourCcInfoMap`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CodecUse(pub u32);

impl CodecUse {
    /// It is decoded.
    pub const DECODE: Self = Self(1);
    /// It is handed on as it is.
    pub const FORWARD: Self = Self(4);
    /// Both.
    pub const DECODE_AND_FORWARD: Self = Self(5);
}

/// What one end offers. Nothing at all by default, which is how ends were before Enhanced RTMP.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offers {
    /// FourCC of video codecs, and what is done with them. `*` stands for any.
    pub video: &'static [(&'static str, CodecUse)],
    /// The same for audio.
    pub audio: &'static [(&'static str, CodecUse)],
    /// Extensions of the protocol.
    pub extensions: Extensions,
}

impl Offers {
    /// Whether there is anything to tell.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `properties` and what is offered.
    pub(crate) fn tell(&self, properties: Object) -> Object {
        if self.is_empty() {
            return properties;
        }
        let mut names: Vec<Value> = Vec::new();
        for (name, _) in self.video.iter().chain(self.audio) {
            if !names.iter().any(|known| known.as_str() == Some(name)) {
                names.push((*name).into());
            }
        }
        let map = |codecs: &[(&str, CodecUse)]| {
            codecs.iter().fold(Object::default(), |map, (name, CodecUse(bits))| map.with(name, *bits))
        };
        properties
            .with("fourCcList", Value::StrictArray(names))
            .with("videoFourCcInfoMap", map(self.video))
            .with("audioFourCcInfoMap", map(self.audio))
            .with("capsEx", self.extensions.0)
    }

    /// Whether a connecting peer says anything of Enhanced RTMP.
    pub(crate) fn are_asked_for(properties: &Object) -> bool {
        ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"]
            .into_iter()
            .any(|name| properties.get(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_a_list_two_maps_and_a_number() {
        let offers = Offers {
            video: &[("hvc1", CodecUse::DECODE_AND_FORWARD)],
            audio: &[(".mp3", CodecUse::DECODE)],
            extensions: Extensions::MULTITRACK.with(Extensions::RECONNECT),
        };
        let told = offers.tell(Object::default());
        assert_eq!(told.get("fourCcList"), Some(&Value::StrictArray(vec!["hvc1".into(), ".mp3".into()])));
        let video = told.get("videoFourCcInfoMap").and_then(Value::as_object).unwrap();
        assert_eq!(video.number("hvc1"), Some(5.0));
        assert_eq!(Extensions::of(&told), Extensions(3));
        assert!(Offers::are_asked_for(&told) && Extensions::of(&told).has(Extensions::RECONNECT));
        assert_eq!(Offers::default().tell(Object::default()), Object::default());
    }

    #[test]
    fn a_number_that_makes_no_sense_is_nothing() {
        for number in [-1.0, f64::NAN, 1e12] {
            assert_eq!(Extensions::of(&Object::default().with("capsEx", number)), Extensions(0));
        }
    }
}
