//! `headwater publish` against `headwater serve`, as two programs.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;

use serde_json::Value;

/// One second of FFmpeg's test signals; see the folder's README.md.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../flv/src/testdata/ffmpeg-5.1.flv");
const CONFIG: &str = "ladder = 'none'\n[log]\nformat = 'json'\n[[streams]]\nname = 'live/show'\nkey = 'k1'\n";

/// `headwater` with arguments; ended with the test.
struct Headwater {
    child: Child,
    /// Its log, line by line, to the end.
    lines: Receiver<String>,
}

impl Headwater {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER")) {
            command.env_remove(name);
        }
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The first line from here on in which `text` stands.
    fn line(&self, text: &str) -> String {
        self.lines.iter().find(|line| line.contains(text)).unwrap()
    }

    /// Where a server listens, by the words of its line.
    fn address(&self, words: &str) -> SocketAddr {
        let line: Value = serde_json::from_str(&self.line(words)).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -$1 $2", "sh", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end; the rest of its log.
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        let lines = self.lines.iter().collect();
        (self.child.wait().unwrap(), lines)
    }
}

impl Drop for Headwater {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with one stream and its addresses: RTMP and admin.
fn serve(test: &str) -> (Headwater, SocketAddr, SocketAddr) {
    let server = start_server(test, &[]);
    let (rtmp, admin) = (server.address("\"listening for RTMP\""), server.address("listening for the API"));
    (server, rtmp, admin)
}

fn start_server(test: &str, flags: &[&str]) -> Headwater {
    let config = format!("{}/{test}.toml", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&config, CONFIG).unwrap();
    let free = "127.0.0.1:0";
    let addresses = ["serve", "--config", &config, "--rtmp", free, "--http", free, "--admin", free];
    Headwater::start(&[&addresses[..], flags].concat())
}

fn stream(admin: SocketAddr) -> Value {
    let mut connection = TcpStream::connect(admin).unwrap();
    write!(connection, "GET /api/v1/streams/live/show HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_file_is_published_to_its_end() {
    let (server, rtmp, admin) = serve("to_its_end");
    let (status, lines) = Headwater::start(&["publish", FILE, &format!("rtmp://{rtmp}/live/k1")]).end();
    assert!(status.success(), "{lines:?}");
    let left: Value = serde_json::from_str(&server.line("publisher left")).unwrap();
    assert_eq!((&left["stream"], &left["clean"]), (&"live/show".into(), &true.into()), "{left}");
    let stream = stream(admin);
    assert_eq!(stream["state"], "waiting", "{stream}");
    assert_eq!(stream["renditions"][0]["width"], 160, "{stream}");
}

#[test]
fn a_refused_publish_is_one_sentence_without_the_key_and_exit_code_1() {
    let (_server, rtmp, _) = serve("refused");
    let (status, lines) = Headwater::start(&["publish", FILE, &format!("rtmp://{rtmp}/live/wrong-key")]).end();
    assert_eq!((status.code(), lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].starts_with("headwater: ") && lines[0].contains("NetStream.Publish.Denied: "), "{lines:?}");
    assert!(!lines[0].contains("wrong-key"), "{lines:?}");
}

/// Two self-signed certificates for 127.0.0.1 with their keys: a plain one, and one that says that it is a CA, as
/// `openssl req -x509` makes it. Then one that is for another name.
#[test]
fn rtmps_trusts_what_it_is_told_to_trust() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    for (test, name, is_ca, outcome) in [
        ("plain", "127.0.0.1", rcgen::IsCa::NoCa, Ok(())),
        ("ca", "127.0.0.1", rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained), Ok(())),
        ("elsewhere", "other.example", rcgen::IsCa::NoCa, Err("certificate not valid for name \"127.0.0.1\"")),
    ] {
        let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        parameters.is_ca = is_ca;
        let key = rcgen::KeyPair::generate().unwrap();
        let [cert_file, key_file] = ["cert", "key"].map(|what| format!("{folder}/rtmps-{test}.{what}.pem"));
        std::fs::write(&cert_file, parameters.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();

        let test = format!("rtmps-{test}");
        let server = start_server(&test, &["--rtmps", "127.0.0.1:0", "--tls-cert", &cert_file, "--tls-key", &key_file]);
        let url = format!("rtmps://{}/live/k1", server.address("listening for RTMPS"));
        let publish = |flags: &[&str]| {
            let (status, lines) = Headwater::start(&[&["publish", FILE, &url][..], flags].concat()).end();
            (status.code(), lines)
        };
        let (code, lines) = publish(&["--tls-ca", &cert_file]);
        match outcome {
            Ok(()) => {
                assert_eq!(code, Some(0), "{lines:?}");
                assert!(server.line("publisher left").contains("\"clean\":true"));
            }
            Err(problem) => {
                assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
                assert!(lines[0].contains("cannot connect to 127.0.0.1:") && lines[0].contains(problem), "{lines:?}");
            }
        }
        // The system knows nothing of it.
        let (code, lines) = publish(&[]);
        assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
        assert!(lines[0].contains("--tls-ca names certificates to trust"), "{lines:?}");
    }
    let (status, lines) = Headwater::start(&["publish", FILE, "rtmp://127.0.0.1:1/a/b", "--tls-ca", FILE]).end();
    assert_eq!(status.code(), Some(1));
    assert!(lines[0].contains("--tls-ca is for a URL that begins with rtmps://"), "{lines:?}");
    let (status, lines) = Headwater::start(&["publish", FILE, "rtmps://127.0.0.1:1/a/b", "--tls-ca", FILE]).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        lines[0].contains("cannot read certificates from ") && lines[0].contains("there is none in it"),
        "{lines:?}"
    );
}

#[test]
fn ctrl_c_unpublishes_what_is_repeated() {
    let (server, rtmp, _) = serve("ctrl_c");
    let publisher = Headwater::start(&["publish", "--loop", FILE, &format!("rtmp://{rtmp}/live/show?key=k1")]);
    publisher.line("publishing");
    publisher.signal("INT");
    let (status, lines) = publisher.end();
    assert!(status.success(), "{lines:?}");
    assert!(server.line("publisher left").contains("\"clean\":true"));
}

#[test]
fn a_url_that_is_none_is_a_usage_error() {
    let (status, lines) = Headwater::start(&["publish", FILE, "http://127.0.0.1/live/show"]).end();
    assert_eq!(status.code(), Some(2), "{lines:?}");
    assert!(lines[0].contains("a publish URL begins with rtmp://"), "{lines:?}");
}
