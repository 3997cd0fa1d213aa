//! What the tests with real programs share: the server as a child process, publishers and players beside it, and a
//! reader that follows every rendition of a stream and holds all of it against the rules of `hls` and `cmaf`.
//!
//! Nothing here looks into the server: tests see what a publisher, a player and an operator see. Every child ends with
//! the value that stands for it, and every wait has an end.
#![allow(clippy::unwrap_used, reason = "this crate is tests and their tools: a broken promise ends the test")]

pub mod clock;
pub mod decode;
pub mod etcd;
pub mod faults;
pub mod follow;
pub mod hevc;
pub mod history;
pub mod hook;
pub mod http;
pub mod log;
pub mod marks;
pub mod pool;
pub mod program;
pub mod publisher;
pub mod rendition;
pub mod seen;
pub mod server;
pub mod soak;

use std::path::PathBuf;

/// A file of `e2e/testdata`.
pub fn testdata(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata")).join(name)
}
