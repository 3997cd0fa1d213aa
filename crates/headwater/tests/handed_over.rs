//! Sockets that somebody else opened, as systemd does, outlive the server.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that is killed at the end.
struct Server(Child);

impl Server {
    /// It gets `http` as systemd would hand it over: as the first descriptor behind the standard ones.
    fn start(http: &TcpListener) -> Self {
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER")) {
            command.env_remove(name);
        }
        command.args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 exec \"$0\" \"$@\""]);
        command.args([env!("CARGO_BIN_EXE_headwater"), "serve", "--ladder", "none"]);
        let any = "127.0.0.1:0";
        command.args(["--rtmp", any, "--admin", any, "--http", &http.local_addr().unwrap().to_string()]);
        let socket = OwnedFd::from(http.try_clone().unwrap());
        Self(command.stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_connects_while_the_server_is_away_is_answered_when_it_is_back() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..2 {
        let mut player = TcpStream::connect(http.local_addr().unwrap()).unwrap();
        player.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        player.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let _server = Server::start(&http);
        let mut answer = Vec::new();
        player.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}
