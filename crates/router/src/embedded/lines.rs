//! Records as lines of text: a checksum, a blank, JSON ([`written`]). A line is a record as it is now; the last one of a
//! stream counts.
//!
//! The last lines may be damaged: nobody was told that they are there, when the machine stopped while they were written.
//! A damaged line before a whole one says that the file is not what was written, and then nothing of it is believed.

use std::collections::HashMap;

use headwater_media::StreamName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Record;
use crate::written::{self, hex};

/// Raised when lines change so that an older program would misread them.
const VERSION: u32 = 1;
/// Characters of a checksum.
const CHECKSUM: usize = 16;

/// Why a file is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("line {line} is damaged, and whole ones follow")]
    Damaged { line: usize },
    #[error("line {line} cannot be read: {error}")]
    Strange { line: usize, error: written::Unreadable },
    #[error("it was written by another version of Headwater")]
    Version,
}

/// What a file begins with.
pub(super) fn head() -> String {
    line(&serde_json::to_string(&Head { headwater_state: VERSION }).expect("it has a text key only"))
}

/// A record's line.
pub(super) fn record(stream: &StreamName, record: &Record) -> String {
    line(&written::to_json(stream, record))
}

/// The records in a file.
pub(super) fn read(text: &[u8]) -> Result<HashMap<StreamName, Record>, Unreadable> {
    let mut records = HashMap::new();
    let mut damaged = None;
    for (index, whole) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(json) = checked(whole) else {
            damaged = damaged.or(Some(index + 1));
            continue;
        };
        if let Some(line) = damaged {
            return Err(Unreadable::Damaged { line });
        }
        if index == 0 {
            let head = serde_json::from_slice::<Head>(json).map_err(|_| Unreadable::Version)?;
            if head.headwater_state != VERSION {
                return Err(Unreadable::Version);
            }
            continue;
        }
        let strange = |error| Unreadable::Strange { line: index + 1, error };
        let (stream, record) = written::from_json(json).map_err(strange)?;
        records.insert(stream, record);
    }
    Ok(records)
}

fn line(json: &str) -> String {
    format!("{} {json}\n", checksum(json.as_bytes()))
}

/// The JSON of a whole line whose checksum is right.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = line.strip_suffix(b"\n")?.split_at_checked(CHECKSUM)?;
    let json = rest.strip_prefix(b" ")?;
    (checksum(json).as_bytes() == sum).then_some(json)
}

fn checksum(json: &[u8]) -> String {
    hex(&Sha256::digest(json)[..CHECKSUM / 2])
}

#[derive(Deserialize, Serialize)]
struct Head {
    headwater_state: u32,
}

#[cfg(test)]
mod tests {
    use headwater_media::MediaSequence;

    use super::*;
    use crate::written::tests::{aac, full, stream};

    #[test]
    fn a_record_survives_its_line_and_the_last_line_of_a_stream_counts() {
        let (one, two) = (full(aac()), Record { reserved: MediaSequence(70), ..full(aac()) });
        let older = Record { reserved: MediaSequence(1), outline: None, ..one.clone() };
        let (show, talk) = (stream("live/show"), stream("a/b/c/talk"));
        let text = [head(), record(&show, &older), record(&talk, &two), record(&show, &one)].concat();
        assert_eq!(read(text.as_bytes()).unwrap(), HashMap::from([(show, one), (talk, two)]));
        assert_eq!(read(b"").unwrap(), HashMap::new());
    }

    #[test]
    fn a_write_that_was_cut_off_anywhere_costs_its_own_line_only() {
        let show = stream("live/show");
        let older = Record { reserved: MediaSequence(1), outline: None, ..full(aac()) };
        let before = [head(), record(&show, &older)].concat();
        let last = record(&stream("live/talk"), &full(aac()));
        for cut in 0..last.len() {
            let text = format!("{before}{}", &last[..cut]);
            assert_eq!(read(text.as_bytes()).unwrap(), HashMap::from([(show.clone(), older.clone())]), "{cut}");
        }
        // Some file systems leave zeros where data never came.
        let zeros = [before.as_bytes(), &[0; 100]].concat();
        assert_eq!(read(&zeros).unwrap().len(), 1);
        assert_eq!(read(&head().as_bytes()[..20]).unwrap(), HashMap::new());
    }

    #[test]
    fn damage_before_a_whole_line_makes_the_file_unreadable() {
        let show = stream("live/show");
        let lines = [head(), record(&show, &full(aac())), record(&show, &full(aac()))];
        let text = lines.concat();
        for at in [3, lines[0].len() + 40] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let line = if at == 3 { 1 } else { 2 };
            assert_eq!(read(&bytes), Err(Unreadable::Damaged { line }));
        }
    }

    #[test]
    fn what_another_version_wrote_is_not_misread() {
        let newer = line(&serde_json::to_string(&Head { headwater_state: VERSION + 1 }).unwrap());
        assert_eq!(read(newer.as_bytes()), Err(Unreadable::Version));
        assert_eq!(read(record(&stream("live/show"), &full(aac())).as_bytes()), Err(Unreadable::Version));
        let strange = [head(), line("\"something\"")].concat();
        assert!(matches!(read(strange.as_bytes()), Err(Unreadable::Strange { line: 2, .. })));
    }
}
