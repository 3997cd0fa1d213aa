//! The three traits on one machine: maps behind a lock, and a file for what has to outlive the process.

mod lines;
mod log;
mod peers;
mod queue;
mod registry;
mod state_file;

pub use log::EmbeddedLog;
pub use peers::Alone;
pub use queue::EmbeddedQueue;
pub use registry::EmbeddedRegistry;
pub use state_file::StateError;
