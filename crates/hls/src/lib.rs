//! Low-Latency HLS playlists: window in, text and decisions out.
//!
//! [`Window`] is fed the cuts of a stream's timeline and the parts of one rendition; it gives the [`MediaPlaylist`] and
//! that of its I-frames alone, decides what a blocking request should get, and says what is known of a part or a
//! segment. [`Multivariant`] is the playlist above them, [`path`] the names of everything, [`check`] the rules that every
//! playlist must keep.
//!
//! Nothing here opens a socket or a file, reads a clock or waits: who waits for progress asks again after each push.
//! Delta updates (H-41 to H-43) are not written yet.

pub mod check;
mod multivariant;
mod parse;
pub mod path;
mod playlist;
mod request;
mod seconds;
mod window;

pub use multivariant::{AudioRendition, Bandwidth, IFrameVariant, Multivariant, Overhead, Variant};
pub use parse::ParseError;
pub use playlist::{Lead, MediaPlaylist, PartLine, RenditionReport, Segment, ServerControl};
pub use request::{Decision, DirectiveError, Directives, Skip};
pub use seconds::Seconds;
pub use window::{Config, CutRefused, PartRefused, PartState, Position, SegmentState, Window};
