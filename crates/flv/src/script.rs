//! Script data: metadata and other named values.

use headwater_amf0::{Limits, Object, Value, read_all};

/// A data message or script tag.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptData {
    /// `onMetaData`, with or without `@setDataFrame` before it.
    Metadata(Metadata),
    /// `@clearDataFrame`.
    Clear,
    /// Another name, or none. It is of no use to us and does no harm.
    Other {
        /// The name, if the data begins with a string.
        name: Option<String>,
    },
}

/// What the publisher says about its stream. All of it is a hint: it can be missing, late, wrong, or change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Pixels.
    pub width: Option<f64>,
    /// Pixels.
    pub height: Option<f64>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// kbit/s.
    pub video_data_rate: Option<f64>,
    /// kbit/s.
    pub audio_data_rate: Option<f64>,
    /// Hz.
    pub audio_sample_rate: Option<f64>,
    /// Two channels.
    pub stereo: Option<bool>,
    /// The program that publishes.
    pub encoder: Option<String>,
    /// Everything, in its order.
    pub properties: Object,
}

impl ScriptData {
    /// Reads AMF0 values. What cannot be decoded is cut off; there is always an answer.
    pub fn read(body: &[u8], limits: Limits) -> Self {
        let mut values = read_all(body, limits).values.into_iter().peekable();
        values.next_if(|value| value.as_str() == Some("@setDataFrame"));
        match values.next() {
            Some(Value::String(name)) if name == "onMetaData" => {
                Self::Metadata(Metadata::new(values.next().and_then(into_object).unwrap_or_default()))
            }
            Some(Value::String(name)) if name == "@clearDataFrame" => Self::Clear,
            Some(Value::String(name)) => Self::Other { name: Some(name) },
            _ => Self::Other { name: None },
        }
    }
}

impl Metadata {
    /// Picks the known properties. Numbers that are not positive are as good as missing.
    pub fn new(properties: Object) -> Self {
        let number = |name| properties.number(name).filter(|number| number.is_finite() && *number > 0.0);
        Self {
            width: number("width"),
            height: number("height"),
            // `framerate` in the specification and from FFmpeg; some encoders write `fps`.
            frame_rate: number("framerate").or_else(|| number("fps")),
            video_data_rate: number("videodatarate"),
            audio_data_rate: number("audiodatarate"),
            audio_sample_rate: number("audiosamplerate"),
            stereo: properties.get("stereo").and_then(Value::as_bool),
            encoder: properties.text("encoder").map(str::to_owned),
            properties,
        }
    }

    /// What holds for one of several video tracks: what is said of the stream as a whole, and of track 0, unless
    /// something else is said of this one.
    #[must_use]
    pub fn of_video_track(&self, track: u8) -> Self {
        self.of_track("videoTrackIdInfoMap", track)
    }

    /// As [`of_video_track`](Self::of_video_track), for sound.
    #[must_use]
    pub fn of_audio_track(&self, track: u8) -> Self {
        self.of_track("audioTrackIdInfoMap", track)
    }

    fn of_track(&self, map: &str, track: u8) -> Self {
        let tracks = self.properties.get(map).and_then(Value::as_object);
        let own = tracks.and_then(|tracks| tracks.get(&track.to_string())).and_then(Value::as_object);
        let mut properties = self.properties.clone();
        // Of two properties with one name the last counts.
        properties.0.extend(own.into_iter().flat_map(|own| own.0.iter().cloned()));
        Self::new(properties)
    }
}

fn into_object(value: Value) -> Option<Object> {
    match value {
        Value::Object(object) | Value::EcmaArray(object) | Value::TypedObject { properties: object, .. } => {
            Some(object)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use headwater_amf0::write;

    use super::*;

    fn read(values: &[Value]) -> ScriptData {
        let mut bytes = Vec::new();
        for value in values {
            write(&mut bytes, value);
        }
        ScriptData::read(&bytes, Limits::default())
    }

    fn properties() -> Object {
        Object::default().with("width", 1280u32).with("framerate", 29.97).with("stereo", true).with("encoder", "E 1")
    }

    /// with and without `@setDataFrame`, as object and as ECMA array.
    #[test]
    fn metadata_is_read_in_all_its_forms() {
        let expected = ScriptData::Metadata(Metadata::new(properties()));
        assert_eq!(read(&["@setDataFrame".into(), "onMetaData".into(), properties().into()]), expected);
        assert_eq!(read(&["onMetaData".into(), Value::EcmaArray(properties())]), expected);
        let typed = Value::TypedObject { class: "C".into(), properties: properties() };
        assert_eq!(read(&["onMetaData".into(), typed]), expected);
        let ScriptData::Metadata(metadata) = expected else { panic!("it is metadata") };
        assert_eq!((metadata.width, metadata.height, metadata.frame_rate), (Some(1280.0), None, Some(29.97)));
        assert_eq!((metadata.stereo, metadata.encoder.as_deref()), (Some(true), Some("E 1")));
    }

    /// FFmpeg writes a width of 0 for audio alone, and wrong types occur.
    #[test]
    fn a_hint_that_makes_no_sense_is_missing() {
        let properties = Object::default().with("width", 0u32).with("height", "720").with("framerate", f64::NAN);
        let metadata = Metadata::new(properties);
        assert_eq!((metadata.width, metadata.height, metadata.frame_rate), (None, None, None));
    }

    ///
    #[test]
    fn tracks_say_what_is_different_with_them() {
        let second = Object::default().with("width", 640u32).with("videodatarate", 800u32);
        let map = Object::default().with("1", Value::EcmaArray(second)).with("2", "nonsense");
        let metadata = Metadata::new(properties().with("videoTrackIdInfoMap", map));
        let of = |track| {
            let metadata = metadata.of_video_track(track);
            (metadata.width, metadata.video_data_rate, metadata.frame_rate)
        };
        assert_eq!(of(0), (Some(1280.0), None, Some(29.97)));
        assert_eq!(of(1), (Some(640.0), Some(800.0), Some(29.97)));
        assert_eq!(of(2), of(0));
        assert_eq!(metadata.of_audio_track(1).width, Some(1280.0));
    }

    ///
    #[test]
    fn other_data_is_named_and_nothing_is_an_error() {
        assert_eq!(read(&["@clearDataFrame".into()]), ScriptData::Clear);
        assert_eq!(read(&["onTextData".into()]), ScriptData::Other { name: Some("onTextData".into()) });
        assert_eq!(read(&["onMetaData".into()]), ScriptData::Metadata(Metadata::default()));
        assert_eq!(ScriptData::read(&[0xAF, 1, 2, 3], Limits::default()), ScriptData::Other { name: None });
        assert_eq!(ScriptData::read(&[], Limits::default()), ScriptData::Other { name: None });
    }
}
