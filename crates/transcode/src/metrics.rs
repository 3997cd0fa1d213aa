//! What the operator can count at the transcoder.

use std::sync::Arc;

use headwater_media::{Clock, Instant, RenditionName};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Bounds in seconds that tell a part of a frame from a frame from a part.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0];

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

/// CPU seconds of each stage of transcoding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) decode: Counter<f64>,
    pub(crate) scale: Counter<f64>,
    pub(crate) encode: Counter<f64>,
    pub(crate) package: Counter<f64>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Track {
    rendition: String,
}

/// The transcoder's metrics.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    /// Jobs that are being done.
    pub jobs: Gauge,
    /// Jobs that ended in a panic, in a codec that hangs or without any encoder, and were given back.
    pub jobs_failed: Counter,
    /// Gears for which there was no room, from the start or any more.
    pub gears_shed: Counter,
    /// Access units that could not be decoded, and pictures that the decoder had to invent parts of.
    pub decode_errors: Counter,
    /// Frames of sources' sound that could not be decoded or converted.
    pub audio_decode_errors: Counter,
    /// Encoders that could not be opened or that broke.
    pub encoder_errors: Counter,
    /// Slots that the source left empty and that repeat the picture before.
    pub pictures_repeated: Counter,
    /// Pictures of the source without a slot of their own.
    pub pictures_dropped: Counter,
    /// Times that a job fell off the log's end and went on at a later segment.
    pub lagged: Counter,
    /// Posters that were made.
    pub posters: Counter,
    pub(crate) cpu: Cpu,
    decoded: Histogram,
    encoded: Family<Track, Histogram>,
    part: Family<Track, Histogram>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry, clock: Arc<dyn Clock>) -> Self {
        let stages: Family<Stage, Counter<f64>> = Family::default();
        // Each look-up holds a lock until its end.
        let stage = |stage| stages.get_or_create(&Stage { stage }).clone();
        let metrics = Self {
            clock,
            jobs: Gauge::default(),
            jobs_failed: Counter::default(),
            gears_shed: Counter::default(),
            decode_errors: Counter::default(),
            audio_decode_errors: Counter::default(),
            encoder_errors: Counter::default(),
            pictures_repeated: Counter::default(),
            pictures_dropped: Counter::default(),
            lagged: Counter::default(),
            posters: Counter::default(),
            cpu: Cpu {
                decode: stage("decode"),
                scale: stage("scale"),
                encode: stage("encode"),
                package: stage("package"),
            },
            decoded: Histogram::new(LATENCY_BUCKETS),
            encoded: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            part: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
        };
        registry.register("transcode_jobs", "Transcoding jobs that are being done", metrics.jobs.clone());
        registry.register(
            "transcode_jobs_failed",
            "Transcoding jobs that were given back",
            metrics.jobs_failed.clone(),
        );
        registry.register("gears_shed", "Gears for which there was no room", metrics.gears_shed.clone());
        registry.register("decode_errors", "Damaged pictures of sources", metrics.decode_errors.clone());
        registry.register(
            "audio_decode_errors",
            "Damaged frames of sources' sound",
            metrics.audio_decode_errors.clone(),
        );
        registry.register("encoder_errors", "Encoders that did not open or broke", metrics.encoder_errors.clone());
        registry.register(
            "pictures_repeated",
            "Slots without a picture of the source, filled with the one before",
            metrics.pictures_repeated.clone(),
        );
        registry.register(
            "pictures_dropped",
            "Pictures of the source without a slot of their own",
            metrics.pictures_dropped.clone(),
        );
        registry.register("posters", "Posters that were made", metrics.posters.clone());
        registry.register("transcode_lagged", "Times that a job was too slow for its source", metrics.lagged.clone());
        registry.register_with_unit("transcode_cpu", "CPU time by what was done in it", Unit::Seconds, stages);
        registry.register_with_unit(
            "gear_decoded",
            "From the last byte of a frame to its decoded picture",
            Unit::Seconds,
            metrics.decoded.clone(),
        );
        registry.register_with_unit(
            "gear_encoded",
            "From the last byte of a frame to its encoded picture",
            Unit::Seconds,
            metrics.encoded.clone(),
        );
        registry.register_with_unit(
            "gear_part",
            "From the last byte of a part's last frame to the part in the log, through a gear",
            Unit::Seconds,
            metrics.part.clone(),
        );
        metrics
    }

    /// CPU seconds that were spent on decoding, scaling, encoding and packaging, on all threads together.
    pub fn cpu_seconds(&self) -> [f64; 4] {
        let Cpu { decode, scale, encode, package } = &self.cpu;
        [decode.get(), scale.get(), encode.get(), package.get()]
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn decoded(&self, received: Instant) {
        self.decoded.observe(self.since(received));
    }

    /// The histograms of one gear; looking them up by name is left out of the path of each picture.
    pub(crate) fn gear(self: &Arc<Self>, rendition: &RenditionName) -> GearMetrics {
        let label = Track { rendition: rendition.to_string() };
        GearMetrics {
            all: self.clone(),
            encoded: self.encoded.get_or_create(&label).clone(),
            part: self.part.get_or_create(&label).clone(),
        }
    }

    fn since(&self, received: Instant) -> f64 {
        self.clock.now().saturating_since(received).as_secs_f64()
    }
}

/// What one gear counts.
#[derive(Clone, Debug)]
pub(crate) struct GearMetrics {
    all: Arc<Metrics>,
    encoded: Histogram,
    part: Histogram,
}

impl GearMetrics {
    pub(crate) fn encoded(&self, received: Instant) {
        self.encoded.observe(self.all.since(received));
    }

    pub(crate) fn part(&self, received: Instant) {
        self.part.observe(self.all.since(received));
    }

    pub(crate) fn cpu(&self) -> &Cpu {
        &self.all.cpu
    }

    pub(crate) fn error(&self) {
        self.all.encoder_errors.inc();
    }

    /// A frame of the source's sound was decoded and could not be converted.
    pub(crate) fn audio_error(&self) {
        self.all.audio_decode_errors.inc();
    }
}
