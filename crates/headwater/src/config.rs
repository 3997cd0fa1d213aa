//! Configuration: defaults, under a TOML file, under the environment, under flags.
//!
//! Every layer is read into the same [`File`] of optional values, each value checked as it is read, so that an error
//! names its line or its variable. The layers are then laid over one another and become a [`Config`], which holds no
//! bad state.

mod access;
mod cluster;
mod environment;
mod error;
mod file;
mod ladder;
mod limits;
mod services;
mod transcode;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use headwater_ingest::{KeyRule, Multitrack, PublishLimits, Secret, TokenSettings, WebhookSettings};
use headwater_router::Ladder;
use headwater_segmenter::Profile;
use tracing::level_filters::LevelFilter;

pub(crate) use cluster::{ClusterConfig, Members};
pub(crate) use environment::{Environment, environment};
pub(crate) use error::ConfigError;
#[cfg(test)]
pub(crate) use value::encoder_words;
pub(crate) use value::{Address, Latency, LogFormat};

use crate::cli::ServeArgs;
use file::File;
pub(crate) use transcode::TranscodeConfig;
use value::Parsed;

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where encoders publish.
    pub(crate) rtmp: SocketAddr,
    /// Where players and the built-in page are served.
    pub(crate) http: SocketAddr,
    /// Where metrics and the API are served.
    pub(crate) admin: SocketAddr,
    /// What whoever uses the API must show.
    pub(crate) admin_token: Option<Secret>,
    /// Where encoders publish over TLS.
    pub(crate) rtmps: Option<RtmpsConfig>,
    /// Whether RTMP connections begin with a PROXY protocol header.
    pub(crate) proxy_protocol: bool,
    /// Where what has to outlive a restart is kept.
    pub(crate) state_dir: Option<PathBuf>,
    /// The latency profile of new sessions.
    pub(crate) latency: Profile,
    /// The gears of every stream.
    pub(crate) ladder: Ladder,
    /// All ladders by name, for the webhook.
    pub(crate) ladders: Vec<(String, Ladder)>,
    /// What becomes of other video tracks.
    pub(crate) multitrack: Multitrack,
    /// Which key publishes what.
    pub(crate) streams: Vec<KeyRule>,
    /// Which tokens let somebody publish.
    pub(crate) jwt: Option<TokenSettings>,
    /// Who is asked about publishers.
    pub(crate) webhook: Option<WebhookSettings>,
    /// The other nodes; `None` for a machine alone.
    pub(crate) cluster: Option<ClusterConfig>,
    /// Life of a session.
    pub(crate) session: SessionConfig,
    /// What playlists list.
    pub(crate) playlist: PlaylistConfig,
    /// How gears are made.
    pub(crate) transcode: TranscodeConfig,
    /// Bounds.
    pub(crate) limits: LimitsConfig,
    /// What publishers must do in which time.
    pub(crate) timeouts: headwater_rtmp::Timeouts,
    /// The log.
    pub(crate) log: LogConfig,
    /// Whether jobs can be made to fail over the API.
    pub(crate) fault_points: bool,
}

/// RTMPS.
#[derive(Clone, Debug)]
pub(crate) struct RtmpsConfig {
    pub(crate) address: SocketAddr,
    /// PEM files.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Life of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionConfig {
    /// How long a session waits for its publisher after a lost connection.
    pub(crate) reconnect_window: Duration,
    /// How long it waits after a clean end.
    pub(crate) end_grace: Duration,
    /// How long publishers have to go elsewhere before the server stops.
    pub(crate) drain: Duration,
}

/// What playlists list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaylistConfig {
    /// Segments in a media playlist.
    pub(crate) window_segments: u32,
    /// Whether the next part is hinted.
    pub(crate) preload_hints: bool,
    /// Whether sound that only some players take is listed as it came, too.
    pub(crate) source_audio: bool,
}

