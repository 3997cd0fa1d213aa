//! What the operator asks for: `/metrics`, `/api/v1`, and health, on the admin address.

mod access;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use headwater_edge::Edge;
use headwater_ingest::{Ingest, Secret};
use headwater_media::{Clock, StreamName};
use headwater_router::{Log, Rendition, RenditionKind, SessionState, State as SessionPhase, StreamLog};
use headwater_transcode::{Fault, Faults};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the admin address can see.
pub(crate) struct Admin {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) edge: Arc<Edge>,
    pub(crate) ingest: Arc<Ingest>,
    /// What whoever uses the API must show.
    pub(crate) token: Option<Secret>,
    pub(crate) metrics: Registry,
    /// One of them, which is set when they are asked for.
    pub(crate) log_media: Gauge,
    /// Where a test asks for trouble, if it may.
    pub(crate) faults: Option<Arc<Faults>>,
}

/// Serves until `shutdown`.
pub(crate) async fn run(
    listener: TcpListener,
    admin: Admin,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router(Arc::new(admin)).into_make_service_with_connect_info::<SocketAddr>();
    let (stopping, stopped) = oneshot::channel();
    let serve = axum::serve(listener, service).with_graceful_shutdown(async move {
        shutdown.await;
        let _ = stopping.send(());
    });
    // Who says half a request, or does not read the answer, must not keep the server from stopping.
    let late = async {
        let _ = stopped.await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        done = serve.into_future() => done,
        () = late => Ok(()),
    }
}

/// After a stop, answers that are under way have this long.
const STOP_GRACE: Duration = Duration::from_secs(2);

fn router(admin: Arc<Admin>) -> Router {
    let mut api =
        Router::new().route("/api/v1/streams", get(streams)).route("/api/v1/streams/{*name}", get(stream).delete(kick));
    if admin.faults.is_some() {
        api = api.route("/api/v1/faults/{kind}", post(fault));
    }
    Router::new()
        .merge(api.route_layer(middleware::from_fn_with_state(admin.clone(), access::check)))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/metrics", get(metrics))
        .route("/healthz", get(ok))
        .route("/readyz", get(ok))
        .method_not_allowed_fallback(not_allowed)
        .fallback(not_found)
        .with_state(admin)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// Describes the API in OpenAPI 3.1.
const OPENAPI: &str = include_str!("admin/openapi.json");

async fn not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "that cannot be done here; /api/v1/openapi.json says what can")
}

async fn ok() -> &'static str {
    "ok\n"
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "there is nothing here; try /metrics or /api/v1/openapi.json")
}

async fn fault(State(admin): State<Arc<Admin>>, Path(kind): Path<String>) -> Response {
    let fault = match kind.as_str() {
        "panic" => Fault::Panic,
        "hang" => Fault::Hang,
        "stop" => Fault::Stop,
        _ => return error(StatusCode::NOT_FOUND, "the faults are panic, hang and stop"),
    };
    if let Some(faults) = &admin.faults {
        faults.inject(fault);
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    let media: usize = admin.log.list().await.iter().map(|log| log.media_bytes()).sum();
    admin.log_media.set(i64::try_from(media).unwrap_or(i64::MAX));
    match prometheus_client::encoding::text::encode(&mut text, &admin.metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error_) => error(StatusCode::INTERNAL_SERVER_ERROR, &error_.to_string()),
    }
}

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn streams(State(admin): State<Arc<Admin>>) -> Json<Vec<StreamBody>> {
    Json(admin.log.list().await.iter().map(|log| admin.describe(log)).collect())
}

/// The rest of a path, if it is a text.
type Rest = Result<Path<String>, PathRejection>;

fn no_name() -> Response {
    error(StatusCode::BAD_REQUEST, "a stream is called app/name")
}

async fn stream(State(admin): State<Arc<Admin>>, name: Rest) -> Response {
    let Some(stream) = name.ok().and_then(|Path(name)| name.parse::<StreamName>().ok()) else { return no_name() };
    match admin.log.find(&stream).await {
        Some(log) => Json(admin.describe(&log)).into_response(),
        None => error(StatusCode::NOT_FOUND, &format!("no stream {stream} is live")),
    }
}

