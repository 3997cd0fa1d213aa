//! Logs over gRPC: a node's service, and what other nodes see of it.

#[allow(dead_code, unused_imports, reason = "replicas come next")]
mod convert;
mod metrics;
mod nodes;
mod server;
mod transport;
mod uplink;

pub use convert::Malformed;
pub use metrics::Metrics;
pub use nodes::Nodes;
pub use server::{Deps, LogServer, Replies};
pub use uplink::{Uplink, UplinkMetrics, Uplinks};

/// The messages, made from `proto/`.
mod wire {
    #![allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::use_self, reason = "generated")]
    tonic::include_proto!("headwater.log.v1");
}
