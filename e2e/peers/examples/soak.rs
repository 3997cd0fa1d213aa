//! `soak SECONDS SEED STREAMS`: what `cargo xtask soak` starts. HEADWATER names the program. Fails when an invariant broke.
#![expect(clippy::print_stdout, reason = "its table is for a person")]

use std::process::ExitCode;
use std::time::Duration;

use headwater_e2e::soak::{Plan, run};

fn main() -> ExitCode {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let Ok([seconds, seed, streams]) = numbers.as_deref() else {
        println!("usage: soak SECONDS SEED STREAMS");
        return ExitCode::from(2);
    };
    let streams = usize::try_from(*streams).unwrap_or(1).clamp(1, 26);
    let report = run(&Plan { length: Duration::from_secs(*seconds), seed: *seed, streams });
    println!("{report}");
    if report.violations().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
