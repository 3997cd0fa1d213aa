//! Types of single values. What can be read into one is a good value.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use headwater_ingest::Multitrack;
use headwater_media::StreamKey;
use headwater_router::AudioGroup;
use headwater_segmenter::Profile;
use serde::de::{Deserialize, Deserializer, Error};
use tracing::level_filters::LevelFilter;

/// A text that was read into a `T`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parsed<T>(pub(crate) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    pub(crate) fn get(self) -> u64 {
        self.0.into()
    }

    pub(crate) fn get_u32(self) -> u32 {
        self.0
    }

    pub(crate) fn get_usize(self) -> usize {
        self.0.try_into().expect("every system that this runs on has addresses of 32 bits or more")
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u32::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(D::Error::custom(format!("{number} is not from {MIN} to {MAX}"))),
        }
    }
}

/// An IP address and a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080";
        text.parse().map(Self).map_err(|_| format!("expected {example}; found {text:?}"))
    }
}

/// A latency profile by its name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Latency(pub(crate) Profile);

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Profile::ALL.map(Profile::name).join(", ");
        text.parse().map(Self).map_err(|()| format!("expected one of {names}; found {text:?}"))
    }
}

/// What becomes of a publisher's other video tracks, by its name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tracks(pub(crate) Multitrack);

impl FromStr for Tracks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self(Multitrack::First)),
            "ladder" => Ok(Self(Multitrack::Ladder)),
            _ => Err(format!("expected one of first, ladder; found {text:?}")),
        }
    }
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("expected one of text, json; found {text:?}")),
        }
    }
}

/// The least important lines that are still logged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level(pub(crate) LevelFilter);

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err(format!("expected one of error, warn, info, debug, trace; found {text:?}")),
        }))
    }
}

/// One of a few words.
fn one_of(words: &[&'static str], text: &str) -> Result<&'static str, String> {
    let known = words.iter().find(|word| **word == text);
    known.copied().ok_or_else(|| format!("expected one of {}; found {text:?}", words.join(", ")))
}

/// A preset of libx264.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Preset(pub(crate) &'static str);

const PRESETS: [&str; 9] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];

impl Default for Preset {
    fn default() -> Self {
        Self("superfast")
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(&PRESETS, text).map(Self)
    }
}

/// A tune of libx264; empty for none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tune(pub(crate) &'static str);

const TUNES: [&str; 5] = ["zerolatency", "film", "animation", "grain", "none"];

impl Default for Tune {
    fn default() -> Self {
        Self("zerolatency")
    }
}

impl FromStr for Tune {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(&TUNES, text).map(|tune| Self(if tune == "none" { "" } else { tune }))
    }
}

/// The highest H.264 profile that an encoder uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct X264Profile(pub(crate) &'static str);

const PROFILES: [&str; 3] = ["baseline", "main", "high"];

impl Default for X264Profile {
    fn default() -> Self {
        Self("high")
    }
}

impl FromStr for X264Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(&PROFILES, text).map(Self)
    }
}

/// When gears are made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum WhenWord {
    /// While somebody watches.
    #[default]
    Watched,
    /// As long as the stream is live.
    Always,
}

impl FromStr for WhenWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(&["watched", "always"], text).map(|word| if word == "always" { Self::Always } else { Self::Watched })
    }
}

/// What happens to publishers while the webhook gives no answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum WhenDownWord {
    /// They may publish.
    Allow,
    /// They may not.
    #[default]
    Refuse,
}

impl FromStr for WhenDownWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(&["allow", "refuse"], text).map(|word| if word == "allow" { Self::Allow } else { Self::Refuse })
    }
}

/// The sound that goes with a gear.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Audio(pub(crate) AudioGroup);

impl FromStr for Audio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(&["main", "low"], text)
            .map(|group| Self(if group == "low" { AudioGroup::Low } else { AudioGroup::Main }))
    }
}

/// Every preset, tune and profile at least once.
#[cfg(test)]
pub(crate) fn encoder_words() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let tunes = TUNES.into_iter().cycle().map(|tune| tune.parse::<Tune>().unwrap().0);
    PRESETS
        .into_iter()
        .zip(tunes)
        .zip(PROFILES.into_iter().cycle())
        .map(|((preset, tune), profile)| (preset, tune, profile))
}

/// A stream key. No error shows what was written for it.
#[derive(Clone, Debug)]
pub(crate) struct Secret(pub(crate) StreamKey);

/// Longest stream key; encoders write it into a URL.
const KEY_BYTES_MAX: usize = 512;

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let toml::Value::String(text) = toml::Value::deserialize(deserializer)? else {
            return Err(D::Error::custom("a stream key is a text in quotes"));
        };
        // It stands in the path of rtmp://host/app/KEY and in the query ?key=KEY.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/?&#%\"<>\\".contains(&byte);
        if text.is_empty() || text.len() > KEY_BYTES_MAX || !text.bytes().all(plain) {
            return Err(D::Error::custom(format!(
                "a stream key has 1 to {KEY_BYTES_MAX} visible ASCII characters, none of / ? & # % \" < > \\"
            )));
        }
        Ok(Self(StreamKey::new(text)))
    }
}

/// A secret that goes into a header or signs tokens, of `MIN` characters or more. No error shows what was written for it.
#[derive(Clone, Debug)]
pub(crate) struct Hidden<const MIN: usize>(pub(crate) headwater_ingest::Secret);

impl<'de, const MIN: usize> Deserialize<'de> for Hidden<MIN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text)
                if text.len() >= MIN && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) =>
            {
                Ok(Self(headwater_ingest::Secret::new(text)))
            }
            _ => Err(D::Error::custom(format!("a secret is a text in quotes of at least {MIN} ASCII characters"))),
        }
    }
}

/// Only so that a test can list the keys; values do not matter, and a key is never written out.
#[cfg(test)]
mod serialize {
    use super::{Bounded, Hidden, Parsed, Secret};
    use serde::{Serialize, Serializer};

    impl<T> Serialize for Parsed<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("a text")
        }
    }

    impl<const MIN: u32, const MAX: u32> Serialize for Bounded<MIN, MAX> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u64(self.get())
        }
    }

    impl<const MIN: usize> Serialize for Hidden<MIN> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("a secret")
        }
    }

    impl Serialize for Secret {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("a secret")
        }
    }
}
