//! When to stop.

use tokio::signal::unix::{SignalKind, signal};

/// What asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    /// Ctrl-C, SIGINT: it is over.
    Interrupt,
    /// SIGTERM: perhaps another process will follow, as with `systemctl restart`.
    Terminate,
}

/// Ends at the first Ctrl-C or SIGTERM.
pub(crate) async fn requested() -> Request {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be listened for; Ctrl-C still ends the server");
                std::future::pending().await
            }
        }
    };
    let request = tokio::select! {
        _ = tokio::signal::ctrl_c() => Request::Interrupt,
        () = terminate => Request::Terminate,
    };
    tracing::info!("asked to stop");
    request
}
