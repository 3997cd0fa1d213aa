//! Answers: status, media type, caching (H-56), CORS (H-61).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::body::Buffers;
use crate::version::Text;

/// How long caches may keep an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Caching {
    /// `max-age` in seconds.
    Seconds(u32),
    /// A second in caches that many share, and not at all in a player's own.
    Live,
    /// The name will never mean other bytes.
    Immutable { seconds: u32 },
    /// Not at all.
    No,
}

/// A day: longer than any part is listed.
pub(crate) const MEDIA: Caching = Caching::Immutable { seconds: 86_400 };
/// A year.
pub(crate) const INIT: Caching = Caching::Immutable { seconds: 31_536_000 };

const METHODS: &str = "GET, HEAD, OPTIONS";

pub(crate) const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
pub(crate) const VIDEO_TYPE: &str = "video/mp4";
pub(crate) const AUDIO_TYPE: &str = "audio/mp4";
pub(crate) const JPEG_TYPE: &str = "image/jpeg";
pub(crate) const TEXT_TYPE: &str = "text/plain; charset=utf-8";
pub(crate) const JSON_TYPE: &str = "application/json";

/// An answer.
pub(crate) fn with(
    status: StatusCode,
    media_type: &str,
    caching: Caching,
    body: impl Into<Buffers>,
) -> Response<Buffers> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    headers.insert(header::CACHE_CONTROL, caching.header());
    cors(headers);
    response
}

/// A refusal: one sentence, for the person who looks.
pub(crate) fn refusal(status: StatusCode, caching: Caching, text: &str) -> Response<Buffers> {
    with(status, TEXT_TYPE, caching, Bytes::from(format!("{text}\n")))
}

/// A playlist, or for somebody who has it the word that there is no other.
pub(crate) fn playlist(text: &Text, known: bool, caching: Caching) -> Response<Buffers> {
    let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let body = if known { Bytes::new() } else { text.bytes.clone() };
    let mut response = with(status, PLAYLIST_TYPE, caching, body);
    response.headers_mut().insert(header::ETAG, text.tag.clone());
    response
}

/// Not a method for reading. The answer names those that are (RFC 9110, 15.5.6).
pub(crate) fn method_not_allowed() -> Response<Buffers> {
    let text = format!("only {METHODS} are answered");
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, Caching::No, &text);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
    response
}

/// Too busy to hold another request.
pub(crate) fn overloaded() -> Response<Buffers> {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, Caching::No, "too many requests are waiting");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What a browser asks before it asks.
pub(crate) fn preflight() -> Response<Buffers> {
    let mut response = with(StatusCode::NO_CONTENT, TEXT_TYPE, Caching::Seconds(86_400), Bytes::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

fn cors(headers: &mut HeaderMap) {
    const ALL: [(HeaderName, &str); 5] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Range, Content-Type"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Age, Date, Content-Length, Content-Range"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    for (name, value) in ALL {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(HeaderName::from_static("timing-allow-origin"), HeaderValue::from_static("*"));
}

impl Caching {
    fn header(self) -> HeaderValue {
        let text = match self {
            Self::Seconds(seconds) => format!("public, max-age={}", seconds.max(1)),
            Self::Live => "public, max-age=0, s-maxage=1".to_owned(),
            Self::Immutable { seconds } => format!("public, max-age={seconds}, immutable"),
            Self::No => "no-store".to_owned(),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store"))
    }
}

impl Buffers {
    pub(crate) fn length(&self) -> u64 {
        http_body::Body::size_hint(self).exact().unwrap_or(0)
    }
}
