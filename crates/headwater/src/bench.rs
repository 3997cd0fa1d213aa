//! `headwater bench`: measurements, printed as Markdown.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use headwater_bench::ingest::{self, Kind, Load};
use headwater_bench::{Clip, Comparison};
use headwater_router::Ladder;

use crate::cli::IngestArgs;
use crate::clock::SystemClock;
use crate::config::ConfigError;

/// What is measured.
pub(crate) struct Job {
    pub(crate) file: PathBuf,
    pub(crate) ladder: String,
    pub(crate) runs: u32,
}

/// Compares the ladder with the FFmpeg tool's.
pub(crate) fn compare(job: &Job) -> Result<()> {
    let ladder = ladder(&job.ladder)?;
    let words = ["bench", "transcode", "--ladder", &job.ladder];
    let file = job.file.display().to_string();
    let comparison = Comparison {
        clip: job.file.clone(),
        ladder: job.ladder.clone(),
        runs: job.runs,
        program: std::env::current_exe().context("finding this program")?,
        arguments: words.into_iter().chain([&*file, "--into"]).map(str::to_owned).collect(),
    };
    let report = headwater_bench::run(&comparison, &ladder)?;
    write!(std::io::stdout().lock(), "{report}").context("writing to standard output")
}

/// Our side of the comparison, in a process of its own: makes the ladder once and prints what each stage took.
pub(crate) async fn make(job: &Job, folder: PathBuf) -> Result<()> {
    let ladder = ladder(&job.ladder)?;
    let clip = Clip::read(&job.file)?;
    let gears = headwater_bench::plan(&clip, &ladder, &job.ladder)?;
    let stages = headwater_bench::make(&clip, gears, &folder, Arc::new(SystemClock::new())).await?;
    writeln!(std::io::stdout().lock(), "{stages}").context("writing to standard output")
}

/// Publishers, and what they cost each server.
pub(crate) async fn ingest(arguments: IngestArgs) -> Result<()> {
    let IngestArgs { publishers, bitrate, chunk_size, at_once, settle, seconds, runs, nginx, url, pid } = arguments;
    let first = match (url, pid) {
        (Some(url), Some(pid)) => Kind::Given { url, pid },
        _ => Kind::Headwater,
    };
    let peers = [Kind::NginxRelay, Kind::NginxHls].into_iter().filter(|_| nginx);
    let comparison = ingest::Comparison {
        load: Load { publishers: publishers as usize, kbps: bitrate, chunk_size, at_once, settle, seconds },
        servers: std::iter::once(first).chain(peers).collect(),
        runs,
        program: std::env::current_exe().context("finding this program")?,
    };
    let report = ingest::run(&comparison, Arc::new(SystemClock::new())).await?;
    write!(std::io::stdout().lock(), "{report}").context("writing to standard output")
}

fn ladder(name: &str) -> Result<Ladder> {
    let missing = || ConfigError::NoSuchLadder { asked: name.to_owned(), known: Ladder::BUILT_IN.join(", ") };
    Ok(Ladder::built_in(name).ok_or_else(missing)?)
}
