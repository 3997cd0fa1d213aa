//! Fixed input gives fixed bytes (C-53), and other people's bytes read as they should.

use bytes::Bytes;
use headwater_cmaf::check::{Place, TrackCheck};
use headwater_cmaf::read::{InitSegment, chunks};
use headwater_cmaf::{Chunk, ChunkError, FourCc, Sample, audio_init, sequence_number, video_init};
use headwater_media::{
    AacConfig, Ac3Config, AudioConfig, AvcConfig, CodecConfig, Colour, FlacConfig, MediaSequence, OpusConfig,
    PartIndex, TrackKind, VideoCoding, VideoConfig, VideoInput, VideoRange,
};

const RECORD: &[u8] = include_bytes!("testdata/x264-360p30-bt709.avcc");
const FFMPEG: &[u8] = include_bytes!("testdata/ffmpeg-5.1-cmaf.mp4");

fn video_config() -> VideoConfig {
    AvcConfig::parse(RECORD).expect("golden").into()
}

fn audio_config() -> AudioConfig {
    AudioConfig::Aac(AacConfig::lc(48_000, 2).expect("48 kHz stereo exists"))
}

fn sample(data: &'static [u8], duration: u32, composition_offset: i32, sync: bool) -> Sample {
    Sample { data: Bytes::from_static(data), duration, composition_offset, sync }
}

#[test]
fn the_video_init_segment_has_these_bytes() {
    let init = video_init(&video_config(), Some(730_000));
    assert_eq!(init.data, &include_bytes!("testdata/init-video.mp4")[..]);
    assert_eq!((&*init.codecs, init.resolution), ("avc1.64001e", Some((640, 360))));
}

#[test]
fn the_audio_init_segment_has_these_bytes() {
    let init = audio_init(&audio_config()).expect("AAC has a sample entry");
    assert_eq!(init.data, &include_bytes!("testdata/init-audio.mp4")[..]);
    assert_eq!((&*init.codecs, init.resolution), ("mp4a.40.2", None));
}

#[test]
fn init_segments_say_what_went_in() {
    let video = InitSegment::parse(&video_init(&video_config(), None).data).unwrap();
    let brands = ["iso6", "cmfc", "cmf2", "cfsd", "cfhd", "chdf"];
    assert_eq!(video.major_brand, FourCc(*b"cmf2"));
    assert_eq!(video.brands.iter().map(ToString::to_string).collect::<Vec<_>>(), brands);
    let [track] = &video.tracks[..] else { panic!("one track") };
    assert_eq!((track.id, track.timescale.units_per_second(), track.sample_entry), (1, 120_000, FourCc(*b"avc1")));
    assert_eq!((track.display_size, track.coded_size), ((640, 360), Some((640, 360))));
    assert_eq!(track.colour, Some(Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false }));
    assert_eq!((track.pixel_aspect, track.has_edit_list), (None, false));
    let Some(CodecConfig::Video(config)) = &track.config else { panic!("a video configuration") };
    assert_eq!(**config, video_config());

    let audio = InitSegment::parse(&audio_init(&audio_config()).unwrap().data).unwrap();
    let [track] = &audio.tracks[..] else { panic!("one track") };
    assert_eq!((track.timescale.units_per_second(), track.display_size), (48_000, (0, 0)));
    assert_eq!(track.config, Some(CodecConfig::Audio(audio_config().into())));
}

/// The payload of the box `kind` that an init segment ends its sample entry with.
fn configuration_box<'a>(data: &'a [u8], kind: &[u8; 4]) -> &'a [u8] {
    let at = data.windows(4).position(|window| window == kind).expect("the box is there") - 4;
    let size = u32::from_be_bytes(data[at..at + 4].try_into().expect("four bytes")) as usize;
    &data[at + 8..at + size]
}

/// Configuration, sample entry, CODECS, and the box in the entry with what it holds.
type Case<'a> = (AudioConfig, &'a [u8; 4], &'a str, &'a [u8; 4], &'a [u8]);

