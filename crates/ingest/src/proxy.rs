//! PROXY protocol, versions 1 and 2 (HAProxy, `proxy-protocol.txt`): a proxy says whose connection it forwards.
//!
//! Reads from any source of bytes and takes exactly the header, whatever follows it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a version 2 header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// Longest rest of a version 2 header that is taken. Addresses are 216 bytes at most; what follows them is ignored.
const REST_BYTES_MAX: u16 = 2048;

/// Why a connection does not begin with a PROXY header. It is closed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// Something else came.
    #[error("no PROXY protocol header")]
    Missing,
    /// It cannot be read.
    #[error("malformed PROXY protocol header")]
    Malformed,
    /// The connection failed.
    #[error("no PROXY protocol header: {0}")]
    Io(#[from] io::Error),
}

/// Takes the header: whose connection it is, `None` when it is the proxy's own (`LOCAL`, `UNKNOWN`).
pub(crate) async fn read_header(source: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    // No header of either version is shorter.
    let mut start = [0; 12];
    source.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return version_2(source).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyError::Missing);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(ProxyError::Malformed);
        }
        line.push(source.read_u8().await?);
    }
    let text = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| ProxyError::Malformed)?;
    version_1(text)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 1935`
fn version_1(line: &str) -> Result<Option<SocketAddr>, ProxyError> {
    let words: Vec<&str> = line.split(' ').collect();
    let address = |text: &str, v6: bool| text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv6() == v6);
    let port = |text: &str| text.parse::<u16>().ok();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let v6 = family == "TCP6";
            let good = address(destination, v6).is_some() && port(destination_port).is_some();
            let source = address(source, v6).zip(port(source_port)).filter(|_| good);
            source.map(|source| Some(source.into())).ok_or(ProxyError::Malformed)
        }
        _ => Err(ProxyError::Malformed),
    }
}

async fn version_2(source: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    let (version_command, family) = (source.read_u8().await?, source.read_u8().await?);
    let length = source.read_u16().await?;
    if length > REST_BYTES_MAX {
        return Err(ProxyError::Malformed);
    }
    let mut rest = vec![0; length.into()];
    source.read_exact(&mut rest).await?;
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    match (version_command, family >> 4) {
        // LOCAL: a health check of the proxy.
        (0x20, _) => Ok(None),
        // Two addresses, then two ports.
        (0x21, 1) if rest.len() >= 12 => {
            let ip = rest.first_chunk::<4>().map(|ip| Ipv4Addr::from(*ip));
            Ok(ip.zip(port(8)).map(SocketAddr::from))
        }
        (0x21, 2) if rest.len() >= 36 => {
            let ip = rest.first_chunk::<16>().map(|ip| Ipv6Addr::from(*ip));
            Ok(ip.zip(port(32)).map(SocketAddr::from))
        }
        // Unspecified, and Unix sockets, which have no address.
        (0x21, 0 | 3) => Ok(None),
        _ => Err(ProxyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address, or why there is none, and what is left over.
    async fn read(bytes: &[u8]) -> (Result<Option<String>, String>, Vec<u8>) {
        let mut source = bytes;
        let read = read_header(&mut source).await;
        (read.map(|at| at.map(|at| at.to_string())).map_err(|error| error.to_string()), source.to_vec())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn version_1_gives_the_source_and_leaves_what_follows() {
        let (at, rest) = read(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 1935\r\n\x03rest").await;
        assert_eq!(at, Ok(Some("192.0.2.1:56324".into())));
        assert_eq!(rest, b"\x03rest");
        let (at, _) = read(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n").await;
        assert_eq!(at, Ok(Some("[2001:db8::1]:1".into())));
        assert_eq!(read(b"PROXY UNKNOWN\r\nx").await, (Ok(None), b"x".to_vec()));
        assert_eq!(read(b"PROXY UNKNOWN ffff::1 ffff::1 1 2\r\n").await.0, Ok(None));
    }

    #[tokio::test]
    async fn version_2_gives_the_source_and_leaves_what_follows() {
        let v4 = [&[192, 0, 2, 1, 198, 51, 100, 1][..], &56324_u16.to_be_bytes(), &1935_u16.to_be_bytes()].concat();
        let with_more = [&v4[..], &[4, 0, 1, 0]].concat();
        for rest in [v4.clone(), with_more] {
            let (at, left) = read(&[&v2(0x21, 0x11, &rest)[..], b"\x03"].concat()).await;
            assert_eq!((at, left), (Ok(Some("192.0.2.1:56324".into())), b"\x03".to_vec()));
        }
        let v6 = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0, 7, 0, 8]].concat();
        assert_eq!(read(&v2(0x21, 0x21, &v6)).await.0, Ok(Some("[::1]:7".into())));
        assert_eq!(read(&v2(0x20, 0, &[])).await.0, Ok(None));
        assert_eq!(read(&v2(0x21, 0, &[])).await.0, Ok(None));
        assert_eq!(read(&v2(0x21, 0x11, &v4[..11])).await.0, Err("malformed PROXY protocol header".into()));
    }

    #[tokio::test]
    async fn anything_else_is_an_error_and_is_not_read_on_and_on() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 1000]].concat();
        let (at, rest) = read(&long).await;
        assert_eq!(at, Err("malformed PROXY protocol header".into()));
        assert_eq!(rest.len(), long.len() - LINE_BYTES_MAX);
        for bad in [
            &b"PROXY TCP4 2001:db8::1 198.51.100.1 1 2\r\n"[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
            b"PROXY TCP5 192.0.2.1 198.51.100.1 1 2\r\n",
            b"PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
            b"PROXY \xFF\xFF\xFF\xFF\r\n",
        ] {
            assert_eq!(read(bad).await.0, Err("malformed PROXY protocol header".into()), "{bad:?}");
        }
        assert_eq!(read(&v2(0x31, 0x11, &[0; 12])).await.0, Err("malformed PROXY protocol header".into()));
        assert_eq!(read(&v2(0x21, 0x11, &[0; 3000])).await.0, Err("malformed PROXY protocol header".into()));
        assert_eq!(read(&[3; 1537]).await.0, Err("no PROXY protocol header".into()));
        assert!(read(b"PROXY TCP4").await.0.is_err());
    }
}
