//! The router's traits between machines: claims and jobs in etcd, logs over gRPC (architecture 4 and 5).

pub mod etcd;
pub mod log;
mod tls;

pub use tls::{Tls, TlsError, TlsFiles};
