//! Who may publish what (architecture 7): stream keys, tokens, and how often an address may fail.

mod attempts;
mod key;
mod key_source;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Clock, Instant, NameError, StreamKey, StreamName, WallTime};
use headwater_rtmp::{PublishRequest, StatusCode};
use tokio::sync::watch;

use attempts::Attempts;
use key::rules_for;
pub use key::{KeyHash, KeyHashError, KeyRule, StreamPattern};
use key_source::Keys;
pub use key_source::{JwksSource, JwksSourceError, TokenSettings};
pub use token::Claims;
use token::{KeySet, TokenError, looks_like_token};

use crate::Settings;
use crate::fetch::Client;
use crate::webhook::WebhookSettings;

/// Who may publish what.
#[derive(Clone, Debug, Default)]
pub struct AccessSettings {
    /// Keys, and what may be published with each.
    pub keys: Vec<KeyRule>,
    /// Tokens that are taken in place of a key.
    pub tokens: Option<TokenSettings>,
    /// Has the last word about those who would be let in.
    pub webhook: Option<WebhookSettings>,
    /// Failures that an address may have in a minute before it has to wait; 0: any number.
    pub failures_per_minute: u32,
}

impl AccessSettings {
    /// Whether anyone may publish anything, which is for loopback only.
    pub fn is_open(&self) -> bool {
        !self.has_secrets() && self.webhook.is_none()
    }

    /// Whether a publisher needs a key or a token.
    pub(crate) fn has_secrets(&self) -> bool {
        !self.keys.is_empty() || self.tokens.is_some()
    }

    /// What the log says of an app. One that nobody has configured may be a key in the wrong place and is shown as keys are;
    /// whatever it is, it makes no line of its own.
    pub(crate) fn app_in_log(&self, app: &str) -> String {
        if self.is_open() || self.keys.iter().any(|rule| rule.streams.app() == app) {
            app.chars().take(APP_CHARS_MAX).flat_map(char::escape_debug).collect()
        } else {
            format!("{:?}", StreamKey::new(app))
        }
    }
}

/// Characters of an app that the log shows.
const APP_CHARS_MAX: usize = 80;

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
    /// The token is no good.
    #[error(transparent)]
    Token(#[from] TokenError),
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

    /// What the publisher is told.
    pub(crate) fn code(&self) -> StatusCode {
        match self {
            // This will pass.
            Self::Token(TokenError::NoKeys) => StatusCode::AppShutdown,
            _ => StatusCode::PublishDenied,
        }
    }

    /// Whether it looks like somebody who guesses.
    fn counts(&self) -> bool {
        !matches!(self, Self::Name(_) | Self::TooMany { .. } | Self::Token(TokenError::NoKeys))
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
    /// `?token=`
    pub(crate) token: Option<&'a str>,
}

impl<'a> From<&'a PublishRequest> for Credentials<'a> {
    fn from(request: &'a PublishRequest) -> Self {
        Self {
            app: &request.app,
            name: &request.name,
            key: request.parameters.get("key"),
            token: request.parameters.get("token"),
        }
    }
}

impl<'a> Credentials<'a> {
    fn stream(&self) -> Result<StreamName, Denied> {
        StreamName::new(self.app, self.name.secret()).map_err(|_| Denied::SecretName)
    }

    /// The token, wherever it is.
    fn token(&self) -> Option<&'a str> {
        self.token.or_else(|| {
            [self.key.unwrap_or_default(), self.name.secret()].into_iter().find(|text| looks_like_token(text))
        })
    }

    /// Whether the name is a stream's, and not a secret in its place.
    fn is_named(&self) -> bool {
        self.key.is_some() || self.token.is_some()
    }
}

/// What is remembered about those who want to publish, and the keys of tokens.
#[derive(Debug, Default)]
pub(crate) struct Access {
    attempts: Attempts,
    keys: Keys,
}

impl Access {
    /// The stream that a publisher at `address` may publish.
    pub(crate) async fn stream_for(
        &self,
        settings: &AccessSettings,
        given: Credentials<'_>,
        address: IpAddr,
        clock: &dyn Clock,
    ) -> Result<StreamName, Denied> {
        if let Some(wait) = self.attempts.blocked_for(address, clock.now(), settings.failures_per_minute) {
            return Err(Denied::TooMany { wait });
        }
        let keys = match &settings.tokens {
            Some(_) if given.token().is_some() => self.keys.newest().await,
            _ => None,
        };
        let decided = decide(settings, keys.as_deref(), given, clock.wall());
        if decided == Err(Denied::Token(TokenError::UnknownKey)) {
            self.keys.want();
        }
        if decided.as_ref().is_err_and(Denied::counts) {
            self.failed(settings, address, clock.now());
        }
        decided
    }