/// Bounds, so that memory is bounded whatever peers do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitsConfig {
    /// Publishers at once.
    pub(crate) publishers: usize,
    /// HTTP connections at once; each costs a few KiB.
    pub(crate) http_connections: usize,
    /// Requests that wait for a part or a playlist at once.
    pub(crate) waiting_requests: usize,
    /// Source samples are kept for this long...
    pub(crate) ring: Duration,
    /// ...unless a stream's are more than this many bytes.
    pub(crate) ring_bytes: usize,
    /// Failures to publish that an address may have in a minute; 0: any number.
    pub(crate) failures_per_minute: u32,
    /// What one publisher may send, in kbit/s; 0: any amount.
    pub(crate) publisher_kbps: u32,
    /// What publishers and addresses may do beside that.
    pub(crate) publish: PublishLimits,
    /// What one publisher may make us hold.
    pub(crate) rtmp: headwater_rtmp::Limits,
}

/// The log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) level: LevelFilter,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: LevelFilter::INFO }
    }
}

/// Something about the configuration that the operator should know; logged once the log is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Notice {
    /// As it should be, and yet perhaps not what was expected.
    Info(String),
    /// Probably not what was meant.
    Warning(String),
}

impl Notice {
    /// Writes it to the log.
    pub(crate) fn log(&self) {
        match self {
            Self::Info(text) => tracing::info!("{text}"),
            Self::Warning(text) => tracing::warn!("{text}"),
        }
    }
}

/// Reads the file that `arguments` name, if any, and lays environment and flags over it.
pub(crate) fn load(arguments: &ServeArgs, environment: &Environment) -> Result<(Config, Vec<Notice>), ConfigError> {
    let file = match &arguments.config {
        None => File::default(),
        Some(path) => {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => File::parse(&text, &name)?,
                Err(error) => return Err(ConfigError::Unreadable { name, error }),
            }
        }
    };
    let (over, mut notices) = environment.layer()?;
    let merged = File::from_flags(arguments).over(over).over(file);
    let config = Config::from_layers(merged, &mut notices)?;
    Ok((Config { fault_points: arguments.fault_points, ..config }, notices))
}

impl Config {
    /// Fills in the defaults.
    fn from_layers(file: File, notices: &mut Vec<Notice>) -> Result<Self, ConfigError> {
        let ladder = file.chosen_ladder()?;
        let streams = access::rules(&file.streams);
        let (jwt, webhook) = (file.jwt.config(), file.webhook.config());
        let open = streams.is_empty() && jwt.is_none() && webhook.is_none();
        let everywhere = IpAddr::V4(if open { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED });
        let address =
            |given: Option<Parsed<Address>>, default: SocketAddr| given.map_or(default, |Parsed(given)| given.0);
        let File { session, playlist, transcode, limits, timeouts, log, .. } = &file;
        let config = Self {
            rtmp: address(file.rtmp, (everywhere, 1935).into()),
            http: address(file.http, (everywhere, 8080).into()),
            admin: address(file.admin, (Ipv4Addr::LOCALHOST, 9090).into()),
            admin_token: file.admin_token.as_ref().map(|token| token.0.clone()),
            rtmps: file.rtmps()?,
            proxy_protocol: file.proxy_protocol.unwrap_or(false),
            state_dir: file.state_dir.clone(),
            latency: file.latency.unwrap_or_default().0.0,
            ladder,
            ladders: file.all_ladders(),
            multitrack: file.multitrack.unwrap_or_default().0.0,
            streams,
            jwt,
            webhook,
            cluster: file.cluster.config()?,
            session: SessionConfig {
                reconnect_window: Duration::from_secs(session.reconnect_window_seconds.map_or(60, |v| v.get())),
                end_grace: Duration::from_secs(session.end_grace_seconds.map_or(5, |v| v.get())),
                drain: Duration::from_secs(session.drain_seconds.map_or(0, |v| v.get())),
            },
            playlist: PlaylistConfig {
                window_segments: playlist.window_segments.map_or(8, |v| v.get_u32()),
                preload_hints: playlist.preload_hints.unwrap_or(true),
                source_audio: playlist.source_audio.unwrap_or(true),
            },
            transcode: transcode.config(),
            limits: limits.config(),
            timeouts: timeouts.config(),
            log: LogConfig {
                format: log.format.unwrap_or_default().0,
                level: log.level.map_or(LogConfig::default().level, |Parsed(level)| level.0),
            },
            fault_points: false,
        };
        config.notices(&file, notices);
        Ok(config)
    }