/// C-40, and the bindings of Opus, FLAC, AC-3 and E-AC-3 to ISO BMFF.
#[test]
fn sound_of_every_codec_has_its_sample_entry_and_codecs_string() {
    let stereo = b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0";
    let surround = b"OpusHead\x01\x06\0\0\x80\xBB\0\0\xFF\xFE\x01\x04\x02\x00\x04\x01\x02\x03\x05";
    let mut stream_info = [0; 34];
    stream_info[..14].copy_from_slice(&[0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x17, 0x70, 0x03, 0x70]);
    let flac = FlacConfig::parse(&Bytes::copy_from_slice(&stream_info)).unwrap();
    assert_eq!((flac.sample_rate, flac.bits), (96_000, 24));
    let opus = |head: &[u8]| AudioConfig::Opus(OpusConfig::parse(head, &[0xFC, 0xFF, 0xFE]).unwrap());
    let ac3 = |frame: &[u8]| AudioConfig::Ac3(Ac3Config::parse(frame).unwrap());
    let cases: [Case; 5] = [
        (opus(stereo), b"Opus", "opus", b"dOps", &[0, 2, 0, 0, 0, 0, 0xBB, 0x80, 0, 0, 0]),
        (
            opus(surround),
            b"Opus",
            "opus",
            b"dOps",
            &[0, 6, 0, 0, 0, 0, 0xBB, 0x80, 0xFE, 0xFF, 1, 4, 2, 0, 4, 1, 2, 3, 5],
        ),
        (
            AudioConfig::Flac(flac),
            b"fLaC",
            "fLaC",
            b"dfLa",
            &[&[0, 0, 0, 0, 0x80, 0, 0, 34][..], &stream_info].concat(),
        ),
        // 192 kbit/s, 2/0: fscod 0, bsid 8, bsmod 0, acmod 2, no LFE, rate code 10.
        (ac3(&[0x0B, 0x77, 0, 0, 0x14, 0x40, 0x43, 0]), b"ac-3", "ac-3", b"dac3", &[0x10, 0x11, 0x40]),
        // 96 kbit/s, bsid 16, 2/0.
        (ac3(&[0x0B, 0x77, 0, 191, 0x34, 0x80, 0, 0]), b"ec-3", "ec-3", b"dec3", &[0x03, 0x00, 0x20, 0x04, 0x00]),
    ];
    for (config, entry, codecs, kind, expected) in cases {
        let init = audio_init(&config).unwrap();
        assert_eq!(&*init.codecs, codecs);
        assert_eq!(configuration_box(&init.data, kind), expected, "{codecs}");
        let read = InitSegment::parse(&init.data).unwrap();
        let track = &read.tracks[0];
        assert_eq!((track.sample_entry, track.timescale.units_per_second()), (FourCc(*entry), config.sample_rate()));
        let Some(CodecConfig::Audio(found)) = &track.config else { panic!("{codecs} has no configuration") };
        match (&**found, &config) {
            // What a player would skip is not written.
            (AudioConfig::Opus(found), AudioConfig::Opus(config)) => {
                assert_eq!(*found, OpusConfig { pre_skip: 0, ..config.clone() });
            }
            (found, config) => assert_eq!(found, config),
        }
    }
    let mp3 = headwater_media::Mp3Config { sample_rate: 44_100, channels: 2, frame_samples: 1152 };
    assert_eq!(audio_init(&AudioConfig::Mp3(mp3)), None);
}

#[test]
fn pixels_that_are_not_square_are_said_to_be_so() {
    let record = include_bytes!("../../media/src/testdata/x264-576i25-anamorphic.avcc");
    let init = video_init(&AvcConfig::parse(record).unwrap().into(), None);
    let read = InitSegment::parse(&init.data).unwrap();
    let track = &read.tracks[0];
    assert_eq!((track.pixel_aspect, track.coded_size), (Some((64, 45)), Some((720, 576))));
    assert_eq!((track.display_size, init.resolution), ((1024, 576), Some((1024, 576))));
    assert!(!read.brands.contains(&FourCc(*b"cfsd")), "media profiles are progressive");
}

