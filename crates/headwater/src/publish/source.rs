//! The file's tags with their times, read ahead by a few on a thread of its own: a file may be a pipe that has nothing
//! yet.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use headwater_flv::{FileReader, TagType, VideoContent, VideoTag};
use headwater_rtmp::MediaKind;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::pace::{Pace, Time};

/// A tag and when it is sent.
#[derive(Clone, Debug)]
pub(crate) struct TimedTag {
    pub(crate) kind: MediaKind,
    /// From the start of publishing.
    pub(crate) after: Duration,
    /// Milliseconds, wrapping.
    pub(crate) timestamp: u32,
    pub(crate) body: Bytes,
}

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Tags read ahead.
const AHEAD: usize = 16;

/// Starts reading. The channel ends with the file or with an error; the thread ends when the channel is dropped.
pub(crate) fn open(path: &Path, repeat: bool) -> Result<mpsc::Receiver<Result<TimedTag>>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    spawn_blocking(move || {
        if let Err(error) = read(file, repeat, &sender) {
            // Nobody who could be told is left when this fails.
            let _ = sender.blocking_send(Err(error.context(format!("cannot read {name}"))));
        }
    });
    Ok(receiver)
}

fn read(mut file: File, repeat: bool, tags: &mpsc::Sender<Result<TimedTag>>) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut pace = Pace::default();
    loop {
        let mut reader = FileReader::new();
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            reader.handle_input(&buffer[..length]);
            while let Some(tag) = reader.poll_tag()? {
                let (kind, body) = match (tag.kind, tag.script()) {
                    (TagType::Audio, _) => (MediaKind::Audio, tag.body),
                    (TagType::Video, _) => (MediaKind::Video, tag.body),
                    (_, Some(values)) => (MediaKind::Data, values),
                    _ => continue,
                };
                // What goes on from the front has not ended.
                if repeat && is_end(kind, &body) {
                    continue;
                }
                let Time { after, timestamp } = pace.next(kind, tag.timestamp, &body);
                if tags.blocking_send(Ok(TimedTag { kind, after, timestamp, body })).is_err() {
                    return Ok(());
                }
            }
        }
        if reader.header().is_none() {
            bail!("it ends before an FLV header does");
        }
        if !pace.rewind() {
            bail!("there is neither picture nor sound in it");
        }
        if !repeat {
            return Ok(());
        }
        file.rewind().context("it cannot be repeated")?;
    }
}

fn is_end(kind: MediaKind, body: &Bytes) -> bool {
    kind == MediaKind::Video
        && VideoTag::read(body.clone())
            .is_ok_and(|tag| tag.packets.iter().any(|packet| packet.content == VideoContent::EndOfSequence))
}
