//! What was measured, as Markdown.

use std::fmt;
use std::time::Duration;

use super::{Kind, Load};
use crate::report::median;

/// One run of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Of the server, in the time that is measured.
    pub(crate) cpu: Duration,
    /// Of this program, which is the publishers.
    pub(crate) own_cpu: Duration,
    /// Streams times seconds.
    pub(crate) stream_seconds: f64,
    /// From the first packet of a connection to the accepted publish, in order.
    pub(crate) accepted_after: Vec<Duration>,
    /// Publishers that were not accepted, or whose connection was closed.
    pub(crate) lost: usize,
    /// Why the first of them was not accepted.
    pub(crate) reason: Option<String>,
    /// Resident memory of each publisher, beyond that of the idle server, at its fullest.
    pub(crate) kib_per_publisher: f64,
    /// The part of it that is media in logs, as our own server tells, at their fullest.
    pub(crate) media_kib_per_publisher: Option<f64>,
    /// The longest that a publisher was behind its time.
    pub(crate) latest: Duration,
}

impl Run {
    fn millis_per_stream_second(&self) -> f64 {
        self.cpu.as_secs_f64() * 1000.0 / self.stream_seconds
    }

    fn publish_millis(&self, share: usize) -> f64 {
        let last = self.accepted_after.len().saturating_sub(1);
        self.accepted_after.get(last * share / 100).map_or(f64::NAN, |after| after.as_secs_f64() * 1000.0)
    }
}

/// What was measured. Displays as Markdown.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) load: Load,
    pub(crate) servers: Vec<(Kind, Vec<Run>)>,
}

impl Report {
    /// CPU time of the first server by that of another.
    fn ratio(&self, runs: &[Run]) -> f64 {
        let of = |runs: &[Run]| median(&runs.iter().map(Run::millis_per_stream_second).collect::<Vec<_>>());
        self.servers.first().map_or(f64::NAN, |(_, first)| of(first)) / of(runs)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { publishers, kbps, chunk_size, at_once, seconds, .. } = self.load;
        let how = if at_once { " that connect at once" } else { "" };
        let runs = self.servers.first().map_or(0, |(_, runs)| runs.len());
        writeln!(f, "### {publishers} publishers of {kbps} kbit/s{how}\n")?;
        writeln!(
            f,
            "Chunks of {chunk_size} bytes, {seconds} s measured, {runs} runs in turns; median (lowest to highest).\n"
        )?;
        writeln!(
            f,
            "| server | CPU ms per stream-second | publishers per core | first / this | publish accepted after, ms: p50, p99, max \
             | lost | KiB per publisher | of it no media | publishers' own CPU ms | latest, ms |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for (kind, runs) in &self.servers {
            let all = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).collect::<Vec<_>>();
            let mid = |of: &dyn Fn(&Run) -> f64| median(&all(of));
            let cpu = all(&Run::millis_per_stream_second);
            let least = cpu.iter().copied().fold(f64::MAX, f64::min);
            let most = cpu.iter().copied().fold(0.0, f64::max);
            let [p50, p99, max] = [50, 99, 100].map(|share| mid(&|run| run.publish_millis(share)));
            let lost = runs.iter().map(|run| run.lost.to_string()).collect::<Vec<_>>().join(", ");
            let other = match runs.iter().all(|run| run.media_kib_per_publisher.is_some()) {
                true => {
                    format!("{:.0}", mid(&|run| run.kib_per_publisher - run.media_kib_per_publisher.unwrap_or(0.0)))
                }
                false => "–".to_owned(),
            };
            writeln!(
                f,
                "| {} | {:.3} ({least:.3} to {most:.3}) | {:.0} | {:.2} | {p50:.2}, {p99:.2}, {max:.2} | {lost} | {:.0} | {other} | {:.3} | {:.0} |",
                kind.name(),
                median(&cpu),
                1000.0 / median(&cpu),
                self.ratio(runs),
                mid(&|run| run.kib_per_publisher),
                mid(&|run| run.own_cpu.as_secs_f64() * 1000.0 / run.stream_seconds),
                mid(&|run| run.latest.as_secs_f64() * 1000.0),
            )?;
            if let Some(reason) = runs.iter().find_map(|run| run.reason.as_ref()) {
                writeln!(f, "| | the first that was lost: {reason} | | | | | | | | |")?;
            }
        }
        writeln!(f)
    }
}
