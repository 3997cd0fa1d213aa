//! The servers that are measured: ours and nginx with `libnginx-mod-rtmp`, each a child on free ports of loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::BenchError;

/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// A server that does not listen after this does not start.
const START: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);
/// How long a server may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(20);

/// A server that takes publishers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// This program, which packages the source rendition of each stream and makes no gears.
    Headwater,
    /// nginx-rtmp that hands on what it takes, to nobody.
    NginxRelay,
    /// nginx-rtmp that writes HLS with segments of 2 s.
    NginxHls,
    /// One that runs already.
    Given {
        /// Up to its application, such as `rtmp://127.0.0.1:1935/live`; a name for each publisher is put behind it.
        url: String,
        /// Its process.
        pid: u32,
    },
}

impl Kind {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Headwater => "headwater",
            Self::NginxRelay => "nginx-rtmp, relay",
            Self::NginxHls => "nginx-rtmp, HLS",
            Self::Given { .. } => "the server",
        }
    }
}

/// A server that runs.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) pid: u32,
    /// Up to the application.
    pub(crate) url: String,
    /// Where our own server shows its metrics.
    admin: Option<SocketAddr>,
    folder: Option<PathBuf>,
}

impl Server {
    /// Starts `kind`; `program` is ours. Waits until it listens.
    pub(crate) fn start(kind: &Kind, program: &Path, publishers: usize) -> Result<Self, BenchError> {
        match kind {
            Kind::Headwater => Self::headwater(program, publishers),
            Kind::NginxRelay => Self::nginx("relay", |_| String::new()),
            Kind::NginxHls => Self::nginx("hls", |folder| {
                let path = folder.join("hls");
                let path = path.display();
                format!("hls on; hls_path {path}; hls_nested on; hls_fragment 2s; hls_playlist_length 16s;")
            }),
            Kind::Given { url, pid } => Ok(Self {
                child: None,
                pid: *pid,
                url: url.trim_end_matches('/').to_owned(),
                admin: None,
                folder: None,
            }),
        }
    }

    fn headwater(program: &Path, publishers: usize) -> Result<Self, BenchError> {
        let [rtmp, http, admin] = free_ports()?;
        let mut command = Command::new(program);
        // It is the same whatever the person who measures has set for other servers.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--ladder", "none"]).env("HEADWATER_LIMITS_PUBLISHERS", (publishers + 10).to_string());
        command.env("HEADWATER_LIMITS_CONNECTIONS_PER_ADDRESS", "0");
        for (flag, address) in [("--rtmp", rtmp), ("--http", http), ("--admin", admin)] {
            command.arg(flag).arg(address.to_string());
        }
        let url = format!("rtmp://{rtmp}/live");
        let mut server = Self::spawn(command, url, None)?;
        server.admin = Some(admin);
        server.wait(rtmp)
    }

    /// `more` is said about the application, given the folder in which it may write.
    fn nginx(app: &str, more: impl FnOnce(&Path) -> String) -> Result<Self, BenchError> {
        if !Path::new(MODULE).is_file() {
            return Err(BenchError::NoNginx { module: MODULE });
        }
        let [rtmp] = free_ports()?;
        let folder = std::env::temp_dir().join(format!("headwater-bench-nginx-{}-{}", std::process::id(), rtmp.port()));
        let (file, more) = (folder.join("nginx.conf"), more(&folder));
        let config = format!(
            "load_module {MODULE};\ndaemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 16384;\n\
             error_log stderr error;\npid nginx.pid;\nevents {{ worker_connections 8192; }}\n\
             rtmp {{ access_log off; server {{ listen {rtmp}; chunk_size 4096; max_message 8M; \
             application {app} {{ live on; {more} }} }} }}\n"
        );
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, config))
            .map_err(|error| BenchError::File { path: file.clone(), error })?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).args(["-e", "stderr", "-c"]).arg(&file);
        Self::spawn(command, format!("rtmp://{rtmp}/{app}"), Some(folder))?.wait(rtmp)
    }

    fn spawn(mut command: Command, url: String, folder: Option<PathBuf>) -> Result<Self, BenchError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = spawned.map_err(|error| BenchError::Child { program, text: error.to_string() })?;
        Ok(Self { pid: child.id(), child: Some(child), url, admin: None, folder })
    }

    /// Waits until somebody listens.
    fn wait(mut self, rtmp: SocketAddr) -> Result<Self, BenchError> {
        for _ in 0..START.as_millis() / LOOK.as_millis() {
            if TcpStream::connect(rtmp).is_ok() {
                return Ok(self);
            }
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                let text = format!("it ended with {status} before it listened");
                return Err(BenchError::Child { program: self.url.clone(), text });
            }
            std::thread::sleep(LOOK);
        }
        Err(BenchError::Child {
            program: self.url.clone(),
            text: format!("nobody listens after {} s", START.as_secs()),
        })
    }

    /// What one of our own metrics says; `None` for another server.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let mut socket = TcpStream::connect(self.admin?).ok()?;
        socket.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Asks the server to end, and makes it when it does not.
fn end(child: &mut Child) {
    // The shell's own `kill` is there on systems without procps, and signals need no unsafe code this way.
    let pid = child.id().to_string();
    let _ = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status();
    for _ in 0..GRACE.as_millis() / LOOK.as_millis() {
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        std::thread::sleep(LOOK);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn free_ports<const N: usize>() -> Result<[SocketAddr; N], BenchError> {
    let error = |error| BenchError::NoPort { error };
    // All at once, so that they are different ones.
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(TcpListener::bind((HOST, 0)).map_err(error)?);
    }
    let mut ports = [SocketAddr::from((HOST, 0)); N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().map_err(error)?;
    }
    Ok(ports)
}
