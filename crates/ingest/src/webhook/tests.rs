use std::sync::Arc;

use headwater_router::Ladder;
use headwater_segmenter::Profile;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::{AccessSettings, Multitrack, PublishLimits, When};

/// Settings of tests that are about something else.
pub(crate) fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        profile: Profile::Low,
        ladder: Ladder::hd(),
        ladders: vec![("none".into(), Ladder::default())],
        when: When::Always,
        gears_per_job: 0,
        multitrack: Multitrack::First,
        window_segments: 8,
        source_audio: true,
        reconnect_window: Duration::ZERO,
        end_grace: Duration::ZERO,
        drain: Duration::ZERO,
        access: AccessSettings::default(),
        kbps_max: 0,
        limits: PublishLimits::default(),
        proxy_protocol: false,
        tls: None,
        connections_max: 1,
        rtmp: headwater_rtmp::ServerConfig::default(),
    })
}

fn decided(status: u16, body: &str) -> Result<Wish, Refused> {
    decide(&StatusCode::from_u16(status).unwrap(), body.as_bytes(), &settings())
}

fn refused(text: &str) -> Refused {
    Refused::ByWebhook(text.into())
}

#[test]
fn an_answer_allows_refuses_and_changes() {
    let plain = decided(204, "").unwrap();
    assert!(plain.stream.is_none() && plain.settings.is_none());
    assert!(decided(200, r#"{"allow": true}"#).is_ok());
    assert_eq!(decided(200, r#"{"allow": false, "reason": "not paid"}"#).unwrap_err(), refused("not paid"));
    assert_eq!(decided(403, r#"{"reason": "not paid"}"#).unwrap_err(), refused("not paid"));
    assert_eq!(decided(404, "<html>").unwrap_err(), refused("this stream may not be published"));
    let wish = r#"{"stream": "tv/one", "ladder": "none", "latency": "ultra", "kbps_max": 6000, "priority": 7}"#;
    let wish = decided(200, wish).unwrap();
    assert_eq!(wish.stream.unwrap().as_str(), "tv/one");
    assert_eq!(wish.priority, Some(7));
    let changed = wish.settings.unwrap();
    assert_eq!((changed.ladder.gears.len(), changed.profile, changed.kbps_max), (0, Profile::Ultra, 6000));
    let limits = |body| decided(200, body).unwrap().settings.unwrap().limits;
    let expected = PublishLimits { gop: Duration::from_secs(4), ..PublishLimits::default() };
    assert_eq!(limits(r#"{"gop_seconds_max": 4}"#), expected);
    let expected = PublishLimits { picture_pixels: 921_600, ..PublishLimits::default() };
    assert_eq!(limits(r#"{"picture_pixels_max": 921600}"#), expected);
}

#[test]
fn an_answer_that_makes_no_sense_lets_nobody_in() {
    for body in [
        "OK",
        r#"{"allow": "yes"}"#,
        r#"{"ladder": "huge"}"#,
        r#"{"latency": "none"}"#,
        r#"{"priority": 5000}"#,
        r#"{"stream": "tv"}"#,
        r#"{"kbps_max": -1}"#,
        r#"{"lader": "none"}"#,
    ] {
        assert_eq!(decided(200, body).unwrap_err(), Refused::Nonsense, "{body}");
    }
}

#[test]
fn a_reason_is_one_short_line() {
    let long = format!(r#"{{"reason": "a\r\nb{}"}}"#, "c".repeat(1000));
    let Refused::ByWebhook(text) = decided(403, &long).unwrap_err() else { panic!("not refused") };
    assert_eq!(text.len(), REASON_CHARACTERS_MAX);
    assert!(text.starts_with("abc"));
}

/// Answers one request after another with these, then none. Gives the URL, and what was asked.
async fn hook(answers: Vec<&'static str>) -> (WebhookSettings, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            // The body is JSON in one line, and the last thing sent.
            while !request.ends_with(b"}") {
                assert_ne!(socket.read_buf(&mut request).await.unwrap(), 0);
            }
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.unwrap();
            asked.push(String::from_utf8(request).unwrap());
        }
        asked
    });
    let settings = WebhookSettings {
        url,
        token: Some(Secret::new("hunter2")),
        timeout: Duration::from_secs(20),
        retries: 1,
        when_down: WhenDown::Refuse,
    };
    (settings, asked)
}

fn told() -> Told {
    Told {
        event: "on_publish",
        stream: "live/show".into(),
        address: "192.0.2.1:5".into(),
        encoder: None,
        parameters: serde_json::Map::from_iter([("ticket".to_owned(), json!("7"))]),
        session: None,
        reason: None,
    }
}

struct Still;

impl headwater_media::Clock for Still {
    fn now(&self) -> headwater_media::Instant {
        headwater_media::Instant::default()
    }

    fn wall(&self) -> headwater_media::WallTime {
        headwater_media::WallTime { unix_millis: 0 }
    }
}

fn webhook() -> Webhook {
    let mut registry = prometheus_client::registry::Registry::default();
    Webhook::new(Arc::default(), Arc::new(Metrics::new(&mut registry, Arc::new(Still))))
}

#[tokio::test]
async fn it_is_asked_as_json_with_our_token_and_again_after_an_error() {
    let (hook, asked) = hook(vec!["502 Bad Gateway", "204 No Content"]).await;
    assert!(webhook().ask(&hook, &settings(), &told()).await.is_ok());
    let asked = asked.await.unwrap();
    assert_eq!(asked.len(), 2);
    for request in asked {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: bearer hunter2") && head.contains("application/json"), "{head}");
        let expected = json!({
            "event": "on_publish",
            "stream": "live/show",
            "address": "192.0.2.1:5",
            "encoder": null,
            "parameters": {"ticket": "7"},
        });
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
    }
}

#[tokio::test]
async fn when_it_is_down_the_configured_answer_counts() {
    let (mut hook, asked) = hook(vec!["500 Oh", "429 Slow down"]).await;
    assert_eq!(webhook().ask(&hook, &settings(), &told()).await.unwrap_err(), Refused::Down);
    assert_eq!(asked.await.unwrap().len(), 2);
    // Nobody listens any more.
    hook.when_down = WhenDown::Allow;
    assert!(webhook().ask(&hook, &settings(), &told()).await.is_ok());
}

#[tokio::test]
async fn one_that_does_not_answer_is_down_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut hook, _) = hook(Vec::new()).await;
    hook.url = format!("http://{}/", silent.local_addr().unwrap()).parse().unwrap();
    (hook.timeout, hook.retries) = (Duration::from_millis(50), 0);
    assert_eq!(webhook().ask(&hook, &settings(), &told()).await.unwrap_err(), Refused::Down);
}

#[tokio::test]
async fn what_is_told_is_sent_before_the_server_is_gone() {
    let (hook, asked) = hook(vec!["200 OK"]).await;
    let webhook = webhook();
    webhook.tell(&hook, Told { event: "on_unpublish", reason: Some("unpublished".into()), ..told() });
    webhook.finish().await;
    let asked = asked.await.unwrap();
    assert!(
        asked[0].contains(r#""event":"on_unpublish""#) && asked[0].contains(r#""reason":"unpublished""#),
        "{asked:?}"
    );
}

#[test]
fn retries_are_spread() {
    let pause = Duration::from_millis(100);
    for _ in 0..100 {
        let spread = jitter(pause).as_millis();
        assert!((50..150).contains(&spread), "{spread}");
    }
}
