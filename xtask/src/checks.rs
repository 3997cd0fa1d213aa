//! What CI runs, and its parts one by one.

use anyhow::{Result, bail};

use crate::process::{Steps, cargo, is_there, say, succeed};
use crate::{e2e, packages, tidy, web};

/// `cargo xtask test`: everything. One cargo profile, so that nothing is built twice for two profiles.
pub(crate) fn test(_no_arguments: ()) -> Result<()> {
    let mut steps = Steps::default();
    let result = test_steps(&mut steps);
    steps.summary();
    result?;
    say("All of `cargo xtask test` passed.");
    Ok(())
}

fn test_steps(steps: &mut Steps) -> Result<()> {
    steps.step("system packages", || packages::ensure(packages::For::Tests))?;
    steps.step("formatting", formatting)?;
    steps.step("web page", web::ensure_page)?;
    steps.step("web unit tests", web::test_page)?;
    steps.step("tidy", || tidy::run(()))?;
    steps.step("clippy", clippy)?;
    steps.step("documentation", documentation)?;
    let nextest = is_there("cargo-nextest", "--version");
    steps.step("build", || succeed(cargo().args(["test", "--workspace", "--no-run", "--quiet"])))?;
    steps.step("tests", || {
        if !nextest {
            return succeed(cargo().args(["test", "--workspace"]));
        }
        succeed(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast"]))?;
        // nextest leaves out the examples in the documentation.
        succeed(cargo().args(["test", "--workspace", "--doc", "--quiet"]))
    })?;
    steps.step("browser", || e2e::run(e2e::Form::Short))
}

/// `cargo xtask simulate SEEDS`: the claim in a simulated cluster, more often than CI does.
pub(crate) fn simulate(seeds: u64) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--package", "headwater-router", "--test", "sim", "no_seed", "--", "--nocapture"]);
    succeed(command.env("HEADWATER_SIM_SEEDS", seeds.to_string()))
}

/// `cargo xtask race --rounds N`: fifty publishers at once for one key, again and again, with a real etcd; and as many seconds
/// of publishers that come and go while members of etcd are stopped and killed.
pub(crate) fn race(rounds: u64) -> Result<()> {
    packages::ensure(packages::For::Tests)?;
    let mut command = cargo();
    command.args(["test", "--package", "headwater-cluster", "--test", "registry", "--"]);
    command.args(["race", "chaos", "--nocapture", "--test-threads=1"]);
    succeed(command.env("HEADWATER_RACE_ROUNDS", rounds.to_string()))
}

/// `cargo xtask check`: formatting, clippy, documentation.
pub(crate) fn check(_no_arguments: ()) -> Result<()> {
    packages::ensure(packages::For::Building)?;
    web::ensure_page()?;
    formatting()?;
    clippy()?;
    documentation()
}

fn formatting() -> Result<()> {
    succeed(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    succeed(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    succeed(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// `cargo xtask deny`: licences, advisories, sources and duplicates of dependencies, by deny.toml.
pub(crate) fn deny(_no_arguments: ()) -> Result<()> {
    if !is_there("cargo-deny", "--version") {
        say("Installing cargo-deny with cargo");
        succeed(cargo().args(["install", "--locked", "cargo-deny"]))?;
    }
    if succeed(cargo().args(["deny", "--workspace", "check"])).is_err() {
        bail!("`cargo deny check` found something; deny.toml says what is allowed");
    }
    Ok(())
}
