//! The browser tests: a clock is published, played in a browser, and read back out of its picture.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{built, cargo, succeed};
use crate::{packages, web};

/// How much is played.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Form {
    /// 640x360, one gear, 20 s: what CI plays.
    Short,
    /// 720p with the whole ladder, 60 s for each profile.
    Full,
}

/// Builds the program and runs the tests in e2e/.
pub(crate) fn run(form: Form) -> Result<()> {
    packages::ensure(packages::For::Tests)?;
    web::ensure_page()?;
    let e2e = web::ensure_browser_tests()?;
    if !e2e.join("package.json").is_file() {
        bail!("e2e/ has no package.json");
    }
    // The short form runs what `cargo xtask test` has built already: for the whole workspace, because dependencies get
    // the features that all its crates together ask for. Figures are only worth something in release.
    let (profile, what) = match form {
        Form::Short => ("debug", ["--workspace", "--bin=headwater"]),
        Form::Full => ("release", ["--release", "--package=headwater"]),
    };
    succeed(cargo().arg("build").args(what))?;
    let script = if form == Form::Full { "full" } else { "test" };
    succeed(
        Command::new("npm")
            .current_dir(e2e)
            .args(["run", "--silent", script])
            .env("HEADWATER", built(profile, "headwater")?)
            .env("XTASK", std::env::current_exe()?),
    )
}
