//! `headwater serve`: all services in one process, with the embedded backends.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::config::Config;

/// Runs until `shutdown`.
pub(crate) async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let _rtmp = listen("RTMP", config.rtmp).await?;
    let _http = listen("HTTP", config.http).await?;
    let _admin = listen("the API and metrics", config.admin).await?;
    shutdown.await;
    Ok(())
}

/// Takes the address, or says in one sentence why not.
async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen for {what} on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "listening for {what}");
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_one_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = listen("RTMP", taken.local_addr().unwrap()).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("cannot listen for RTMP on 127.0.0.1:"), "{text}");
        assert!(text.contains("in use"), "{text}");
    }
}
