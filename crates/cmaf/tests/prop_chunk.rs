//! What was written reads back, and nothing makes the reader panic.

use bytes::Bytes;
use headwater_cmaf::check::{Place, TrackCheck};
use headwater_cmaf::read::{InitSegment, chunks};
use headwater_cmaf::{Chunk, Sample, video_init};
use headwater_media::{AvcConfig, TrackKind};
use proptest::prelude::*;

const FFMPEG: &[u8] = include_bytes!("testdata/ffmpeg-5.1-cmaf.mp4");
const RECORD: &[u8] = include_bytes!("testdata/x264-360p30-bt709.avcc");

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let data = prop::collection::vec(any::<u8>(), 1..50).prop_map(Bytes::from);
    let sample = (data, 0u32..100_000, -100_000i32..100_000, any::<bool>())
        .prop_map(|(data, duration, composition_offset, sync)| Sample { data, duration, composition_offset, sync });
    prop::collection::vec(sample, 1..20)
}

fn read_everything(data: &[u8]) {
    let tracks = InitSegment::parse(data).map(|init| init.tracks).unwrap_or_default();
    for chunk in chunks(data, &tracks).unwrap_or_default() {
        for run in &chunk.runs {
            let _ = run.samples.iter().filter(|sample| sample.data(data).is_some()).count();
        }
    }
    for init in [FFMPEG, data] {
        if let Ok(mut check) = TrackCheck::new(init) {
            check.chunk(Place::First, data);
            check.chunk(Place::Inside, data);
            check.segment([data], &data[data.len() / 2..]);
        }
    }
}

proptest! {
    #[test]
    fn a_chunk_reads_back_as_it_was_written(
        samples in samples(), video: bool, sequence_number: u32, base_decode_time: u64, opens_segment: bool,
    ) {
        let kind = if video { TrackKind::Video } else { TrackKind::Audio };
        let chunk = Chunk { kind, sequence_number, base_decode_time, opens_segment, samples: &samples };
        let data = chunk.write().unwrap();
        let read = chunks(&data, &[]).unwrap().remove(0);
        prop_assert_eq!(read.sequence_number, sequence_number);
        prop_assert_eq!(read.segment_brands.is_empty(), !opens_segment);
        let run = &read.runs[0];
        prop_assert_eq!(run.base_decode_time, base_decode_time);
        prop_assert_eq!(run.samples.len(), samples.len());
        for (read, written) in run.samples.iter().zip(&samples) {
            prop_assert_eq!(read.data(&data), Some(&written.data[..]));
            prop_assert_eq!(read.duration, written.duration);
            prop_assert_eq!(read.is_sync(), written.sync || !video);
            prop_assert_eq!(read.composition_offset, if video { written.composition_offset.into() } else { 0 });
        }
    }

    #[test]
    fn the_reader_survives_damaged_files(
        changes in prop::collection::vec((0..FFMPEG.len(), any::<u8>()), 1..8), length in 0..=FFMPEG.len(),
    ) {
        let mut data = FFMPEG.to_vec();
        for (at, byte) in changes {
            data[at] = byte;
        }
        read_everything(&data);
        read_everything(&data[..length]);
    }

    /// Most changes hit pictures; these hit the headers.
    #[test]
    fn the_reader_survives_damaged_headers(changes in prop::collection::vec((0..1134usize, any::<u8>()), 1..4)) {
        let mut data = FFMPEG.to_vec();
        for (at, byte) in changes {
            data[at] = byte;
        }
        read_everything(&data);
    }

    #[test]
    fn the_reader_survives_any_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&data);
    }

    /// The init segment is a function of the configuration: its name must not change from worker to worker.
    #[test]
    fn equal_configurations_have_equal_init_segments(bitrate in any::<Option<u32>>()) {
        let init = || video_init(&AvcConfig::parse(RECORD).unwrap().into(), bitrate);
        prop_assert_eq!(init(), init());
    }
}
