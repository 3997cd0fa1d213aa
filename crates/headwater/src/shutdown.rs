//! When to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    /// Ctrl-C, SIGINT: it is over.
    Interrupt,
    /// SIGTERM: perhaps another process will follow, as with `systemctl restart`.
    Terminate,
}

/// Ctrl-C and SIGTERM, from when it is made on: none is missed.
pub(crate) struct Requests {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Requests {
    /// Listens from now on, within a runtime.
    pub(crate) fn listen() -> Self {
        let listen = |kind, name| match signal(kind) {
            Ok(signals) => Some(signals),
            Err(error) => {
                tracing::warn!(%error, "{name} cannot be listened for");
                None
            }
        };
        Self {
            interrupt: listen(SignalKind::interrupt(), "SIGINT"),
            terminate: listen(SignalKind::terminate(), "SIGTERM"),
        }
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Request {
        let request = tokio::select! {
            () = received(&mut self.interrupt) => Request::Interrupt,
            () = received(&mut self.terminate) => Request::Terminate,
        };
        tracing::info!("asked to stop");
        request
    }
}

async fn received(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => _ = signals.recv().await,
        None => std::future::pending().await,
    }
}

/// Ends at the first Ctrl-C or SIGTERM.
pub(crate) async fn requested() {
    Requests::listen().next().await;
}
