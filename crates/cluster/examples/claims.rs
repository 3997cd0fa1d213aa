//! `claims [--short]`: what claims cost, with etcd of one member and of three, on this machine. What `cargo xtask
//! bench-claims` starts. Nodes are in this process; etcd's members are processes of their own.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a measurement, its table is for a person")]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/registry/node/mod.rs"]
mod node;

use std::sync::Arc;
use std::time::Duration;

use headwater_e2e::etcd::Etcd;
use headwater_media::{
    AacConfig, AudioConfig, Clock, Cut, CutKind, Epoch, FrameRate, MediaSequence, RenditionName, SessionId, StreamName,
    Timestamp, WallTime,
};
use headwater_router::claim::{RegistryReply, RegistryRequest};
use headwater_router::{
    AudioGear, Ladder, NodeId, Outline, OutlinedRendition, Record, RecordState, Registry, RenditionKind, written,
};
use headwater_segmenter::{Grid, Profile};
use tokio::time::{Instant, sleep, sleep_until};

use self::node::{Network, Node, TestClock};

/// Nodes among which streams are spread.
const NODES: usize = 3;
/// A home writes with each cut.
const CUT_EVERY: Duration = Duration::from_secs(2);
/// A write that takes this long hurts: a cut with a discontinuity waits for it.
const HURTS: Duration = Duration::from_millis(100);

struct Lengths {
    claims: usize,
    cost: Duration,
    step: Duration,
    streams: &'static [usize],
}

const FULL: Lengths = Lengths {
    claims: 500,
    cost: Duration::from_secs(60),
    step: Duration::from_secs(12),
    streams: &[100, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000],
};
const SHORT: Lengths =
    Lengths { claims: 50, cost: Duration::from_secs(6), step: Duration::from_secs(4), streams: &[20, 100] };

#[tokio::main]
async fn main() {
    let lengths = if std::env::args().any(|argument| argument == "--short") { SHORT } else { FULL };
    for members in [1, 3] {
        println!("## etcd with {members} member(s)\n");
        let etcd = Etcd::start(members);
        latency(&etcd, lengths.claims).await;
        cost(&etcd, lengths.cost).await;
        ramp(&etcd, &lengths).await;
    }
}

async fn nodes(etcd: &Etcd) -> Vec<Arc<Node>> {
    let (clock, network) = (TestClock::start(), Arc::<Network>::default());
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let mut endpoints = etcd.endpoints();
        let first = number % endpoints.len();
        endpoints.rotate_left(first);
        nodes.push(Node::start(endpoints, &format!("127.0.0.1:{}", 7001 + number), &clock, &network).await);
    }
    nodes
}

/// From `publish` to the claim's outcome, one after another.
async fn latency(etcd: &Etcd, claims: usize) {
    let nodes = nodes(etcd).await;
    let (mut fresh, mut yielded) = (Vec::new(), Vec::new());
    for number in 0..claims {
        let stream: StreamName = format!("claims/{number}").parse().unwrap();
        let [one, other] = [&nodes[number % NODES], &nodes[(number + 1) % NODES]];
        let began = one.clock.now();
        let mut home = one.publish(&stream, 0).await.unwrap();
        fresh.push(one.clock.now().saturating_since(began));
        home.cut().await.unwrap();
        home.gone(false);
        let began = one.clock.now();
        let next = other.publish(&stream, 0).await.unwrap();
        yielded.push(one.clock.now().saturating_since(began));
        next.gone(true);
    }
    println!("| claim | p50 ms | p99 ms | max ms |\n| --- | --- | --- | --- |");
    println!("| a new stream | {} |", quantiles(&mut fresh));
    println!(
        "| a stream whose publisher is back at another node (the home yields by a call in this process) | {} |",
        quantiles(&mut yielded)
    );
    println!();
}

