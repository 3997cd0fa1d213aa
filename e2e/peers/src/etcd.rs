//! etcd as children: one member, or three that keep what two of them know.
//!
//! Members listen on an address of loopback that no other process of the machine's tests uses, made of this process's
//! number. So their ports are known before they start, and can be cut off one by one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::clock::poll;
use crate::http::{Hangup, Http, Response};
use crate::program::Program;
use crate::server::Folder;

/// Starting three members and their first election take a moment on a busy machine.
const START: Duration = Duration::from_secs(30);

/// Running members of one etcd; they end with this value, and their data with them.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
}

/// One member.
#[derive(Debug)]
pub struct Member {
    name: String,
    address: IpAddr,
    ports: Ports,
    flags: Vec<String>,
    /// `None` while it is dead.
    program: Option<Program>,
    folder: Folder,
}

/// The address of loopback that members of this process listen on.
pub fn own_address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 0x3F), middle, low)
}

/// Where a member listens: for clients, for other members, and for operators (plain HTTP: `/health` and `/metrics`).
#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    peer: u16,
    operator: u16,
}

impl Etcd {
    /// Starts so many members, and waits until they take writes.
    #[track_caller]
    pub fn start(members: usize) -> Self {
        Self::start_with(members, &[])
    }

    /// The same with more flags for each, such as `--quota-backend-bytes=1000000`.
    #[track_caller]
    pub fn start_with(members: usize, flags: &[&str]) -> Self {
        Self::start_at(&vec![own_address().into(); members], flags)
    }

    /// The same with one member on each of these addresses of loopback, which may be equal.
    #[track_caller]
    pub fn start_at(addresses: &[IpAddr], flags: &[&str]) -> Self {
        Self::start_also_at(addresses, &[], flags)
    }

    /// The same with all members listening for clients on these addresses, too. For one member.
    #[track_caller]
    pub fn start_also_at(addresses: &[IpAddr], also: &[IpAddr], flags: &[&str]) -> Self {
        // Ports of members that this process has started, of all its etcds.
        static STARTED: AtomicU16 = AtomicU16::new(0);
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let member = |(index, address): (usize, &IpAddr)| {
            let first = 2380 + 3 * STARTED.fetch_add(1, Ordering::Relaxed);
            let ports = Ports { client: first, peer: first + 1, operator: first + 2 };
            let (name, folder) = (format!("m{index}"), Folder::new());
            Member { name, address: *address, ports, flags: flags.clone(), program: None, folder }
        };
        let mut etcd = Self { members: addresses.iter().enumerate().map(member).collect() };
        let named = |member: &Member| format!("{}=http://{}", member.name, member.at(member.ports.peer));
        let cluster = etcd.members.iter().map(named).collect::<Vec<_>>().join(",");
        let token = etcd.members.first().map(|first| first.at(first.ports.peer).to_string()).unwrap_or_default();
        for member in &mut etcd.members {
            let peer = format!("http://{}", member.at(member.ports.peer));
            let also = also.iter().map(|ip| SocketAddr::new(*ip, member.ports.client));
            let all = [member.at(member.ports.client)].into_iter().chain(also);
            let scheme = member.scheme();
            let client = all.map(|address| format!("{scheme}://{address}")).collect::<Vec<_>>().join(",");
            let operator = format!("http://{}", member.at(member.ports.operator));
            member.flags.extend([
                format!("--name={}", member.name),
                format!("--data-dir={}", member.folder.path().join("data").display()),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-metrics-urls={operator}"),
                format!("--initial-cluster={cluster}"),
                format!("--initial-cluster-token={token}"),
                "--log-level=error".to_owned(),
                "--logger=zap".to_owned(),
            ]);
            member.start();
        }
        for member in &etcd.members {
            member.wait();
        }
        etcd
    }

    /// Where clients go: one of each member, with its scheme.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// A member.
    pub fn member(&mut self, index: usize) -> &mut Member {
        &mut self.members[index]
    }

    /// All members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Index of the member that leads.
    #[track_caller]
    pub fn leader(&self) -> usize {
        let leads = || self.members.iter().position(|member| member.metric("etcd_server_is_leader") == Some(1.0));
        poll(START, leads).expect("a member leads")
    }
}

impl Member {
    /// Where its clients go, with the scheme.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme(), self.at(self.ports.client))
    }

    /// The port on which clients are taken.
    pub fn client_port(&self) -> u16 {
        self.ports.client
    }

    fn scheme(&self) -> &'static str {
        if self.flags.iter().any(|flag| flag.starts_with("--cert-file")) { "https" } else { "http" }
    }

    /// A number that it counts, the sum over all labels; `None` when it does not answer or has no such.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.http("/metrics")?.text();
        let of_name = |line: &str| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        text.lines().filter_map(of_name).reduce(|sum, value| sum + value)
    }

    /// Its process, for what `/proc` says of it. Panics while it is dead.
    pub fn pid(&self) -> u32 {
        self.program().pid()
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    /// Starts it again after [`kill`](Self::kill), with the data that it had.
    #[track_caller]
    pub fn restart(&mut self) {
        self.start();
        self.wait();
    }

    /// Sends SIGSTOP: it does nothing from now on, and its connections stay open.
    pub fn freeze(&self) {
        self.program().freeze();
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) {
        self.program().thaw();
    }

    fn program(&self) -> &Program {
        self.program.as_ref().expect("it runs")
    }

    #[track_caller]
    fn start(&mut self) {
        // What is set in the environment would go before flags.
        let mut command = Command::new("etcd");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
            command.env_remove(name);
        }
        self.program = Some(Program::start(command.args(&self.flags)));
    }

    /// Waits until it has a leader and answers.
    #[track_caller]
    fn wait(&self) {
        let healthy = || self.http("/health").filter(|answer| answer.status == 200);
        assert!(poll(START, healthy).is_some(), "{} does not come up: {}", self.name, self.program().err.text());
    }

    fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    fn http(&self, path: &str) -> Option<Response> {
        Http::new(self.at(self.ports.operator), Hangup::default()).request("GET", path).ok()
    }
}
