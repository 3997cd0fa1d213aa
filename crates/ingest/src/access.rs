//! Who may publish what (architecture 2): stream keys, and how often an address may fail.

mod attempts;
mod key;

use std::net::IpAddr;
use std::time::Duration;

use headwater_media::{Instant, NameError, StreamKey, StreamName};
use headwater_rtmp::PublishRequest;

use attempts::Attempts;
use key::rules_for;
pub use key::{KeyHash, KeyHashError, KeyRule, StreamPattern};

/// Who may publish what.
#[derive(Clone, Debug, Default)]
pub struct AccessSettings {
    /// Keys, and what may be published with each.
    pub keys: Vec<KeyRule>,
    /// Failures that an address may have in a minute before it has to wait; 0: any number.
    pub failures_per_minute: u32,
}

impl AccessSettings {
    /// Whether anyone may publish anything, which is for loopback only.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Why a publish request is denied. The text is for the publisher and the log, and holds no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Denied {
    /// No configured stream has this key, or not under this app.
    #[error("the stream key is not known here")]
    UnknownKey,
    /// The key is for other streams.
    #[error("the stream key is not for this name")]
    OtherName,
    /// The key is for all streams of an app, and the request names none.
    #[error("this stream key is for several streams: publish rtmp://HOST/APP/NAME?key=KEY")]
    NameMissing,
    /// The name is not one that a stream can have. It may be a secret in the wrong place.
    #[error("a stream's name has 1 to 64 of A-Z a-z 0-9 . _ -")]
    SecretName,
    /// The same where there are no secrets.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Too many failures from the publisher's address.
    #[error("too many failed attempts from this address; wait {} s", .wait.as_secs() + 1)]
    TooMany {
        /// Until the next try counts.
        wait: Duration,
    },
}

impl Denied {
    /// Label of the metric.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "too_many_failures",
            _ => "denied",
        }
    }

    /// Whether it looks like somebody who guesses.
    fn counts(&self) -> bool {
        !matches!(self, Self::Name(_) | Self::TooMany { .. })
    }
}

/// What a publisher says to be let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials<'a> {
    pub(crate) app: &'a str,
    /// A stream's name, or a secret in its place.
    pub(crate) name: &'a StreamKey,
    /// `?key=`
    pub(crate) key: Option<&'a str>,
}

impl<'a> From<&'a PublishRequest> for Credentials<'a> {
    fn from(request: &'a PublishRequest) -> Self {
        Self { app: &request.app, name: &request.name, key: request.parameters.get("key") }
    }
}

impl Credentials<'_> {
    fn stream(&self) -> Result<StreamName, Denied> {
        StreamName::new(self.app, self.name.secret()).map_err(|_| Denied::SecretName)
    }
}

/// What is remembered about those who want to publish.
#[derive(Debug, Default)]
pub(crate) struct Access {
    attempts: Attempts,
}

impl Access {
    /// The stream that a publisher at `address` may publish.
    pub(crate) fn stream_for(
        &self,
        settings: &AccessSettings,
        given: Credentials<'_>,
        address: IpAddr,
        now: Instant,
    ) -> Result<StreamName, Denied> {
        if let Some(wait) = self.attempts.blocked_for(address, now, settings.failures_per_minute) {
            return Err(Denied::TooMany { wait });
        }
        let decided = decide(settings, given);
        if decided.as_ref().is_err_and(Denied::counts) {
            self.attempts.failed(address, now, settings.failures_per_minute);
        }
        decided
    }
}