/// C-37 to C-39: each codec has its sample entry, its record and its name, and is read back.
#[test]
fn other_codecs_have_sample_entries_of_their_own() {
    let of_record = |coding, record: &'static [u8]| {
        let mut input = VideoInput::new(coding);
        input.set_record(Bytes::from_static(record)).unwrap();
        input
    };
    let hevc = of_record(VideoCoding::Hevc, include_bytes!("../../media/src/testdata/x265-main10-pq.hvcc"));
    let av1 = of_record(VideoCoding::Av1, include_bytes!("../../media/src/testdata/svtav1-main.av1c"));
    let mut vp9 = of_record(VideoCoding::Vp9, &[0, 11, 0x82, 1, 1, 1, 0, 0]);
    // The front of a keyframe, 322x182.
    let keyframe = Bytes::from_static(&[0x82, 0x49, 0x83, 0x42, 0x00, 0x14, 0x10, 0x0B, 0x50, 0x00]);
    assert!(vp9.access_unit(&keyframe).unwrap().is_some());
    for (input, entry, record_box, codecs, shown) in [
        (hevc, b"hvc1", b"hvcC", "hvc1.2.4.L60.90", (427, 180)),
        (av1, b"av01", b"av1C", "av01.0.00M.08", (322, 182)),
        (vp9, b"vp09", b"vpcC", "vp09.00.11.08", (322, 182)),
    ] {
        let config = input.config().unwrap();
        let init = video_init(config, None);
        assert_eq!((&*init.codecs, init.resolution), (codecs, Some(shown)));
        assert_eq!(init.range, if entry == b"hvc1" { VideoRange::Pq } else { VideoRange::Sdr });
        let written = [&record_box[..], if entry == b"vp09" { &[1, 0, 0, 0] } else { &[] }, &config.record()].concat();
        assert!(init.data.windows(written.len()).any(|bytes| bytes == written), "{codecs}");
        let read = InitSegment::parse(&init.data).unwrap();
        assert_eq!(read.brands.iter().map(ToString::to_string).collect::<Vec<_>>(), ["iso6", "cmfc", "cmf2"]);
        let [track] = &read.tracks[..] else { panic!("one track") };
        assert_eq!((track.sample_entry, track.colour), (FourCc(*entry), config.colour()));
        assert_eq!(track.coded_size, Some(config.size()));
        assert_eq!(track.config, Some(CodecConfig::Video(config.clone())));
    }
}

/// I P B of cmaf.md, C-22, at 30 fps, opening a segment: `styp`, `trun` 0xA05.
#[test]
fn a_chunk_with_an_idr_and_reordering_has_these_bytes() {
    let samples = [
        sample(&[0, 0, 0, 1, 0x65], 4000, 0, true),
        sample(&[0, 0, 0, 2, 0x41, 0x9A], 4000, 4000, false),
        sample(&[0, 0, 0, 1, 0x01], 4000, -4000, false),
    ];
    let chunk = Chunk {
        kind: TrackKind::Video,
        sequence_number: 65,
        base_decode_time: 0x1_0000_0000,
        opens_segment: true,
        samples: &samples,
    };
    #[rustfmt::skip]
    let expected: &[&[u8]] = &[
        &[0, 0, 0, 36], b"styp", b"cmfs", &[0; 4], b"cmfscmffcmflcmfciso6",
        &[0, 0, 0, 124], b"moof",
        &[0, 0, 0, 16], b"mfhd", &[0, 0, 0, 0], &[0, 0, 0, 65],
        &[0, 0, 0, 100], b"traf",
        &[0, 0, 0, 24], b"tfhd", &[0, 2, 0, 0x28], &[0, 0, 0, 1], &[0, 0, 0x0F, 0xA0], &[1, 1, 0, 0],
        &[0, 0, 0, 20], b"tfdt", &[1, 0, 0, 0], &[0, 0, 0, 1, 0, 0, 0, 0],
        &[0, 0, 0, 48], b"trun", &[1, 0, 0x0A, 0x05], &[0, 0, 0, 3], &[0, 0, 0, 132], &[2, 0, 0, 0],
        &[0, 0, 0, 5], &[0, 0, 0, 0],
        &[0, 0, 0, 6], &[0, 0, 0x0F, 0xA0],
        &[0, 0, 0, 5], &[0xFF, 0xFF, 0xF0, 0x60],
        &[0, 0, 0, 24], b"mdat",
        &[0, 0, 0, 1, 0x65], &[0, 0, 0, 2, 0x41, 0x9A], &[0, 0, 0, 1, 0x01],
    ];
    assert_eq!(chunk.write().unwrap(), expected.concat());
}

