//! FLV tags and files, sans-IO.
//!
//! [`VideoTag`] and [`AudioTag`] read and write tag bodies, which are also the payloads of RTMP messages; [`ScriptData`]
//! reads metadata. [`FileReader`], [`write_file_header`] and [`write_tag`] are for files; they leave tag bodies as they
//! are.
//!
//! The headers of FLV 10.1 and those of Enhanced RTMP v2 are read into the same shape: packets of numbered tracks, each
//! with its codec. What is inside a configuration record or a frame is not looked at, and which codecs are taken is for
//! others to decide. Numbers such as R-68 are those of the checklist in `docs/spec/rtmp.md`.
//!
//! ```
//! use bytes::Bytes;
//! use headwater_flv::{VideoCodec, VideoContent, VideoTag};
//!
//! // HEVC, an inter picture, 33 ms between decoding and showing it.
//! let body = Bytes::from_static(b"\xA1hvc1\x00\x00\x21NAL units");
//! let tag = VideoTag::read(body)?;
//! assert_eq!((tag.packets[0].track, tag.packets[0].codec), (0, VideoCodec::Hevc));
//! let data = Bytes::from_static(b"NAL units");
//! assert_eq!(tag.packets[0].content, VideoContent::Frame { composition_millis: 33, data });
//! # Ok::<(), headwater_flv::TagError>(())
//! ```
//!
//! A file is written, and read back in pieces of any size:
//!
//! ```
//! use bytes::Bytes;
//! use headwater_flv::{FileHeader, FileReader, Tag, TagType, write_file_header, write_tag};
//!
//! let keyframe = Bytes::from_static(b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
//! let tag = Tag { kind: TagType::Video, timestamp: 40, body: keyframe };
//! let mut file = Vec::new();
//! write_file_header(&mut file, FileHeader { audio: false, video: true });
//! write_tag(&mut file, &tag);
//!
//! let mut reader = FileReader::new();
//! let mut tags = Vec::new();
//! for piece in file.chunks(7) {
//!     reader.handle_input(piece);
//!     while let Some(tag) = reader.poll_tag()? {
//!         tags.push(tag);
//!     }
//! }
//! assert_eq!(tags, [tag]);
//! # Ok::<(), headwater_flv::FileError>(())
//! ```

mod audio;
mod codec;
mod colour;
mod extended;
mod file;
mod script;
mod video;

/// What a tag has for its tracks: nearly always one packet.
pub type Packets<T> = smallvec::SmallVec<[T; 1]>;

pub use audio::{AudioContent, AudioPacket, AudioTag, ChannelLayout, ChannelOrder};
pub use codec::{AudioCodec, FourCc, VideoCodec};
pub use colour::ColourInfo;
pub use extended::TagError;
pub use file::{FileError, FileHeader, FileReader, Tag, TagType, write_file_header, write_tag};
pub use script::{Metadata, ScriptData};
pub use video::{FrameType, VideoContent, VideoPacket, VideoStart, VideoTag};
