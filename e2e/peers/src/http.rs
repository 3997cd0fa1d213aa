//! As much of an HTTP/1.1 client as a player needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

/// Longer than the server holds any request.
const PATIENCE: Duration = Duration::from_secs(15);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

impl Response {
    /// A header's value; names in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(found, value)| (found == name).then_some(value.as_str()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Ends the requests of several [`Http`] at once.
#[derive(Clone, Debug, Default)]
pub struct Hangup(Arc<(AtomicBool, Mutex<Vec<TcpStream>>)>);

impl Hangup {
    /// Ends all requests, now and from now on.
    pub fn now(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        for stream in self.0.1.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    fn watch(&self, stream: &TcpStream) -> std::io::Result<()> {
        self.0.1.lock().unwrap().push(stream.try_clone()?);
        if self.is_done() { stream.shutdown(Shutdown::Both) } else { Ok(()) }
    }
}

/// A connection to the server, made again when it was closed.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    hangup: Hangup,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr, hangup: Hangup) -> Self {
        Self { address, hangup, stream: None }
    }

    /// GET that must be answered.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// GET of a range, such as `bytes=0-99`, that must be answered.
    #[track_caller]
    pub fn get_range(&mut self, path: &str, range: &str) -> Response {
        let answer = self.send("GET", path, &format!("Range: {range}\r\n"));
        answer.unwrap_or_else(|error| panic!("GET {path}, {range}: {error}"))
    }

    /// A request without a body.
    pub fn request(&mut self, method: &str, path: &str) -> std::io::Result<Response> {
        self.send(method, path, "")
    }

    /// A request without a body. `headers` are whole lines.
    pub fn send(&mut self, method: &str, path: &str, headers: &str) -> std::io::Result<Response> {
        let reused = self.stream.is_some();
        let answer = self.attempt(method, path, headers);
        if answer.is_err() {
            self.stream = None;
            // An idle connection may have been closed by the server meanwhile.
            if reused && !self.hangup.is_done() {
                return self.attempt(method, path, headers);
            }
        }
        answer
    }

    fn attempt(&mut self, method: &str, path: &str, headers: &str) -> std::io::Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.hangup.watch(&stream)?;
                BufReader::new(stream)
            }
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        stream.get_mut().write_all(head.as_bytes())?;
        let status_line = line(&mut stream)?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("status line {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut stream)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Bytes::new() };
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        let no_body = status == 204 || status == 304 || method == "HEAD";
        let mut body = Vec::new();
        match length {
            _ if no_body => {}
            Some(length) => read(&mut stream, length, &mut body)?,
            // What others' servers do with a length that they do not know; ours always knows.
            None if response.header("transfer-encoding") == Some("chunked") => loop {
                let size = line(&mut stream)?;
                let length = usize::from_str_radix(&size, 16).map_err(std::io::Error::other)?;
                read(&mut stream, length, &mut body)?;
                line(&mut stream)?;
                if length == 0 {
                    break;
                }
            },
            None => return Err(std::io::Error::other("an answer without content-length")),
        }
        response.body = body.into();
        if response.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

fn read(stream: &mut impl Read, length: usize, body: &mut Vec<u8>) -> std::io::Result<()> {
    let before = body.len();
    body.resize(before + length, 0);
    stream.read_exact(&mut body[before..])
}

fn line(stream: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
