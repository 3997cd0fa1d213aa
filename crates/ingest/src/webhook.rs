//! The operator's webhook: asked before a stream is published, told when it no longer is.
//!
//! Each publisher waits for its own answer and for nobody else's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use headwater_media::StreamName;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::connection::PRIORITY_MAX;
use crate::fetch::{Client, Endpoint, FetchError};
use crate::metrics::Metrics;
use crate::{Secret, Settings};

/// Requests at once; further ones wait, within their timeout.
const REQUESTS_MAX: usize = 64;
/// Notifications that wait for their answer; further ones are left out.
const NOTIFICATIONS_MAX: usize = 1024;
/// Wait before the first retry; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest wait for notifications when the server stops.
const FINISH_MAX: Duration = Duration::from_secs(5);
/// Longest text of a refusal that is passed on, in characters.
const REASON_CHARACTERS_MAX: usize = 200;

/// Where the webhook is and what it may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookSettings {
    /// Its URL.
    pub url: Endpoint,
    /// Sent as `Authorization: Bearer`, so that it knows us.
    pub token: Option<Secret>,
    /// How long one try may take.
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// The answer when there is none.
    pub when_down: WhenDown,
}

/// What happens to publishers while the webhook gives no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenDown {
    /// They publish what they asked for.
    Allow,
    /// They are refused and may try again.
    Refuse,
}

/// What is told about a publisher.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    /// `on_publish` or `on_unpublish`.
    pub(crate) event: &'static str,
    /// The stream: as asked for, or as renamed.
    pub(crate) stream: String,
    pub(crate) address: String,
    pub(crate) encoder: Option<String>,
    /// Of the URL, without those that we have checked ourselves.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub(crate) parameters: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Why it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What is to be different from the settings. Nothing by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) stream: Option<StreamName>,
    /// Of the publisher, in place of what its URL says.
    pub(crate) priority: Option<i32>,
    /// The settings of the session, where the webhook changes them.
    pub(crate) settings: Option<Arc<Settings>>,
}

/// The publisher is refused. The text is for it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    /// The webhook says so.
    #[error("{0}")]
    ByWebhook(String),
    /// It says what cannot be done.
    #[error("whoever decides about streams gave an answer that makes no sense")]
    Nonsense,
    /// It gives no answer.
    #[error("whoever decides about streams cannot be reached; try again")]
    Down,
}

/// The answer's JSON. Keys that are not known are an error: they would be a wish that is not granted.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Answer {
    allow: Option<bool>,
    reason: Option<String>,
    stream: Option<String>,
    ladder: Option<String>,
    latency: Option<String>,
    kbps_max: Option<u32>,
    gop_seconds_max: Option<u16>,
    picture_pixels_max: Option<u32>,
    priority: Option<i32>,
}

impl Answer {
    /// Whether the session is to have other settings.
    fn changes_settings(&self) -> bool {
        let limits = self.kbps_max.is_some() || self.gop_seconds_max.is_some() || self.picture_pixels_max.is_some();
        self.ladder.is_some() || self.latency.is_some() || limits
    }
}

/// Asks and tells.
#[derive(Debug)]
pub(crate) struct Webhook {
    requests: Arc<Semaphore>,
    client: Arc<Client>,
    metrics: Arc<Metrics>,
    notifications: Mutex<JoinSet<()>>,
}

impl Webhook {
    pub(crate) fn new(client: Arc<Client>, metrics: Arc<Metrics>) -> Self {
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        Self { requests, client, metrics, notifications: Mutex::default() }
    }

    /// Whether the publisher may publish, and how.
    pub(crate) async fn ask(
        &self,
        hook: &WebhookSettings,
        settings: &Arc<Settings>,
        told: &Told,
    ) -> Result<Wish, Refused> {
        let answer = match exchange(&self.requests, &self.client, hook, told).await {
            Ok(answer) => answer,
            Err(error) => {
                // Not the stream: what a publisher asks for may be a secret that the webhook knows.
                warn!(url = %hook.url, event = told.event, %error, "the webhook is down");
                self.metrics.asked(told.event, "down");
                return match hook.when_down {
                    WhenDown::Allow => Ok(Wish::default()),
                    WhenDown::Refuse => Err(Refused::Down),
                };
            }
        };
        let decided = decide(&answer.0, &answer.1, settings);
        let label = match &decided {
            Ok(_) => "allowed",
            Err(Refused::ByWebhook(_)) => "refused",
            Err(_) => "nonsense",
        };
        self.metrics.asked(told.event, label);
        decided.map_err(|problem| match problem {
            Refused::Nonsense => {
                warn!(url = %hook.url, event = told.event, "the webhook's answer cannot be read");
                Refused::Nonsense
            }
            other => other,
        })
    }