/// What a stream's cuts cost etcd in an hour.
async fn cost(etcd: &Etcd, length: Duration) {
    const STREAMS: usize = 50;
    let nodes = nodes(etcd).await;
    // What is done without streams: leases.
    let idle = Usage::of(etcd);
    sleep(length).await;
    let idle = Usage::of(etcd).since(&idle);
    let load = Load::start(&nodes, 0..STREAMS, "cost").await;
    let before = Usage::of(etcd);
    let measured = load.run(length).await;
    let used = Usage::of(etcd).since(&before).since(&idle);
    let hours = STREAMS as f64 * length.as_secs_f64() / 3600.0;
    let per = |value: f64| value / hours;
    println!("{STREAMS} streams with the ladder `hd`, cut every 2 s, {} s; per stream-hour:\n", length.as_secs());
    println!("| | |\n| --- | --- |");
    println!("| writes | {:.0} |", per(measured.made as f64));
    println!("| a record | {} bytes |", measured.record_bytes);
    println!("| keys and values written | {:.1} MB |", per(measured.made as f64 * measured.record_bytes as f64) / 1e6);
    println!("| entries of etcd's log (transactions) | {:.0} |", per(used.proposals));
    println!("| written to disk by all members | {:.1} MB |", per(used.disk_bytes) / 1e6);
    println!("| processor time of all members | {:.2} s |", per(used.cpu));
    println!();
}

/// More and more streams, until writes take too long.
async fn ramp(etcd: &Etcd, lengths: &Lengths) {
    let nodes = nodes(etcd).await;
    println!(
        "| streams | writes/s | writes in a transaction | p50 ms | p99 ms | max ms | unknown | etcd, cores | database MB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (number, streams) in lengths.streams.iter().enumerate() {
        let load = Load::start(&nodes, 0..*streams, &format!("ramp{number}")).await;
        let count = |name: &str| nodes.iter().map(|node| node.metric(name)).sum::<f64>();
        let before = (Usage::of(etcd), count("registry_transaction_writes_count"));
        let mut measured = load.run(lengths.step).await;
        let used = Usage::of(etcd).since(&before.0);
        let transactions = count("registry_transaction_writes_count") - before.1;
        let seconds = lengths.step.as_secs_f64();
        let bytes = etcd.members()[0].metric("etcd_mvcc_db_total_size_in_bytes").unwrap();
        println!(
            "| {streams} | {:.0} | {:.1} | {} | {} | {:.2} | {:.0} |",
            measured.made as f64 / seconds,
            measured.made as f64 / transactions,
            quantiles(&mut measured.latencies),
            measured.unknown,
            used.cpu / seconds,
            bytes / 1e6
        );
        if measured.unknown > 0 || quantile(&measured.latencies, 99) > HURTS {
            break;
        }
        compact(etcd).await;
    }
    println!();
}

/// What an operator's `--auto-compaction-retention` does.
async fn compact(etcd: &Etcd) {
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    let now = client.get("nothing", None).await.unwrap().header().unwrap().revision();
    client.compact(now, Some(etcd_client::CompactionOptions::new().with_physical())).await.unwrap();
}

/// Streams that are cut every 2 s, each at its own time.
struct Load {
    homes: Vec<Recorded>,
}

struct Recorded {
    node: Arc<Node>,
    stream: StreamName,
    record: Record,
}

#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    made: u64,
    unknown: u64,
    record_bytes: usize,
}

impl Load {
    async fn start(nodes: &[Arc<Node>], streams: std::ops::Range<usize>, app: &str) -> Self {
        let mut claims = Vec::new();
        for number in streams {
            let node = nodes[number % nodes.len()].clone();
            let stream: StreamName = format!("{app}/{number}").parse().unwrap();
            let record = record(node.id());
            claims.push(tokio::spawn(async move {
                let mut home = Recorded { node, stream, record };
                while !home.write().await {}
                home
            }));
        }
        let mut homes = Vec::new();
        for claim in claims {
            homes.push(claim.await.unwrap());
        }
        Self { homes }
    }

    async fn run(self, length: Duration) -> Measured {
        let (began, streams) = (Instant::now(), u32::try_from(self.homes.len()).unwrap());
        let bytes = |home: &Recorded| written::to_json(&home.stream, &home.record).len() + home.stream.as_str().len();
        let mut all = Measured { record_bytes: self.homes.first().map_or(0, bytes), ..Measured::default() };
        let run = |(number, mut home): (usize, Recorded)| {
            let first = began + CUT_EVERY * u32::try_from(number).unwrap() / streams;
            tokio::spawn(async move {
                let mut measured = Measured::default();
                let mut at = first;
                while at < began + length {
                    sleep_until(at).await;
                    home.cut();
                    match home.write().await {
                        true => measured.made += 1,
                        false => measured.unknown += 1,
                    }
                    // From when it was due: what waits for itself is late, too.
                    measured.latencies.push(at.elapsed());
                    at += CUT_EVERY;
                }
                measured
            })
        };
        let running: Vec<_> = self.homes.into_iter().enumerate().map(run).collect();
        for home in running {
            let measured = home.await.unwrap();
            all.latencies.extend(measured.latencies);
            all.made += measured.made;
            all.unknown += measured.unknown;
        }
        all.latencies.sort_unstable();
        all
    }
}

