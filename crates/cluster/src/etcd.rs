//! Claims, node leases and the job board in etcd.
