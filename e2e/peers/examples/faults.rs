//! What `cargo xtask faults` starts, in a network namespace of its own. HEADWATER names the program. Fails when a rule was
//! broken.
#![expect(clippy::print_stdout, reason = "its table is for a person")]

use std::process::ExitCode;

use headwater_e2e::faults::{Fault, run};

fn main() -> ExitCode {
    let report = run(&Fault::ALL);
    println!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
