//! What workers make goes to the sessions' homes: one ordered stream for each job (architecture 5).
//!
//! A worker reads a replica of the log and writes here. Nothing of it is in the replica before the home says so: what a
//! home takes is the truth.

mod home;
mod metrics;
mod worker;

use std::time::Duration;

pub use home::Uplinks;
pub use metrics::UplinkMetrics;
pub use worker::Uplink;

/// How often a worker says how far it has read.
const BEAT: Duration = Duration::from_millis(100);
/// Longest message: a part with its init segment.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The largest part that is sent: a message has room for it and an init segment.
const PART_BYTES_MAX: usize = 11 << 20;
/// Renditions of one job.
const RENDITIONS_MAX: usize = 64;
