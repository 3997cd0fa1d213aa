//! `faults [NUMBER...]`: what `cargo xtask faults` starts, in a network namespace of its own; with numbers only those of the
//! table, from 1. HEADWATER names the program. Fails when a rule was broken.
#![expect(clippy::print_stdout, reason = "its table is for a person")]

use std::process::ExitCode;

use headwater_e2e::faults::{Fault, run};

fn main() -> ExitCode {
    let chosen: Vec<usize> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    let all = (1..).zip(Fault::ALL).filter(|(number, _)| chosen.is_empty() || chosen.contains(number));
    let report = run(&all.map(|(_, fault)| fault).collect::<Vec<_>>());
    println!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
