//! Names (architecture 9): what a request path means, and the URIs that playlists print.
//!
//! A path parses in one way: a session id begins with `~`, which no stream name can contain, and each number is
//! written in one way only.

use std::fmt;
use std::str::FromStr;

use headwater_media::{InitId, MediaSequence, PartIndex, RenditionName, SessionId, StreamName};

/// What a path asks for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Target {
    /// `/{app}/{name}/index.m3u8`.
    Multivariant(StreamName),
    /// `/{app}/{name}/poster.jpg`.
    Poster(StreamName),
    /// `/{app}/{name}/{session}/{rendition}/...`.
    Rendition {
        /// The stream.
        stream: StreamName,
        /// The session of the stream.
        session: SessionId,
        /// The rendition of the session.
        rendition: RenditionName,
        /// Which of its files.
        file: File,
    },
}

/// A file of a rendition. It displays as its name, which is also its URI in the rendition's playlist.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum File {
    /// `index.m3u8`: the media playlist.
    Playlist,
    /// `iframes.m3u8`: the I-frame playlist (H-74).
    IFrames,
    /// `init-{hash}.mp4`.
    Init(InitId),
    /// `{msn}.m4s`.
    Segment(MediaSequence),
    /// `{msn}.{part}.m4s`.
    Part(MediaSequence, PartIndex),
}

const PLAYLIST: &str = "index.m3u8";
const I_FRAMES: &str = "iframes.m3u8";
const POSTER: &str = "poster.jpg";

impl Target {
    /// What `path` asks for, without its query. `None` for everything that is not a name of ours.
    pub fn parse(path: &str) -> Option<Self> {
        let (parent, file) = path.strip_prefix('/')?.rsplit_once('/')?;
        if let Some((above, rendition)) = parent.rsplit_once('/')
            && let Some((stream, session)) = above.rsplit_once('/')
            && let Ok(session) = session.parse()
        {
            return Some(Self::Rendition {
                stream: stream.parse().ok()?,
                session,
                rendition: RenditionName::new(rendition)?,
                file: file.parse().ok()?,
            });
        }
        let stream = || parent.parse().ok();
        match file {
            PLAYLIST => stream().map(Self::Multivariant),
            POSTER => stream().map(Self::Poster),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multivariant(stream) => write!(f, "/{stream}/{PLAYLIST}"),
            Self::Poster(stream) => write!(f, "/{stream}/{POSTER}"),
            Self::Rendition { stream, session, rendition, file } => {
                write!(f, "/{stream}/{session}/{rendition}/{file}")
            }
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Playlist => f.write_str(PLAYLIST),
            Self::IFrames => f.write_str(I_FRAMES),
            Self::Init(id) => write!(f, "init-{id}.mp4"),
            Self::Segment(msn) => write!(f, "{msn}.m4s"),
            Self::Part(msn, index) => write!(f, "{msn}.{index}.m4s"),
        }
    }
}

impl FromStr for File {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            PLAYLIST => return Ok(Self::Playlist),
            I_FRAMES => return Ok(Self::IFrames),
            _ => {}
        }
        if let Some(id) = name.strip_prefix("init-").and_then(|rest| rest.strip_suffix(".mp4")) {
            return id.parse().map(Self::Init);
        }
        let numbers = name.strip_suffix(".m4s").ok_or(())?;
        match numbers.split_once('.') {
            None => Ok(Self::Segment(MediaSequence(number(numbers)?))),
            Some((msn, index)) => Ok(Self::Part(MediaSequence(number(msn)?), PartIndex(number(index)?))),
        }
    }
}

/// A number as we print it: no sign, no leading zero. So every object has one name.
fn number<N: FromStr>(text: &str) -> Result<N, ()> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { text.parse().map_err(|_| ()) } else { Err(()) }
}

/// URI of a media playlist in the multivariant playlist: `{session}/{rendition}/index.m3u8`.
pub fn from_multivariant(session: SessionId, rendition: &RenditionName) -> String {
    format!("{session}/{rendition}/{PLAYLIST}")
}

/// URI of an I-frame playlist in the multivariant playlist: `{session}/{rendition}/iframes.m3u8`.
pub fn i_frames_from_multivariant(session: SessionId, rendition: &RenditionName) -> String {
    format!("{session}/{rendition}/{I_FRAMES}")
}

/// URI of a media playlist in that of another rendition: `../{rendition}/index.m3u8` (H-34).
pub fn from_other_rendition(rendition: &RenditionName) -> String {
    format!("../{rendition}/{PLAYLIST}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "~abcdefghij234567";

    #[test]
    fn each_kind_of_path_is_told_apart() {
        let stream: StreamName = "live/show".parse().unwrap();
        assert_eq!(Target::parse("/live/show/index.m3u8"), Some(Target::Multivariant(stream.clone())));
        assert_eq!(Target::parse("/live/show/poster.jpg"), Some(Target::Poster(stream.clone())));
        let file = |path: &str| match Target::parse(&format!("/live/show/{SESSION}/720p-3000/{path}")) {
            Some(Target::Rendition { stream: found, session, rendition, file }) => {
                assert_eq!((found, session.to_string().as_str()), (stream.clone(), SESSION));
                assert_eq!(rendition.as_str(), "720p-3000");
                Some(file)
            }
            Some(Target::Multivariant(_) | Target::Poster(_)) => panic!("{path} is below a session"),
            None => None,
        };
        assert_eq!(file("index.m3u8"), Some(File::Playlist));
        assert_eq!(file("iframes.m3u8"), Some(File::IFrames));
        assert_eq!(file("12.m4s"), Some(File::Segment(MediaSequence(12))));
        assert_eq!(file("12.0.m4s"), Some(File::Part(MediaSequence(12), PartIndex(0))));
        assert_eq!(file("init-00112233445566ff.mp4"), "00112233445566ff".parse().ok().map(File::Init));
        for nonsense in
            ["", "12", "012.m4s", "+1.m4s", "1.2.3.m4s", "1..m4s", ".m4s", "init-.mp4", "1.m4s/", "index.m3u"]
        {
            assert_eq!(file(nonsense), None, "{nonsense}");
        }
        assert_eq!(file("18446744073709551616.m4s"), None);
    }

    #[test]
    fn nonsense_is_no_target() {
        for path in ["", "/", "/index.m3u8", "/show/index.m3u8", "live/show/index.m3u8", "/watch/show/index.m3u8"] {
            assert_eq!(Target::parse(path), None, "{path}");
        }
        let below = format!("/live/{SESSION}/source/index.m3u8");
        assert_eq!(Target::parse(&below), None, "a stream has an app and a name");
        assert_eq!(Target::parse(&format!("/live/show/{SESSION}/index.m3u8")), None);
        assert_eq!(Target::parse(&format!("/live/show/{SESSION}/iframes.m3u8")), None);
        assert_eq!(Target::parse(&format!("/live/show/{SESSION}/source/poster.jpg")), None);
        assert_eq!(Target::parse(&format!("/live/show/{SESSION}/Source/index.m3u8")), None);
    }

    #[test]
    fn a_stream_may_be_called_like_a_file() {
        let name = "live/index.m3u8".parse().unwrap();
        assert_eq!(Target::parse("/live/index.m3u8/index.m3u8"), Some(Target::Multivariant(name)));
    }
}