#[test]
fn an_audio_chunk_has_these_bytes() {
    let samples = [sample(&[0x21, 0x10], 1024, 0, true), sample(&[0x21], 1024, 0, true)];
    let chunk = Chunk {
        kind: TrackKind::Audio,
        sequence_number: 2,
        base_decode_time: 48_128,
        opens_segment: false,
        samples: &samples,
    };
    #[rustfmt::skip]
    let expected: &[&[u8]] = &[
        &[0, 0, 0, 104], b"moof",
        &[0, 0, 0, 16], b"mfhd", &[0, 0, 0, 0], &[0, 0, 0, 2],
        &[0, 0, 0, 80], b"traf",
        &[0, 0, 0, 24], b"tfhd", &[0, 2, 0, 0x28], &[0, 0, 0, 1], &[0, 0, 4, 0], &[2, 0, 0, 0],
        &[0, 0, 0, 20], b"tfdt", &[1, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0xBC, 0],
        &[0, 0, 0, 28], b"trun", &[0, 0, 2, 1], &[0, 0, 0, 2], &[0, 0, 0, 112], &[0, 0, 0, 2], &[0, 0, 0, 1],
        &[0, 0, 0, 11], b"mdat", &[0x21, 0x10, 0x21],
    ];
    assert_eq!(chunk.write().unwrap(), expected.concat());
}

#[test]
fn trun_has_only_the_fields_that_are_needed() {
    let flags = |kind, samples: &[Sample]| {
        let chunk = Chunk { kind, sequence_number: 1, base_decode_time: 0, opens_segment: false, samples };
        let read = chunks(&chunk.write().unwrap(), &[]).unwrap();
        read[0].runs[0].trun_flags[0]
    };
    let (idr, p, b) = (sample(b"i", 4000, 0, true), sample(b"p", 4000, 0, false), sample(b"b", 4000, 8000, false));
    let late = sample(b"p", 8000, 0, false);
    let video =
        |samples: &[&Sample]| flags(TrackKind::Video, &samples.iter().map(|s| (*s).clone()).collect::<Vec<_>>());
    assert_eq!(video(&[&idr, &p, &b]), 0xA05);
    assert_eq!(video(&[&p, &b]), 0xA01);
    assert_eq!(video(&[&idr, &p]), 0x205);
    assert_eq!(video(&[&p, &p]), 0x201);
    assert_eq!(video(&[&p, &late]), 0x301);
    assert_eq!(video(&[&idr, &p, &idr]), 0x601, "0x004 and 0x400 exclude each other");
    assert_eq!(flags(TrackKind::Audio, &[idr.clone(), p]), 0x201);
    assert_eq!(flags(TrackKind::Audio, &[idr, late]), 0x301);
}

/// The budget of C-29.
#[test]
fn overhead_is_108_bytes_and_8_per_sample() {
    for (kind, fixed, per_sample) in [(TrackKind::Video, 108, 8), (TrackKind::Audio, 104, 4)] {
        for count in [1, 15, 24] {
            let mut samples = vec![sample(b"x", 1, 1, false); count];
            samples[0].sync = true;
            let chunk =
                Chunk { kind, sequence_number: 1, base_decode_time: 0, opens_segment: false, samples: &samples };
            assert_eq!(chunk.write().unwrap().len() - count, fixed + per_sample * count);
        }
    }
}

