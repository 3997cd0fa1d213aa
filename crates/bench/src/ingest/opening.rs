//! From nothing to an accepted publish.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use headwater_media::Clock;
use headwater_rtmp::{ClientConfig, ClientEvent, ClientSession, PublishUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A publisher that was not accepted after this is lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// An accepted publisher, and how long that took from the first packet of its connection.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: std::net::TcpStream,
    pub(crate) after: Duration,
}

/// Connects and asks to publish. The error says why there is no publisher.
pub(crate) async fn open(url: PublishUrl, chunk_size: u32, clock: Arc<dyn Clock>) -> Result<Accepted, String> {
    let work = async {
        let begin = clock.now();
        let mut socket = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let config = ClientConfig { chunk_size, ..ClientConfig::new(&url, "headwater bench") };
        let mut session = ClientSession::new(begin, config, begin.as_nanos());
        let mut input = BytesMut::with_capacity(8 << 10);
        loop {
            while let Some(bytes) = session.poll_transmit() {
                socket.write_all(&bytes).await.map_err(|error| error.to_string())?;
            }
            match session.poll_event() {
                Some(ClientEvent::Accepted) => break,
                Some(ClientEvent::Rejected { code, description }) => return Err(format!("{code}: {description}")),
                _ => {}
            }
            input.clear();
            if socket.read_buf(&mut input).await.map_err(|error| error.to_string())? == 0 {
                return Err("the server closed the connection".to_owned());
            }
            session.handle_input(clock.now(), &input).map_err(|error| error.to_string())?;
        }
        let after = clock.now().saturating_since(begin);
        let socket = socket.into_std().map_err(|error| error.to_string())?;
        Ok(Accepted { socket, after })
    };
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(format!("not accepted within {} s", PATIENCE.as_secs())))
}
