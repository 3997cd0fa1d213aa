//! One HTTP/1.1 connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use crate::{Edge, routes};

/// A client that takes longer for its request's head is not a player.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes no byte of an answer for so long is gone, whatever its kernel says: what it does not take is kept for it.
const STALLED_TIMEOUT: Duration = Duration::from_secs(30);
/// Players send heads of under 2 KiB.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// After a stop, answers that are under way have this long.
const STOP_GRACE: Duration = Duration::from_secs(2);

pub(crate) async fn serve(socket: TcpStream, edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY not set");
    }
    if let Err(error) = set_tcp_user_timeout(&socket, u32::try_from(STALLED_TIMEOUT.as_millis()).unwrap_or(u32::MAX)) {
        debug!(%error, "TCP_USER_TIMEOUT not set");
    }
    let service = service_fn(move |request| {
        let edge = edge.clone();
        async move { Ok::<_, Infallible>(routes::answer(&edge, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let stopped = async { stop.wait_for(|stop| *stop).await.map(drop) };
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                debug!(%error, "HTTP connection ended");
            }
            return;
        }
        _ = stopped => connection.as_mut().graceful_shutdown(),
    }
    // A player that takes no bytes must not keep the server from stopping.
    let _ = tokio::time::timeout(STOP_GRACE, connection).await;
}
