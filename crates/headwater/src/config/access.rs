//! Who may publish: `[[streams]]`, `[jwt]`, `[webhook]`.

use std::time::Duration;

use headwater_ingest::{
    Claims, Endpoint, JwksSource, KeyHash, KeyRule, StreamPattern, TokenSettings, WebhookSettings, WhenDown,
};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};
use super::value::{Bounded, Hidden, Parsed, Secret, WhenDownWord};

/// One of `[[streams]]`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamEntry {
    name: Spanned<Parsed<StreamPattern>>,
    key: Option<Spanned<Secret>>,
    key_sha256: Option<Spanned<Parsed<KeyHash>>>,
}

impl StreamEntry {
    /// The key's hash and where the key stands; `None` unless there is exactly one key.
    fn key(&self) -> Option<(KeyHash, std::ops::Range<usize>)> {
        match (&self.key, &self.key_sha256) {
            (Some(key), None) => Some((KeyHash::of(key.get_ref().0.secret()), key.span())),
            (None, Some(hash)) => Some((hash.get_ref().0, hash.span())),
            _ => None,
        }
    }
}

/// The entries as the ingest takes them.
pub(crate) fn rules(entries: &[StreamEntry]) -> Vec<KeyRule> {
    let rule = |entry: &StreamEntry| Some(KeyRule { streams: entry.name.get_ref().0.clone(), key: entry.key()?.0 });
    entries.iter().filter_map(rule).collect()
}

/// Names and keys are unique, and no key is a name: a publisher may send either in the same place of the URL.
pub(crate) fn check(entries: &[StreamEntry], places: &Places<'_>) -> Result<(), ConfigError> {
    for (index, entry) in entries.iter().enumerate() {
        let name = &entry.name.get_ref().0;
        if let Some(first) = entries[..index].iter().find(|other| other.name.get_ref().0 == *name) {
            let line = places.line(first.name.span().start);
            return Err(places.error(entry.name.span(), format!("the stream {name} is in line {line} already")));
        }
        let Some((key, span)) = entry.key() else {
            return Err(places.error(entry.name.span(), format!("the stream {name} needs either key or key_sha256")));
        };
        let others = entries[..index].iter().filter_map(StreamEntry::key);
        if let Some((_, first)) = others.into_iter().find(|(other, _)| *other == key) {
            let line = places.line(first.start);
            return Err(places.error(span, format!("the stream of line {line} has the same key; each needs its own")));
        }
        let names = entries.iter().filter_map(|other| match &other.name.get_ref().0 {
            StreamPattern::One(stream) => Some(stream),
            StreamPattern::App(_) => None,
        });
        let mut public = names.flat_map(|stream| [stream.name(), stream.as_str()]);
        if public.any(|public| KeyHash::of(public) == key) {
            return Err(places.error(span, "a stream key cannot be the name of a stream, names are public"));
        }
    }
    Ok(())
}

/// `[jwt]`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JwtKeys {
    secret: Option<Hidden<32>>,
    jwks: Option<Parsed<JwksSource>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway_seconds: Option<Bounded<0, 600>>,
    refresh_seconds: Option<Bounded<10, 86_400>>,
}

impl JwtKeys {
    /// This layer laid over `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            secret: self.secret.or(below.secret),
            jwks: self.jwks.or(below.jwks),
            issuer: self.issuer.or(below.issuer),
            audience: self.audience.or(below.audience),
            leeway_seconds: self.leeway_seconds.or(below.leeway_seconds),
            refresh_seconds: self.refresh_seconds.or(below.refresh_seconds),
        }
    }

    /// `None` unless there is something to check signatures with.
    pub(crate) fn config(&self) -> Option<TokenSettings> {
        let secret = self.secret.as_ref().map(|secret| secret.0.clone());
        let jwks = self.jwks.as_ref().map(|jwks| jwks.0.clone());
        (secret.is_some() || jwks.is_some()).then(|| TokenSettings {
            secret,
            jwks,
            claims: Claims {
                issuer: self.issuer.clone(),
                audience: self.audience.clone(),
                leeway_seconds: self.leeway_seconds.map_or(30, |v| v.get_u32()),
            },
            refresh: Duration::from_secs(self.refresh_seconds.map_or(300, |v| v.get())),
        })
    }
}

/// `[webhook]`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebhookKeys {
    url: Option<Parsed<Endpoint>>,
    token: Option<Hidden<1>>,
    timeout_millis: Option<Bounded<100, 10_000>>,
    retries: Option<Bounded<0, 5>>,
    when_down: Option<Parsed<WhenDownWord>>,
}

impl WebhookKeys {
    /// This layer laid over `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            url: self.url.or(below.url),
            token: self.token.or(below.token),
            timeout_millis: self.timeout_millis.or(below.timeout_millis),
            retries: self.retries.or(below.retries),
            when_down: self.when_down.or(below.when_down),
        }
    }

    /// `None` without a URL.
    pub(crate) fn config(&self) -> Option<WebhookSettings> {
        Some(WebhookSettings {
            url: self.url.as_ref()?.0.clone(),
            token: self.token.as_ref().map(|token| token.0.clone()),
            timeout: Duration::from_millis(self.timeout_millis.map_or(2000, |v| v.get())),
            retries: self.retries.map_or(1, |v| v.get_u32()),
            when_down: match self.when_down.unwrap_or_default().0 {
                WhenDownWord::Allow => WhenDown::Allow,
                WhenDownWord::Refuse => WhenDown::Refuse,
            },
        })
    }
}
