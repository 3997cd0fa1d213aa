//! Bounds: what peers may make us hold, and what they must do in which time.

use std::time::Duration;

use headwater_ingest::PublishLimits;
use serde::Deserialize;

use super::LimitsConfig;
use super::value::Bounded;

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsKeys {
    publishers: Option<Bounded<1, 100_000>>,
    http_connections: Option<Bounded<1, 1_000_000>>,
    waiting_requests: Option<Bounded<1, 10_000_000>>,
    failed_publishes_per_minute: Option<Bounded<0, 10_000>>,
    publisher_kbps: Option<Bounded<0, 1_000_000>>,
    publisher_gop_seconds: Option<Bounded<0, 600>>,
    publisher_picture_pixels: Option<Bounded<0, 268_435_456>>,
    connections_per_address: Option<Bounded<0, 100_000>>,
    address_kbps: Option<Bounded<0, 100_000_000>>,
    ring_seconds: Option<Bounded<12, 600>>,
    ring_mib: Option<Bounded<1, 3072>>,
    rtmp_video_kib: Option<Bounded<64, 16_383>>,
    rtmp_audio_kib: Option<Bounded<8, 16_383>>,
    rtmp_other_kib: Option<Bounded<8, 16_383>>,
    rtmp_aggregate_messages: Option<Bounded<1, 65_536>>,
    rtmp_chunk_streams: Option<Bounded<8, 65_597>>,
    rtmp_partial_kib: Option<Bounded<64, 1_048_576>>,
    rtmp_held_kib: Option<Bounded<64, 1_048_576>>,
    rtmp_amf_depth: Option<Bounded<4, 128>>,
    rtmp_amf_values: Option<Bounded<64, 1_000_000>>,
}

/// `[timeouts]`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TimeoutsKeys {
    rtmp_handshake_seconds: Option<Bounded<1, 600>>,
    rtmp_publish_seconds: Option<Bounded<1, 600>>,
    rtmp_media_seconds: Option<Bounded<1, 3600>>,
    rtmp_ping_seconds: Option<Bounded<1, 3600>>,
    rtmp_close_millis: Option<Bounded<0, 10_000>>,
}

