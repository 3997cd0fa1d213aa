//! What publishers cost, beside nginx; what claims cost etcd; what reading RTMP costs, in instructions.

use std::process::Command;

use anyhow::Result;

use crate::process::{built, cargo, output, say, succeed};
use crate::{packages, web};

/// How long is measured.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Length {
    /// Everything in docs/benchmarks.md: a quarter of an hour.
    Full,
    /// A look.
    Short,
}

/// Builds, installs nginx, and prints a table for each load.
pub(crate) fn ingest(length: Length) -> Result<()> {
    packages::ensure(packages::For::Peers)?;
    web::ensure_page()?;
    succeed(cargo().args(["build", "--release", "--package", "headwater"]))?;
    // Memory is only worth looking at when logs are full and have let go of something: 40 s.
    let loads: &[&str] = match length {
        Length::Full => &[
            "--publishers 50 --bitrate 6000 --settle 45 --nginx",
            "--publishers 200 --bitrate 6000 --settle 5 --runs 2 --nginx",
            "--publishers 1000 --bitrate 600 --settle 45 --runs 2 --nginx",
            "--publishers 1000 --bitrate 600 --settle 5 --seconds 10 --at-once --nginx",
            "--publishers 3000 --bitrate 600 --settle 45 --runs 1",
        ],
        Length::Short => &["--publishers 50 --bitrate 6000 --settle 2 --seconds 10 --runs 1 --nginx"],
    };
    for load in loads {
        succeed(Command::new(built("release", "headwater")?).args(["bench", "ingest"]).args(load.split(' ')))?;
    }
    Ok(())
}

/// What claims cost etcd, and how many streams it is good for.
pub(crate) fn claims(length: Length) -> Result<()> {
    packages::ensure(packages::For::Tests)?;
    let mut claims = cargo();
    claims.args(["run", "--quiet", "--release", "--package", "headwater-cluster", "--example", "claims", "--"]);
    succeed(claims.args((length == Length::Short).then_some("--short")))
}

/// Counts the instructions of the chunk reader and of the server's session with callgrind.
pub(crate) fn reader(_no_arguments: ()) -> Result<()> {
    packages::ensure(packages::For::Counting)?;
    succeed(cargo().args(["build", "--release", "--package", "headwater-rtmp", "--example", "count"]))?;
    let program = built("release", "examples/count")?;
    let folder = built("release", "callgrind")?;
    std::fs::create_dir_all(&folder)?;
    for what in ["chunks", "session"] {
        for chunk_size in ["128", "4096", "65536"] {
            let file = folder.join(format!("{what}-{chunk_size}"));
            let counted = Command::new("valgrind")
                .args(["--quiet", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=count::counted*"])
                .arg(format!("--callgrind-out-file={}", file.display()))
                .arg(&program)
                .args([what, chunk_size])
                .output()?;
            say(&format!("{}{}", String::from_utf8_lossy(&counted.stdout), String::from_utf8_lossy(&counted.stderr)));
            say(&output(
                Command::new("callgrind_annotate").args(["--auto=no", "--show-percs=yes", "--threshold=95"]).arg(&file),
            )?);
        }
    }
    Ok(())
}
