//! The three traits on one machine: maps behind a lock, and a file for what has to outlive the process.

mod log;
mod queue;
mod registry;
mod state_file;
mod written;

pub use log::EmbeddedLog;
pub use queue::EmbeddedQueue;
pub use registry::EmbeddedRegistry;
pub use state_file::StateError;
