//! An HTTP server of the operator's, as the server under test asks it: a webhook, or where a key set is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::clock::Stopwatch;

/// A running server; it ends with the test's process.
#[derive(Debug)]
pub struct Hook {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Hook {
    /// Answers every request with what `answer` makes of its body: a status and a body.
    pub fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<(Mutex<Vec<String>>, Condvar)>::default();
        let noted = asked.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                // A connection that is lost in the middle is the server's affair.
                let _ = socket.and_then(|socket| serve(socket, &noted, &answer));
            }
        });
        Self { address, asked }
    }

    /// URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits for a request whose body has all of `words`.
    #[track_caller]
    pub fn expect_asked(&self, words: &[&str]) -> String {
        let watch = Stopwatch::start();
        let limit = Duration::from_secs(15);
        let mut asked = self.asked.0.lock().unwrap();
        loop {
            if let Some(body) = asked.iter().find(|body| words.iter().all(|word| body.contains(word))) {
                return body.clone();
            }
            let left = watch.left(limit);
            assert!(!left.is_zero(), "no request with {words:?} in {asked:?}");
            asked = self.asked.1.wait_timeout(asked, left).unwrap().0;
        }
    }
}

fn serve(
    socket: TcpStream,
    asked: &(Mutex<Vec<String>>, Condvar),
    answer: &impl Fn(&str) -> (u16, String),
) -> std::io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let (status, text) = answer(&body);
    asked.0.lock().unwrap().push(body);
    asked.1.notify_all();
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
    reader.get_mut().write_all([head, text].concat().as_bytes())
}
