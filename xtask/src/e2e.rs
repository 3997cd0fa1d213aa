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
    /// Workers are lost while a browser plays.
    Loss,
    /// Other programs take the processor away.
    Overload,
    /// Players of others start on a stream that nobody watches.
    Cold,
    /// Publishers and servers are lost while players play.
    Outage,
}

impl Form {
    /// The form that a flag asks for.
    pub(crate) fn of(flags: &[String]) -> Result<Self> {
        match flags {
            [] => Ok(Self::Short),
            [flag] => match flag.as_str() {
                "--full" => Ok(Self::Full),
                "--loss" => Ok(Self::Loss),
                "--overload" => Ok(Self::Overload),
                "--cold" => Ok(Self::Cold),
                "--outage" => Ok(Self::Outage),
                _ => bail!(
                    "`cargo xtask e2e` takes `--full`, `--loss`, `--overload`, `--cold`, `--outage` or nothing, not {flag}"
                ),
            },
            _ => bail!("`cargo xtask e2e` takes one flag"),
        }
    }

    /// The npm script that plays it.
    const fn script(self) -> &'static str {
        match self {
            Self::Short => "test",
            Self::Full => "full",
            Self::Loss => "loss",
            Self::Overload => "overload",
            Self::Cold => "cold",
            Self::Outage => "outage",
        }
    }

    const fn packages(self) -> packages::For {
        match self {
            Self::Cold => packages::For::Players,
            Self::Outage => packages::For::Tests,
            _ => packages::For::Tests,
        }
    }
}

/// Builds the program and runs the tests in e2e/.
pub(crate) fn run(form: Form) -> Result<()> {
    packages::ensure(form.packages())?;
    web::ensure_page()?;
    let e2e = web::ensure_browser_tests()?;
    if !e2e.join("package.json").is_file() {
        bail!("e2e/ has no package.json");
    }
    // The short form runs what `cargo xtask test` has built already: for the whole workspace, because dependencies get
    // the features that all its crates together ask for. Figures are only worth something in release.
    let (profile, what) = match form {
        Form::Short => ("debug", ["--workspace", "--bin=headwater"]),
        _ => ("release", ["--release", "--package=headwater"]),
    };
    succeed(cargo().arg("build").args(what))?;
    succeed(
        Command::new("npm")
            .current_dir(e2e)
            .args(["run", "--silent", form.script()])
            .env("HEADWATER", built(profile, "headwater")?)
            .env("XTASK", std::env::current_exe()?),
    )
}
