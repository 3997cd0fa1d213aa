//! One function per decoder, for fuzzers to call with any bytes.
//!
//! None may panic, and each also checks what should be true of whatever was decoded: that the cut of the input does not
//! matter, that what is written is read back. docs/fuzzing.md says how to run them.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a target says that something is wrong")]

mod media;
mod rtmp;
mod tags;
mod written;

/// A target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 14] = [
    ("aac", media::aac),
    ("amf0", tags::amf0),
    ("avc", media::avc),
    ("captions", media::captions),
    ("cmaf", written::cmaf),
    ("flv_file", tags::flv_file),
    ("flv_tags", tags::flv_tags),
    ("handshake", rtmp::handshake),
    ("playlist", written::playlist),
    ("rtmp_client", rtmp::client),
    ("rtmp_server", rtmp::server),
    ("sps", media::sps),
    ("urls", written::urls),
    ("video", media::video),
];

/// Calls the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target of this name");
    target(data);
}
