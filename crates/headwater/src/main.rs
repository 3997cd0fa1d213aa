//! Headwater, a live-streaming platform: RTMP in, an adaptive ladder, Low-Latency HLS out.

mod admin;
mod cli;
mod clock;
mod config;
mod pages;
mod serve;
mod shutdown;
mod telemetry;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    // A command line that cannot be read ends here, with exit code 2.
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Serve(arguments) => {
            let (config, notices) = config::load(&arguments, &config::environment())?;
            telemetry::start(config.log);
            for notice in notices {
                notice.log();
            }
            runtime()?.block_on(serve::run(config, shutdown::requested()))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
