//! `headwater key`: stream keys and their hashes.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, ensure};
use headwater_ingest::KeyHash;

/// Draws a key and prints both.
pub(crate) fn new() -> Result<()> {
    let key = random()?;
    let hash = KeyHash::of(&key);
    write!(std::io::stdout().lock(), "key = \"{key}\"\nkey_sha256 = \"{hash}\"\n").context("writing to standard output")
}

/// Hashes the first line of standard input: a key on the command line would be seen by others.
pub(crate) fn hash(mut input: impl BufRead, mut output: impl Write) -> Result<()> {
    let mut line = String::new();
    input.read_line(&mut line).context("reading the key from standard input")?;
    let key = line.trim_end_matches(['\r', '\n']);
    ensure!(!key.is_empty(), "there is no key in standard input: printf %s KEY | headwater key hash");
    writeln!(output, "{}", KeyHash::of(key)).context("writing to standard output")
}

/// 160 random bits in letters and digits that cannot be mistaken for one another.
fn random() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(input: &str) -> Result<String> {
        let mut output = Vec::new();
        hash(input.as_bytes(), &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_line_is_hashed_with_or_without_its_end() {
        let expected = format!("{}\n", KeyHash::of("sesame"));
        for input in ["sesame", "sesame\n", "sesame\r\n"] {
            assert_eq!(hashed(input).unwrap(), expected);
        }
        assert!(hashed("\n").is_err());
    }

    #[test]
    fn every_key_is_another_and_can_stand_in_a_url() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    }
}
