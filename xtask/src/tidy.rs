//! The shape of the code: what no compiler checks and every reader relies on.

mod conformance;
mod portable;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::fingerprint;
use crate::process::{cargo, output, root};

/// Libraries that must run without sockets, files, clocks and threads (architecture, invariant 8).
const SANS_IO: [&str; 7] = ["media", "amf0", "rtmp", "flv", "cmaf", "segmenter", "hls"];
/// Crates that only a service needs, or a clock or chance.
const RUNTIMES: [&str; 14] = [
    "tokio",
    "async-std",
    "smol",
    "futures-executor",
    "mio",
    "polling",
    "socket2",
    "hyper",
    "axum",
    "reqwest",
    "rayon",
    "crossbeam-channel",
    "getrandom",
    "rand",
];
/// Folders that hold nothing of ours.
const FOREIGN: [&str; 5] = ["node_modules", "target", "dist", "out", ".git"];

/// Fails with all that is amiss.
pub(crate) fn run(_no_arguments: ()) -> Result<()> {
    let mut amiss = Vec::new();
    runtimes(&mut amiss)?;
    for library in SANS_IO {
        portable::check(&root().join("crates").join(library), &mut amiss)?;
    }
    conformance::check(&root(), &mut amiss)?;
    let mut files = Vec::new();
    fingerprint::collect(&root(), &FOREIGN, &mut files)?;
    test_data(&files, &mut amiss);
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        links(file, &mut amiss)?;
    }
    if !amiss.is_empty() {
        bail!("not tidy:\n  {}", amiss.join("\n  "));
    }
    Ok(())
}

/// No library has a runtime below it.
fn runtimes(amiss: &mut Vec<String>) -> Result<()> {
    for library in SANS_IO {
        let package = format!("headwater-{library}");
        let tree = output(cargo().args(["tree", "--edges", "normal", "--prefix", "none", "--package", &package]))?;
        for name in tree.lines().filter_map(|line| line.split(' ').next()) {
            if RUNTIMES.contains(&name) {
                amiss.push(format!("{package} depends on {name}: `cargo tree -e normal -p {package} -i {name}`"));
            }
        }
    }
    Ok(())
}

/// Each folder of test data says where its files come from.
fn test_data(files: &[PathBuf], amiss: &mut Vec<String>) {
    let mut folders: Vec<&Path> = files
        .iter()
        .flat_map(|file| file.ancestors())
        .filter(|folder| folder.file_name().is_some_and(|name| name == "testdata"))
        .collect();
    folders.sort();
    folders.dedup();
    for folder in folders {
        if !folder.join("README.md").is_file() {
            amiss.push(format!("{} has no README.md that says who made its files", folder.display()));
        }
    }
}

/// Each link from a document to a file leads to one.
fn links(document: &Path, amiss: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(document).with_context(|| format!("reading {}", document.display()))?;
    let folder = document.parent().unwrap_or(document);
    for target in file_links(&text) {
        if !folder.join(target).exists() {
            amiss.push(format!("{} links to {target}, which is not there", document.display()));
        }
    }
    Ok(())
}

/// The targets of `[text](target)` that are files: no scheme, no fragment.
fn file_links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        (!target.is_empty() && !target.contains([':', ' ', '`'])).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_files_are_followed() {
        let text = "[a](docs/a.md) [b](https://example.org/b) [c](#c) [d](../d.md#part)";
        assert_eq!(file_links(text).collect::<Vec<_>>(), ["docs/a.md", "../d.md"]);
    }

    #[test]
    fn test_data_needs_a_readme_at_its_top() {
        let mut amiss = Vec::new();
        test_data(&[PathBuf::from("/nowhere/testdata/deeper/a.bin")], &mut amiss);
        assert_eq!(amiss.len(), 1);
        assert!(amiss[0].starts_with("/nowhere/testdata has no README.md"));
    }
}
