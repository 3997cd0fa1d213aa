//! Headwater, a live-streaming platform: RTMP in, an adaptive ladder, Low-Latency HLS out.

mod admin;
mod backends;
mod bench;
mod cert;
mod cli;
mod clock;
mod config;
mod key;
mod pages;
mod publish;
mod record;
mod reload;
mod serve;
mod shutdown;
mod sockets;
mod telemetry;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;

use crate::cli::{BenchCommand, CertArgs, Cli, Command, KeyCommand, PublishArgs, RecordArgs, ServeArgs, TranscodeArgs};
use crate::config::ConfigError;
use crate::serve::Role;
use crate::sockets::Sockets;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
        Command::Serve(arguments) => serve(Role::Serve, &arguments),
        Command::Ingest(arguments) => serve(Role::Ingest, &arguments),
        Command::Transcode(arguments) => serve(Role::Transcode, &arguments),
        Command::Edge(arguments) => serve(Role::Edge, &arguments),
        Command::Publish(PublishArgs { file, url, tls_ca, repeat }) => {
            telemetry::start(config::LogConfig::default());
            let runtime = runtime()?;
            let clock = Arc::new(clock::SystemClock::new());
            let job = publish::Job { file, url, tls_ca, repeat };
            let result = runtime.block_on(publish::run(job, clock, shutdown::requested()));
            // The file may be a pipe whose reader waits for ever.
            runtime.shutdown_background();
            result
        }
        Command::Record(RecordArgs { address, file, raw, force }) => {
            telemetry::start(config::LogConfig::default());
            let clock = clock::SystemClock::new();
            let job = record::Job { address: address.0, file, raw, force };
            let recorded = runtime()?.block_on(record::run(&job, &clock, shutdown::requested()))?;
            recorded.print(std::io::stdout().lock())
        }
        Command::Key(KeyCommand::New) => key::new(),
        Command::Key(KeyCommand::Hash) => key::hash(std::io::stdin().lock(), std::io::stdout().lock()),
        Command::Cert(CertArgs { folder, nodes }) => cert::make(&folder, &nodes, std::io::stdout().lock()),
        Command::Bench(BenchCommand::Ingest(arguments)) => {
            telemetry::start(config::LogConfig::default());
            runtime()?.block_on(bench::ingest(arguments))
        }
        Command::Bench(BenchCommand::Transcode(TranscodeArgs { file, ladder, runs, into })) => {
            telemetry::start(config::LogConfig::default());
            let job = bench::Job { file, ladder, runs };
            match into {
                Some(folder) => runtime()?.block_on(bench::make(&job, folder)),
                None => bench::compare(&job),
            }
        }
    }
}

fn serve(role: Role, arguments: &ServeArgs) -> Result<()> {
    // It changes the environment, which only one thread may do.
    let sockets = Sockets::handed_over()?;
    let (config, notices) = config::load(arguments, &config::environment())?;
    if role != Role::Serve && config.cluster.is_none() {
        return Err(ConfigError::NoCluster { command: role.command() }.into());
    }
    telemetry::start(config.log);
    for notice in notices {
        notice.log();
    }
    let read = || config::load(arguments, &config::environment());
    runtime()?.block_on(serve::run(role, config, sockets, read))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
