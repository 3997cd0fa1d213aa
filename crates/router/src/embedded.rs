//! The three traits on one machine: maps behind a lock, and a file for what has to outlive the process.

mod lines;
mod log;
mod queue;
mod registry;
mod state_file;

pub use log::EmbeddedLog;
pub use queue::EmbeddedQueue;
pub use registry::EmbeddedRegistry;
pub use state_file::StateError;
