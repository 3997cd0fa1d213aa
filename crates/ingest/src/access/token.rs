//! JSON Web Tokens (RFC 7519, 7515): who holds one that is signed with a known key may publish what it names.
//!
//! The algorithm is the key's, never the token's choice: a token whose header says another one is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_media::WallTime;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use ring::{hmac, signature};
use serde::Deserialize;
use serde_json::Value;

use super::StreamPattern;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8192;

/// Why a token lets nobody in. Shows nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TokenError {
    /// Not three parts of base64url with JSON in them.
    #[error("the token is not a JWT")]
    Malformed,
    /// No key is known that could have signed it.
    #[error("the token is signed with a key that is not known here")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// No `exp`: it would be valid for ever.
    #[error("the token does not say when it expires (exp)")]
    NoExpiry,
    /// `exp` is over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iss` is not the configured one.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` is not the configured one.
    #[error("the token is for somebody else (aud)")]
    Audience,
    /// Neither `stream` nor `sub` names a stream or a pattern.
    #[error("the token names no stream (stream or sub: APP/NAME or APP/*)")]
    NoStream,
    /// It is for another stream.
    #[error("the token is for another stream")]
    OtherStream,
    /// The key set has not been read yet.
    #[error("the keys for tokens cannot be had now; try again")]
    NoKeys,
}

/// What a valid token must say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Claims {
    /// `iss`, if it matters.
    pub issuer: Option<String>,
    /// One of `aud`, if it matters.
    pub audience: Option<String>,
    /// How far clocks may be apart, in seconds.
    pub leeway_seconds: u32,
}

/// A key that can check signatures.
#[derive(Clone, Debug)]
pub(crate) enum VerifyingKey {
    /// HS256.
    Secret(hmac::Key),
    /// RS256: modulus and exponent.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// ES256: an uncompressed point.
    P256(Vec<u8>),
    /// EdDSA.
    Ed25519(Vec<u8>),
}

/// Keys by id (`kid`).
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<(Option<String>, VerifyingKey)>,
    /// There are more, which could not be read yet.
    is_partial: bool,
}

/// A text is not a JSON Web Key Set (RFC 7517).
#[derive(Debug, thiserror::Error)]
#[error("not a JSON Web Key Set: {0}")]
pub(crate) struct KeySetError(String);

/// Whether a text in the place of a stream key may be a token.
pub(crate) fn looks_like_token(text: &str) -> bool {
    // {" in base64url, as a JSON header begins.
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl VerifyingKey {
    /// HS256 with a secret.
    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa { .. } => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// `None` for a kind of key that is not used here.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let bytes = |text: &Option<String>| decode(text.as_deref()?).ok();
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("oct", _) => Self::secret(&bytes(&jwk.k)?),
            ("RSA", _) => Self::Rsa { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? },
            ("EC", Some("P-256")) => Self::P256([vec![4], bytes(&jwk.x)?, bytes(&jwk.y)?].concat()),
            ("OKP", Some("Ed25519")) => Self::Ed25519(bytes(&jwk.x)?),
            _ => return None,
        };
        let for_signing = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
        let fits = jwk.alg.as_deref().is_none_or(|alg| alg == key.algorithm());
        (for_signing && fits).then_some(key)
    }

    fn verify(&self, message: &[u8], given: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, given).is_ok(),
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, given).is_ok()
            }
            Self::P256(point) => {
                signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, given).is_ok()
            }
            Self::Ed25519(point) => signature::UnparsedPublicKey::new(&ED25519, point).verify(message, given).is_ok(),
        }
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of other kinds are left out; without any key it is an error.
    pub(crate) fn from_jwks(text: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        // The text of an error could quote a secret (`k`): only its place is told.
        let set: Set = serde_json::from_slice(text)
            .map_err(|error| KeySetError(format!("line {}, column {}", error.line(), error.column())))?;
        let read = |value: Value| serde_json::from_value::<Jwk>(value).ok();
        let key = |jwk: Jwk| VerifyingKey::from_jwk(&jwk).map(|key| (jwk.kid, key));
        let keys: Vec<_> = set.keys.into_iter().filter_map(read).filter_map(key).collect();
        if keys.is_empty() {
            return Err(KeySetError("no key in it is for HS256, RS256, ES256 or EdDSA".into()));
        }
        Ok(Self { keys, is_partial: false })
    }

    /// This key alone, until the others can be read.
    pub(crate) fn partial(key: VerifyingKey) -> Self {
        Self { keys: vec![(None, key)], is_partial: true }
    }

    /// Adds a key that has no id.
    pub(crate) fn add(&mut self, key: VerifyingKey) {
        self.keys.push((None, key));
    }

    /// What the token lets its holder publish at `now`.
    pub(crate) fn streams(&self, token: &str, expected: &Claims, now: WallTime) -> Result<StreamPattern, TokenError> {
        let body: Value = serde_json::from_slice(&self.payload(token)?).map_err(|_| TokenError::Malformed)?;
        #[expect(clippy::cast_precision_loss, reason = "seconds of our time fit")]
        let (now, leeway) = ((now.unix_millis / 1000) as f64, f64::from(expected.leeway_seconds));
        // NumericDate may have a fraction (RFC 7519, 2).
        let expires = body.get("exp").and_then(Value::as_f64).ok_or(TokenError::NoExpiry)?;
        if now >= expires + leeway {
            return Err(TokenError::Expired);
        }
        match body.get("nbf").map(Value::as_f64) {
            Some(None) => return Err(TokenError::Malformed),
            Some(Some(begins)) if now + leeway < begins => return Err(TokenError::NotYet),
            _ => {}
        }
        if expected.issuer.as_deref().is_some_and(|issuer| body.get("iss").and_then(Value::as_str) != Some(issuer)) {
            return Err(TokenError::Issuer);
        }
        if let Some(audience) = &expected.audience {
            let is_it = |value: &Value| value.as_str() == Some(audience);
            let found = body.get("aud").is_some_and(|aud| match aud {
                Value::Array(list) => list.iter().any(is_it),
                one => is_it(one),
            });
            if !found {
                return Err(TokenError::Audience);
            }
        }
        let named = body.get("stream").or_else(|| body.get("sub")).and_then(Value::as_str);
        named.and_then(|named| named.parse().ok()).ok_or(TokenError::NoStream)
    }

    /// The second part of a token whose signature is right.
    fn payload(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: Option<String>,
            /// Extensions that must be understood (RFC 7515, 4.1.11); none is.
            crit: Option<Value>,
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (message, given) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        let (payload, given) = (decode(payload)?, decode(given)?);
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let could_be = |(kid, key): &&(Option<String>, VerifyingKey)| {
            let same_id = kid.is_none() || header.kid.is_none() || *kid == header.kid;
            same_id && key.algorithm() == header.alg
        };
        let mut keys = self.keys.iter().filter(could_be).peekable();
        if keys.peek().is_none() {
            return Err(if self.is_partial { TokenError::NoKeys } else { TokenError::UnknownKey });
        }
        if keys.any(|(_, key)| key.verify(message.as_bytes(), &given)) {
            Ok(payload)
        } else {
            Err(TokenError::Signature)
        }
    }
}

/// RFC 7517 and 7518, as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)
}

/// A token that is signed with HS256.
#[cfg(test)]
pub(crate) fn sign(secret: &[u8], claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests;
