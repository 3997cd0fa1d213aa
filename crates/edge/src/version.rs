//! Versions of a playlist (RFC 9110, 8.8.3 and 13.1.2): a player that names the text that it has is told of the next one.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};

/// A playlist's text, and the entity tag that says which it is: the same text has the same tag, after a restart too.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) bytes: Bytes,
    pub(crate) tag: HeaderValue,
}

impl Text {
    pub(crate) fn new(text: String) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let tag = format!("\"{:016x}\"", hasher.finish());
        // Quotes and hexadecimal digits are always a value.
        let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes: text.into(), tag }
    }

    /// Whether a request with these fields comes from somebody who has it. Caches may have made the tag a weak one.
    pub(crate) fn is_known(&self, request: &HeaderMap) -> bool {
        let fields = request.get_all(header::IF_NONE_MATCH).iter();
        let mut tags = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
        tags.any(|tag| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag) == self.tag
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (header::IF_NONE_MATCH, HeaderValue::from_static(field))).collect()
    }

    #[test]
    fn a_text_is_known_to_who_names_its_tag() {
        let text = Text::new("#EXTM3U\n".to_owned());
        let tag = text.tag.to_str().unwrap();
        let known = |field: String| {
            let mut fields = HeaderMap::new();
            fields.insert(header::IF_NONE_MATCH, HeaderValue::try_from(field).unwrap());
            text.is_known(&fields)
        };
        assert!(known(tag.to_owned()) && known(format!("W/{tag}")) && known(format!("\"0\", {tag}")));
        assert!(!known("\"0\"".to_owned()) && !known(tag.replace('"', "")));
        // Whatever it is: the player has something, and nobody knows what.
        assert!(!known("*".to_owned()));
        assert!(!text.is_known(&HeaderMap::new()));
        assert!(!text.is_known(&request(&["\"1\"", "\"2\""])));
    }

    #[test]
    fn another_text_has_another_tag() {
        let [one, same, other] = ["#EXTM3U\n", "#EXTM3U\n", "#EXTM3U"].map(|text| Text::new(text.to_owned()).tag);
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
