//! `[transcode]`: how and when gears are made.

use std::time::Duration;

use headwater_ingest::When;
use serde::Deserialize;

use super::value::{Bounded, Parsed, WhenWord};

/// How gears are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TranscodeConfig {
    /// Threads of each encoder.
    pub(crate) encoder_threads: u32,
    /// When gears are made.
    pub(crate) when: When,
    /// Gears of one job at most; 0: all of a stream.
    pub(crate) gears_per_job: usize,
    /// Share of all processor cores for decoders and encoders.
    pub(crate) cpu_percent: u32,
    /// How old a poster may be; `None` for no posters.
    pub(crate) poster_interval: Option<Duration>,
}

/// The keys.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TranscodeKeys {
    encoder_threads: Option<Bounded<1, 16>>,
    when: Option<Parsed<WhenWord>>,
    cold_after_seconds: Option<Bounded<5, 86_400>>,
    gears_per_job: Option<Bounded<0, 64>>,
    cpu_percent: Option<Bounded<1, 100>>,
    poster_seconds: Option<Bounded<0, 3600>>,
}

impl TranscodeConfig {
    /// Processor cores for decoders and encoders.
    pub(crate) fn cores(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        f64::from(u32::try_from(cores).unwrap_or(u32::MAX)) * f64::from(self.cpu_percent) / 100.0
    }
}

impl TranscodeKeys {
    /// This layer laid over `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            encoder_threads: self.encoder_threads.or(below.encoder_threads),
            when: self.when.or(below.when),
            cold_after_seconds: self.cold_after_seconds.or(below.cold_after_seconds),
            gears_per_job: self.gears_per_job.or(below.gears_per_job),
            cpu_percent: self.cpu_percent.or(below.cpu_percent),
            poster_seconds: self.poster_seconds.or(below.poster_seconds),
        }
    }

    /// With defaults where nothing is said.
    pub(crate) fn config(&self) -> TranscodeConfig {
        let cold_after = Duration::from_secs(self.cold_after_seconds.map_or(30, |v| v.get()));
        TranscodeConfig {
            encoder_threads: self.encoder_threads.map_or(1, |v| v.get_u32()),
            when: match self.when.unwrap_or_default().0 {
                WhenWord::Watched => When::Watched { cold_after },
                WhenWord::Always => When::Always,
            },
            gears_per_job: self.gears_per_job.map_or(0, |v| v.get_u32() as usize),
            cpu_percent: self.cpu_percent.map_or(90, |v| v.get_u32()),
            poster_interval: Some(Duration::from_secs(self.poster_seconds.map_or(5, |v| v.get())))
                .filter(|interval| !interval.is_zero()),
        }
    }
}