/// `DELETE /api/v1/streams/{app}/{name}/publisher`.
async fn kick(State(admin): State<Arc<Admin>>, path: Rest) -> Response {
    let Ok(Path(path)) = path else { return no_name() };
    let Some(name) = path.strip_suffix("/publisher") else { return not_allowed().await };
    let Ok(stream) = name.parse::<StreamName>() else { return no_name() };
    match admin.ingest.kick(&stream) {
        Ok(()) => {
            tracing::info!(%stream, "publisher sent away over the API");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(nobody) => error(StatusCode::NOT_FOUND, &format!("{stream}: {nobody}")),
    }
}

fn error(status: StatusCode, text: &str) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
    }
    (status, Json(Body { error: text })).into_response()
}

/// One stream in the API.
#[derive(Serialize)]
struct StreamBody {
    name: String,
    session: String,
    epoch: u64,
    state: &'static str,
    since: String,
    age_seconds: i64,
    latency_profile: &'static str,
    frame_rate: f64,
    target_duration_seconds: u32,
    publisher: Option<PublisherBody>,
    renditions: Vec<RenditionBody>,
    readers: usize,
    dropped_parts: u64,
    gap_parts: u64,
}

#[derive(Serialize)]
struct PublisherBody {
    address: String,
    encoder: Option<String>,
    since: String,
}

#[derive(Serialize)]
struct RenditionBody {
    name: String,
    kind: &'static str,
    on: bool,
    off_reason: Option<String>,
    codecs: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    average_bps: u32,
    peak_bps: u32,
    readers: usize,
}

impl Admin {
    fn describe(&self, log: &Arc<StreamLog>) -> StreamBody {
        let state: Arc<SessionState> = log.state().borrow().clone();
        let session = &state.session;
        let cold = log.demand().borrow().since.is_none();
        let (dropped_parts, gap_parts) = log.counters();
        let renditions: Vec<RenditionBody> =
            state.renditions.iter().map(|rendition| self.rendition(&session.stream, rendition, cold)).collect();
        StreamBody {
            name: session.stream.to_string(),
            session: session.id.to_string(),
            epoch: state.epoch.0,
            state: match state.state {
                SessionPhase::Live => "live",
                SessionPhase::Waiting => "waiting",
                SessionPhase::Ended => "ended",
            },
            since: session.since.to_string(),
            age_seconds: (self.clock.wall().unix_millis - session.since.unix_millis) / 1000,
            latency_profile: session.grid.profile.name(),
            frame_rate: session.grid.frame_rate.frames_per_second(),
            target_duration_seconds: session.grid.target_duration,
            publisher: state.publisher.as_ref().map(|publisher| PublisherBody {
                address: publisher.address.clone(),
                encoder: publisher.encoder.clone(),
                since: publisher.since.to_string(),
            }),
            readers: renditions.iter().map(|rendition| rendition.readers).sum(),
            renditions,
            dropped_parts,
            gap_parts,
        }
    }

    fn rendition(&self, stream: &StreamName, rendition: &Rendition, cold: bool) -> RenditionBody {
        let size = rendition.init.as_ref().and_then(|init| init.resolution);
        RenditionBody {
            name: rendition.name.to_string(),
            kind: match rendition.kind {
                RenditionKind::Source => "source",
                RenditionKind::Gear(_) => "gear",
                RenditionKind::Audio => "audio",
                RenditionKind::AudioGear(_) => "audio_gear",
            },
            on: rendition.is_listed(),
            off_reason: match &rendition.off {
                Some(reason) => Some(reason.to_string()),
                None if rendition.begun => None,
                None if cold && rendition.kind.is_encoded() => Some("nobody watches".into()),
                None if rendition.standby => Some("made from where the source first goes off".into()),
                None => Some("not made yet".into()),
            },
            codecs: rendition.init.as_ref().map(|init| init.codecs.to_string()),
            width: size.map(|size| size.0),
            height: size.map(|size| size.1),
            average_bps: rendition.average_bps,
            peak_bps: rendition.peak_bps,
            readers: self.edge.readers(stream, &rendition.name),
        }
    }
}

#[cfg(test)]
mod tests;
