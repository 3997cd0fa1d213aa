//! The router's traits between machines: claims and jobs in etcd, logs over gRPC (architecture 5 and 8).

pub mod etcd;
pub mod log;
mod tls;

pub use tls::{Tls, TlsError, TlsFiles};
