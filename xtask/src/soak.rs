//! `cargo xtask soak`: hours of publishers that come, go, die and return, in minutes. The scene itself is in
//! `e2e/peers/src/soak.rs`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::process::{built, cargo, say, succeed};
use crate::{packages, web};

/// Streams at once: what two cores encode beside the server.
const STREAMS: u64 = 3;

/// Builds the program in release, and soaks it for so many minutes. A seed names a scene; without one it is drawn.
pub(crate) fn run(minutes: u64, seed: Option<u64>, streams: Option<u64>) -> Result<()> {
    packages::ensure(packages::For::Tests)?;
    web::ensure_page()?;
    succeed(cargo().args(["build", "--release", "--package=headwater"]))?;
    let seed = seed.map_or_else(drawn, Ok)?;
    let streams = streams.unwrap_or(STREAMS);
    say(&format!(
        "Soaking for {minutes} minutes: again with `cargo xtask soak --minutes {minutes} --seed {seed} --streams {streams}`"
    ));
    let seconds = minutes.saturating_mul(60);
    let mut soak = cargo();
    soak.args(["run", "--quiet", "--package=headwater-e2e", "--example=soak", "--"]);
    soak.args([seconds, seed, streams].map(|number| number.to_string()));
    succeed(soak.env("HEADWATER", built("release", "headwater")?)).context("an invariant broke")
}

#[expect(clippy::disallowed_methods, reason = "another seed each time is the point of it")]
fn drawn() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    Ok(u64::try_from(since.as_millis())? % 1_000_000)
}
