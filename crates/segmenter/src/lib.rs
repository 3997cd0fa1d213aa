//! The timeline that stamps samples at ingest, and the packagers that turn stamped samples into parts.
//!
//! Sans-IO: no socket, no file, no clock. `now` and wall time are arguments. Numbering is done here, once; everything
//! after it is a function of stamped samples and the timeline (architecture 4).

mod grid;
mod packager;
mod silence;
pub mod timeline;

pub use grid::{Grid, Profile};
pub use packager::{AudioPackager, VideoPackager};
pub use timeline::{Event, Refusal, Timeline};
