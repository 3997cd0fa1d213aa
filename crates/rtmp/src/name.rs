//! What a publisher calls its stream, and where it says so.

use std::fmt;

use headwater_media::StreamKey;

/// Query parameters of a publish, from the name, `tcUrl` and `app`, in this order; of two with one name the first
/// counts. What is more than 64 of them is left out. The `Debug` hides the values: one of them may be a key.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The value of `name`, percent-decoded.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// All of them: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn add_query(&mut self, query: &str) {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if self.0.len() == PARAMETERS_MAX {
                break;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decode(name);
            if self.get(&name).is_none() {
                self.0.push((name, percent_decode(value)));
            }
        }
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// More parameters than anybody sends. Each is compared with those before it.
const PARAMETERS_MAX: usize = 64;

/// What is published where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) app: String,
    pub(crate) name: StreamKey,
    pub(crate) parameters: Parameters,
}

impl Target {
    /// Puts together what `connect` and `publish` say.
    pub(crate) fn new(app: &str, tc_url: &str, name: &str) -> Self {
        let (name, name_query) = split_query(name);
        let (url_path, url_query) = split_query(url_path(tc_url));
        let (app, app_query) = split_query(app);

        let mut parameters = Parameters::default();
        for query in [name_query, url_query, app_query] {
            parameters.add_query(query);
        }
        let name = name.trim_start_matches('/');
        let mut name = name.strip_prefix("flv:").or_else(|| name.strip_prefix("mp4:")).unwrap_or(name);
        let mut app = trim_app(if app.trim_matches('/').is_empty() { url_path } else { app });
        if name.is_empty() {
            // the whole path was given as the application.
            if let Some((front, last)) = app.rsplit_once('/') {
                (app, name) = (front, last);
            }
        }
        Self { app: app.to_owned(), name: StreamKey::new(name), parameters }
    }
}

/// without slashes around it and without the instance that Flash servers add.
fn trim_app(app: &str) -> &str {
    let app = app.trim_matches('/');
    app.strip_suffix("/_definst_").unwrap_or(app).trim_end_matches('/')
}

/// What follows the host.
fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |slash| &rest[slash..])
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match tail {
            [high, low, ..] if byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// What is under RTMP.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// TCP.
    Rtmp,
    /// TLS over TCP. The handshake is the application's affair; RTMP is the same in it.
    Rtmps,
}

impl Scheme {
    const ALL: [Self; 2] = [Self::Rtmp, Self::Rtmps];

    /// As a URL begins with it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
        }
    }

    /// The port of a URL that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Rtmp => 1935,
            Self::Rtmps => 443,
        }
    }
}

/// Where a publisher connects: `rtmp[s]://host[:port]/app[/instance]/name[?query]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishUrl {
    /// Whether RTMP goes through TLS.
    pub scheme: Scheme,
    /// Host to connect to; an IPv6 address without its brackets.
    pub host: String,
    /// Port, the scheme's if the URL names none.
    pub port: u16,
    /// Everything between host and name.
    pub app: String,
    /// The last element and its query: what `publish` names. It may be a stream key.
    pub name: StreamKey,
}

/// Why a text is not a [`PublishUrl`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("a publish URL begins with rtmp:// or rtmps://")]
    Scheme,
    /// No host, or a port that is none.
    #[error("a publish URL has a host and perhaps a port: rtmp://host:1935/app/name")]
    Host,
    /// Fewer than two elements.
    #[error("a publish URL has an application and a name: rtmp://host/app/name")]
    Path,
}

impl PublishUrl {
    /// `tcUrl` of the connect command: the URL without the name.
    pub fn tc_url(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}://{host}:{}/{}", self.scheme.name(), self.port, self.app)
    }
}

