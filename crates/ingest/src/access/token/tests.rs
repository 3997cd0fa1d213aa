use super::*;

const JWKS: &[u8] = include_bytes!("testdata/jwks.json");
/// Signed with RS256, ES256, EdDSA, HS256.
const TOKENS: &str = include_str!("testdata/tokens.txt");
const SECRET: &[u8] = b"a secret that is 32 bytes long ..";
/// Half an hour after `nbf`, half an hour before `exp`.
const NOW: i64 = 1_800_001_800;

fn keys() -> KeySet {
    let mut keys = KeySet::from_jwks(JWKS).unwrap();
    keys.add(VerifyingKey::secret(SECRET));
    keys
}

fn at(unix_seconds: i64) -> WallTime {
    WallTime { unix_millis: unix_seconds * 1000 }
}

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token with these parts, signed with the secret.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", encode(tag))
}

fn ask(claims: &str) -> Result<String, TokenError> {
    let token = signed(r#"{"alg":"HS256"}"#, claims);
    keys().streams(&token, &Claims::default(), at(NOW)).map(|streams| streams.to_string())
}

#[test]
fn tokens_of_every_algorithm_are_taken_as_openssl_signed_them() {
    assert_eq!(TOKENS.lines().count(), 4);
    let expected =
        Claims { issuer: Some("https://id.example".into()), audience: Some("headwater".into()), leeway_seconds: 0 };
    for token in TOKENS.lines() {
        assert!(looks_like_token(token));
        assert_eq!(keys().streams(token, &expected, at(NOW)).unwrap().to_string(), "live/show");
    }
}

#[test]
fn a_token_with_any_other_bit_is_refused() {
    for token in TOKENS.lines() {
        let (message, given) = token.rsplit_once('.').unwrap();
        let given = URL_SAFE_NO_PAD.decode(given).unwrap();
        for bit in [0, given.len() * 4, given.len() * 8 - 1] {
            let mut given = given.clone();
            given[bit / 8] ^= 0x80 >> (bit % 8);
            let forged = format!("{message}.{}", encode(given));
            assert_eq!(keys().streams(&forged, &Claims::default(), at(NOW)), Err(TokenError::Signature));
        }
        let (header, claims) = message.split_once('.').unwrap();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        let forged = format!("{header}.{}.{}", encode(claims.replace("show", "news")), encode(given));
        assert_eq!(keys().streams(&forged, &Claims::default(), at(NOW)), Err(TokenError::Signature));
    }
}

#[test]
fn the_algorithm_is_the_keys_and_not_the_tokens() {
    let claims = r#"{"sub":"live/show","exp":1800003600}"#;
    for alg in ["none", "RS256", "HS384", "hs256"] {
        let token = signed(&format!(r#"{{"alg":"{alg}","kid":"x"}}"#), claims);
        let error = keys().streams(&token, &Claims::default(), at(NOW)).unwrap_err();
        assert_eq!(error, TokenError::UnknownKey, "{alg}");
    }
    // The public key as the secret of HS256.
    let jwk = serde_json::from_slice::<Value>(JWKS).unwrap()["keys"][1].take();
    let Some(VerifyingKey::P256(point)) = VerifyingKey::from_jwk(&serde_json::from_value(jwk).unwrap()) else {
        panic!("not P-256")
    };
    let message = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"ec"}"#), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &point), message.as_bytes());
    let token = format!("{message}.{}", encode(tag));
    let error = KeySet::from_jwks(JWKS).unwrap().streams(&token, &Claims::default(), at(NOW)).unwrap_err();
    assert_eq!(error, TokenError::UnknownKey);
}

#[test]
fn a_token_is_valid_between_nbf_and_exp_give_or_take_the_leeway() {
    let token = TOKENS.lines().next().unwrap();
    let ask = |seconds: i64, leeway_seconds: u32| {
        let expected = Claims { leeway_seconds, ..Claims::default() };
        keys().streams(token, &expected, at(seconds)).map(|_| ())
    };
    let (begins, expires) = (1_800_000_000, 1_800_003_600);
    assert_eq!(ask(begins, 0), Ok(()));
    assert_eq!(ask(begins - 1, 0), Err(TokenError::NotYet));
    assert_eq!(ask(begins - 30, 30), Ok(()));
    assert_eq!(ask(expires - 1, 0), Ok(()));
    assert_eq!(ask(expires, 0), Err(TokenError::Expired));
    assert_eq!(ask(expires + 29, 30), Ok(()));
    assert_eq!(ask(expires + 30, 30), Err(TokenError::Expired));
}

#[test]
fn a_token_names_a_stream_or_an_app_and_an_end() {
    assert_eq!(ask(r#"{"sub":"user","stream":"live/*","exp":1800003600}"#), Ok("live/*".into()));
    assert_eq!(ask(r#"{"sub":"live/a","exp":1800003600.5}"#), Ok("live/a".into()));
    assert_eq!(ask(r#"{"sub":"user","exp":1800003600}"#), Err(TokenError::NoStream));
    assert_eq!(ask(r#"{"sub":"live/a","stream":7,"exp":1800003600}"#), Err(TokenError::NoStream));
    assert_eq!(ask(r#"{"sub":"live/a"}"#), Err(TokenError::NoExpiry));
    assert_eq!(ask(r#"{"sub":"live/a","exp":"1800003600"}"#), Err(TokenError::NoExpiry));
    assert_eq!(ask(r#"{"sub":"live/a","exp":1800003600,"nbf":"x"}"#), Err(TokenError::Malformed));
    assert_eq!(ask("[]"), Err(TokenError::NoExpiry));
}

#[test]
fn issuer_and_audience_must_be_those_that_are_configured() {
    let token = TOKENS.lines().next().unwrap();
    let ask = |issuer: Option<&str>, audience: Option<&str>| {
        let expected =
            Claims { issuer: issuer.map(str::to_owned), audience: audience.map(str::to_owned), leeway_seconds: 0 };
        keys().streams(token, &expected, at(NOW)).map(|_| ())
    };
    assert_eq!(ask(Some("https://id.example"), Some("other")), Ok(()));
    assert_eq!(ask(Some("https://id.example/"), None), Err(TokenError::Issuer));
    assert_eq!(ask(None, Some("head")), Err(TokenError::Audience));
}

#[test]
fn what_is_no_token_is_an_error() {
    let long = format!("{}.e30.e30", "e".repeat(TOKEN_BYTES_MAX));
    for bad in ["", "a", "a.b", "..", "a.b.c.d", "e30.e30.e30", "e30=.e30.e30", "\u{fc}.\u{fc}.\u{fc}", &long] {
        let error = keys().streams(bad, &Claims::default(), at(NOW)).unwrap_err();
        assert_eq!(error, TokenError::Malformed, "{bad}");
    }
    let critical = signed(r#"{"alg":"HS256","crit":["b64"]}"#, "{}");
    assert_eq!(keys().streams(&critical, &Claims::default(), at(NOW)), Err(TokenError::Malformed));
}

#[test]
fn a_key_set_without_a_usable_key_is_an_error_that_shows_none() {
    assert_eq!(KeySet::from_jwks(JWKS).unwrap().keys.len(), 3);
    for bad in [
        &br#"{"keys":[]}"#[..],
        br#"{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS512"}]}"#,
        br#"{"keys":"c2VjcmV0"}"#,
        b"<html>",
    ] {
        let error = KeySet::from_jwks(bad).unwrap_err().to_string();
        assert!(error.starts_with("not a JSON Web Key Set: ") && !error.contains("c2VjcmV0"), "{error}");
    }
}
