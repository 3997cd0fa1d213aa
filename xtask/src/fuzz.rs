//! `cargo xtask fuzz`: feeds each decoder what a fuzzer thinks of. docs/fuzzing.md has the record.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{is_there, root, say, succeed};

/// An input that takes longer, in seconds, or makes a decoder hold more, in MiB, counts as found.
const TIMEOUT_SECONDS: u32 = 10;
const MEMORY_MIB: u32 = 1024;

/// Every target, or `only` one, for so many seconds each.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> Result<()> {
    let targets: Vec<String> = targets()?.into_iter().filter(|name| only.is_none_or(|only| only == name)).collect();
    if targets.is_empty() {
        bail!("there is no target {}; they are the folders of fuzz/corpus", only.unwrap_or_default());
    }
    ensure_fuzzer()?;
    let mut failed = Vec::new();
    for target in &targets {
        say(&format!("--- {target}"));
        if let Err(error) = fuzz(target, seconds) {
            say(&format!("{error:#}"));
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("something was found by {}; the inputs are in fuzz/artifacts", failed.join(", "));
    }
    Ok(())
}

/// Their names are those of the folders with their corpora.
fn targets() -> Result<Vec<String>> {
    let corpora = root().join("fuzz/corpus");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&corpora).with_context(|| format!("listing {}", corpora.display()))? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A nightly compiler and cargo-fuzz.
fn ensure_fuzzer() -> Result<()> {
    if !Command::new("rustup").args(["run", "nightly", "rustc", "-V"]).output().is_ok_and(|run| run.status.success()) {
        say("Installing a nightly compiler with rustup");
        succeed(Command::new("rustup").args(["toolchain", "install", "nightly", "--profile", "minimal"]))?;
    }
    if !is_there("cargo-fuzz", "--version") {
        say("Installing cargo-fuzz with cargo");
        succeed(Command::new("cargo").args(["install", "--locked", "cargo-fuzz"]))?;
    }
    Ok(())
}

/// What is new goes to `target/`, beside what is built: the corpora in git stay small.
fn fuzz(target: &str, seconds: u64) -> Result<()> {
    let finds = root().join("target/fuzz/finds").join(target);
    std::fs::create_dir_all(&finds).with_context(|| format!("making {}", finds.display()))?;
    let mut command = Command::new("rustup");
    command.current_dir(root());
    command.args([
        "run",
        "nightly",
        "cargo",
        "fuzz",
        "run",
        "--fuzz-dir",
        "fuzz",
        "--target-dir",
        "target/fuzz",
        // AddressSanitizer finds nothing in code without `unsafe`, and takes six sevenths of the time.
        "--sanitizer",
        "none",
        target,
    ]);
    command.arg(&finds).arg(root().join("fuzz/corpus").join(target));
    command.arg("--").arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-timeout={TIMEOUT_SECONDS}")).arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    command.args(["-verbosity=0", "-print_final_stats=1"]);
    succeed(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_corpus_is_a_target() {
        let targets = targets().unwrap();
        assert!(targets.contains(&"rtmp_server".to_owned()), "{targets:?}");
        assert!(!targets.contains(&"README.md".to_owned()));
    }

    #[test]
    fn a_target_that_is_not_there_is_refused() {
        assert!(run(1, Some("nothing")).unwrap_err().to_string().contains("there is no target nothing"));
    }
}
