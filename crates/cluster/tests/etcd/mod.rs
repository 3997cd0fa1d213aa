//! A real etcd on loopback, for one test, gone with it.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};

pub(crate) struct Etcd {
    process: Option<Child>,
    flags: Vec<String>,
    folder: PathBuf,
    pub(crate) endpoint: String,
}

impl Etcd {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], "http").await
    }

    /// Starts one with more flags, whose clients speak `scheme`.
    pub(crate) async fn start_with(more: &[&str], scheme: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("headwater-etcd-{}-{number}", std::process::id()));
        let [client, peer] = [free_port(), free_port()];
        let endpoint = format!("{scheme}://127.0.0.1:{client}");
        let peers = format!("http://127.0.0.1:{peer}");
        let cluster = format!("test={peers}");
        let flags = ["--name", "test", "--unsafe-no-fsync", "--log-level", "error"];
        let clients = ["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint];
        let others = ["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers];
        let flags = [&flags[..], &clients, &others, &["--initial-cluster", &cluster], more].concat();
        let flags = flags.into_iter().map(str::to_owned).collect();
        let mut etcd = Self { process: None, flags, folder, endpoint };
        etcd.run();
        etcd
    }

    /// Runs it, again after it was stopped.
    pub(crate) fn run(&mut self) {
        let mut etcd = Command::new("etcd");
        let etcd = etcd.arg("--data-dir").arg(&self.folder).args(&self.flags).stdout(Stdio::null());
        self.process = Some(etcd.stderr(Stdio::null()).spawn().expect("etcd of Debian's etcd-server"));
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// A connection of its own, as every node has one.
    pub(crate) async fn client(&self) -> Client {
        let options = ConnectOptions::new().with_require_leader(true);
        let client = Client::connect([&self.endpoint], Some(options)).await.unwrap();
        while client.clone().get("ready", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
