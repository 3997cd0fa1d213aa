//! `headwater serve` as a child, on free ports of loopback.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock::poll;
use crate::http::{Hangup, Http};
use crate::log::Lines;
use crate::program::{Finished, Program};

/// Name of the configuration file.
const CONFIG: &str = "headwater.toml";
/// Starting takes a moment on a busy machine.
const START: Duration = Duration::from_secs(20);

/// What a process of the program does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// `headwater serve`.
    Serve,
    /// `headwater ingest`.
    Ingest,
    /// `headwater transcode`.
    Transcode,
    /// `headwater edge`.
    Edge,
}

impl Role {
    const fn command(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Ingest => "ingest",
            Self::Transcode => "transcode",
            Self::Edge => "edge",
        }
    }

    const fn takes(self) -> bool {
        matches!(self, Self::Serve | Self::Ingest)
    }

    const fn serves(self) -> bool {
        matches!(self, Self::Serve | Self::Edge)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    program: Program,
    role: Role,
    /// Where publishers go; port 0 if it takes none.
    pub rtmp: SocketAddr,
    /// Where players go; port 0 if it serves none.
    pub http: SocketAddr,
    /// Where operators go.
    pub admin: SocketAddr,
    folder: Folder,
    flags: Vec<String>,
}

impl Server {
    /// Starts with the text of a configuration file, which may be empty.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with more flags.
    #[track_caller]
    pub fn start_with(config: &str, flags: &[&str]) -> Self {
        Self::start_as(headwater(), config, flags)
    }

    /// The same with this file of root certificates in place of the system's.
    #[track_caller]
    pub fn start_trusting(config: &str, roots: &Path) -> Self {
        let mut program = headwater();
        program.env("SSL_CERT_FILE", roots);
        Self::start_as(program, config, &[])
    }

    /// Starts one that cannot, and gives what it said.
    #[track_caller]
    pub fn start_refused(config: &str, flags: &[&str]) -> String {
        let folder = Folder::new();
        let file = folder.path().join(CONFIG);
        std::fs::write(&file, config).unwrap();
        let any = "127.0.0.1:0";
        let mut program = headwater();
        program.arg("serve").arg("--config").arg(file).args(["--rtmp", any, "--http", any, "--admin", any]).args(flags);
        let finished = Program::start(&mut program).finish(START);
        assert!(!finished.status.success(), "it starts: {}", finished.err);
        finished.err
    }

    #[track_caller]
    fn start_as(program: Command, config: &str, flags: &[&str]) -> Self {
        let folder = Folder::new();
        std::fs::write(folder.path().join(CONFIG), config).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::run(program, Role::Serve, folder, flags, [any; 3])
    }

    /// Starts a node that is one of several, on free ports of `ip`.
    #[track_caller]
    pub fn start_role(role: Role, ip: IpAddr, config: &str) -> Self {
        let folder = Folder::new();
        std::fs::write(folder.path().join(CONFIG), config).unwrap();
        Self::run(headwater(), role, folder, Vec::new(), [(ip, 0).into(); 3])
    }

    #[track_caller]
    fn run(mut program: Command, role: Role, folder: Folder, flags: Vec<String>, addresses: [SocketAddr; 3]) -> Self {
        program.arg(role.command()).arg("--config").arg(folder.path().join(CONFIG)).args(&flags);
        for (flag, address) in ["--rtmp", "--http", "--admin"].into_iter().zip(addresses) {
            program.arg(flag).arg(address.to_string());
        }
        let program = Program::start(&mut program);
        let address = |what: &str| -> SocketAddr {
            let line = program.err.find(&["listening for", what, "address="], START);
            let line = line.unwrap_or_else(|| panic!("the server does not listen for {what}: {}", program.err.text()));
            let (_, address) = line.rsplit_once("address=").unwrap();
            address.parse().unwrap()
        };
        let none = SocketAddr::new(addresses[0].ip(), 0);
        let rtmp = if role.takes() { address("RTMP") } else { none };
        let http = if role.serves() { address("HTTP") } else { none };
        let admin = address("API");
        Self { program, role, rtmp, http, admin, folder, flags }
    }

