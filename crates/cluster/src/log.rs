//! Logs over gRPC: a node's service, and what other nodes see of it.

mod cluster_log;
mod convert;
mod metrics;
mod nodes;
mod records;
mod replica;
mod server;
mod transport;
mod uplink;

pub use cluster_log::{ClusterLog, Parts};
pub use convert::Malformed;
pub use metrics::Metrics;
pub use nodes::Nodes;
pub use records::Records;
pub use server::{Deps, LogServer, Replies};
pub use uplink::{Uplink, UplinkMetrics, Uplinks};

/// The messages, made from `proto/`.
mod wire {
    #![allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::use_self, reason = "generated")]
    tonic::include_proto!("headwater.log.v1");
}

#[cfg(test)]
mod tests;
