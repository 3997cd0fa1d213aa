//! The log: one line for each thing that an operator would ask about, on standard error.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogConfig, LogFormat};

/// Starts the log. Called once.
pub(crate) fn start(config: LogConfig) {
    let terminal = std::io::stderr().is_terminal();
    let lines = match config.format {
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).boxed(),
        LogFormat::Json => fmt::layer().with_writer(std::io::stderr).json().flatten_event(true).boxed(),
    };
    // The level is about our own crates, whose targets all begin with this word; of others only trouble is of use.
    let others = config.level.min(LevelFilter::WARN);
    let filter = Targets::new().with_default(others).with_target("headwater", config.level);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// The one sentence with which the program ends when something failed.
#[expect(
    clippy::print_stderr,
    reason = "the log may not have been started, and this is for the person who did start us"
)]
pub(crate) fn last_words(error: &anyhow::Error) {
    eprintln!("headwater: {error:#}");
}
