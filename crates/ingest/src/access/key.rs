//! Stream keys as they are kept: hashed, and bound to a stream or to all streams of an app.

use std::fmt;
use std::str::FromStr;

use headwater_media::{NameError, StreamName};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// SHA-256 of a stream key: what is kept of it.
///
/// There is no salt and no slow hash: these are for secrets that people think up. A key is drawn at random with 160 bits
/// (`headwater key new`), which nobody guesses at any speed, and each publish costs one hash however many keys there are.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

/// A text is not a [`KeyHash`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a key's SHA-256 has 64 hexadecimal digits; `headwater key hash` prints it")]
pub struct KeyHashError;

impl KeyHash {
    /// Hashes a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

impl ConstantTimeEq for KeyHash {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for KeyHash {}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    /// As short as a stream key shows itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key#{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2])
    }
}

impl FromStr for KeyHash {
    type Err = KeyHashError;

    fn from_str(text: &str) -> Result<Self, KeyHashError> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyHashError);
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| KeyHashError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyHashError)?;
        }
        Ok(Self(hash))
    }
}

/// One stream, or all streams of an app.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamPattern {
    /// `app/name`.
    One(StreamName),
    /// `app/*`: every name directly under the app.
    App(String),
}

impl StreamPattern {
    /// Whether it means this stream, too.
    pub fn covers(&self, stream: &StreamName) -> bool {
        match self {
            Self::One(one) => one == stream,
            Self::App(app) => app == stream.app(),
        }
    }

    /// The app.
    pub fn app(&self) -> &str {
        match self {
            Self::One(one) => one.app(),
            Self::App(app) => app,
        }
    }
}

impl FromStr for StreamPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_suffix("/*") {
            // Any name will do to see whether the app is one.
            Some(app) => StreamName::new(app, "any").map(|stream| Self::App(stream.app().to_owned())),
            None => text.parse().map(Self::One),
        }
    }
}

impl fmt::Display for StreamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(stream) => stream.fmt(f),
            Self::App(app) => write!(f, "{app}/*"),
        }
    }
}

/// A key and what may be published with it.
#[derive(Clone, Debug)]
pub struct KeyRule {
    /// What may be published.
    pub streams: StreamPattern,
    /// The key's hash.
    pub key: KeyHash,
}

/// The rules whose key is `given`. Looks at all of them, so that the time taken does not tell which one it was.
pub(crate) fn rules_for<'a>(rules: &'a [KeyRule], given: &KeyHash) -> Vec<&'a KeyRule> {
    rules.iter().filter(|rule| rule.key == *given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written_and_is_that_of_sha256sum() {
        let hash = KeyHash::of("sesame");
        let text = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
        assert_eq!(text[1..].parse::<KeyHash>(), Err(KeyHashError));
        assert_eq!(text.replace('d', "+").parse::<KeyHash>(), Err(KeyHashError));
        assert_ne!(hash, KeyHash::of("sesame2"));
    }

    #[test]
    fn a_hash_shows_itself_short_in_logs() {
        assert_eq!(format!("{:?}", KeyHash::of("sesame")), format!("{:?}", headwater_media::StreamKey::new("sesame")));
    }

    #[test]
    fn a_pattern_covers_the_names_of_its_app_and_no_app_below() {
        let pattern: StreamPattern = "a/b/*".parse().unwrap();
        assert_eq!(pattern.to_string(), "a/b/*");
        let covers = |stream: &str| pattern.covers(&stream.parse().unwrap());
        assert!(covers("a/b/show"));
        assert!(!covers("a/show") && !covers("a/b/c/show") && !covers("a/bb/show"));
        for bad in ["*", "/*", "live/*/x", "live/sh*", "watch/*", "a b/*"] {
            assert!(bad.parse::<StreamPattern>().is_err(), "{bad}");
        }
    }
}
