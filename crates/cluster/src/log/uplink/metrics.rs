//! What becomes of jobs between workers and homes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of both ends.
#[derive(Clone, Debug)]
pub struct UplinkMetrics {
    /// Jobs of this node's sessions that workers elsewhere are at.
    pub(super) open: Gauge,
    returned: Family<Why, Counter>,
    /// Parts that a worker here left out because its home does not take them fast enough.
    pub(super) parts_shed: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Why {
    why: &'static str,
}

impl UplinkMetrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self { open: Gauge::default(), returned: Family::default(), parts_shed: Counter::default() };
        let registry = registry.sub_registry_with_prefix("uplink");
        registry.register("jobs", "Jobs that workers elsewhere are at", metrics.open.clone());
        registry.register(
            "jobs_returned",
            "Jobs put back on the board because their worker was lost",
            metrics.returned.clone(),
        );
        registry.register(
            "parts_shed",
            "Parts left out because the home does not take them fast enough",
            metrics.parts_shed.clone(),
        );
        metrics
    }

    pub(super) fn returned(&self, why: &'static str) {
        self.returned.get_or_create(&Why { why }).inc();
    }
}
