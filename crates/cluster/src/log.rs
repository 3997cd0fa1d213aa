//! Logs over gRPC: a node's service, and what other nodes see of it.

#[allow(dead_code, unused_imports, reason = "the service comes next")]
mod convert;

pub use convert::Malformed;

/// The messages, made from `proto/`.
mod wire {
    #![allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::use_self, reason = "generated")]
    tonic::include_proto!("headwater.log.v1");
}