impl std::str::FromStr for PublishUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = Scheme::ALL.into_iter().find(|known| known.name() == scheme).ok_or(UrlError::Scheme)?;
        let (authority, path) = rest.split_once('/').ok_or(UrlError::Path)?;
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let port = if port.is_empty() { scheme.default_port() } else { port.parse().map_err(|_| UrlError::Host)? };
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        let elements = split_query(path).0;
        let slash = elements.trim_end_matches('/').rfind('/').ok_or(UrlError::Path)?;
        let (app, name) = (path[..slash].trim_matches('/'), &path[slash + 1..]);
        if app.is_empty() || name.is_empty() {
            return Err(UrlError::Path);
        }
        Ok(Self { scheme, host: host.to_owned(), port, app: app.to_owned(), name: StreamKey::new(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(app: &str, tc_url: &str, name: &str) -> (String, String, Vec<(String, String)>) {
        let Target { app, name, parameters } = Target::new(app, tc_url, name);
        (app, name.secret().to_owned(), parameters.0)
    }

    fn plain(app: &str, tc_url: &str, name: &str) -> (String, String) {
        let (app, name, _) = target(app, tc_url, name);
        (app, name)
    }

    fn pair(left: &str, right: &str) -> (String, String) {
        (left.to_owned(), right.to_owned())
    }

    ///
    #[test]
    fn app_and_key_are_found_wherever_they_are() {
        assert_eq!(plain("live", "rtmp://h/live", "KEY"), pair("live", "KEY"));
        assert_eq!(plain("/live/", "", "/KEY"), pair("live", "KEY"));
        assert_eq!(plain("live/_definst_", "", "flv:KEY"), pair("live", "KEY"));
        assert_eq!(plain("app/inst", "rtmp://h/app/inst", "mp4:k-e_y.1"), pair("app/inst", "k-e_y.1"));
        assert_eq!(plain("", "rtmp://h:1935/live?x=1", "KEY"), pair("live", "KEY"));
        assert_eq!(plain("live/KEY", "rtmp://h/live/KEY", ""), pair("live", "KEY"));
        assert_eq!(plain("live", "rtmp://h/live", ""), pair("live", ""));
        let long = "k".repeat(512);
        assert_eq!(plain("live", "", &long), pair("live", &long));
    }

    /// name before `tcUrl` before `app`, decoded once.
    #[test]
    fn parameters_are_merged() {
        let (app, key, parameters) = target("live2?c=3&a=9", "rtmp://h/live2?backup=1&a=8", "KEY?a=%2541%20b&flag");
        assert_eq!((app.as_str(), key.as_str()), ("live2", "KEY"));
        assert_eq!(parameters, [pair("a", "%41 b"), pair("flag", ""), pair("backup", "1"), pair("c", "3")]);
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%c3%a4"), "%zzä");
    }

    /// A quarter of a megabyte of parameters, as a message may have, would take seconds to be told apart.
    #[test]
    fn parameters_have_a_limit() {
        let query: Vec<String> = (0..100).map(|number| format!("p{number}={number}")).collect();
        let (.., parameters) = target("live", "rtmp://h/live?late=1", &format!("KEY?{}", query.join("&")));
        assert_eq!((parameters.len(), &parameters[63]), (64, &pair("p63", "63")));
    }

    ///
    #[test]
    fn debug_shows_neither_key_nor_values() {
        let shown = format!("{:?}", Target::new("live", "", "secret?token=hidden"));
        assert!(!shown.contains("secret") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_publish_url_is_taken_apart() {
        let url = |text: &str| text.parse::<PublishUrl>();
        let parsed = url("rtmp://localhost/live/show?key=a/b").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port, parsed.app.as_str()), ("localhost", 1935, "live"));
        assert_eq!(parsed.name.secret(), "show?key=a/b");
        assert_eq!(parsed.tc_url(), "rtmp://localhost:1935/live");
        let parsed = url("rtmp://[::1]:1936/app/inst/key").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port, parsed.app.as_str()), ("::1", 1936, "app/inst"));
        assert_eq!(parsed.tc_url(), "rtmp://[::1]:1936/app/inst");
        let parsed = url("rtmps://live.example/app/key").unwrap();
        assert_eq!((parsed.scheme, parsed.port), (Scheme::Rtmps, 443));
        assert_eq!(parsed.tc_url(), "rtmps://live.example:443/app");
        assert_eq!(url("rtmps://h:1936/a/b").unwrap().port, 1936);
        assert_eq!(url("http://h/a/b"), Err(UrlError::Scheme));
        assert_eq!(url("h/a/b"), Err(UrlError::Scheme));
        assert_eq!(url("rtmp://h:port/a/b"), Err(UrlError::Host));
        assert_eq!(url("rtmp:///a/b"), Err(UrlError::Host));
        assert_eq!(url("rtmp://h/a"), Err(UrlError::Path));
        assert_eq!(url("rtmp://h"), Err(UrlError::Path));
    }
}
