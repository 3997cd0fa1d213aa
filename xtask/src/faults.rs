//! `cargo xtask faults`: nodes of a pool die, stop and are parted from each other. The scene is in `e2e/peers/src/faults.rs`.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{built, cargo, succeed};
use crate::{packages, web};

/// Builds, and plays it in a network namespace of its own: rules of its firewall touch nothing else.
pub(crate) fn run(_no_arguments: ()) -> Result<()> {
    packages::ensure(packages::For::Faults)?;
    web::ensure_page()?;
    succeed(cargo().args(["build", "--release", "--package=headwater"]))?;
    succeed(cargo().args(["build", "--package=headwater-e2e", "--example=faults"]))?;
    let mut scene = Command::new("unshare");
    scene.args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$0\""]);
    scene.arg(built("debug", "examples/faults")?).env("HEADWATER", built("release", "headwater")?);
    succeed(&mut scene).context("a rule was broken")
}
