//! What the operator can count of logs between nodes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Which cursor of a subscription was moved on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Cursor {
    of: &'static str,
}

/// Metrics of the log service and of replicas.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Subscriptions of other nodes to homes here.
    pub(super) subscriptions: Gauge,
    /// Media that was sent to other nodes.
    pub(super) sent_bytes: Counter,
    /// Media that came from other nodes.
    pub(super) received_bytes: Counter,
    moved_on: Family<Cursor, Counter>,
    /// Replicas of homes on other nodes.
    pub(super) replicas: Gauge,
    /// Connections to homes that were lost or could not be made.
    pub(super) reconnects: Counter,
    /// Messages of other nodes that made no sense.
    pub(super) malformed: Counter,
    /// Streams that were asked for and are nowhere.
    pub(super) unknown: Counter,
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self { subscriptions, sent_bytes, received_bytes, moved_on, replicas, reconnects, malformed, unknown } =
            &metrics;
        registry.register("log_subscriptions", "Subscriptions of other nodes to homes here", subscriptions.clone());
        registry.register_with_unit("log_sent", "Media sent to other nodes", Unit::Bytes, sent_bytes.clone());
        registry.register_with_unit("log_received", "Media from other nodes", Unit::Bytes, received_bytes.clone());
        registry.register(
            "log_moved_on",
            "Readers on other nodes that fell behind and were moved on",
            moved_on.clone(),
        );
        registry.register("log_replicas", "Sessions whose home is elsewhere and that are followed", replicas.clone());
        registry.register("log_reconnects", "Times that the way to a home was lost", reconnects.clone());
        registry.register("log_malformed", "Messages of other nodes that made no sense", malformed.clone());
        registry.register("log_unknown", "Requests for streams that are nowhere", unknown.clone());
        metrics
    }

    pub(super) fn moved_on(&self, of: &'static str) {
        self.moved_on.get_or_create(&Cursor { of }).inc();
    }

    /// How often cursors of this kind were moved on.
    #[cfg(test)]
    pub(super) fn times_moved_on(&self, of: &'static str) -> u64 {
        self.moved_on.get_or_create(&Cursor { of }).get()
    }
}
