//! Low-Latency HLS playlists: window in, text and decisions out.
//!
//! [`Window`] is fed the cuts of a stream's timeline and the parts of one rendition; it gives the [`MediaPlaylist`] and
//! that of its I-frames alone, decides what a blocking request should get, and says what is known of a part or a
//! segment. [`Multivariant`] is the playlist above them, [`path`] the names of everything, [`check`] the rules that every
//! playlist must keep.
//!
//! Nothing here opens a socket or a file, reads a clock or waits: who waits for progress asks again after each push.
//! Delta updates (H-41 to H-43) are not written yet.
//!
//! A segment of two parts, and the first part of the next:
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use headwater_hls::{Config, Decision, MediaPlaylist, Window, check};
//! use headwater_media::{
//!     Cut, CutKind, Init, Instant, MediaSequence, Part, PartIndex, PartPayload, Timestamp, TrackKind, WallTime,
//! };
//!
//! let second = 120_000;
//! let mut window = Window::new(
//!     Config {
//!         kind: TrackKind::Video,
//!         target_duration: 2,
//!         part_target: Timestamp::video(second),
//!         segments: 6,
//!         preload_hints: true,
//!         independent_segments: true,
//!     },
//!     Vec::new(),
//! );
//! let init = Arc::new(Init::new(vec![0; 600].into(), "avc1.64001f", Some((1280, 720))));
//! for (msn, index, start) in [(1, 0, 0), (1, 1, second), (2, 0, 2 * second)] {
//!     if index == 0 {
//!         window.push_cut(&Cut {
//!             msn: MediaSequence(msn),
//!             start: Timestamp::video(start),
//!             discontinuity: 0,
//!             program_date_time: WallTime { unix_millis: 1_772_366_400_000 + start / 120 },
//!             kind: CutKind::Media,
//!             renditions: Arc::new([]),
//!         })?;
//!     }
//!     window.push_part(&Part {
//!         msn: MediaSequence(msn),
//!         index: PartIndex(index),
//!         start: Timestamp::video(start),
//!         end: Timestamp::video(start + second),
//!         payload: PartPayload::Media {
//!             data: Bytes::from(vec![0; 1000]).into(),
//!             independent: index == 0,
//!             intra: None,
//!             init: Arc::clone(&init),
//!             received: Instant::default(),
//!         },
//!     })?;
//! }
//!
//! let text = window.render();
//! assert!(text.contains("#EXT-X-PART:DURATION=1.00000,URI=\"2.0.m4s\",INDEPENDENT=YES\n"));
//! assert_eq!(check::playlist(&text.parse::<MediaPlaylist>()?), []);
//! // The next part is not there: whoever asks for it waits, and asks again after each push.
//! assert_eq!(window.decide(&window.directives(Some("_HLS_msn=2&_HLS_part=1"))?), Decision::Wait);
//! assert_eq!(window.decide(&window.directives(Some("_HLS_msn=2&_HLS_part=0"))?), Decision::Ready);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
