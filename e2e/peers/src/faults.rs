//! Nodes of a pool that die, stop for a while or are parted from others, while somebody publishes and two players at two
//! edges check every rule: what `cargo xtask faults` runs, in a network namespace of its own.

mod source;

use std::fmt;
use std::time::Duration;

use crate::clock::{Stopwatch, poll};
use crate::follow::Follower;
use crate::history::{self, Claim};
use crate::log::Lines;
use crate::pool::{Firewall, Pool, Way};
use crate::seen::Seen;
use crate::server::{Down, Role, Server};
use crate::testdata;
use source::Source;

const STREAM: &str = "live/show";
/// Nodes that ingest.
const HOMES: u8 = 3;
/// How long a node is stopped or parted.
const FAULT: Duration = Duration::from_secs(30);
/// When the stream has to be live again: architecture 8 gives a newcomer's claim 10 s.
const AGAIN: Duration = Duration::from_secs(20);

/// What happens to the home.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Its publisher goes to another node.
    Moves,
    /// SIGTERM.
    Drains,
    /// SIGKILL.
    Dies,
    /// SIGSTOP, and SIGCONT after half a minute.
    Stops,
    /// It is parted from etcd for half a minute.
    FromEtcd(Way),
    /// It is parted from publishers, edges and other nodes for half a minute.
    FromPeers(Way),
}

impl Fault {
    /// Each once.
    pub const ALL: [Self; 10] = [
        Self::Moves,
        Self::Drains,
        Self::Dies,
        Self::Stops,
        Self::FromEtcd(Way::Both),
        Self::FromEtcd(Way::Asked),
        Self::FromEtcd(Way::Answered),
        Self::FromPeers(Way::Both),
        Self::FromPeers(Way::Asked),
        Self::FromPeers(Way::Answered),
    ];
}

impl Fault {
    fn lasts(self) -> Duration {
        match self {
            Self::Moves | Self::Drains | Self::Dies => Duration::ZERO,
            Self::Stops | Self::FromEtcd(_) | Self::FromPeers(_) => FAULT,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |way: &Way| match way {
            Way::Asked => "requests lost",
            Way::Answered => "answers lost",
            Way::Both => "both ways",
        };
        match self {
            Self::Moves => write!(f, "publisher moves (yield)"),
            Self::Drains => write!(f, "SIGTERM (drain)"),
            Self::Dies => write!(f, "SIGKILL (refused connection)"),
            Self::Stops => write!(f, "SIGSTOP 30 s (silence)"),
            Self::FromEtcd(which) => write!(f, "parted from etcd, {}", way(which)),
            Self::FromPeers(which) => write!(f, "parted from peers, {}", way(which)),
        }
    }
}

/// What one fault did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub fault: Fault,
    /// From the fault until another node had the publisher.
    pub accepted: Duration,
    /// From there to the first new part at the edges.
    pub shown: Duration,
}

/// What was seen.
#[derive(Debug)]
pub struct Report {
    /// In order.
    pub outcomes: Vec<Outcome>,
    /// All attempts to publish.
    pub history: Vec<Claim>,
    /// Rules that were broken.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| the home | another node has the publisher after | first new part at the edges after |")?;
        writeln!(f, "| --- | --- | --- |")?;
        for Outcome { fault, accepted, shown } in &self.outcomes {
            writeln!(f, "| {fault} | {:.2} s | +{:.2} s |", accepted.as_secs_f64(), shown.as_secs_f64())?;
        }
        writeln!(f, "{} attempts to publish, {} rules broken", self.history.len(), self.violations.len())?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))
    }
}

/// A node of the pool.
enum Node {
    Up(Server),
    Down(Down),
    /// It is being changed.
    Taken,
}

impl Node {
    fn up(&self) -> &Server {
        match self {
            Self::Up(server) => server,
            Self::Down(_) | Self::Taken => panic!("the node is down"),
        }
    }

    fn log(&self) -> Lines {
        match self {
            Self::Up(server) => server.log().clone(),
            Self::Down(_) | Self::Taken => Lines::of(std::io::empty()),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Taken)
    }
}

