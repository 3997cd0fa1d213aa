//! Who may publish: `[[streams]]`.

use headwater_ingest::{KeyHash, KeyRule, StreamPattern};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Places};
use super::value::{Parsed, Secret};

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