    /// URL to publish `stream` at: `app/name`, or `app/key`.
    pub fn publish_url(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.rtmp)
    }

    /// URL of the stream's multivariant playlist.
    pub fn play_url(&self, stream: &str) -> String {
        format!("http://{}{}", self.http, multivariant_path(stream))
    }

    /// A player's connection.
    pub fn player(&self) -> Http {
        Http::new(self.http, Hangup::default())
    }

    /// Its log.
    pub fn log(&self) -> &Lines {
        &self.program.err
    }

    /// Waits for a line of the log with all of `words`.
    #[track_caller]
    pub fn expect_logged(&self, words: &[&str]) -> String {
        let line = self.log().find(words, Duration::from_secs(15));
        line.unwrap_or_else(|| panic!("no line with {words:?} in the log:\n{}", self.log().text()))
    }

    /// The multivariant playlist, once the stream is live.
    #[track_caller]
    pub fn multivariant(&self, stream: &str) -> String {
        let mut player = self.player();
        let path = multivariant_path(stream);
        let playlist = poll(Duration::from_secs(20), || {
            let answer = player.get(&path);
            (answer.status == 200).then(|| answer.text())
        });
        playlist.unwrap_or_else(|| panic!("{path} is not there; the log:\n{}", self.log().text()))
    }

    /// Where publishers go with TLS, if the configuration says so.
    #[track_caller]
    pub fn rtmps(&self) -> SocketAddr {
        let line = self.expect_logged(&["listening for RTMPS", "address="]);
        line.rsplit_once("address=").unwrap().1.parse().unwrap()
    }

    /// Writes another configuration and sends SIGHUP.
    pub fn reconfigure(&self, config: &str) {
        std::fs::write(self.folder.path().join(CONFIG), config).unwrap();
        self.program.hang_up();
    }

    /// Number of its process.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.program.interrupt();
    }

    /// What `systemctl stop` does.
    pub fn terminate(&self) {
        self.program.terminate();
    }

    /// Kills it, and starts it again on the same addresses.
    #[track_caller]
    pub fn kill_and_restart(self) -> Self {
        self.kill().start()
    }

    /// Sends SIGTERM, and starts it again on the same addresses when it has ended.
    #[track_caller]
    pub fn terminate_and_restart(self) -> Self {
        self.stop().start()
    }

    /// Kills it: nobody is told anything.
    pub fn kill(self) -> Down {
        let Self { program, role, rtmp, http, admin, folder, flags } = self;
        program.kill();
        Down { role, addresses: [rtmp, http, admin], folder, flags }
    }

    /// Sends SIGTERM, and waits for its end.
    #[track_caller]
    pub fn stop(self) -> Down {
        self.terminate();
        let Self { program, role, rtmp, http, admin, folder, flags } = self;
        program.finish(Duration::from_secs(10)).expect_success();
        Down { role, addresses: [rtmp, http, admin], folder, flags }
    }

    /// SIGSTOP: it does nothing from now on, and its connections stay open.
    pub fn freeze(&self) {
        self.program.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.program.thaw();
    }

    /// What came of it.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.program.finish(Duration::from_secs(10))
    }
}

/// A server that has ended, with its files.
#[derive(Debug)]
pub struct Down {
    role: Role,
    addresses: [SocketAddr; 3],
    folder: Folder,
    flags: Vec<String>,
}

impl Down {
    /// Starts it again on the same addresses.
    #[track_caller]
    pub fn start(self) -> Server {
        Server::run(headwater(), self.role, self.folder, self.flags, self.addresses)
    }
}

/// Path of the stream's multivariant playlist.
pub fn multivariant_path(stream: &str) -> String {
    format!("/{stream}/index.m3u8")
}

/// The program, without configuration from the environment.
///
/// It is the one in the target folder of this test, which `cargo nextest run --workspace` has just built because
/// `headwater` has integration tests; `HEADWATER` names another. When there is none, it is built.
pub fn headwater() -> Command {
    let path = std::env::var_os("HEADWATER").map_or_else(built, PathBuf::from);
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER")) {
        command.env_remove(name);
    }
    command
}

fn built() -> PathBuf {
    // target/debug/deps/test -> target/debug/headwater
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let program = profile.join("headwater");
    if !program.is_file() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--package", "headwater"]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "{build:?}");
    }
    program
}

/// A folder for this test's files, removed in the end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headwater-e2e-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
