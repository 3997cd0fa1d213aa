//! Nodes in one process, each with its logs and its log service, connected by real gRPC on loopback.

mod moves;
mod peers;
mod player;
mod replicas;
mod rough;
mod samples;
mod uplinks;
mod work;
mod world;
