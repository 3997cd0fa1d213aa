//! What the operator can count at ingest.

use headwater_media::{Clock, Instant, RenditionName};
use headwater_rtmp::Statistics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;

/// Bounds in seconds that tell a part of a frame from a frame from a part.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0];

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Odd {
    what: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Asked {
    event: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Track {
    rendition: String,
}

/// The ingest's metrics.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    /// Open RTMP connections.
    pub connections: Gauge,
    /// Publishers that were accepted and are there.
    pub publishers: Gauge,
    /// Publishers accepted so far.
    pub accepted: Counter,
    /// Bytes received.
    pub received_bytes: Counter,
    refused: Family<Reason, Counter>,
    over_limit: Family<Limit, Counter>,
    odd: Family<Odd, Counter>,
    webhook: Family<Asked, Counter>,
    stamped: Histogram,
    packaged: Family<Track, Histogram>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry, clock: Arc<dyn Clock>) -> Self {
        let metrics = Self {
            clock,
            connections: Gauge::default(),
            publishers: Gauge::default(),
            accepted: Counter::default(),
            received_bytes: Counter::default(),
            refused: Family::default(),
            over_limit: Family::default(),
            odd: Family::default(),
            webhook: Family::default(),
            stamped: Histogram::new(LATENCY_BUCKETS),
            packaged: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
        };
        registry.register("rtmp_connections", "Open RTMP connections", metrics.connections.clone());
        registry.register("publishers", "Publishers that are live", metrics.publishers.clone());
        registry.register("publishers_accepted", "Publishers accepted", metrics.accepted.clone());
        registry.register_with_unit("rtmp_received", "Received over RTMP", Unit::Bytes, metrics.received_bytes.clone());
        registry.register("publishers_refused", "Publishers refused or closed, by reason", metrics.refused.clone());
        registry.register("rtmp_over_limit", "Connections closed at a limit, by limit", metrics.over_limit.clone());
        registry.register("rtmp_odd", "Messages that were passed over or guessed at, by what", metrics.odd.clone());
        registry.register("webhook", "Events sent to the webhook, by what came of it", metrics.webhook.clone());
        registry.register_with_unit(
            "source_stamped",
            "From the last byte of a picture to its place in the log",
            Unit::Seconds,
            metrics.stamped.clone(),
        );
        registry.register_with_unit(
            "source_part",
            "From the last byte of a part's last frame to the finished part, packaged at ingest",
            Unit::Seconds,
            metrics.packaged.clone(),
        );
        metrics
    }

    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// A peer went over a limit; the name is that of its key in the configuration, without `rtmp_` and unit.
    pub(crate) fn over_limit(&self, limit: &'static str) {
        self.over_limit.get_or_create(&Limit { limit }).inc();
    }

    /// A connection is over, of which these are the counts.
    pub(crate) fn add(&self, statistics: &Statistics) {
        for (what, count) in [
            ("skipped", statistics.skipped),
            ("unknown_command", statistics.unknown_commands),
            ("guessed_timestamp", statistics.guessed_timestamps),
        ] {
            self.odd(what, count);
        }
    }

    /// So many messages were passed over or guessed at.
    pub(crate) fn odd(&self, what: &'static str, count: u64) {
        self.odd.get_or_create(&Odd { what }).inc_by(count);
    }

    pub(crate) fn asked(&self, event: &'static str, outcome: &'static str) {
        self.webhook.get_or_create(&Asked { event, outcome }).inc();
    }

    pub(crate) fn stamped(&self, received: Instant) {
        self.stamped.observe(self.clock.now().saturating_since(received).as_secs_f64());
    }

    pub(crate) fn part(&self, rendition: &RenditionName, received: Instant) {
        let label = Track { rendition: rendition.to_string() };
        let seconds = self.clock.now().saturating_since(received).as_secs_f64();
        self.packaged.get_or_create(&label).observe(seconds);
    }
}
