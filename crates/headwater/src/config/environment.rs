//! The layer that the environment makes: `HEADWATER_LOG_LEVEL` is the key `level` of `[log]`.

use super::Notice;
use super::error::{ConfigError, one_line};
use super::file::File;

/// What the names of our variables begin with.
const PREFIX: &str = "HEADWATER_";
/// Every key that holds a single value, as a path in the file.
pub(crate) const KEYS: [&str; 70] = [
    "rtmp",
    "http",
    "admin",
    "admin_token",
    "rtmps",
    "tls_cert",
    "tls_key",
    "proxy_protocol",
    "state_dir",
    "latency",
    "ladder",
    "multitrack",
    "cluster.etcd",
    "cluster.prefix",
    "cluster.listen",
    "cluster.advertise",
    "cluster.tls_ca",
    "cluster.tls_cert",
    "cluster.tls_key",
    "cluster.plain",
    "session.reconnect_window_seconds",
    "session.end_grace_seconds",
    "session.drain_seconds",
    "playlist.window_segments",
    "playlist.preload_hints",
    "playlist.source_audio",
    "transcode.when",
    "transcode.cold_after_seconds",
    "transcode.gears_per_job",
    "transcode.cpu_percent",
    "transcode.encoder_threads",
    "transcode.poster_seconds",
    "limits.publishers",
    "limits.http_connections",
    "limits.waiting_requests",
    "limits.failed_publishes_per_minute",
    "limits.publisher_kbps",
    "limits.publisher_gop_seconds",
    "limits.publisher_picture_pixels",
    "limits.connections_per_address",
    "limits.address_kbps",
    "limits.ring_seconds",
    "limits.ring_mib",
    "limits.rtmp_video_kib",
    "limits.rtmp_audio_kib",
    "limits.rtmp_other_kib",
    "limits.rtmp_aggregate_messages",
    "limits.rtmp_chunk_streams",
    "limits.rtmp_partial_kib",
    "limits.rtmp_held_kib",
    "limits.rtmp_amf_depth",
    "limits.rtmp_amf_values",
    "timeouts.rtmp_handshake_seconds",
    "timeouts.rtmp_publish_seconds",
    "timeouts.rtmp_media_seconds",
    "timeouts.rtmp_ping_seconds",
    "timeouts.rtmp_close_millis",
    "jwt.secret",
    "jwt.jwks",
    "jwt.issuer",
    "jwt.audience",
    "jwt.leeway_seconds",
    "jwt.refresh_seconds",
    "webhook.url",
    "webhook.token",
    "webhook.timeout_millis",
    "webhook.retries",
    "webhook.when_down",
    "log.format",
    "log.level",
];
/// Variables that are no keys of the file.
const OTHERS: [&str; 1] = ["HEADWATER_CONFIG"];

/// The variables `HEADWATER_*`.
#[derive(Debug, Default)]
pub(crate) struct Environment(pub(crate) Vec<(String, String)>);

/// Reads them from the process.
pub(crate) fn environment() -> Environment {
    let ours = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value.to_string_lossy().into_owned()))
    });
    Environment(ours.collect())
}

impl Environment {
    /// All of them as one layer. One that is no key is only worth a warning: container platforms set variables such
    /// as `HEADWATER_PORT` for a service that is called headwater.
    pub(crate) fn layer(&self) -> Result<(File, Vec<Notice>), ConfigError> {
        let mut layer = File::default();
        let mut notices = Vec::new();
        for (variable, value) in &self.0 {
            if OTHERS.contains(&variable.as_str()) {
                continue;
            }
            match KEYS.into_iter().find(|key| self::variable(key) == *variable) {
                Some(key) => layer = parse(key, variable, value)?.over(layer),
                None => notices.push(Notice::Warning(format!("{variable} in the environment is no configuration key"))),
            }
        }
        Ok((layer, notices))
    }
}

/// The variable for a key of the file.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Reads one value as the file would: as it stands (numbers and switches), or else as a text.
fn parse(key: &str, variable: &str, value: &str) -> Result<File, ConfigError> {
    let read = |value: toml::Value| {
        let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
        let line = toml::Table::from_iter([(name.to_owned(), value)]).to_string();
        toml::from_str::<File>(&if table.is_empty() { line } else { format!("[{table}]\n{line}") })
    };
    if let Ok(Ok(file)) = value.parse().map(read) {
        return Ok(file);
    }
    read(value.into())
        .map_err(|error| ConfigError::Variable { variable: variable.to_owned(), problem: one_line(&error) })
}
