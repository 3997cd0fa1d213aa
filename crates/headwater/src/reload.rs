//! SIGHUP: the configuration is read again, and what it says about publishers counts from then on.

use anyhow::{Context, Result, ensure};
use headwater_ingest::Ingest;
use tokio::signal::unix::Signal;

use crate::config::{Config, ConfigError, Notice};
use crate::serve::{Role, check_encoder, tls};

/// Follows the signal for ever. A configuration that is no good changes nothing.
pub(crate) async fn follow(
    mut signal: Signal,
    role: Role,
    running: &Config,
    read: impl Fn() -> Result<(Config, Vec<Notice>), ConfigError>,
    ingest: &Ingest,
) {
    while signal.recv().await.is_some() {
        match again(role, running, &read, ingest) {
            Ok(()) => tracing::info!("configuration read again"),
            Err(error) => tracing::error!("configuration not changed: {error:#}"),
        }
    }
    std::future::pending().await
}

fn again(
    role: Role,
    running: &Config,
    read: impl Fn() -> Result<(Config, Vec<Notice>), ConfigError>,
    ingest: &Ingest,
) -> Result<()> {
    let (config, notices) = read()?;
    // It may listen on all interfaces because there were keys.
    ensure!(
        running.is_open() || !config.is_open(),
        "it has no [[streams]], [jwt] or [webhook], so that anyone could publish; restart for that"
    );
    if role.makes() {
        check_encoder(&config.ladder, headwater_av::probe)?;
    }
    let certificate = tls(&config).context("RTMPS")?;
    ingest.reconfigure(config.ingest(certificate));
    notices.iter().for_each(Notice::log);
    let waiting = config.needs_restart(running);
    if !waiting.is_empty() {
        tracing::warn!(keys = waiting.join(", "), "changed, but only a restart brings it into force");
    }
    Ok(())
}