    /// Tells without waiting.
    pub(crate) fn tell(&self, hook: &WebhookSettings, told: Told) {
        let mut notifications = self.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        while notifications.try_join_next().is_some() {}
        if notifications.len() >= NOTIFICATIONS_MAX {
            self.metrics.asked(told.event, "left_out");
            return;
        }
        let (requests, client) = (self.requests.clone(), self.client.clone());
        let (metrics, hook) = (self.metrics.clone(), hook.clone());
        notifications.spawn(async move {
            match exchange(&requests, &client, &hook, &told).await {
                Ok(_) => metrics.asked(told.event, "told"),
                Err(error) => {
                    warn!(url = %hook.url, event = told.event, %error, "the webhook is down");
                    metrics.asked(told.event, "down");
                }
            }
        });
    }

    /// The server stops: what is to be told is told, unless nobody listens.
    pub(crate) async fn finish(&self) {
        let mut notifications = std::mem::take(&mut *self.notifications.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while notifications.join_next().await.is_some() {} };
        if timeout(FINISH_MAX, all).await.is_err() {
            warn!("the webhook does not hear of all streams that have ended");
        }
    }
}

/// Sends until there is an answer that is one.
async fn exchange(
    requests: &Semaphore,
    client: &Client,
    hook: &WebhookSettings,
    told: &Told,
) -> Result<(StatusCode, Bytes), FetchError> {
    let body = Bytes::from(serde_json::to_vec(told).map_err(|error| FetchError::Failed(error.to_string()))?);
    let mut pause = RETRY_MIN;
    let mut left = hook.retries;
    loop {
        let mut request = Request::post(hook.url.uri()).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &hook.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Full::new(body.clone())).map_err(|error| FetchError::Failed(error.to_string()))?;
        let attempt = async {
            // The semaphore is never closed.
            let _permit = requests.acquire().await.ok();
            client.send(request, hook.timeout).await
        };
        let failed = match timeout(hook.timeout, attempt).await.unwrap_or(Err(FetchError::Timeout(hook.timeout))) {
            Ok((status, _)) if is_down(status) => FetchError::Failed(format!("answered with {status}")),
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if left == 0 {
            return Err(failed);
        }
        left -= 1;
        sleep(jitter(pause)).await;
        pause *= 2;
    }
}

/// Answers that say nothing about the publisher.
fn is_down(status: StatusCode) -> bool {
    !(status.is_success() || status.is_client_error())
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Half to one and a half of `pause`, so that many who failed together do not come back together.
fn jitter(pause: Duration) -> Duration {
    let mut random = [128];
    // Without random numbers it is `pause` itself.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause * u32::from(random[0]) / 256
}

fn decide(status: &StatusCode, body: &[u8], settings: &Arc<Settings>) -> Result<Wish, Refused> {
    let answer = if body.trim_ascii().is_empty() { Ok(Answer::default()) } else { serde_json::from_slice(body) };
    let reason = |answer: Option<Answer>| {
        let text = answer.and_then(|answer| answer.reason).filter(|reason| !reason.is_empty());
        let text = text.unwrap_or_else(|| "this stream may not be published".into());
        Refused::ByWebhook(text.chars().filter(|c| !c.is_control()).take(REASON_CHARACTERS_MAX).collect())
    };
    if !status.is_success() {
        return Err(reason(answer.ok()));
    }
    let answer: Answer = answer.map_err(|_| Refused::Nonsense)?;
    if answer.allow == Some(false) {
        return Err(reason(Some(answer)));
    }
    let stream = answer.stream.as_deref().map(str::parse).transpose().map_err(|_| Refused::Nonsense)?;
    let priority = answer.priority;
    if priority.is_some_and(|priority| !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&priority)) {
        return Err(Refused::Nonsense);
    }
    if !answer.changes_settings() {
        return Ok(Wish { stream, priority, settings: None });
    }
    let mut changed = Settings::clone(settings);
    if let Some(name) = answer.ladder {
        let known = changed.ladders.iter().find(|(known, _)| *known == name).map(|(_, ladder)| ladder.clone());
        changed.ladder = known.ok_or(Refused::Nonsense)?;
    }
    if let Some(name) = answer.latency {
        changed.profile = name.parse().map_err(|()| Refused::Nonsense)?;
    }
    changed.kbps_max = answer.kbps_max.unwrap_or(changed.kbps_max);
    if let Some(seconds) = answer.gop_seconds_max {
        changed.limits.gop = Duration::from_secs(seconds.into());
    }
    changed.limits.picture_pixels = answer.picture_pixels_max.unwrap_or(changed.limits.picture_pixels);
    Ok(Wish { stream, priority, settings: Some(Arc::new(changed)) })
}

#[cfg(test)]
pub(crate) use tests::settings;

#[cfg(test)]
mod tests;
