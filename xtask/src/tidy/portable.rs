//! The libraries use nothing that a browser lacks (wasm32-unknown-unknown): such parts of `std` compile there and fail
//! when they are called. They are also what a library without I/O has no use for anywhere.

use std::path::Path;

use anyhow::{Context, Result};

use crate::fingerprint;

/// Parts of `std`, with all that lies below them.
const LACKING: [&str; 12] = [
    "env",
    "fs",
    "io",
    "net",
    "os",
    "process",
    "sync::mpsc",
    "thread",
    "time::Instant",
    "time::SystemTime",
    "time::UNIX_EPOCH",
    "time::*",
];

/// Looks through the sources of one library, its tests left out.
pub(super) fn check(library: &Path, amiss: &mut Vec<String>) -> Result<()> {
    let mut files = Vec::new();
    fingerprint::collect(&library.join("src"), &["testdata", "tests.rs"], &mut files)?;
    for file in files.iter().filter(|file| is_rust(file.as_path())) {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        for path in lacking(&text) {
            amiss.push(format!("{} uses std::{path}, which wasm32 lacks", file.display()));
        }
    }
    Ok(())
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

/// What of [`LACKING`] a source names before its tests.
fn lacking(source: &str) -> Vec<String> {
    let code: Vec<&str> = source
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("std::") {
        let is_whole = !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        if is_whole {
            expand(&code[at + "std::".len()..], "", &mut paths);
        }
    }
    let is_lacking = |path: &String| {
        LACKING
            .iter()
            .any(|lacking| path.strip_prefix(lacking).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
    };
    paths.retain(is_lacking);
    paths
}

/// Adds the paths of a use tree, `a::{b, c::d}` being `a::b` and `a::c::d`; gives what follows it.
fn expand<'a>(tree: &'a str, prefix: &str, paths: &mut Vec<String>) -> &'a str {
    let tree = tree.trim_start();
    if let Some(mut rest) = tree.strip_prefix('{') {
        loop {
            rest = expand(rest, prefix, paths).trim_start();
            let Some(next) = rest.strip_prefix(',') else { return rest.strip_prefix('}').unwrap_or(rest) };
            rest = next;
        }
    }
    let end = tree.find(|letter: char| !(letter.is_alphanumeric() || "_*".contains(letter))).unwrap_or(tree.len());
    let (word, rest) = tree.split_at(end);
    let path = if prefix.is_empty() { word.to_owned() } else { format!("{prefix}::{word}") };
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest, &path, paths),
        None => {
            paths.push(path);
            rest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_lacks_is_found_in_every_form() {
        assert_eq!(lacking("use std::net::TcpStream;"), ["net::TcpStream"]);
        assert_eq!(lacking("fn f() { std::thread::spawn(|| ()); }"), ["thread::spawn"]);
        assert_eq!(
            lacking("use std::{\n    fmt,\n    fs::{self, File},\n    time::{Duration, Instant},\n};\nuse std::io;"),
            ["fs::self", "fs::File", "time::Instant", "io"]
        );
        assert_eq!(lacking("use ::std::time::*;"), ["time::*"]);
    }

    #[test]
    fn what_it_has_is_not() {
        let source = "//! Not std::net.\nuse std::time::Duration;\nuse std::{collections::VecDeque, sync::Arc};\n\
            use std::process_of_ours;\nuse my_std::net;\n#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(lacking(source), [""; 0]);
    }

    #[test]
    fn a_library_with_a_file_in_it_is_named() {
        let library = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut amiss = Vec::new();
        check(library, &mut amiss).unwrap();
        let this = amiss.iter().find(|line| line.contains("portable.rs")).unwrap();
        assert!(this.ends_with("which wasm32 lacks"), "{this}");
    }
}