/// `rtmp://host/live/KEY` publishes the stream that the key belongs to, `rtmp://host/live/show?key=KEY` names it. Without
/// keys any name will do.
fn decide(settings: &AccessSettings, given: Credentials<'_>) -> Result<StreamName, Denied> {
    if settings.is_open() {
        return Ok(StreamName::new(given.app, given.name.secret())?);
    }
    match given.key {
        Some(key) => {
            let rules = rules_for(&settings.keys, &KeyHash::of(key));
            if rules.is_empty() {
                return Err(Denied::UnknownKey);
            }
            let stream = given.stream()?;
            rules.iter().find(|rule| rule.streams.covers(&stream)).map(|_| stream).ok_or(Denied::OtherName)
        }
        None => {
            let rules = rules_for(&settings.keys, &KeyHash::of(given.name.secret()));
            let mut here = rules.iter().filter(|rule| rule.streams.app() == given.app).peekable();
            let any = here.peek().is_some();
            let one = here.find_map(|rule| match &rule.streams {
                StreamPattern::One(stream) => Some(stream.clone()),
                StreamPattern::App(_) => None,
            });
            one.ok_or(if any { Denied::NameMissing } else { Denied::UnknownKey })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> AccessSettings {
        let rule = |streams: &str, key: &str| KeyRule { streams: streams.parse().unwrap(), key: KeyHash::of(key) };
        AccessSettings {
            keys: vec![rule("live/show", "sesame"), rule("live/news", "tulip"), rule("school/*", "chalk")],
            failures_per_minute: 2,
        }
    }

    fn ask(app: &str, name: &str, key: Option<&str>) -> Result<String, Denied> {
        let name = StreamKey::new(name);
        decide(&settings(), Credentials { app, name: &name, key }).map(|stream| stream.to_string())
    }

    #[test]
    fn a_key_as_name_publishes_its_stream() {
        assert_eq!(ask("live", "tulip", None), Ok("live/news".into()));
        assert_eq!(ask("other", "tulip", None), Err(Denied::UnknownKey));
    }

    #[test]
    fn a_name_needs_its_own_key() {
        assert_eq!(ask("live", "show", Some("sesame")), Ok("live/show".into()));
        assert_eq!(ask("live", "show", Some("tulip")), Err(Denied::OtherName));
        assert_eq!(ask("live", "show", Some("")), Err(Denied::UnknownKey));
        assert_eq!(ask("live", "show", None), Err(Denied::UnknownKey));
    }

    #[test]
    fn a_key_of_an_app_publishes_every_name_of_it() {
        assert_eq!(ask("school", "physics", Some("chalk")), Ok("school/physics".into()));
        assert_eq!(ask("live", "show", Some("chalk")), Err(Denied::OtherName));
        assert_eq!(ask("school", "chalk", None), Err(Denied::NameMissing));
        assert_eq!(ask("live", "chalk", None), Err(Denied::UnknownKey));
        assert_eq!(ask("school", "a b", Some("chalk")), Err(Denied::SecretName));
    }

    #[test]
    fn without_keys_every_good_name_will_do() {
        let open = |name: &str| {
            decide(&AccessSettings::default(), Credentials { app: "live", name: &StreamKey::new(name), key: None })
        };
        assert_eq!(open("x").unwrap().as_str(), "live/x");
        assert!(matches!(open("a b"), Err(Denied::Name(_))));
    }

    #[test]
    fn who_guesses_has_to_wait_even_with_the_right_key_and_others_have_not() {
        let (access, settings) = (Access::default(), settings());
        let ask = |key: &str, address: &str, seconds: u64| {
            let given = Credentials { app: "live", name: &StreamKey::new("show"), key: Some(key) };
            access.stream_for(&settings, given, address.parse().unwrap(), Instant::from_millis(seconds * 1000))
        };
        assert_eq!(ask("guess", "10.0.0.1", 1), Err(Denied::UnknownKey));
        assert_eq!(ask("guess", "10.0.0.1", 1), Err(Denied::UnknownKey));
        let denied = ask("sesame", "10.0.0.1", 2).unwrap_err();
        assert_eq!(denied.to_string(), "too many failed attempts from this address; wait 30 s");
        assert!(ask("sesame", "10.0.0.2", 2).is_ok());
        assert!(ask("sesame", "10.0.0.1", 31).is_ok());
    }

    #[test]
    fn no_text_shows_what_was_sent() {
        for (name, key) in [("hunter2 x", Some("chalk")), ("hunter2", None), ("show", Some("hunter2"))] {
            let denied = ask("school", name, key).unwrap_err();
            assert!(!format!("{denied} {denied:?}").contains("hunter2"), "{denied:?}");
        }
    }
}
