//! An HTTP server of the operator's, as the server under test asks it: a webhook, or where a key set is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::clock::Stopwatch;

/// A running server; it ends with the test's process.
#[derive(Debug)]
pub struct Hook {
    /// Where it listens.
    pub address: SocketAddr,
    scheme: &'static str,
    asked: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Hook {
    /// Answers every request with what `answer` makes of its body: a status and a body.
    pub fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        Self::start_as("http", Ok, answer)
    }

    /// The same over TLS, with PEM files.
    pub fn start_tls(certificate: &Path, key: &Path, answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
        let config = Arc::new(config.unwrap());
        let open = move |socket| {
            let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
            Ok(StreamOwned::new(connection, socket))
        };
        Self::start_as("https", open, answer)
    }

    fn start_as<S: Read + Write>(
        scheme: &'static str,
        open: impl Fn(TcpStream) -> std::io::Result<S> + Send + 'static,
        answer: impl Fn(&str) -> (u16, String) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<(Mutex<Vec<String>>, Condvar)>::default();
        let noted = asked.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                // A connection that is lost in the middle is the server's affair.
                let _ = socket.and_then(|socket| {
                    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
                    serve(open(socket)?, &noted, &answer)
                });
            }
        });
        Self { scheme, address, asked }
    }

    /// URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
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
    socket: impl Read + Write,
    asked: &(Mutex<Vec<String>>, Condvar),
    answer: &impl Fn(&str) -> (u16, String),
) -> std::io::Result<()> {
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
    reader.get_mut().write_all([head, text].concat().as_bytes())?;
    reader.get_mut().flush()
}
