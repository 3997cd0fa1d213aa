//! What publishers cost a server: processor time, memory, and how soon they may publish.
//!
//! The publishers are in this process, over loopback and in real time: a thread that makes one system call for each
//! picture, and bytes that are the same for all. The server is a process of its own; what it takes is the operating
//! system's account. Servers take turns, so that whatever else the machine does hits all.

mod opening;
mod publisher;
mod report;
mod server;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use headwater_media::Clock;
use headwater_rtmp::PublishUrl;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::info;

pub use report::Report;
pub use server::Kind;

use crate::{BenchError, process};
use opening::Accepted;
use publisher::Order;
use report::Run;
use server::Server;
use wire::Wire;

/// Publishers that connect a second when they do not come at once.
const CONNECTS_PER_SECOND: u32 = 100;
/// From the start of a server to its first look at its memory.
const IDLE: Duration = Duration::from_millis(500);
/// Logs let go of whole segments: memory and media are looked at so often, a quarter of a second apart, to find them at their
/// fullest.
const FILLS: u32 = 12;
const FILL_LOOK: Duration = Duration::from_millis(250);
/// Our own server's account of the media in its logs.
const MEDIA_BYTES: &str = "headwater_log_media_bytes";

/// What is published.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many publishers, each with a stream of its own.
    pub publishers: usize,
    /// Rate of each stream.
    pub kbps: u32,
    /// Size of its chunks.
    pub chunk_size: u32,
    /// All connect at once; else 100 a second.
    pub at_once: bool,
    /// How long all publish before the time that is measured.
    pub settle: u64,
    /// The time that is measured.
    pub seconds: u64,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The load.
    pub load: Load,
    /// The servers, in the order of their turns.
    pub servers: Vec<Kind>,
    /// Turns.
    pub runs: u32,
    /// This program.
    pub program: PathBuf,
}

/// Measures. To be called in a runtime with timers and sockets.
pub async fn run(comparison: &Comparison, clock: Arc<dyn Clock>) -> Result<Report, BenchError> {
    let Comparison { load, servers, runs, program } = comparison;
    let wire = Arc::new(Wire::new(load.kbps, load.chunk_size));
    let mut report = Report { load: *load, servers: servers.iter().map(|kind| (kind.clone(), Vec::new())).collect() };
    for number in 1..=*runs {
        for (kind, done) in &mut report.servers {
            let server = Server::start(kind, program, load.publishers)?;
            let run = measure(load, &server, wire.clone(), clock.clone()).await?;
            info!(server = kind.name(), run = number, of = runs, lost = run.lost, "measured");
            done.push(run);
        }
    }
    Ok(report)
}

/// One run of one server.
async fn measure(load: &Load, server: &Server, wire: Arc<Wire>, clock: Arc<dyn Clock>) -> Result<Run, BenchError> {
    sleep(IDLE).await;
    let idle = process::resident_bytes(server.pid)?;
    let (orders, accepted) = mpsc::channel();
    let sender = std::thread::spawn({
        let clock = clock.clone();
        move || publisher::send(&wire, &clock, &accepted)
    });
    let mut run = Run::default();
    connect(load, server, &clock, &orders, &mut run).await?;
    sleep(Duration::from_secs(load.settle)).await;

    let _ = orders.send(Order::Measure);
    let (cpu, own, begin) = (process::cpu_of(server.pid)?, process::own_cpu()?, clock.now());
    sleep(Duration::from_secs(load.seconds)).await;
    run.cpu = process::cpu_of(server.pid)?.saturating_sub(cpu);
    run.own_cpu = process::own_cpu()?.saturating_sub(own);
    let seconds = clock.now().saturating_since(begin).as_secs_f64();

    let publishers = crate::clip::count(run.accepted_after.len().max(1));
    run.stream_seconds = publishers * seconds;
    let (mut resident, mut media) = (0, None);
    for _ in 0..FILLS {
        media = media.max(server.metric(MEDIA_BYTES));
        resident = resident.max(process::resident_bytes(server.pid)?);
        sleep(FILL_LOOK).await;
    }
    run.media_kib_per_publisher = media.map(|bytes| kib(bytes) / publishers);
    run.kib_per_publisher = kib(resident.saturating_sub(idle)) / publishers;
    drop(orders);
    let sent = sender.join().map_err(|_| BenchError::Publishers)?;
    run.lost += sent.lost;
    run.latest = sent.latest;
    run.accepted_after.sort_unstable();
    Ok(run)
}

/// Brings all publishers to the point where they send.
async fn connect(
    load: &Load,
    server: &Server,
    clock: &Arc<dyn Clock>,
    orders: &mpsc::Sender<Order>,
    run: &mut Run,
) -> Result<(), BenchError> {
    let mut opening = JoinSet::new();
    for number in 0..load.publishers {
        let url = format!("{}/bench-{number}", server.url);
        let url: PublishUrl = url.parse().map_err(|error| BenchError::Url { url, error })?;
        opening.spawn(opening::open(url, load.chunk_size, clock.clone()));
        if !load.at_once {
            sleep(Duration::from_secs(1) / CONNECTS_PER_SECOND).await;
        }
        while let Some(done) = opening.try_join_next() {
            begin(done.map_err(|_| BenchError::Publishers)?, orders, run);
        }
    }
    while let Some(done) = opening.join_next().await {
        begin(done.map_err(|_| BenchError::Publishers)?, orders, run);
    }
    Ok(())
}

fn begin(opened: Result<Accepted, String>, orders: &mpsc::Sender<Order>, run: &mut Run) {
    match opened {
        Ok(Accepted { socket, after }) => {
            run.accepted_after.push(after);
            let _ = orders.send(Order::Publish(socket));
        }
        Err(reason) => {
            run.lost += 1;
            run.reason.get_or_insert(reason);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 bytes of memory")]
fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}
