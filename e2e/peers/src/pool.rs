//! Several nodes that share an etcd, each on an address of its own in 127.0.1.x, and a firewall between them.
//!
//! In a network namespace of its own node N reaches etcd at 127.0.1.(100 + N): so a rule can part one node from etcd, or from
//! what etcd answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::etcd::Etcd;
use crate::server::{Role, Server};

/// Nodes at most.
const NODES_MAX: u8 = 20;
/// Where node number `node` listens.
pub fn node_ip(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, node)
}

/// Where it finds etcd.
fn etcd_ip(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, 100 + node)
}

/// An etcd, and how its nodes are configured.
#[derive(Debug)]
pub struct Pool {
    etcd: Etcd,
    config: String,
    /// Each node has an address for etcd of its own.
    can_be_parted: bool,
}

impl Pool {
    /// Without nodes yet. `config` is what all nodes' files begin with: keys above the first table.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self { etcd: Etcd::start(1), config: config.to_owned(), can_be_parted: false }
    }

    /// The same for a [`Firewall`].
    #[track_caller]
    pub fn start_to_be_parted(config: &str) -> Self {
        let nodes: Vec<IpAddr> = (1..=NODES_MAX).map(|node| etcd_ip(node).into()).collect();
        let etcd = Etcd::start_also_at(&[etcd_ip(0).into()], &nodes, &[]);
        Self { etcd, config: config.to_owned(), can_be_parted: true }
    }

    /// Starts node number `node`, from 1.
    #[track_caller]
    pub fn node(&self, node: u8, role: Role) -> Server {
        assert!((1..=NODES_MAX).contains(&node));
        let ip = node_ip(node);
        let etcd = match self.can_be_parted {
            true => format!("http://{}:{}", etcd_ip(node), self.etcd.members()[0].client_port()),
            false => self.etcd.endpoints().join(","),
        };
        let config = format!(
            "{}
[cluster]
etcd = \"{etcd}\"
listen = \"{ip}:0\"
",
            self.config
        );
        Server::start_role(role, IpAddr::V4(ip), &config)
    }
}

/// In which direction nothing gets through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// What is asked is lost.
    Asked,
    /// What is answered is lost.
    Answered,
    /// Both.
    Both,
}

/// The firewall of this network namespace, which has to be one of its own (`unshare --net`).
#[derive(Debug)]
#[non_exhaustive]
pub struct Firewall {}

impl Firewall {
    /// Makes its table. Fails without nftables and the right to use it.
    #[track_caller]
    pub fn set_up() -> Self {
        nft("add table ip faults; add chain ip faults out { type filter hook output priority 0; }");
        Self {}
    }

    /// Parts node number `node` from etcd.
    pub fn part_from_etcd(&self, node: u8, way: Way) {
        Self::part(IpAddr::V4(etcd_ip(node)), way);
    }

    /// Parts node number `node` from all that connect to it: publishers, players and other nodes.
    pub fn part_from_peers(&self, node: u8, way: Way) {
        Self::part(IpAddr::V4(node_ip(node)), way);
    }

    /// Loses all that a connection from `port` sends and gets.
    pub fn lose(&self, client: SocketAddr) {
        let port = client.port();
        nft(&format!("add rule ip faults out tcp sport {port} drop; add rule ip faults out tcp dport {port} drop"));
    }

    /// All is well again.
    pub fn heal(&self) {
        nft("flush chain ip faults out");
    }

    fn part(ip: IpAddr, way: Way) {
        if way != Way::Answered {
            nft(&format!("add rule ip faults out ip daddr {ip} drop"));
        }
        if way != Way::Asked {
            nft(&format!("add rule ip faults out ip saddr {ip} drop"));
        }
    }
}

#[track_caller]
fn nft(rules: &str) {
    let done = Command::new("nft").arg(rules).output().unwrap();
    assert!(done.status.success(), "nft {rules}: {}", String::from_utf8_lossy(&done.stderr));
}