    /// Whether anyone may publish anything.
    pub(crate) fn is_open(&self) -> bool {
        self.ingest_access().is_open()
    }

    /// Keys whose values differ from those of `running` and that are read at the start only.
    pub(crate) fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let rtmps = |config: &Self| config.rtmps.as_ref().map(|rtmps| rtmps.address);
        let changed = [
            ("rtmp", self.rtmp != running.rtmp),
            ("rtmps", rtmps(self) != rtmps(running)),
            ("http", self.http != running.http),
            ("admin", self.admin != running.admin),
            ("state_dir", self.state_dir != running.state_dir),
            ("cluster", self.cluster != running.cluster),
            ("admin_token", self.admin_token != running.admin_token),
            ("playlist.preload_hints", self.playlist.preload_hints != running.playlist.preload_hints),
            ("transcode.cpu_percent", self.transcode.cpu_percent != running.transcode.cpu_percent),
            ("transcode.encoder_threads", self.transcode.encoder_threads != running.transcode.encoder_threads),
            ("transcode.poster_seconds", self.transcode.poster_interval != running.transcode.poster_interval),
            ("limits.http_connections", self.limits.http_connections != running.limits.http_connections),
            ("limits.waiting_requests", self.limits.waiting_requests != running.limits.waiting_requests),
            ("limits.ring_seconds", self.limits.ring != running.limits.ring),
            ("limits.ring_mib", self.limits.ring_bytes != running.limits.ring_bytes),
            ("log.format", self.log.format != running.log.format),
            ("log.level", self.log.level != running.log.level),
        ];
        changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
    }

    fn notices(&self, file: &File, notices: &mut Vec<Notice>) {
        let public = |address: SocketAddr| !address.ip().is_loopback();
        if self.is_open() {
            if file.rtmp.is_none() || file.http.is_none() {
                notices.push(Notice::Info(
                    "no stream keys are configured, so anyone who reaches it may publish: listening on loopback only; \
                     configure [[streams]], [jwt] or [webhook] to listen on all interfaces"
                        .to_owned(),
                ));
            }
            let rtmps = self.rtmps.as_ref().map(|rtmps| ("RTMPS", rtmps.address));
            for (what, address) in [("RTMP", self.rtmp), ("HTTP", self.http)].into_iter().chain(rtmps) {
                if public(address) {
                    notices.push(Notice::Warning(format!(
                        "{what} is on {address} and no stream keys are configured: anyone who reaches it may publish \
                         and watch anything"
                    )));
                }
            }
        }
        if let Some(webhook) = self.webhook.as_ref().filter(|webhook| !webhook.url.is_private()) {
            notices.push(Notice::Warning(format!(
                "the webhook {} is not asked over TLS: whoever is on the way can read and change the answers",
                webhook.url
            )));
        }
        if self.cluster.is_some() && self.state_dir.is_some() {
            notices.push(Notice::Warning("state_dir is not used: in a pool sessions are kept in etcd".to_owned()));
        }
        if public(self.admin) && self.admin_token.is_none() {
            notices.push(Notice::Warning(format!(
                "the API is on {}, which is not loopback, and asks for no password: set admin_token (metrics stay open to \
                 whoever reaches them)",
                self.admin
            )));
        }
    }
}

#[cfg(test)]
mod tests;