    /// A publisher at `address` was refused by somebody who knows.
    pub(crate) fn failed(&self, settings: &AccessSettings, address: IpAddr, now: Instant) {
        self.attempts.failed(address, now, settings.failures_per_minute);
    }

    /// Keeps the keys of tokens fresh, for ever.
    pub(crate) async fn follow(&self, settings: watch::Receiver<Arc<Settings>>, client: &Client) {
        self.keys.follow(settings, client).await;
    }
}

/// `rtmp://host/live/KEY` publishes the stream that the key belongs to, `rtmp://host/live/show?key=KEY` names it; a token
/// stands in `?token=` or where a key does. Without keys and tokens any name will do.
fn decide(
    settings: &AccessSettings,
    tokens: Option<&KeySet>,
    given: Credentials<'_>,
    now: WallTime,
) -> Result<StreamName, Denied> {
    if settings.is_open() {
        return Ok(StreamName::new(given.app, given.name.secret())?);
    }
    if !settings.has_secrets() {
        return given.stream();
    }
    let secret = if given.is_named() { given.key } else { Some(given.name.secret()) };
    let rules = secret.map_or_else(Vec::new, |secret| rules_for(&settings.keys, &KeyHash::of(secret)));
    let mut allowed: Vec<&StreamPattern> = rules.iter().map(|rule| &rule.streams).collect();
    let of_token = match (&settings.tokens, given.token()) {
        (Some(expected), Some(token)) if allowed.is_empty() => {
            Some(tokens.ok_or(TokenError::NoKeys)?.streams(token, &expected.claims, now)?)
        }
        _ => None,
    };
    allowed.extend(&of_token);
    if given.is_named() {
        if allowed.is_empty() {
            return Err(Denied::UnknownKey);
        }
        let stream = given.stream()?;
        return match allowed.iter().find(|pattern| pattern.covers(&stream)) {
            Some(_) => Ok(stream),
            None if of_token.is_some() => Err(TokenError::OtherStream.into()),
            None => Err(Denied::OtherName),
        };
    }
    let here = || allowed.iter().filter(|pattern| pattern.app() == given.app);
    let one = here().find_map(|pattern| match pattern {
        StreamPattern::One(stream) => Some(stream.clone()),
        StreamPattern::App(_) => None,
    });
    match one {
        Some(stream) => Ok(stream),
        None if here().next().is_some() => Err(Denied::NameMissing),
        None if of_token.is_some() => Err(TokenError::OtherStream.into()),
        None => Err(Denied::UnknownKey),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    use super::token::VerifyingKey;
    use super::*;

    const NOW: WallTime = WallTime { unix_millis: 1000 };

    fn settings() -> AccessSettings {
        let rule = |streams: &str, key: &str| KeyRule { streams: streams.parse().unwrap(), key: KeyHash::of(key) };
        AccessSettings {
            keys: vec![rule("live/show", "sesame"), rule("live/news", "tulip"), rule("school/*", "chalk")],
            failures_per_minute: 2,
            ..AccessSettings::default()
        }
    }

    fn ask(app: &str, name: &str, key: Option<&str>) -> Result<String, Denied> {
        let name = StreamKey::new(name);
        decide(&settings(), None, Credentials { app, name: &name, key, token: None }, NOW)
            .map(|stream| stream.to_string())
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
            let name = StreamKey::new(name);
            let given = Credentials { app: "live", name: &name, key: None, token: None };
            decide(&AccessSettings::default(), None, given, NOW)
        };
        assert_eq!(open("x").unwrap().as_str(), "live/x");
        assert!(matches!(open("a b"), Err(Denied::Name(_))));
    }

    struct At(AtomicU64);

    impl Clock for At {
        fn now(&self) -> Instant {
            Instant::from_millis(self.0.load(Relaxed) * 1000)
        }

        fn wall(&self) -> WallTime {
            NOW
        }
    }

    #[tokio::test]
    async fn who_guesses_has_to_wait_even_with_the_right_key_and_others_have_not() {
        let (access, settings, clock) = (Access::default(), settings(), At(AtomicU64::new(1)));
        let ask = async |key: &str, address: &str| {
            let name = StreamKey::new("show");
            let given = Credentials { app: "live", name: &name, key: Some(key), token: None };
            access.stream_for(&settings, given, address.parse().unwrap(), &clock).await
        };
        assert_eq!(ask("guess", "10.0.0.1").await, Err(Denied::UnknownKey));
        assert_eq!(ask("guess", "10.0.0.1").await, Err(Denied::UnknownKey));
        clock.0.store(2, Relaxed);
        let denied = ask("sesame", "10.0.0.1").await.unwrap_err();
        assert_eq!(denied.to_string(), "too many failed attempts from this address; wait 30 s");
        assert!(ask("sesame", "10.0.0.2").await.is_ok());
        clock.0.store(31, Relaxed);
        assert!(ask("sesame", "10.0.0.1").await.is_ok());
    }

    /// A token for `live/show` and one for all of `school`, and the keys to them.
    fn tokens() -> (String, String, AccessSettings, KeySet) {
        let key = || VerifyingKey::secret(b"a secret");
        let token = |stream: &str| token::sign(b"a secret", &format!(r#"{{"stream":"{stream}","exp":2}}"#));
        let mut keys = KeySet::default();
        keys.add(key());
        let claims = Claims::default();
        let expected = TokenSettings { secret: None, jwks: None, claims, refresh: Duration::from_secs(60) };
        let settings = AccessSettings { tokens: Some(expected), ..settings() };
        (token("live/show"), token("school/*"), settings, keys)
    }

    #[test]
    fn a_token_lets_in_wherever_it_stands() {
        let (show, school, settings, keys) = tokens();
        let ask = |app: &str, name: &str, key: Option<&str>, token: Option<&str>| {
            let name = StreamKey::new(name);
            let given = Credentials { app, name: &name, key, token };
            decide(&settings, Some(&keys), given, NOW).map(|stream| stream.to_string())
        };
        let other = || Err(TokenError::OtherStream.into());
        assert_eq!(ask("live", "show", None, Some(&show)), Ok("live/show".into()));
        assert_eq!(ask("live", "show", Some(&show), None), Ok("live/show".into()));
        assert_eq!(ask("live", &show, None, None), Ok("live/show".into()));
        assert_eq!(ask("live", "news", None, Some(&show)), other());
        assert_eq!(ask("school", &show, None, None), other());
        assert_eq!(ask("school", "art", None, Some(&school)), Ok("school/art".into()));
        assert_eq!(ask("school", &school, None, None), Err(Denied::NameMissing));
        // Keys still let in, and neither is a way around the other.
        assert_eq!(ask("live", "tulip", None, None), Ok("live/news".into()));
        assert_eq!(ask("live", "tulip", None, Some("x")), Err(TokenError::Malformed.into()));
        assert_eq!(ask("live", "show", Some("guess"), None), Err(Denied::UnknownKey));
    }

    #[test]
    fn without_the_keys_of_tokens_a_token_can_only_wait_but_a_key_lets_in() {
        let (show, _, settings, _) = tokens();
        let ask = |name: &str, token: Option<&str>| {
            let name = StreamKey::new(name);
            decide(&settings, None, Credentials { app: "live", name: &name, key: None, token }, NOW)
        };
        let denied = ask("show", Some(&show)).unwrap_err();
        assert!(denied == TokenError::NoKeys.into() && !denied.counts(), "{denied}");
        assert!(ask("tulip", None).is_ok());
    }

    /// R-58.
    #[test]
    fn the_log_shows_apps_that_are_configured_and_no_others() {
        assert_eq!(settings().app_in_log("school"), "school");
        for secret in ["live/hunter2", "hunter2", "live\n2026 INFO publisher left"] {
            let shown = settings().app_in_log(secret);
            assert!(shown.starts_with("key#") && shown.len() == 10, "{shown}");
        }
        let open = AccessSettings::default().app_in_log(&format!("live\n\u{1B}[2J{}", "x".repeat(100_000)));
        assert!(open.starts_with(r"live\n\u{1b}[2Jxxx") && open.len() < 100, "{open}");
    }

    #[test]
    fn no_text_shows_what_was_sent() {
        for (name, key) in [("hunter2 x", Some("chalk")), ("hunter2", None), ("show", Some("hunter2"))] {
            let denied = ask("school", name, key).unwrap_err();
            assert!(!format!("{denied} {denied:?}").contains("hunter2"), "{denied:?}");
        }
    }
}
