//! What came of a soak.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::journal::Journal;
use super::process::{Sample, quarters, spread};
use super::{Kind, Plan};

/// What the threads count.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) publishers: BTreeMap<Kind, u64>,
    pub(super) left: u64,
    pub(super) killed: u64,
    pub(super) frozen: u64,
    pub(super) nuisances: u64,
    pub(super) players: u64,
    pub(super) violations: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// What came of a soak. Its `Display` is a table in Markdown, and below it what was found.
#[derive(Debug)]
pub struct Report {
    pub(super) plan: Plan,
    pub(super) minutes: f64,
    pub(super) counts: Counts,
    pub(super) journal: Journal,
    pub(super) requests: u64,
    pub(super) names: usize,
    pub(super) slowest: Duration,
    pub(super) samples: Vec<Sample>,
    pub(super) ending: Duration,
    /// Lines of the log about sessions that broke something.
    pub(super) context: Vec<String>,
}

/// Findings that are printed; when there are more, these are enough.
const FINDINGS_MAX: usize = 50;

impl Report {
    /// Invariants that were broken.
    pub fn violations(&self) -> &[String] {
        &self.counts.violations
    }

    /// How many publishers of a kind were started.
    pub fn publishers(&self, kind: Kind) -> u64 {
        self.counts.publishers.get(&kind).copied().unwrap_or_default()
    }

    /// Requests that players made.
    pub fn requests(&self) -> u64 {
        self.requests
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, counts, journal, .. } = self;
        let mib = |kib: u64| format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024);
        let mut row = |what: &str, value: String| writeln!(f, "| {what} | {value} |");
        row("soak", format!("{:.1} minutes", self.minutes))?;
        row("---", "---".to_owned())?;
        row("seed, streams", format!("{}, {}", plan.seed, plan.streams))?;
        for kind in Kind::ALL {
            row(&format!("publishers: {}", kind.name()), self.publishers(kind).to_string())?;
        }
        let done = format!("{}, {}, {}", counts.left, counts.killed, counts.frozen);
        row("of them asked to end, killed (SIGKILL), frozen (SIGSTOP)", done)?;
        let logged = format!("{}, {}, {}", journal.accepted, journal.taken_over, journal.refused);
        row("accepted, taken over, refused", logged)?;
        row("sessions ended", journal.sessions_ended.to_string())?;
        row("connections that are no good publishers", counts.nuisances.to_string())?;
        row("players", counts.players.to_string())?;
        row("requests, names", format!("{}, {}", self.requests, self.names))?;
        row("slowest held request", format!("{} ms", self.slowest.as_millis()))?;
        row("invariant violations", counts.violations.len().to_string())?;
        let memory = spread(&self.samples, |sample| sample.kib).map(mib).join(" / ");
        row("memory, MiB: min / median / max", memory)?;
        if let Some(quarters) = quarters(&self.samples, plan.length) {
            row("medians by quarters, without the first minute", quarters.map(mib).join(", "))?;
        }
        let threads = spread(&self.samples, |sample| sample.threads).map(|count| count.to_string());
        row("threads: min / median / max", threads.join(" / "))?;
        let files = spread(&self.samples, |sample| sample.files).map(|count| count.to_string());
        row("descriptors: min / median / max", files.join(" / "))?;
        row("the server's end took", format!("{} ms", self.ending.as_millis()))?;
        for (what, findings) in [("violation", &counts.violations), ("note", &counts.notes)] {
            for finding in findings.iter().take(FINDINGS_MAX) {
                writeln!(f, "{what}: {finding}")?;
            }
        }
        for line in &self.context {
            writeln!(f, "log: {line}")?;
        }
        Ok(())
    }
}
