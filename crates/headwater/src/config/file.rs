//! One layer of configuration, as a file spells it: every value may be missing.

use std::path::PathBuf;

use headwater_router::Ladder;
use serde::Deserialize;
use toml::Spanned;

use super::access::{self, JwtKeys, StreamEntry, WebhookKeys};
use super::cluster::ClusterKeys;
use super::error::{ConfigError, Places};
use super::ladder::{self, LadderEntry};
use super::limits::{LimitsKeys, TimeoutsKeys};
use super::transcode::TranscodeKeys;
use super::value::{Bounded, Hidden, Level, Parsed, Tracks};
use super::{Address, Latency, LogFormat, RtmpsConfig};
use crate::cli::ServeArgs;

/// The keys of the file. `headwater.example.toml` describes each.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) rtmp: Option<Parsed<Address>>,
    pub(crate) http: Option<Parsed<Address>>,
    pub(crate) admin: Option<Parsed<Address>>,
    pub(crate) admin_token: Option<Hidden<16>>,
    pub(crate) rtmps: Option<Parsed<Address>>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) proxy_protocol: Option<bool>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) latency: Option<Parsed<Latency>>,
    pub(crate) ladder: Option<Spanned<String>>,
    pub(crate) multitrack: Option<Parsed<Tracks>>,
    pub(crate) cluster: ClusterKeys,
    pub(crate) session: SessionKeys,
    pub(crate) playlist: PlaylistKeys,
    pub(crate) transcode: TranscodeKeys,
    pub(crate) limits: LimitsKeys,
    pub(crate) timeouts: TimeoutsKeys,
    pub(crate) jwt: JwtKeys,
    pub(crate) webhook: WebhookKeys,
    pub(crate) log: LogKeys,
    pub(crate) streams: Vec<StreamEntry>,
    pub(crate) ladders: Vec<LadderEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SessionKeys {
    pub(crate) reconnect_window_seconds: Option<Bounded<0, 3600>>,
    pub(crate) end_grace_seconds: Option<Bounded<0, 3600>>,
    pub(crate) drain_seconds: Option<Bounded<0, 86_400>>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PlaylistKeys {
    pub(crate) window_segments: Option<Bounded<6, 3600>>,
    pub(crate) preload_hints: Option<bool>,
    pub(crate) source_audio: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogKeys {
    pub(crate) format: Option<Parsed<LogFormat>>,
    pub(crate) level: Option<Parsed<Level>>,
}

impl File {
    /// Reads a file's text; errors name the line.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let places = Places { name, text };
        let file: Self = toml::from_str(text).map_err(|error| places.toml_error(&error))?;
        access::check(&file.streams, &places)?;
        ladder::check(&file.ladders, &places)?;
        if let Some(ladder) = &file.ladder {
            file.chosen_ladder().map_err(|error| places.error(ladder.span(), error.to_string()))?;
        }
        Ok(file)
    }

    /// The layer that the flags make.
    pub(crate) fn from_flags(arguments: &ServeArgs) -> Self {
        Self {
            rtmp: arguments.rtmp.map(Parsed),
            http: arguments.http.map(Parsed),
            admin: arguments.admin.map(Parsed),
            rtmps: arguments.rtmps.map(Parsed),
            tls_cert: arguments.tls_cert.clone(),
            tls_key: arguments.tls_key.clone(),
            state_dir: arguments.state_dir.clone(),
            latency: arguments.latency.map(Parsed),
            ladder: arguments.ladder.clone().map(|name| Spanned::new(0..0, name)),
            cluster: ClusterKeys::from_flag(arguments.etcd.clone()),
            ..Self::default()
        }
    }

    /// This layer laid over `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        let Self {
            rtmp,
            http,
            admin,
            admin_token,
            rtmps,
            tls_cert,
            tls_key,
            proxy_protocol,
            state_dir,
            latency,
            ladder,
            multitrack,
            cluster,
            session,
            playlist,
            transcode,
            limits,
            timeouts,
            jwt,
            webhook,
            log,
            streams,
            ladders,
        } = self;
        Self {
            rtmp: rtmp.or(below.rtmp),
            http: http.or(below.http),
            admin: admin.or(below.admin),
            admin_token: admin_token.or(below.admin_token),
            rtmps: rtmps.or(below.rtmps),
            tls_cert: tls_cert.or(below.tls_cert),
            tls_key: tls_key.or(below.tls_key),
            proxy_protocol: proxy_protocol.or(below.proxy_protocol),
            state_dir: state_dir.or(below.state_dir),
            latency: latency.or(below.latency),
            ladder: ladder.or(below.ladder),
            multitrack: multitrack.or(below.multitrack),
            cluster: cluster.over(below.cluster),
            session: SessionKeys {
                reconnect_window_seconds: session.reconnect_window_seconds.or(below.session.reconnect_window_seconds),
                end_grace_seconds: session.end_grace_seconds.or(below.session.end_grace_seconds),
                drain_seconds: session.drain_seconds.or(below.session.drain_seconds),
            },
            playlist: PlaylistKeys {
                window_segments: playlist.window_segments.or(below.playlist.window_segments),
                preload_hints: playlist.preload_hints.or(below.playlist.preload_hints),
                source_audio: playlist.source_audio.or(below.playlist.source_audio),
            },
            transcode: transcode.over(below.transcode),
            limits: limits.over(below.limits),
            timeouts: timeouts.over(below.timeouts),
            jwt: jwt.over(below.jwt),
            webhook: webhook.over(below.webhook),
            log: LogKeys { format: log.format.or(below.log.format), level: log.level.or(below.log.level) },
            // Only a file can have lists.
            streams: if streams.is_empty() { below.streams } else { streams },
            ladders: if ladders.is_empty() { below.ladders } else { ladders },
        }
    }

    /// Where RTMPS is, if it is on: then both files are needed.
    pub(crate) fn rtmps(&self) -> Result<Option<RtmpsConfig>, ConfigError> {
        match (self.rtmps, &self.tls_cert, &self.tls_key) {
            (None, None, None) => Ok(None),
            (Some(Parsed(address)), Some(certificate), Some(key)) => {
                Ok(Some(RtmpsConfig { address: address.0, certificate: certificate.clone(), key: key.clone() }))
            }
            _ => Err(ConfigError::HalfRtmps),
        }
    }

    /// Every ladder that there is, by name.
    pub(crate) fn all_ladders(&self) -> Vec<(String, Ladder)> {
        let own = self.ladders.iter().map(|entry| entry.name.get_ref().as_str());
        let names = Ladder::BUILT_IN.into_iter().chain(own);
        names.filter_map(|name| Some((name.to_owned(), ladder::find(name, &self.ladders).ok()?))).collect()
    }

    /// The ladder by the name that was chosen.
    pub(crate) fn chosen_ladder(&self) -> Result<Ladder, ConfigError> {
        ladder::find(self.ladder.as_ref().map_or("hd", |name| name.get_ref()), &self.ladders)
    }
}