#[test]
fn chunks_without_samples_or_with_empty_ones_are_refused() {
    let chunk = |samples| Chunk {
        kind: TrackKind::Audio,
        sequence_number: 1,
        base_decode_time: 0,
        opens_segment: false,
        samples,
    };
    assert_eq!(chunk(&[]).write(), Err(ChunkError::NoSamples));
    let samples = [sample(b"x", 1, 0, true), sample(b"", 1, 0, true)];
    assert_eq!(chunk(&samples).write().unwrap_err().to_string(), "sample 1 of the chunk has no bytes");
}

#[test]
fn sequence_numbers_follow_from_the_address_and_wrap() {
    let number = |msn, part| sequence_number(MediaSequence(msn), PartIndex(part));
    assert_eq!((number(0, 0), number(1, 0), number(1, 9)), (1, 65, 74));
    assert_eq!((number((1 << 26) - 1, 63), number(u64::MAX, 64)), (0, 1));
}

/// C-23: 30 samples, `tfhd` of 32 bytes, `trun` 0xA05.
#[test]
fn ffmpegs_chunk_reads_as_the_checklists_example() {
    let init = InitSegment::parse(FFMPEG).unwrap();
    let read = chunks(FFMPEG, &init.tracks).unwrap();
    let run = &read[0].runs[0];
    assert_eq!((read.len(), read[0].moof.len(), run.data_offset), (1, 348, Some(356)));
    assert_eq!((run.tfhd_flags, &run.trun_flags[..], run.samples.len()), (0x02_003A, &[0xA05][..], 30));
    assert_eq!((run.duration(), init.tracks[0].timescale.units_per_second()), (15_360, 15_360));
    assert!(run.samples[0].is_sync() && run.samples[1..].iter().all(|sample| !sample.is_sync()));
    let bytes: usize = run.samples.iter().map(|sample| sample.data(FFMPEG).unwrap().len()).sum();
    assert_eq!(bytes, read[0].mdat.len());
}

#[test]
fn ffmpegs_samples_rewritten_by_us_keep_all_rules() {
    let init = InitSegment::parse(FFMPEG).unwrap();
    let Some(CodecConfig::Video(config)) = &init.tracks[0].config else { panic!("a video configuration") };
    let run = chunks(FFMPEG, &init.tracks).unwrap().remove(0).runs.remove(0);
    let samples: Vec<Sample> = run
        .samples
        .iter()
        .map(|read| {
            let payload = Bytes::copy_from_slice(read.data(FFMPEG).unwrap());
            let unit = config.access_unit(&payload).unwrap();
            let composition_offset = i32::try_from(read.composition_offset).unwrap() * 4000 / 512;
            Sample { data: unit.data, duration: 4000, composition_offset, sync: unit.idr }
        })
        .collect();
    let mut check = TrackCheck::new(&video_init(config, None).data).unwrap();
    let mut segment = Vec::new();
    let mut parts = Vec::new();
    for (part, samples) in (0u32..).zip(samples.chunks(6)) {
        let chunk = Chunk {
            kind: TrackKind::Video,
            sequence_number: sequence_number(MediaSequence(1), PartIndex(part)),
            base_decode_time: u64::from(part) * 24_000,
            opens_segment: part == 0,
            samples,
        };
        let data = chunk.write().unwrap();
        check.chunk(if part == 0 { Place::First } else { Place::Inside }, &data);
        segment.extend_from_slice(&data);
        parts.push(data);
    }
    check.segment(parts.iter().map(|part| &part[..]), &segment);
    assert_eq!(check.findings(), []);
    assert_eq!(check.end(), Some(120_000));

    let read = chunks(&segment, &init.tracks).unwrap();
    assert_eq!(read.len(), 5);
    let rewritten: Vec<&[u8]> =
        read.iter().flat_map(|chunk| &chunk.runs[0].samples).map(|sample| sample.data(&segment).unwrap()).collect();
    assert!(rewritten.iter().zip(&samples).all(|(read, written)| *read == written.data));
}
