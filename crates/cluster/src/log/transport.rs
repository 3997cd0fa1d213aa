//! How nodes are connected: HTTP/2 with room for a burst, and pings as a sign of life. A process that is stopped still accepts
//! connections; only answers count.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Error, Server};

use crate::Tls;

/// The longest message.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What may be on its way in one stream, and on one connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;
/// A connection on which nothing came for so long is asked for a sign of life...
const ASK_AFTER: Duration = Duration::from_millis(400);
/// ...and is lost when none comes within this time.
const ANSWER_WITHIN: Duration = Duration::from_millis(600);
/// A connection that takes longer to make is none.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Calls that a node has open on one connection: a subscription for each session that it follows, and what workers put.
const STREAMS_MAX: u32 = 20_000;

/// A node's end where others connect; with `tls` those that the cluster's authority has signed for.
pub(super) fn server(tls: Option<&Tls>) -> Result<Server, Error> {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(ASK_AFTER))
        .http2_keepalive_timeout(Some(ANSWER_WITHIN));
    tls.map_or(Ok(server.clone()), |tls| server.tls_config(tls.server()))
}

/// The connections that others make. A server's own setting of TCP_NODELAY does not reach these; without it a part waits for
/// 40 ms now and then.
pub(super) fn connections(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// The way to the node whose log service is at `address`, `host:port`.
pub(super) fn endpoint(address: &str, tls: Option<&Tls>) -> Result<Endpoint, Error> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(ASK_AFTER)
        .keep_alive_timeout(ANSWER_WITHIN)
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true);
    tls.map_or(Ok(endpoint.clone()), |tls| endpoint.clone().tls_config(tls.client()))
}
