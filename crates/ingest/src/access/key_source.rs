//! Where the keys for tokens come from, read again and again, so that an issuer can change them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant as Time, sleep_until};
use tracing::{info, warn};

use super::token::{Claims, KeySet, VerifyingKey};
use crate::fetch::{Client, Endpoint};
use crate::{Secret, Settings};

/// Longest wait for a key set.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// First wait after a failure; it doubles up to the refresh interval.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Tokens with unknown keys have the set read again, but not more often than this.
const EARLY_MIN: Duration = Duration::from_secs(10);

/// Which tokens let somebody publish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenSettings {
    /// The secret of HS256.
    pub secret: Option<Secret>,
    /// Where public keys are.
    pub jwks: Option<JwksSource>,
    /// What tokens must say.
    pub claims: Claims,
    /// How often the key set is read again.
    pub refresh: Duration,
}

/// Where a JSON Web Key Set is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JwksSource {
    /// In a file.
    File(PathBuf),
    /// Behind a URL.
    Url(Endpoint),
}

/// A text is not a [`JwksSource`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwksSourceError {
    /// Whoever can change the answer could publish anything.
    #[error("a key set is fetched over https, or over http from this machine only")]
    Unprotected,
    /// Not a URL.
    #[error("expected a file or https://HOST/PATH")]
    Url,
}

impl FromStr for JwksSource {
    type Err = JwksSourceError;

    fn from_str(text: &str) -> Result<Self, JwksSourceError> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let endpoint: Endpoint = text.parse().map_err(|_| JwksSourceError::Url)?;
        if endpoint.is_private() { Ok(Self::Url(endpoint)) } else { Err(JwksSourceError::Unprotected) }
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// The newest keys, `None` until they were read once.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    newest: watch::Sender<Option<Arc<KeySet>>>,
    /// A token came whose key is not known.
    wanted: Notify,
}

impl Keys {
    /// The newest keys; waits for the first ones, but not for ever.
    pub(crate) async fn newest(&self) -> Option<Arc<KeySet>> {
        let mut newest = self.newest.subscribe();
        let first = tokio::time::timeout(FETCH_TIMEOUT, newest.wait_for(Option::is_some)).await;
        first.ok()?.ok()?.clone()
    }

