//! The file of records: appended and synced, and now and then written anew beside the old one, which it then replaces.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use headwater_media::StreamName;
use tracing::{error, info};

use super::lines;
use crate::{Record, RecordState};

const NAME: &str = "streams.jsonl";
/// What becomes [`NAME`] when it is whole.
const NEW: &str = "streams.jsonl.new";
/// What could not be read.
const BAD: &str = "streams.jsonl.bad";
const LOCK: &str = "lock";
/// It is written anew when it is this long, and this many times as long as when that was done last.
const COMPACT_BYTES: u64 = 1 << 20;
const COMPACT_TIMES: u64 = 8;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It cannot be made, read or written.
    #[error("cannot use {} for the state of streams: {error}", path.display())]
    Unusable {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has it.
    #[error("another server uses {} for the state of its streams", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

/// The file, and the folder's lock for as long as it lives.
#[derive(Debug)]
pub(super) struct StateFile {
    folder: PathBuf,
    file: File,
    bytes: u64,
    compact_at: u64,
    _lock: File,
}

impl StateFile {
    /// Takes the folder, which is made if it is not there, and reads what an earlier process left. What cannot be read is
    /// kept aside, and costs the sessions in it: names that were used must not be given again.
    pub(super) fn open(folder: &Path) -> Result<(Self, HashMap<StreamName, Record>), StateError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |error| StateError::Unusable { path, error }
        };
        fs::create_dir_all(folder).map_err(unusable(folder))?;
        let path = folder.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Locked { path: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(unusable(&path)(error)),
        }
        let path = folder.join(NAME);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(unusable(&path))?,
        };
        let mut records = match lines::read(&text) {
            Ok(records) => records,
            Err(problem) => {
                error!(
                    file = %path.display(), %problem, kept = %folder.join(BAD).display(),
                    "state of streams cannot be read: they begin new sessions"
                );
                fs::rename(&path, folder.join(BAD)).map_err(unusable(&path))?;
                HashMap::new()
            }
        };
        records.retain(|_, record| record.state != RecordState::Ended);
        let file = rewrite(folder, &records).map_err(unusable(&path))?;
        let bytes = file.metadata().map_err(unusable(&path))?.len();
        let mut opened = Self { folder: folder.to_owned(), file, bytes, compact_at: 0, _lock: lock };
        opened.compact_at = opened.next_compaction();
        info!(file = %path.display(), streams = records.len(), "state of streams read");
        Ok((opened, records))
    }

    /// Whether it should be written anew.
    pub(super) fn is_long(&self) -> bool {
        self.bytes >= self.compact_at
    }

    /// Adds records. They are on the disk when this returns.
    pub(super) fn append(&mut self, records: &HashMap<StreamName, Record>) -> io::Result<()> {
        let lines: String = records.iter().map(|(stream, record)| lines::record(stream, record)).collect();
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Writes all records anew, in place of what is there.
    pub(super) fn rewrite(&mut self, records: &HashMap<StreamName, Record>) -> io::Result<()> {
        self.file = rewrite(&self.folder, records)?;
        self.bytes = self.file.metadata()?.len();
        self.compact_at = self.next_compaction();
        Ok(())
    }

    /// Takes it away, so that nobody can believe what it says.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.folder.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_folder(&self.folder),
        }
    }

    /// From now on there is no room for more.
    #[cfg(test)]
    pub(super) fn fill_up(&mut self) {
        self.file = File::options().write(true).open("/dev/full").unwrap();
    }

    fn next_compaction(&self) -> u64 {
        COMPACT_BYTES.max(self.bytes * COMPACT_TIMES)
    }
}

/// A crash leaves either the old file or the new one.
fn rewrite(folder: &Path, records: &HashMap<StreamName, Record>) -> io::Result<File> {
    let live = records.iter().filter(|(_, record)| record.state != RecordState::Ended);
    let lines: String = live.map(|(stream, record)| lines::record(stream, record)).collect();
    let path = folder.join(NEW);
    let mut file = File::create(&path)?;
    file.write_all(lines::head().as_bytes())?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    fs::rename(&path, folder.join(NAME))?;
    sync_folder(folder)?;
    Ok(file)
}

/// Makes names in the folder last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