impl LimitsKeys {
    /// This layer laid over `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            publishers: self.publishers.or(below.publishers),
            http_connections: self.http_connections.or(below.http_connections),
            waiting_requests: self.waiting_requests.or(below.waiting_requests),
            failed_publishes_per_minute: self.failed_publishes_per_minute.or(below.failed_publishes_per_minute),
            publisher_kbps: self.publisher_kbps.or(below.publisher_kbps),
            publisher_gop_seconds: self.publisher_gop_seconds.or(below.publisher_gop_seconds),
            publisher_picture_pixels: self.publisher_picture_pixels.or(below.publisher_picture_pixels),
            connections_per_address: self.connections_per_address.or(below.connections_per_address),
            address_kbps: self.address_kbps.or(below.address_kbps),
            ring_seconds: self.ring_seconds.or(below.ring_seconds),
            ring_mib: self.ring_mib.or(below.ring_mib),
            rtmp_video_kib: self.rtmp_video_kib.or(below.rtmp_video_kib),
            rtmp_audio_kib: self.rtmp_audio_kib.or(below.rtmp_audio_kib),
            rtmp_other_kib: self.rtmp_other_kib.or(below.rtmp_other_kib),
            rtmp_aggregate_messages: self.rtmp_aggregate_messages.or(below.rtmp_aggregate_messages),
            rtmp_chunk_streams: self.rtmp_chunk_streams.or(below.rtmp_chunk_streams),
            rtmp_partial_kib: self.rtmp_partial_kib.or(below.rtmp_partial_kib),
            rtmp_held_kib: self.rtmp_held_kib.or(below.rtmp_held_kib),
            rtmp_amf_depth: self.rtmp_amf_depth.or(below.rtmp_amf_depth),
            rtmp_amf_values: self.rtmp_amf_values.or(below.rtmp_amf_values),
        }
    }

    /// With defaults where nothing is said.
    pub(crate) fn config(&self) -> LimitsConfig {
        let rtmp = headwater_rtmp::Limits::default();
        LimitsConfig {
            publishers: self.publishers.map_or(100, |v| v.get_usize()),
            http_connections: self.http_connections.map_or(20_000, |v| v.get_usize()),
            waiting_requests: self.waiting_requests.map_or(20_000, |v| v.get_usize()),
            failures_per_minute: self.failed_publishes_per_minute.map_or(10, |v| v.get_u32()),
            publisher_kbps: self.publisher_kbps.map_or(0, |v| v.get_u32()),
            publish: PublishLimits {
                connections_per_address: self.connections_per_address.map_or(50, |v| v.get_usize()),
                address_kbps: self.address_kbps.map_or(0, |v| v.get_u32()),
                gop: Duration::from_secs(self.publisher_gop_seconds.map_or(0, |v| v.get())),
                picture_pixels: self.publisher_picture_pixels.map_or(9_437_184, |v| v.get_u32()),
            },
            ring: Duration::from_secs(self.ring_seconds.map_or(12, |v| v.get())),
            ring_bytes: self.ring_mib.map_or(64, |v| v.get_usize()) << 20,
            rtmp: headwater_rtmp::Limits {
                video_bytes_max: self.rtmp_video_kib.map_or(rtmp.video_bytes_max, |v| v.get_u32() << 10),
                audio_bytes_max: self.rtmp_audio_kib.map_or(rtmp.audio_bytes_max, |v| v.get_u32() << 10),
                message_bytes_max: self.rtmp_other_kib.map_or(rtmp.message_bytes_max, |v| v.get_u32() << 10),
                aggregate_messages_max: self
                    .rtmp_aggregate_messages
                    .map_or(rtmp.aggregate_messages_max, |v| v.get_usize()),
                chunk_streams_max: self.rtmp_chunk_streams.map_or(rtmp.chunk_streams_max, |v| v.get_usize()),
                partial_bytes_max: self.rtmp_partial_kib.map_or(rtmp.partial_bytes_max, |v| v.get_usize() << 10),
                held_bytes_max: self.rtmp_held_kib.map_or(rtmp.held_bytes_max, |v| v.get_usize() << 10),
                amf0: headwater_amf0::Limits {
                    depth_max: self.rtmp_amf_depth.map_or(rtmp.amf0.depth_max, |v| v.get_usize()),
                    values_max: self.rtmp_amf_values.map_or(rtmp.amf0.values_max, |v| v.get_usize()),
                },
            },
        }
    }
}

impl TimeoutsKeys {
    /// This layer laid over `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            rtmp_handshake_seconds: self.rtmp_handshake_seconds.or(below.rtmp_handshake_seconds),
            rtmp_publish_seconds: self.rtmp_publish_seconds.or(below.rtmp_publish_seconds),
            rtmp_media_seconds: self.rtmp_media_seconds.or(below.rtmp_media_seconds),
            rtmp_ping_seconds: self.rtmp_ping_seconds.or(below.rtmp_ping_seconds),
            rtmp_close_millis: self.rtmp_close_millis.or(below.rtmp_close_millis),
        }
    }

    /// With defaults where nothing is said.
    pub(crate) fn config(&self) -> headwater_rtmp::Timeouts {
        let rtmp = headwater_rtmp::Timeouts::default();
        headwater_rtmp::Timeouts {
            handshake: self.rtmp_handshake_seconds.map_or(rtmp.handshake, |v| Duration::from_secs(v.get())),
            publish: self.rtmp_publish_seconds.map_or(rtmp.publish, |v| Duration::from_secs(v.get())),
            media: self.rtmp_media_seconds.map_or(rtmp.media, |v| Duration::from_secs(v.get())),
            ping: self.rtmp_ping_seconds.map_or(rtmp.ping, |v| Duration::from_secs(v.get())),
            close: self.rtmp_close_millis.map_or(rtmp.close, |v| Duration::from_millis(v.get())),
        }
    }
}
