//! Who may use the API: whoever shows the token, or, without one, everyone for reading and this machine for changes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use headwater_ingest::{KeyHash, Secret};

use super::{Admin, error};

/// Lets a request through or answers it.
pub(super) async fn check(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match allowed(admin.token.as_ref(), peer, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(StatusCode::UNAUTHORIZED) => {
            let mut answer = error(StatusCode::UNAUTHORIZED, "this needs the header Authorization: Bearer ADMIN_TOKEN");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
        Err(status) => {
            error(status, "without admin_token in the configuration, changes are made from this machine only")
        }
    }
}

fn allowed(token: Option<&Secret>, peer: SocketAddr, method: &Method, headers: &HeaderMap) -> Result<(), StatusCode> {
    let Some(token) = token else {
        let here = peer.ip().to_canonical().is_loopback();
        return if here || method.is_safe() { Ok(()) } else { Err(StatusCode::FORBIDDEN) };
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    // Hashes, so that the time taken says nothing about how much of a guess was right.
    let good = given.is_some_and(|(_, given)| KeyHash::of(given.trim()) == KeyHash::of(token.expose()));
    if good { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(token: Option<&str>, peer: &str, method: Method, shown: Option<&str>) -> Result<(), u16> {
        let token = token.map(Secret::new);
        let headers = shown.map(|shown| (header::AUTHORIZATION, HeaderValue::from_str(shown).unwrap()));
        let peer = SocketAddr::new(peer.parse().unwrap(), 5);
        allowed(token.as_ref(), peer, &method, &headers.into_iter().collect()).map_err(|status| status.as_u16())
    }

    #[test]
    fn with_a_token_nothing_goes_without_it() {
        for shown in ["Bearer open-sesame", "bearer open-sesame"] {
            assert_eq!(ask(Some("open-sesame"), "192.0.2.1", Method::DELETE, Some(shown)), Ok(()));
        }
        for shown in [None, Some("Bearer open-sesam"), Some("Bearer "), Some("Bearer"), Some("Basic open-sesame")] {
            for method in [Method::GET, Method::DELETE] {
                assert_eq!(ask(Some("open-sesame"), "127.0.0.1", method, shown), Err(401), "{shown:?}");
            }
        }
    }

    #[test]
    fn without_a_token_only_this_machine_changes_something() {
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ask(None, here, Method::DELETE, None), Ok(()));
        }
        assert_eq!(ask(None, "192.0.2.1", Method::GET, None), Ok(()));
        assert_eq!(ask(None, "192.0.2.1", Method::DELETE, None), Err(403));
        assert_eq!(ask(None, "192.0.2.1", Method::POST, Some("Bearer x")), Err(403));
    }
}
