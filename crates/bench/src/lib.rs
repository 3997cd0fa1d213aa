//! Measurements.
//!
//! [`transcode`](run) makes a ladder of a recorded file with the real transcoding path, in a process of its own, and has
//! the FFmpeg command-line tool make the same renditions; both in turns, so that whatever else the machine does hits
//! both. CPU time is the operating system's account of each child.
//!
//! [`ingest`] publishes many streams to a server over loopback and tells what they cost it.

mod clip;
mod compare;
mod error;
mod ffmpeg;
pub mod ingest;
mod ours;
mod process;
mod quality;
mod report;

pub use clip::Clip;
pub use compare::{Comparison, plan, run};
pub use error::BenchError;
pub use ours::{Stages, make};
pub use report::{GearResult, Report};
