//! FLV tags and files, sans-IO.
//!
//! [`VideoTag`] and [`AudioTag`] read tag bodies, which are also the payloads of RTMP messages; [`ScriptData`] reads
//! metadata. [`FileReader`], [`write_file_header`] and [`write_tag`] are for files; they leave tag bodies as they are.
//!
//! H.264 and AAC are taken apart. Of everything else, Enhanced RTMP's extended headers included, the codec is named so
//! that it can be refused by name. Numbers such as R-68 are those of the checklist in `docs/spec/rtmp.md`.

mod audio;
mod codec;
mod file;
mod script;
mod video;

pub use audio::{AudioTag, AudioTagError};
pub use codec::{AudioCodec, FourCc, VideoCodec};
pub use file::{FileError, FileHeader, FileReader, Tag, TagType, write_file_header, write_tag};
pub use script::{Metadata, ScriptData};
pub use video::{AvcPacket, FrameType, VideoTag, VideoTagError, opens_gop};
