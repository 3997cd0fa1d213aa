//! The configuration in the services' own words.

use headwater_ingest::Tls;
use headwater_router::log::Limits;

use super::Config;

/// Segments kept beyond a playlist's window, for players that are behind.
const EXTRA_SEGMENTS: u32 = 4;

impl Config {
    /// Bounds of each stream's log.
    pub(crate) fn log_limits(&self) -> Limits {
        Limits {
            ring: self.limits.ring,
            ring_bytes_max: self.limits.ring_bytes,
            extra_segments: EXTRA_SEGMENTS,
            ..Limits::default()
        }
    }

    /// Who may publish what.
    pub(crate) fn ingest_access(&self) -> headwater_ingest::AccessSettings {
        headwater_ingest::AccessSettings {
            keys: self.streams.clone(),
            tokens: self.jwt.clone(),
            webhook: self.webhook.clone(),
            failures_per_minute: self.limits.failures_per_minute,
        }
    }

    /// What ingest needs to know, with the certificate of RTMPS.
    pub(crate) fn ingest(&self, tls: Option<Tls>) -> headwater_ingest::Settings {
        headwater_ingest::Settings {
            profile: self.latency,
            ladder: self.ladder.clone(),
            ladders: self.ladders.clone(),
            when: self.transcode.when,
            gears_per_job: self.transcode.gears_per_job,
            multitrack: self.multitrack,
            window_segments: self.playlist.window_segments,
            source_audio: self.playlist.source_audio,
            reconnect_window: self.session.reconnect_window,
            end_grace: self.session.end_grace,
            drain: self.session.drain,
            access: self.ingest_access(),
            kbps_max: self.limits.publisher_kbps,
            limits: self.limits.publish,
            proxy_protocol: self.proxy_protocol,
            tls,
            connections_max: self.limits.publishers,
            rtmp: headwater_rtmp::ServerConfig {
                limits: self.limits.rtmp,
                timeouts: self.timeouts,
                ..headwater_rtmp::ServerConfig::default()
            },
        }
    }

    /// What the transcoder needs to know. A stream has three jobs at most: gears, the gear in the source's place, sound.
    pub(crate) fn transcode(&self) -> headwater_transcode::Settings {
        headwater_transcode::Settings {
            jobs_max: self.limits.publishers.saturating_mul(3),
            encoder_threads: self.transcode.encoder_threads,
            cores: Some(self.transcode.cores()),
            hang: Some(headwater_transcode::HANG),
        }
    }

    /// What the edge needs to know.
    pub(crate) fn edge(&self) -> headwater_edge::Settings {
        headwater_edge::Settings {
            preload_hints: self.playlist.preload_hints,
            waiting_max: self.limits.waiting_requests,
            connections_max: self.limits.http_connections,
        }
    }
}
