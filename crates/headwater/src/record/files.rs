//! The recording on disk.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use headwater_flv::{FileHeader, Tag, TagType, write_file_header, write_tag};

/// An FLV file being written, and perhaps the bytes of the connection beside it.
#[derive(Debug)]
pub(super) struct Files {
    flv: Output,
    raw: Option<Output>,
    /// One tag, reused.
    buffer: Vec<u8>,
}

/// `onMetaData` is published behind this word, a string in AMF0. In a file it stands by itself.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0D@setDataFrame";
/// What a header says while it is not known yet.
const ANYTHING: FileHeader = FileHeader { audio: true, video: true };

impl Files {
    /// Makes the files. One that is there already is an error without `force`.
    pub(super) fn create(flv: &Path, raw: Option<&Path>, force: bool) -> Result<Self> {
        let flv = Output::create(flv, force)?;
        let raw = match raw.map(|raw| Output::create(raw, force)).transpose() {
            Ok(raw) => raw,
            Err(error) => {
                flv.remove();
                return Err(error);
            }
        };
        let mut files = Self { flv, raw, buffer: Vec::new() };
        files.write_header(ANYTHING)?;
        Ok(files)
    }

    fn write_header(&mut self, header: FileHeader) -> Result<()> {
        self.buffer.clear();
        write_file_header(&mut self.buffer, header);
        self.flv.write(&self.buffer)
    }

    /// Appends a tag, as it is but for `@setDataFrame`.
    pub(super) fn write(&mut self, tag: &Tag) -> Result<()> {
        self.buffer.clear();
        match tag.body.strip_prefix(SET_DATA_FRAME) {
            Some(rest) if tag.kind == TagType::Script => {
                write_tag(&mut self.buffer, &Tag { body: Bytes::copy_from_slice(rest), ..tag.clone() });
            }
            _ => write_tag(&mut self.buffer, tag),
        }
        self.flv.write(&self.buffer)
    }

    /// Appends what came over the connection.
    pub(super) fn write_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.raw.as_mut().map_or(Ok(()), |raw| raw.write(bytes))
    }

    /// Forgets what was written: that was no publisher.
    pub(super) fn rewind(&mut self) -> Result<()> {
        for output in [Some(&mut self.flv), self.raw.as_mut()].into_iter().flatten() {
            output.rewind()?;
        }
        self.write_header(ANYTHING)
    }

    /// Says in the header what is there, and writes everything out.
    pub(super) fn finish(mut self, audio: bool, video: bool) -> Result<()> {
        self.flv.flush()?;
        // A pipe keeps the header that it has: nobody relies on it.
        if self.flv.is_plain() {
            let found = self.flv.file.rewind();
            self.flv.context(found)?;
            self.write_header(FileHeader { audio, video })?;
            self.flv.flush()?;
        }
        self.raw.as_mut().map_or(Ok(()), Output::flush)
    }

    /// Nothing was recorded.
    pub(super) fn remove(self) {
        self.flv.remove();
        if let Some(raw) = self.raw {
            raw.remove();
        }
    }
}

/// A file, and its name for messages.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Output {
    fn create(path: &Path, force: bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        // What an encoder sends is its owner's affair, and a raw recording holds the key.
        options.write(true).mode(0o600);
        if force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        let file = options.open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => anyhow!("{} is there already; --force writes over it", path.display()),
            _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
        })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn context<T>(&self, result: std::io::Result<T>) -> Result<T> {
        result.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        self.context(written)
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.file.flush();
        self.context(flushed)
    }

    fn rewind(&mut self) -> Result<()> {
        if !self.is_plain() {
            return Ok(());
        }
        let emptied = self.file.rewind().and_then(|()| self.file.get_ref().set_len(0));
        self.context(emptied)
    }

    fn remove(self) {
        if self.is_plain() {
            // It is empty: nobody minds if it stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Neither a pipe nor a device.
    fn is_plain(&self) -> bool {
        self.file.get_ref().metadata().is_ok_and(|metadata| metadata.is_file())
    }
}
