//! `headwater serve`: all services in one process, with the embedded backends.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use headwater_edge::Edge;
use headwater_media::Clock;
use headwater_router::embedded::{EmbeddedLog, EmbeddedQueue, EmbeddedRegistry};
use headwater_router::{Log, Queue};
use prometheus_client::registry::Registry as Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::pages;

/// Runs until `shutdown`: then publishers are told, sessions end, and players get EXT-X-ENDLIST.
pub(crate) async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let mut shutdown = std::pin::pin!(shutdown);
    // Looked at once, so that it listens for signals before anybody is told that we are there.
    tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        () = std::future::ready(()) => {}
    }
    let rtmp = listen("RTMP", config.rtmp).await?;
    let http = listen("HTTP", config.http).await?;
    let admin = listen("the API and metrics", config.admin).await?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut metrics = Metrics::with_prefix("headwater");
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::new(config.log_limits()));
    let queue: Arc<dyn Queue> = Arc::new(EmbeddedQueue::default());
    let ingest_deps = headwater_ingest::Deps {
        clock: clock.clone(),
        registry: Arc::new(EmbeddedRegistry::default()),
        log: log.clone(),
        queue: queue.clone(),
        metrics: Arc::new(headwater_ingest::Metrics::new(&mut metrics, clock.clone())),
    };
    let transcode_deps = headwater_transcode::Deps {
        clock: clock.clone(),
        log: log.clone(),
        queue,
        metrics: Arc::new(headwater_transcode::Metrics::new(&mut metrics, clock.clone())),
    };
    let edge_deps = headwater_edge::Deps {
        clock: clock.clone(),
        log: log.clone(),
        metrics: Arc::new(headwater_edge::Metrics::new(&mut metrics, clock.clone())),
        assets: pages::find,
    };
    let edge = Arc::new(Edge::new(config.edge(), edge_deps));
    let admin_state = Admin { clock, log, edge: edge.clone(), metrics };

    // Services that follow streams stop when ingest has ended them all, so that the last parts are made and served.
    let ended = watch::Sender::new(false);
    let stopped = || {
        let mut ended = ended.subscribe();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    };
    let ingest = async {
        headwater_ingest::run(rtmp, config.ingest(), ingest_deps, shutdown).await;
        ended.send_replace(true);
    };
    let transcode = headwater_transcode::run(config.transcode(), transcode_deps, stopped());
    let edge = headwater_edge::run(http, edge, stopped());
    let (_, _, _, admin) = tokio::join!(ingest, transcode, edge, admin::run(admin, admin_state, stopped()));
    admin.context("the admin server failed")
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
