//! Where the server listens: at addresses that it takes itself, or on sockets that were opened for it.
//!
//! systemd and others open sockets before they start a service and hand them over (`LISTEN_FDS`, sd_listen_fds(3)). They stay
//! open while the service starts again, so that nobody is refused meanwhile: who connects waits.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

/// Sockets that were handed over and that nobody has asked for yet.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    all: Vec<std::net::TcpListener>,
}

impl Sockets {
    /// What the environment says was handed over. Takes it out of the environment: no other thread may be there.
    pub(crate) fn handed_over() -> Result<Self> {
        let mut given = ListenFd::from_env();
        let mut all = Vec::new();
        for index in 0..given.len() {
            let found = given.take_tcp_listener(index);
            let found =
                found.with_context(|| format!("cannot use socket {index} of those handed over (LISTEN_FDS)"))?;
            all.extend(found);
        }
        Ok(Self { all })
    }

    /// The socket that was handed over for this address; where there is none, takes the address, or says in one sentence why
    /// not.
    pub(crate) fn listen(&mut self, what: &'static str, address: SocketAddr) -> Result<TcpListener> {
        let is_for = |given: &std::net::TcpListener| given.local_addr().is_ok_and(|given| is_same(given, address));
        let given = self.all.iter().position(is_for).map(|index| self.all.swap_remove(index));
        let (listener, how) = match given {
            Some(given) => (
                given.set_nonblocking(true).and_then(|()| TcpListener::from_std(given)),
                " on a socket that was handed over",
            ),
            None => (bind(address), ""),
        };
        let listener = listener.with_context(|| format!("cannot listen for {what} on {address}"))?;
        tracing::info!(address = %listener.local_addr()?, "listening for {what}{how}");
        Ok(listener)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for unused in self.all.iter().filter_map(|unused| unused.local_addr().ok()) {
            tracing::warn!(address = %unused, "a socket was handed over that no part of this server listens on");
        }
    }
}

/// One port on all of a machine's addresses has more than one form: systemd's holds IPv4 and IPv6.
fn is_same(given: SocketAddr, wanted: SocketAddr) -> bool {
    let (given_ip, wanted_ip) = (given.ip().to_canonical(), wanted.ip().to_canonical());
    let is_any = given_ip.is_unspecified() && wanted_ip.is_unspecified();
    given.port() == wanted.port() && (is_any || given_ip == wanted_ip)
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does: a server that is started again takes its port back at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connections that wait to be accepted: more than come at once when a network is back. The kernel may allow fewer
/// (net.core.somaxconn).
const BACKLOG: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_one_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = Sockets::default().listen("RTMP", taken.local_addr().unwrap()).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("cannot listen for RTMP on 127.0.0.1:"), "{text}");
        assert!(text.contains("in use"), "{text}");
    }

    #[tokio::test]
    async fn a_socket_that_was_handed_over_is_taken_once_by_its_address() {
        let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = given.local_addr().unwrap();
        let mut sockets = Sockets { all: vec![given] };
        let other = sockets.listen("RTMP", "127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(other.local_addr().unwrap(), address);
        let listener = sockets.listen("HTTP", address).unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        assert!(sockets.listen("HTTP", address).is_err(), "it is in use");
    }

    #[test]
    fn all_addresses_of_a_machine_are_one() {
        for (given, wanted, same) in [
            ("[::]:8080", "0.0.0.0:8080", true),
            ("0.0.0.0:8080", "[::]:8080", true),
            ("[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:8080", false),
            ("[::]:8080", "0.0.0.0:8081", false),
        ] {
            assert_eq!(is_same(given.parse().unwrap(), wanted.parse().unwrap()), same, "{given} {wanted}");
        }
    }
}
