//! Who may publish what: stream keys (architecture 2).

use headwater_media::{NameError, StreamKey, StreamName};

/// Why a publish request is denied. The text is for the publisher and holds no key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Denied {
    /// No configured stream has this key, or not under this app.
    #[error("the stream key is not known here")]
    UnknownKey,
    /// The name is not one that a stream can have.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The stream that a publish request is for.
///
/// `rtmp://host/live/KEY` publishes the stream that the key belongs to, `rtmp://host/live/show?key=KEY` names it.
/// Without configured keys any name will do.
pub(crate) fn stream_for(
    keys: &[(StreamName, StreamKey)],
    app: &str,
    name: &StreamKey,
    key_parameter: Option<&str>,
) -> Result<StreamName, Denied> {
    if keys.is_empty() {
        return Ok(StreamName::new(app, name.secret())?);
    }
    let key_parameter = key_parameter.map(StreamKey::new);
    let matches = |(stream, key): &&(StreamName, StreamKey)| {
        stream.app() == app
            && match &key_parameter {
                Some(given) => stream.name() == name.secret() && given == key,
                None => name == key,
            }
    };
    keys.iter().find(matches).map(|(stream, _)| stream.clone()).ok_or(Denied::UnknownKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<(StreamName, StreamKey)> {
        vec![
            ("live/show".parse().unwrap(), StreamKey::new("sesame")),
            ("live/news".parse().unwrap(), StreamKey::new("tulip")),
        ]
    }

    fn ask(app: &str, name: &str, key: Option<&str>) -> Result<String, Denied> {
        stream_for(&keys(), app, &StreamKey::new(name), key).map(|stream| stream.to_string())
    }

    #[test]
    fn a_key_as_name_publishes_its_stream() {
        assert_eq!(ask("live", "tulip", None), Ok("live/news".into()));
        assert_eq!(ask("other", "tulip", None), Err(Denied::UnknownKey));
    }

    #[test]
    fn a_name_needs_its_own_key() {
        assert_eq!(ask("live", "show", Some("sesame")), Ok("live/show".into()));
        assert_eq!(ask("live", "show", Some("tulip")), Err(Denied::UnknownKey));
        assert_eq!(ask("live", "show", None), Err(Denied::UnknownKey));
    }

    #[test]
    fn without_keys_every_good_name_will_do() {
        let open = stream_for(&[], "live", &StreamKey::new("x"), None);
        assert_eq!(open.unwrap().as_str(), "live/x");
        assert!(matches!(stream_for(&[], "live", &StreamKey::new("a b"), None), Err(Denied::Name(_))));
    }
}
