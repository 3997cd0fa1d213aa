//! The three traits on one machine: maps behind a lock.

mod log;
mod queue;
mod registry;

pub use log::EmbeddedLog;
pub use queue::EmbeddedQueue;
pub use registry::EmbeddedRegistry;
