//! One HTTP request, as much of HTTP as looking at one's own server needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// Far more than anything asked for here takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status and the rest of the answer to `GET path`.
pub(crate) fn get(server: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut connection = TcpStream::connect_timeout(&server, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, rest) = answer.split_once("\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|number| number.parse().ok()).context("the answer has no status")?;
    Ok((status, rest.to_owned()))
}
