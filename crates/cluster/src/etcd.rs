//! Claims, node leases and the job board in etcd.

mod queue;

pub use queue::EtcdQueue;