/// Runs each of `faults` once. In a network namespace of its own.
pub fn run(faults: &[Fault]) -> Report {
    let (firewall, watch) = (Firewall::set_up(), Stopwatch::start());
    let mut violations: Vec<String> = half_open(&firewall).into_iter().collect();
    let pool = Pool::start_to_be_parted("ladder = 'none'");
    let mut nodes: Vec<Node> = (1..=HOMES).map(|node| Node::Up(pool.node(node, Role::Ingest))).collect();
    let edges = [HOMES + 1, HOMES + 2].map(|node| pool.node(node, Role::Edge));
    let mut source = Source::new(watch, STREAM, &testdata("bbb.flv"));
    let first = nodes[0].up();
    assert!(source.publish(1, first, AGAIN), "the first publisher is not taken:\n{}", first.log().text());
    let seen = Seen::default();
    edges[0].multivariant(STREAM);
    let followers = edges.each_ref().map(|edge| {
        let joined = poll(AGAIN, || Follower::join(edge, STREAM, &seen));
        joined.unwrap_or_else(|| panic!("{STREAM} is not at an edge:\n{}", edge.log().text()))
    });
    followers.iter().for_each(|follower| follower.expect_more(10));

    let (mut outcomes, mut home) = (Vec::new(), 0);
    for (discontinuities, fault) in (1..).zip(faults.iter().copied()) {
        let next = (home + 1) % nodes.len();
        let begun = Stopwatch::start();
        nodes[home] = begin(fault, number(home), nodes[home].take(), &firewall, &mut source);
        if !source.publish(number(next), nodes[next].up(), AGAIN) {
            violations.push(format!("{fault}: no other node takes the publisher within {} s", AGAIN.as_secs()));
            break;
        }
        let accepted = begun.elapsed();
        let gone_on =
            |follower: &Follower| follower.look(|all| all.values().all(|one| one.discontinuities() >= discontinuities));
        if poll(AGAIN, || followers.iter().all(gone_on).then_some(())).is_none() {
            let logs = [edges[0].log().clone(), nodes[home].log(), nodes[next].log()].map(|log| log.text());
            violations.push(format!("{fault}: no part of the next home at the edges\n{}", logs.join("\n---\n")));
            break;
        }
        let shown = begun.elapsed().saturating_sub(accepted);
        outcomes.push(Outcome { fault, accepted, shown });
        // As long as it lasts, and after it, all is as if there were no such node.
        while !begun.left(fault.lasts()).is_zero() {
            followers.iter().for_each(|follower| follower.expect_more(5));
        }
        firewall.heal();
        let server = match nodes[home].take() {
            Node::Up(server) if fault == Fault::Drains => server.stop().start(),
            Node::Up(server) => server,
            Node::Down(down) => down.start(),
            Node::Taken => unreachable!("it is put back at once"),
        };
        server.thaw();
        nodes[home] = Node::Up(server);
        followers.iter().for_each(|follower| follower.expect_more(10));
        if !source.earlier_are_closed(AGAIN) {
            violations.push(format!("{fault}: the publisher of the lost home is not closed"));
        }
        home = next;
    }
    let history = source.finish();
    violations.extend(history::check(&history).err().map(|violation| violation.to_string()));
    violations.extend(followers.into_iter().flat_map(Follower::stop));
    Report { outcomes, history, violations }
}

fn number(home: usize) -> u8 {
    u8::try_from(home + 1).unwrap()
}

fn begin(fault: Fault, number: u8, node: Node, firewall: &Firewall, source: &mut Source) -> Node {
    let Node::Up(server) = node else { return node };
    match fault {
        Fault::Moves => source.leave(),
        // It waits for others to take its streams over.
        Fault::Drains => server.terminate(),
        Fault::Dies => return Node::Down(server.kill()),
        Fault::Stops => server.freeze(),
        Fault::FromEtcd(way) => firewall.part_from_etcd(number, way),
        Fault::FromPeers(way) => firewall.part_from_peers(number, way),
    }
    Node::Up(server)
}

/// the publisher's network is gone, and its connection is as if it were there. Says what is wrong.
fn half_open(firewall: &Firewall) -> Option<String> {
    let server = Server::start("ladder = 'none'");
    let mut source = Source::new(Stopwatch::start(), STREAM, &testdata("bbb.flv"));
    assert!(source.publish(1, &server, AGAIN));
    let follower = Follower::start(&server, STREAM);
    follower.expect_more(5);
    firewall.lose(source.address());
    let watch = Stopwatch::start();
    let taken = source.publish(1, &server, AGAIN);
    let took = watch.elapsed();
    follower.expect_more(5);
    firewall.heal();
    let problems = follower.stop();
    let in_time = taken && took < Duration::from_millis(2500);
    (!in_time || !problems.is_empty()).then(|| format!("half-open: a newcomer waits {took:?}; {problems:?}"))
}
