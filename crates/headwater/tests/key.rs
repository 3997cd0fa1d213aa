//! `headwater key` at the prompt.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::Write;
use std::process::{Command, Stdio};

/// What `headwater key` prints, and whether it succeeds.
fn key(command: &str, input: &str) -> (String, bool) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_headwater"));
    let program = program.args(["key", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut program = program.spawn().unwrap();
    // `new` does not read it.
    let _ = program.stdin.take().unwrap().write_all(input.as_bytes());
    let output = program.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

#[test]
fn a_new_key_comes_with_the_hash_that_hash_prints_for_it() {
    let (text, _) = key("new", "");
    let values: Vec<&str> = text.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    let [new, hash] = values[..] else { panic!("{text}") };
    assert!(text.starts_with("key = ") && text.contains("\nkey_sha256 = "), "{text}");
    assert_eq!(key("hash", new), (format!("{hash}\n"), true));
    assert_eq!(key("hash", ""), (String::new(), false));
}
