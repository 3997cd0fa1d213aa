//! What the operator can count at the edge.

use std::sync::Arc;

use headwater_media::{Clock, Instant, RenditionName};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Answer {
    kind: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Track {
    rendition: String,
}

/// Bounds in seconds that tell a part of a frame from a frame from a part.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0];

/// The edge's metrics.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    /// Open HTTP connections.
    pub connections: Gauge,
    /// Requests that are held.
    pub waiting: Gauge,
    answers: Family<Answer, Counter>,
    sent_bytes: Counter,
    available: Family<Track, Histogram>,
    sent: Family<Track, Histogram>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry, clock: Arc<dyn Clock>) -> Self {
        let histogram = || Family::new_with_constructor((|| Histogram::new(LATENCY_BUCKETS)) as fn() -> Histogram);
        let metrics = Self {
            clock,
            connections: Gauge::default(),
            waiting: Gauge::default(),
            answers: Family::default(),
            sent_bytes: Counter::default(),
            available: histogram(),
            sent: histogram(),
        };
        registry.register("http_connections", "Open HTTP connections", metrics.connections.clone());
        registry.register("http_waiting", "HTTP requests that are held", metrics.waiting.clone());
        registry.register("http_answers", "HTTP answers by kind and status", metrics.answers.clone());
        registry.register_with_unit("http_sent", "Bodies of HTTP answers", Unit::Bytes, metrics.sent_bytes.clone());
        registry.register_with_unit(
            "edge_part_available",
            "From the last byte of a part's last frame at ingest to the part's line in the playlist",
            Unit::Seconds,
            metrics.available.clone(),
        );
        registry.register_with_unit(
            "edge_part_sent",
            "From the last byte of a part's last frame at ingest to the answer of a request that waited for the part",
            Unit::Seconds,
            metrics.sent.clone(),
        );
        metrics
    }

    pub(crate) fn answer(&self, kind: &'static str, status: u16, bytes: u64) {
        self.answers.get_or_create(&Answer { kind, status }).inc();
        self.sent_bytes.inc_by(bytes);
    }

    pub(crate) fn available(&self, rendition: &RenditionName, received: Instant) {
        self.available.get_or_create(&Track { rendition: rendition.to_string() }).observe(self.since(received));
    }

    pub(crate) fn sent(&self, rendition: &RenditionName, received: Instant) {
        self.sent.get_or_create(&Track { rendition: rendition.to_string() }).observe(self.since(received));
    }

    fn since(&self, received: Instant) -> f64 {
        self.clock.now().saturating_since(received).as_secs_f64()
    }
}
