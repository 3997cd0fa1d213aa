use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use headwater_router::embedded::{Alone, EmbeddedLog, EmbeddedQueue, EmbeddedRegistry};
use headwater_router::{NodeId, Posters};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::*;
use crate::clock::SystemClock;
use crate::config;

/// The admin address of a server that nobody uses.
fn admin(token: Option<&str>) -> Router {
    router(Arc::new(state(token)))
}

fn state(token: Option<&str>) -> Admin {
    let (config, _) = config::load(&crate::cli::ServeArgs::default(), &config::Environment::default()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::new(config.log_limits()));
    let mut metrics = Registry::default();
    let ingest = headwater_ingest::Deps {
        clock: clock.clone(),
        registry: Arc::new(EmbeddedRegistry::new(NodeId("test".into()))),
        peers: Arc::new(Alone),
        log: log.clone(),
        queue: Arc::new(EmbeddedQueue::default()),
        metrics: Arc::new(headwater_ingest::Metrics::new(&mut metrics, clock.clone())),
    };
    let edge = headwater_edge::Deps {
        clock: clock.clone(),
        log: log.clone(),
        posters: Arc::new(Posters::new(config.transcode.poster_interval)),
        metrics: Arc::new(headwater_edge::Metrics::new(&mut metrics, clock.clone())),
        assets: crate::pages::find,
    };
    Admin {
        clock,
        log,
        edge: Arc::new(Edge::new(config.edge(), edge)),
        ingest: Arc::new(Ingest::new(config.ingest(None), ingest)),
        token: token.map(Secret::new),
        metrics,
        log_media: Gauge::default(),
        faults: None,
    }
}

/// Status and JSON of the answer to a request from `peer`.
async fn ask(admin: &Router, method: &str, path: &str, peer: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path);
    let request = request.extension(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 5))).body(Body::empty());
    let answer = admin.clone().oneshot(request.unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

const HERE: &str = "127.0.0.1";

/// Time is paused: it jumps to the next deadline when there is nothing else to do.
#[tokio::test(start_paused = true)]
async fn who_never_ends_its_request_does_not_keep_the_server_from_stopping() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(run(listener, state(None), async { stopped.await.unwrap() }));
    let mut peer = tokio::net::TcpStream::connect(address).await.unwrap();
    peer.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_ne!(peer.read(&mut [0; 1024]).await.unwrap(), 0);
    peer.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn every_path_that_is_described_is_there_and_no_other_method() {
    let admin = admin(None);
    let (_, description) = ask(&admin, "GET", "/api/v1/openapi.json", HERE).await;
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 4);
    for (path, methods) in paths {
        let real = path.replace("{app}", "live/events").replace("{name}", "show");
        for method in ["get", "put", "post", "delete", "patch"] {
            let (status, body) = ask(&admin, &method.to_uppercase(), &real, HERE).await;
            // The stream is not live; a GET below it is one for a stream of that name.
            let described = methods.get(method);
            match described {
                Some(described) => {
                    let responses = described["responses"].as_object().unwrap();
                    assert!(responses.contains_key(&status.to_string()), "{method} {path}: {status} {body}");
                    assert!(!body.to_string().contains("nothing here"), "{method} {path}: {body}");
                }
                None if method == "get" => assert_eq!(status, 404, "{method} {path}"),
                None => assert_eq!(status, 405, "{method} {path}"),
            }
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_json() {
    let (open, closed) = (admin(None), admin(Some("open-sesame")));
    for (admin, method, path, peer, status, text) in [
        (
            &open,
            "DELETE",
            "/api/v1/streams/live/show/publisher",
            HERE,
            404,
            "live/show: nobody publishes it at this node",
        ),
        (&open, "DELETE", "/api/v1/streams/show/publisher", HERE, 400, "app/name"),
        (&open, "DELETE", "/api/v1/streams/live/show/publisher", "192.0.2.1", 403, "from this machine only"),
        (&open, "DELETE", "/api/v1/streams/live/show", HERE, 405, "openapi.json"),
        (&open, "POST", "/api/v1/streams", HERE, 405, "openapi.json"),
        (&open, "POST", "/metrics", HERE, 405, "openapi.json"),
        (&open, "GET", "/api/v1/streams/live/%FF", HERE, 400, "app/name"),
        (&open, "DELETE", "/api/v1/streams/live/%FF/publisher", HERE, 400, "app/name"),
        (&open, "GET", "/api/v1/nothing", HERE, 404, "nothing here"),
        (&closed, "DELETE", "/api/v1/streams/live/show/publisher", HERE, 401, "Authorization: Bearer"),
        (&closed, "GET", "/api/v1/streams", HERE, 401, "Authorization: Bearer"),
    ] {
        let (found, body) = ask(admin, method, path, peer).await;
        assert_eq!(found, status, "{method} {path}");
        assert!(body["error"].as_str().is_some_and(|error| error.contains(text)), "{method} {path}: {body}");
    }
    assert_eq!(ask(&closed, "GET", "/api/v1/openapi.json", HERE).await.0, 200);
    assert_eq!(ask(&closed, "GET", "/metrics", "192.0.2.1").await.0, 200);
}

/// The names in each object are those that are described, and all of them are always there.
#[test]
fn a_stream_has_what_is_described() {
    let rendition = RenditionBody {
        name: "source".into(),
        kind: "source",
        on: true,
        off_reason: None,
        codecs: None,
        width: None,
        height: None,
        average_bps: 0,
        peak_bps: 0,
        readers: 0,
    };
    let publisher = PublisherBody { address: "192.0.2.1:5".into(), encoder: None, since: String::new() };
    let stream = serde_json::to_value(StreamBody {
        name: "live/show".into(),
        session: String::new(),
        epoch: 1,
        state: "live",
        since: String::new(),
        age_seconds: 0,
        latency_profile: "low",
        frame_rate: 30.0,
        target_duration_seconds: 3,
        publisher: Some(publisher),
        renditions: vec![rendition],
        readers: 0,
        dropped_parts: 0,
        gap_parts: 0,
    })
    .unwrap();
    let description: Value = serde_json::from_str(OPENAPI).unwrap();
    let parts = [("Stream", &stream), ("Publisher", &stream["publisher"]), ("Rendition", &stream["renditions"][0])];
    for (schema, found) in parts {
        let schema = &description["components"]["schemas"][schema];
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
        let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        assert_eq!(names(found), names(&schema["properties"]));
        assert_eq!(names(found), required.collect());
    }
}