    /// Has them read again soon.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Keeps the keys fresh, for ever.
    pub(crate) async fn follow(&self, mut settings: watch::Receiver<Arc<Settings>>, client: &Client) {
        let mut source = None;
        let mut retry = RETRY_MIN;
        loop {
            let tokens = settings.borrow_and_update().access.tokens.clone();
            let Some(tokens) = tokens else {
                self.newest.send_replace(None);
                source = None;
                if settings.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let now_source = Some((tokens.jwks.clone(), tokens.secret.clone()));
            if source != now_source {
                // Keys of a source that is no longer trusted.
                self.newest.send_replace(None);
                (source, retry) = (now_source, RETRY_MIN);
            }
            let wait = match read(&tokens, client).await {
                Ok(keys) => {
                    self.newest.send_replace(Some(Arc::new(keys)));
                    retry = RETRY_MIN;
                    tokens.refresh
                }
                Err(problem) => {
                    if let Some(secret) = tokens.secret.as_ref().filter(|_| self.newest.borrow().is_none()) {
                        self.newest.send_replace(Some(Arc::new(KeySet::partial(of_secret(secret)))));
                    }
                    let from = tokens.jwks.as_ref().map(ToString::to_string).unwrap_or_default();
                    warn!(from, problem, again_in_seconds = retry.as_secs(), "no new keys for tokens");
                    let wait = retry.min(tokens.refresh);
                    retry = (retry * 2).min(tokens.refresh);
                    wait
                }
            };
            let now = Time::now();
            tokio::select! {
                changed = settings.changed() => if changed.is_err() { return },
                () = sleep_until(now + wait) => {}
                () = async { self.wanted.notified().await; sleep_until(now + EARLY_MIN).await } => {
                    info!("a token came whose key is not known: reading the keys again");
                }
            }
        }
    }
}

async fn read(tokens: &TokenSettings, client: &Client) -> Result<KeySet, String> {
    let mut keys = match &tokens.jwks {
        None => KeySet::default(),
        Some(JwksSource::File(path)) => {
            let text = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
            KeySet::from_jwks(&text).map_err(|error| error.to_string())?
        }
        Some(JwksSource::Url(url)) => {
            let request = Request::get(url.uri()).body(Full::new(Bytes::new())).map_err(|error| error.to_string())?;
            let (status, text) = client.send(request, FETCH_TIMEOUT).await.map_err(|error| error.to_string())?;
            if !status.is_success() {
                return Err(format!("answered with {status}"));
            }
            KeySet::from_jwks(&text).map_err(|error| error.to_string())?
        }
    };
    if let Some(secret) = &tokens.secret {
        keys.add(of_secret(secret));
    }
    Ok(keys)
}

/// The key of HS256.
fn of_secret(secret: &Secret) -> VerifyingKey {
    VerifyingKey::secret(secret.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(jwks: Option<JwksSource>) -> TokenSettings {
        let secret = jwks.is_none().then(|| Secret::new("a secret"));
        TokenSettings { secret, jwks, claims: Claims::default(), refresh: Duration::from_secs(3600) }
    }

    fn settings(tokens: Option<TokenSettings>) -> Arc<Settings> {
        let mut settings = Settings::clone(&crate::webhook::settings());
        settings.access.tokens = tokens;
        Arc::new(settings)
    }

    #[tokio::test]
    async fn keys_follow_the_settings_and_those_of_another_source_are_gone() {
        let (keys, client) = (Keys::default(), Client::default());
        let (sender, receiver) = watch::channel(settings(Some(tokens(None))));
        let test = async {
            assert!(keys.newest().await.is_some());
            let mut newest = keys.newest.subscribe();
            let nowhere = JwksSource::File("/nowhere/jwks.json".into());
            sender.send_replace(settings(Some(tokens(Some(nowhere)))));
            assert!(newest.wait_for(Option::is_none).await.is_ok());
            sender.send_replace(settings(Some(tokens(None))));
            assert!(newest.wait_for(Option::is_some).await.is_ok());
            sender.send_replace(settings(None));
            assert!(newest.wait_for(Option::is_none).await.is_ok());
        };
        tokio::select! {
            () = test => {}
            () = keys.follow(receiver, &client) => panic!("it ended"),
        }
    }

    /// Of what the set alone knows, a token is refused for now.
    #[tokio::test]
    async fn the_secret_counts_while_the_key_set_cannot_be_read() {
        let (keys, client) = (Keys::default(), Client::default());
        let nowhere = JwksSource::File("/nowhere/jwks.json".into());
        let both = TokenSettings { secret: Some(Secret::new("a secret")), ..tokens(Some(nowhere)) };
        let (_sender, receiver) = watch::channel(settings(Some(both)));
        tokio::select! {
            newest = keys.newest() => assert!(newest.is_some()),
            () = keys.follow(receiver, &client) => panic!("it ended"),
        }
    }

    #[tokio::test]
    async fn a_key_set_that_cannot_be_read_any_more_leaves_the_old_keys() {
        let file = std::env::temp_dir().join(format!("headwater-jwks-{}.json", std::process::id()));
        std::fs::write(&file, include_bytes!("token/testdata/jwks.json")).unwrap();
        let source = || Some(tokens(Some(JwksSource::File(file.clone()))));
        let (keys, client) = (Keys::default(), Client::default());
        let (sender, receiver) = watch::channel(settings(source()));
        let test = async {
            let old = keys.newest().await.unwrap();
            std::fs::write(&file, "{}").unwrap();
            sender.send_replace(settings(source()));
            assert!(read(&source().unwrap(), &client).await.is_err());
            assert!(Arc::ptr_eq(&old, &keys.newest().await.unwrap()));
        };
        tokio::select! {
            () = test => {}
            () = keys.follow(receiver, &client) => panic!("it ended"),
        }
        std::fs::remove_file(&file).unwrap();
    }

    /// Time is paused: it jumps to the next deadline when there is nothing else to do.
    #[tokio::test(start_paused = true)]
    async fn a_token_with_an_unknown_key_has_the_set_read_again_before_its_time() {
        let file = std::env::temp_dir().join(format!("headwater-jwks-new-{}.json", std::process::id()));
        std::fs::write(&file, include_bytes!("token/testdata/jwks.json")).unwrap();
        let (keys, client) = (Keys::default(), Client::default());
        let (_sender, receiver) = watch::channel(settings(Some(tokens(Some(JwksSource::File(file.clone()))))));
        let test = async {
            let old = keys.newest().await.unwrap();
            let begin = Time::now();
            keys.want();
            let mut newest = keys.newest.subscribe();
            let other = |new: &Option<Arc<KeySet>>| new.as_ref().is_some_and(|new| !Arc::ptr_eq(new, &old));
            assert!(newest.wait_for(other).await.is_ok());
            assert!((EARLY_MIN..EARLY_MIN * 2).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        };
        tokio::select! {
            () = test => {}
            () = keys.follow(receiver, &client) => panic!("it ended"),
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_key_set_comes_from_a_file_or_over_a_way_that_nobody_can_change() {
        let source = |text: &str| text.parse::<JwksSource>();
        assert_eq!(source("/etc/jwks.json"), Ok(JwksSource::File("/etc/jwks.json".into())));
        assert!(matches!(source("https://id.example/jwks.json"), Ok(JwksSource::Url(_))));
        assert!(matches!(source("http://127.0.0.1:9/jwks.json"), Ok(JwksSource::Url(_))));
        assert_eq!(source("http://id.example/jwks.json"), Err(JwksSourceError::Unprotected));
        assert_eq!(source("file:///etc/jwks.json"), Err(JwksSourceError::Url));
    }
}
