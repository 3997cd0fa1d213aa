//! Range requests (RFC 9110, section 14): one range of bytes of an init segment, a segment or a part.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::body::Buffers;
use crate::response::{self, Caching};

/// What a Range field asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    /// Everything: there is no range, it is not one that we know, there are several, or it is malformed. All of these
    /// may be answered with the whole (14.2).
    Whole,
    /// These bytes, both ends included.
    Bytes { first: u64, last: u64 },
    /// Nothing that is there.
    Unsatisfiable,
}

/// Cuts a whole answer down to what its request asks for. Other answers stay as they are.
pub(crate) fn apply<B>(request: &Request<B>, mut whole: Response<Buffers>) -> Response<Buffers> {
    if whole.status() != StatusCode::OK {
        return whole;
    }
    whole.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Only GET has ranges. Without validators no condition on them can hold (13.1.5).
    let has_range = request.method() == Method::GET && !request.headers().contains_key(header::IF_RANGE);
    let field = request.headers().get(header::RANGE).filter(|_| has_range);
    let length = whole.body().length();
    match field.and_then(|field| field.to_str().ok()).map_or(Wanted::Whole, |field| read(field, length)) {
        Wanted::Whole => whole,
        Wanted::Bytes { first, last } => {
            let (mut head, body) = whole.into_parts();
            head.status = StatusCode::PARTIAL_CONTENT;
            content_range(&mut head.headers, format!("bytes {first}-{last}/{length}"));
            Response::from_parts(head, body.slice(first, last + 1 - first))
        }
        Wanted::Unsatisfiable => {
            let text = format!("there are {length} bytes");
            let mut refusal = response::refusal(StatusCode::RANGE_NOT_SATISFIABLE, Caching::No, &text);
            content_range(refusal.headers_mut(), format!("bytes */{length}"));
            refusal
        }
    }
}

fn content_range(headers: &mut HeaderMap, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

/// Reads a Range field for a body of `length` bytes (14.1.2).
fn read(field: &str, length: u64) -> Wanted {
    let Some((unit, set)) = field.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    match (number(first), number(last)) {
        (Ok(Some(first)), Ok(Some(last))) if last < first => Wanted::Whole,
        (Ok(Some(first)), Ok(last)) if first < length => {
            Wanted::Bytes { first, last: last.unwrap_or(u64::MAX).min(length - 1) }
        }
        (Ok(None), Ok(Some(suffix))) if suffix > 0 && length > 0 => {
            Wanted::Bytes { first: length.saturating_sub(suffix), last: length - 1 }
        }
        (Ok(Some(_)), Ok(_)) | (Ok(None), Ok(Some(_))) => Wanted::Unsatisfiable,
        (Ok(None), Ok(None)) | (Err(()), _) | (_, Err(())) => Wanted::Whole,
    }
}

/// A number of any length, or none. What is too large for 64 bits is beyond every body.
fn number(text: &str) -> Result<Option<u64>, ()> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    Ok((!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn bytes(first: u64, last: u64) -> Wanted {
        Wanted::Bytes { first, last }
    }

    #[test]
    fn one_range_is_read_in_all_its_forms() {
        for (field, wanted) in [
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=2-5", bytes(2, 5)),
            ("bytes=2-", bytes(2, 9)),
            ("bytes=2-99999999999999999999999", bytes(2, 9)),
            ("bytes=2-9007199254740991", bytes(2, 9)),
            ("bytes=-3", bytes(7, 9)),
            ("bytes=-30", bytes(0, 9)),
            ("Bytes= 9-9 ", bytes(9, 9)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
        ] {
            assert_eq!(read(field, 10), wanted, "{field}");
        }
        assert_eq!(read("bytes=-3", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn several_ranges_and_malformed_ones_get_the_whole() {
        for field in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-", "bytes=+1-2", "bytes=1-2,4-5", "items=1-2"]
        {
            assert_eq!(read(field, 10), Wanted::Whole, "{field}");
        }
    }

    fn request(method: Method, headers: &[(header::HeaderName, &'static str)]) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        for (name, value) in headers {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        request
    }

    fn answer(method: Method, headers: &[(header::HeaderName, &'static str)]) -> Response<Buffers> {
        let body = Buffers::new(["0123", "45", "6789"].map(Bytes::from));
        let whole = response::with(StatusCode::OK, response::VIDEO_TYPE, response::MEDIA, body);
        apply(&request(method, headers), whole)
    }

    fn described(answer: &Response<Buffers>) -> (u16, Option<&str>, u64) {
        let content_range = answer.headers().get(header::CONTENT_RANGE).map(|value| value.to_str().unwrap());
        (answer.status().as_u16(), content_range, answer.body().length())
    }

    #[test]
    fn a_range_is_answered_with_206_across_buffers() {
        let partial = answer(Method::GET, &[(header::RANGE, "bytes=3-6")]);
        assert_eq!(described(&partial), (206, Some("bytes 3-6/10"), 4));
        assert_eq!(partial.into_body().concat(), "3456");
        assert_eq!(described(&answer(Method::GET, &[(header::RANGE, "bytes=10-")])), (416, Some("bytes */10"), 19));
    }

    #[test]
    fn without_a_range_or_with_a_condition_on_it_all_is_sent() {
        let whole = answer(Method::GET, &[]);
        assert_eq!(described(&whole), (200, None, 10));
        assert_eq!(whole.headers()[header::ACCEPT_RANGES], "bytes");
        assert_eq!(
            described(&answer(Method::GET, &[(header::RANGE, "bytes=3-6"), (header::IF_RANGE, "\"tag\"")])),
            (200, None, 10)
        );
    }

    #[test]
    fn errors_stay_as_they_are() {
        let refusal = response::refusal(StatusCode::NOT_FOUND, Caching::Seconds(1), "not there");
        let request = request(Method::GET, &[(header::RANGE, "bytes=0-1")]);
        assert_eq!(described(&apply(&request, refusal)), (404, None, 10));
    }

    #[test]
    fn head_is_told_of_ranges_and_of_the_whole() {
        let whole = answer(Method::HEAD, &[(header::RANGE, "bytes=0-1")]);
        assert_eq!(described(&whole), (200, None, 10));
        assert_eq!(whole.headers()[header::ACCEPT_RANGES], "bytes");
    }
}
