//! What the operator can count of the registry in etcd.

use std::fmt;
use std::sync::{Arc, OnceLock};

use headwater_media::Clock;
use headwater_router::claim::{Lease, RegistryReply, RegistryRequest};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

/// What was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Read,
    Write,
}

impl Kind {
    pub(super) fn of(request: &RegistryRequest) -> Self {
        match request {
            RegistryRequest::Read => Self::Read,
            RegistryRequest::Write { .. } => Self::Write,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Asked {
    kind: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Answered {
    kind: &'static str,
    outcome: &'static str,
}

/// Bounds in seconds, from a good disk to a request that was given up.
const LATENCY_BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0];
/// Bounds of writes in one transaction.
const BATCH_BUCKETS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// The registry's metrics.
#[derive(Debug)]
pub struct Metrics {
    answers: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram>,
    transactions: Histogram,
    written_bytes: Counter,
    database_bytes: Gauge,
    full: Gauge,
    leases_lost: Counter,
    watch_restarts: Counter,
    watch_compactions: Counter,
    watched: Gauge,
    lease: Arc<OnceLock<Remaining>>,
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(LATENCY_BUCKETS);
        let metrics = Self {
            answers: Family::default(),
            seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            transactions: Histogram::new(BATCH_BUCKETS),
            written_bytes: Counter::default(),
            database_bytes: Gauge::default(),
            full: Gauge::default(),
            leases_lost: Counter::default(),
            watch_restarts: Counter::default(),
            watch_compactions: Counter::default(),
            watched: Gauge::default(),
            lease: Arc::default(),
        };
        registry.register("registry_requests", "Requests to the registry by outcome", metrics.answers.clone());
        registry.register_with_unit(
            "registry_request",
            "From a request to the registry to its outcome",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "registry_transaction_writes",
            "Writes of streams in one transaction of etcd",
            metrics.transactions.clone(),
        );
        registry.register_with_unit(
            "registry_written",
            "Keys and values of writes to etcd",
            Unit::Bytes,
            metrics.written_bytes.clone(),
        );
        registry.register_with_unit(
            "registry_database",
            "Size of etcd's database at the member that is asked, to be compared with its quota",
            Unit::Bytes,
            metrics.database_bytes.clone(),
        );
        registry.register(
            "registry_full",
            "1 while etcd is over its quota (alarm NOSPACE) and takes no writes",
            metrics.full.clone(),
        );
        registry.register("registry_leases_lost", "Times that this node's lease was lost", metrics.leases_lost.clone());
        registry.register(
            "registry_watch_restarts",
            "Times that the watch on etcd had to be made again",
            metrics.watch_restarts.clone(),
        );
        registry.register(
            "registry_watch_compactions",
            "Watches that had fallen behind what etcd has compacted away",
            metrics.watch_compactions.clone(),
        );
        registry.register("registry_watched", "Streams whose records are watched", metrics.watched.clone());
        registry.register_collector(Box::new(LeaseRemaining(metrics.lease.clone())));
        metrics
    }

    pub(super) fn answered(&self, kind: Kind, reply: &RegistryReply, seconds: f64) {
        let outcome = match reply {
            RegistryReply::Record { .. } => "read",
            RegistryReply::Written { .. } => "written",
            RegistryReply::Conflict => "conflict",
            RegistryReply::Refused => "refused",
            RegistryReply::Unknown => "unknown",
        };
        self.answers.get_or_create(&Answered { kind: kind.name(), outcome }).inc();
        self.seconds.get_or_create(&Asked { kind: kind.name() }).observe(seconds);
    }

    pub(super) fn transaction(&self, writes: usize, bytes: usize) {
        self.transactions.observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
        self.written_bytes.inc_by(bytes as u64);
    }

    pub(super) fn set_database_bytes(&self, bytes: i64) {
        self.database_bytes.set(bytes);
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.full.set(is_full.into());
    }

    pub(super) fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    pub(super) fn watch_restarted(&self) {
        self.watch_restarts.inc();
    }

    pub(super) fn watch_compacted(&self) {
        self.watch_compactions.inc();
    }

    pub(super) fn set_watched(&self, streams: usize) {
        self.watched.set(i64::try_from(streams).unwrap_or(i64::MAX));
    }

    /// From now on what is left of `lease` is shown.
    pub(super) fn watch_lease(&self, lease: watch::Receiver<Lease>, clock: Arc<dyn Clock>) {
        let _ = self.lease.set(Remaining { lease, clock });
    }
}

struct Remaining {
    lease: watch::Receiver<Lease>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remaining").field("lease", &*self.lease.borrow()).finish_non_exhaustive()
    }
}

/// Computed when somebody looks.
#[derive(Debug)]
struct LeaseRemaining(Arc<OnceLock<Remaining>>);

impl Collector for LeaseRemaining {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(Remaining { lease, clock }) = self.0.get() else { return Ok(()) };
        let left = lease.borrow().until().saturating_since(clock.now()).as_secs_f64();
        let gauge = ConstGauge::new(left);
        let help = "How long this node goes on without hearing from the registry";
        let unit = Unit::Seconds;
        let metric = encoder.encode_descriptor("registry_lease_remaining", help, Some(&unit), gauge.metric_type())?;
        gauge.encode(metric)
    }
}