impl Recorded {
    fn cut(&mut self) {
        let outline = self.record.outline.as_ref().unwrap();
        let last = outline.cuts.last().unwrap();
        let next =
            Cut { msn: last.msn.next(), start: Timestamp::video(last.start.ticks + 240_000), ..Cut::clone(last) };
        let mut cuts = outline.cuts.clone();
        cuts.remove(0);
        self.record.reserved = MediaSequence(next.msn.0 + 2);
        cuts.push(Arc::new(next));
        self.record.outline = Some(Arc::new(Outline { cuts, ..Outline::clone(outline) }));
    }

    /// Whether it was made.
    async fn write(&mut self) -> bool {
        let request = RegistryRequest::Write { expected: self.record.revision, record: self.record.clone() };
        match self.node.registry.request(&self.stream, request).await {
            RegistryReply::Written { revision } => {
                self.record.revision = revision;
                true
            }
            _ => {
                if let RegistryReply::Record { record: Some(record), .. } =
                    self.node.registry.request(&self.stream, RegistryRequest::Read).await
                {
                    self.record.revision = record.revision;
                }
                false
            }
        }
    }
}

/// A record as a stream with the ladder `hd` has it after half a minute.
fn record(home: &NodeId) -> Record {
    let audio = AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap());
    let rendition = |name: RenditionName, kind: RenditionKind| OutlinedRendition {
        name,
        kind,
        average_bps: 3_000_000,
        peak_bps: 3_500_000,
        channels: Some(2),
        standby: false,
    };
    let mut renditions = vec![rendition(RenditionName::source(), RenditionKind::Source)];
    renditions
        .extend(Ladder::hd().gears.into_iter().map(|gear| rendition(gear.name.clone(), RenditionKind::Gear(gear))));
    renditions.push(rendition(RenditionName::audio(), RenditionKind::Audio));
    renditions.push(rendition(RenditionName::audio_low(), RenditionKind::AudioGear(AudioGear::low(&audio))));
    let cut = |number: u64| Cut {
        msn: MediaSequence(1000 + number),
        start: Timestamp::video(i64::try_from(1000 + number).unwrap() * 240_000),
        discontinuity: 1,
        program_date_time: WallTime { unix_millis: 1_800_000_000_000 + i64::try_from(number).unwrap() * 2000 },
        kind: CutKind::Media,
        renditions: [].into(),
    };
    Record {
        epoch: Epoch(1),
        session: SessionId::from_random([7; 10]),
        home: home.clone(),
        state: RecordState::Live,
        reserved: MediaSequence(1014),
        revision: 0,
        written: WallTime::default(),
        outline: Some(Arc::new(Outline {
            grid: Grid::new(Profile::Low, FrameRate::FPS_30),
            window_segments: 8,
            since: WallTime { unix_millis: 1_800_000_000_000 },
            renditions,
            audio: Some(Arc::new(audio)),
            cuts: (0..12).map(|number| Arc::new(cut(number))).collect(),
        })),
    }
}

/// What the members have used so far.
struct Usage {
    cpu: f64,
    disk_bytes: f64,
    proposals: f64,
}

impl Usage {
    fn of(etcd: &Etcd) -> Self {
        let pids = || etcd.members().iter().map(|member| member.pid());
        let disk = |pid: u32| -> f64 {
            let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
            let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
            bytes.parse().unwrap()
        };
        Self {
            cpu: etcd.members().iter().map(|member| member.metric("process_cpu_seconds_total").unwrap()).sum(),
            disk_bytes: pids().map(disk).sum(),
            proposals: etcd.members()[0].metric("etcd_server_proposals_committed_total").unwrap(),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            disk_bytes: self.disk_bytes - earlier.disk_bytes,
            proposals: self.proposals - earlier.proposals,
        }
    }
}

/// Of sorted times.
fn quantile(times: &[Duration], percent: usize) -> Duration {
    times.get(times.len() * percent / 100).or(times.last()).copied().unwrap_or_default()
}

/// p50, p99 and the longest, as cells of a table.
fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
    [quantile(times, 50), quantile(times, 99), times.last().copied().unwrap_or_default()].map(millis).join(" | ")
}
