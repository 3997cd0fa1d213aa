//! Names and numbers that identify things. A stream key and a stream name never coincide as types.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// `app/name`, public: what a stream is called in URLs, logs and the API.
///
/// The app has 1 to 3 elements; elements and name are `[A-Za-z0-9._-]{1,64}`, none is `.` or `..`, and the first is
/// not a word that the HTTP server uses itself.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamName(Arc<str>);

/// First path elements that the HTTP server uses itself.
const RESERVED: [&str; 7] = ["watch", "api", "metrics", "healthz", "readyz", "t", "assets"];

/// Why a text is not a stream name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not `app/name` with an app of one to three elements.
    #[error("a stream is called app/name, the app having 1 to 3 elements; found {found} elements")]
    Elements {
        /// Elements found, the name included.
        found: usize,
    },
    /// An element has a character or a length that is not allowed.
    #[error("an element of a stream's name has 1 to 64 of A-Z a-z 0-9 . _ -; found {element:?}")]
    Element {
        /// The element, cut to 80 characters.
        element: String,
    },
    /// The first element is a word of the HTTP server, or may become one.
    #[error("a stream's app cannot begin with {element:?}, which is reserved")]
    Reserved {
        /// The element.
        element: String,
    },
}

impl StreamName {
    /// Joins an app and a name.
    pub fn new(app: &str, name: &str) -> Result<Self, NameError> {
        format!("{app}/{name}").parse()
    }

    /// Everything before the last `/`.
    pub fn app(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(app, _)| app)
    }

    /// What follows the last `/`.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// `app/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let elements: Vec<&str> = text.split('/').collect();
        if !(2..=4).contains(&elements.len()) {
            return Err(NameError::Elements { found: elements.len() });
        }
        if let Some(element) = elements.iter().find(|element| !is_element(element)) {
            return Err(NameError::Element { element: element.chars().take(80).collect() });
        }
        if RESERVED.contains(&elements[0]) {
            return Err(NameError::Reserved { element: elements[0].to_owned() });
        }
        Ok(Self(text.into()))
    }
}

fn is_element(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".."
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The secret with which a stream may be published. It shows itself as a short hash only.
#[derive(Clone, Eq)]
pub struct StreamKey(String);

impl StreamKey {
    /// Takes the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself; for comparing and for handing on, never for a log.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl PartialEq for StreamKey {
    /// Compares hashes, so that the time taken says nothing about how much of a guess was right.
    fn eq(&self, other: &Self) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(other.0.as_bytes())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = Sha256::digest(self.0.as_bytes());
        write!(f, "key#{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2])
    }
}

/// One continuous playlist of a stream: `~` and 16 base32 characters, which no stream name can be.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId([u8; 16]);

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl SessionId {
    /// A session id from 10 random bytes.
    pub fn from_random(random: [u8; 10]) -> Self {
        let bits = random.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        Self(std::array::from_fn(|index| BASE32[((bits >> (75 - 5 * index)) & 31) as usize]))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("~")?;
        f.write_str(std::str::from_utf8(&self.0).expect("only base32 characters are ever stored"))
    }
}

impl FromStr for SessionId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let characters: [u8; 16] = text.strip_prefix('~').and_then(|rest| rest.as_bytes().try_into().ok()).ok_or(())?;
        if characters.iter().all(|character| BASE32.contains(character)) { Ok(Self(characters)) } else { Err(()) }
    }
}

/// One home's hold on a stream, counted up: the fencing token.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

/// The right to write one rendition: (epoch, counter), rising. Parts of an older turn are dropped.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Turn {
    /// The home's epoch in which the turn was given.
    pub epoch: Epoch,
    /// How many turns of this rendition were given before it in the epoch.
    pub counter: u32,
}

/// A segment's number in its session (EXT-X-MEDIA-SEQUENCE counts these). The first is 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MediaSequence(pub u64);

impl MediaSequence {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for MediaSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part's place in its segment, from 0.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PartIndex(pub u32);

impl fmt::Display for PartIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One frame time of the session's grid, counted from the session's start. Slot `s` begins at `s x slot_ticks`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VideoSlot(pub i64);

/// `source`, `audio`, or a gear such as `720p-3000`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RenditionName(Arc<str>);

impl RenditionName {
    /// `None` unless the text is `[a-z0-9-]{1,32}`.
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=32).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// The publisher's own video, packaged as it is.
    pub fn source() -> Self {
        Self("source".into())
    }

    /// The publisher's audio: its own where players take that as it is, else encoded again.
    pub fn audio() -> Self {
        Self("audio".into())
    }

    /// The publisher's audio at a low rate.
    pub fn audio_low() -> Self {
        Self("audio-low".into())
    }

    /// The publisher's audio as it came, for players that take it, where `audio` is encoded again.
    pub fn audio_source() -> Self {
        Self("audio-source".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RenditionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_take_one_to_three_app_elements() {
        let name: StreamName = "a/b/c/show".parse().unwrap();
        assert_eq!((name.app(), name.name()), ("a/b/c", "show"));
        assert_eq!("show".parse::<StreamName>(), Err(NameError::Elements { found: 1 }));
        assert!("a/b/c/d/show".parse::<StreamName>().is_err());
    }

    #[test]
    fn stream_names_refuse_what_a_path_could_misread() {
        for text in ["live/", "/show", "live/..", "live/a b", "live/~aaaaaaaaaaaaaaaa", "live/ü"] {
            assert!(matches!(text.parse::<StreamName>(), Err(NameError::Element { .. })), "{text}");
        }
        assert!(matches!("watch/show".parse::<StreamName>(), Err(NameError::Reserved { .. })));
    }

    #[test]
    fn a_session_id_survives_text() {
        let id = SessionId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 255]);
        let text = id.to_string();
        assert_eq!(text.len(), 17);
        assert_eq!(text.parse(), Ok(id));
        assert!("~short".parse::<SessionId>().is_err());
    }

    #[test]
    fn a_stream_key_never_shows_itself() {
        let key = StreamKey::new("very-secret");
        assert!(!format!("{key:?}").contains("secret"));
        assert_ne!(key, StreamKey::new("very-secret2"));
    }

    #[test]
    fn turns_rise_with_the_epoch_first() {
        let turn = |epoch, counter| Turn { epoch: Epoch(epoch), counter };
        assert!(turn(2, 0) > turn(1, 9));
    }
}
