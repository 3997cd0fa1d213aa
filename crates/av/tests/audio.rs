//! Decoder, resampler and encoder of sound together, on clicks: a click's place tells whether anything is late.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::cast_precision_loss, reason = "small numbers of a test")]

use headwater_av::*;
use headwater_media::{AacConfig, AudioConfig, Mp3Config};
use proptest::prelude::*;

/// Silence with a click at each of `clicks`, in samples.
fn clicks(channels: usize, length: usize, clicks: &[usize]) -> Vec<Vec<f32>> {
    let mut samples = vec![0.0; length];
    for click in clicks {
        // A click of one sample is nothing that AAC keeps: a short, decaying burst is.
        for (offset, sample) in samples[*click..*click + 64].iter_mut().enumerate() {
            *sample = 0.9 * (1.0 - offset as f32 / 64.0) * if offset % 16 < 8 { 1.0 } else { -1.0 };
        }
    }
    vec![samples; channels]
}

fn encode(settings: AacEncoderConfig, sound: &[Vec<f32>]) -> (AacConfig, Vec<CodedAudio>) {
    let mut encoder = AacEncoder::new(settings).unwrap();
    let mut coded = Vec::new();
    for start in (0..sound[0].len() - AAC_FRAME + 1).step_by(AAC_FRAME) {
        let frame =
            Pcm::from_channels(sound.iter().map(|channel| channel[start..start + AAC_FRAME].to_vec()).collect());
        encoder.send(&frame, i64::try_from(start).unwrap()).unwrap();
        coded.extend(std::iter::from_fn(|| encoder.receive().unwrap()));
    }
    (AacConfig::clone(encoder.config()), coded)
}

/// Decodes and resamples; the first sample is of time `coded[0].start`.
fn decode(config: &AacConfig, coded: &[CodedAudio], rate: u32, channels: u8) -> Pcm {
    let mut decoder = AudioDecoder::new(&AudioConfig::Aac(config.clone())).unwrap();
    let mut resampler: Option<Resampler> = None;
    let mut out = Pcm::new(usize::from(channels));
    for frame in coded {
        let sound = decoder.decode(&frame.data).unwrap().unwrap();
        let resampler = resampler.get_or_insert_with(|| Resampler::new(&sound, rate, channels).unwrap());
        resampler.push(&sound, &mut out).unwrap();
    }
    resampler.unwrap().finish(&mut out).unwrap();
    out
}

/// Where clicks begin: the first sample of half the greatest level after a pause.
fn find(samples: &[f32]) -> Vec<usize> {
    let loud = samples.iter().copied().map(f32::abs).fold(0.0, f32::max) / 2.0;
    let mut found: Vec<usize> = Vec::new();
    let mut last = None;
    for (index, sample) in samples.iter().enumerate().filter(|(_, sample)| sample.abs() >= loud) {
        if last.is_none_or(|last| index - last > 2000) {
            found.push(index);
        }
        last = Some(index);
        let _ = sample;
    }
    found
}

#[test]
fn an_encoded_click_is_heard_when_it_was_made() {
    for (sample_rate, channels, bitrate_bps) in [(48_000, 2, 128_000), (44_100, 1, 40_000)] {
        let made = [10_000, 25_000, 40_321];
        let settings = AacEncoderConfig { sample_rate, channels, bitrate_bps };
        let (config, coded) = encode(settings, &clicks(channels.into(), 60_000, &made));
        assert_eq!((config.sample_rate, config.channels, config.object_type), (sample_rate, channels, 2));
        assert!(config.passes_through());
        assert_eq!(coded[0].start, -1024);
        assert!(coded.windows(2).all(|pair| pair[1].start - pair[0].start == 1024));
        let out = decode(&config, &coded, sample_rate, channels);
        let heard = find(&out.channels()[0]);
        assert_eq!(heard.len(), 3, "{heard:?}");
        for (heard, made) in heard.iter().zip(made) {
            assert!((heard - 1024).abs_diff(made) <= 8, "{heard} {made}");
        }
    }
}

/// What an encoder gives out is what the next can be fed with: two frames before the first one that counts do.
#[test]
fn an_encoder_that_takes_over_goes_on_with_the_same_frames() {
    let settings = AacEncoderConfig { sample_rate: 48_000, channels: 2, bitrate_bps: 128_000 };
    let tone: Vec<f32> = (0..60_000).map(|sample| 0.5 * (sample as f32 * 0.06).sin()).collect();
    let sound = vec![tone.clone(), tone];
    let (config, first) = encode(settings, &sound);
    let from = 20 * AAC_FRAME;
    let tail: Vec<Vec<f32>> = sound.iter().map(|channel| channel[from - 2 * AAC_FRAME..].to_vec()).collect();
    let (other, mut second) = encode(settings, &tail);
    assert_eq!(config, other);
    second.iter_mut().for_each(|frame| frame.start += i64::try_from(from - 2 * AAC_FRAME).unwrap());
    let from = i64::try_from(from).unwrap();
    let joined: Vec<CodedAudio> = first
        .iter()
        .filter(|frame| frame.start < from)
        .chain(second.iter().filter(|frame| frame.start >= from))
        .cloned()
        .collect();
    assert!(joined.windows(2).all(|pair| pair[1].start - pair[0].start == 1024));
    let out = decode(&config, &joined, 48_000, 2);
    for (sample, (heard, made)) in out.channels()[0][1024..].iter().zip(&sound[0]).enumerate().skip(2048) {
        assert!((heard - made).abs() < 0.05, "sample {sample}: {heard} for {made}");
    }
}

#[test]
fn other_rates_and_layouts_keep_their_time() {
    for (rate, channels, out_rate) in
        [(22_050, 2, 44_100), (32_000, 1, 48_000), (48_000, 6, 48_000), (96_000, 2, 48_000), (7350, 1, 48_000)]
    {
        let made = [8000, 20_011];
        let settings = AacEncoderConfig { sample_rate: rate, channels, bitrate_bps: 32_000 * u32::from(channels) };
        let (config, coded) = encode(settings, &clicks(channels.into(), 40_000, &made));
        let out = decode(&config, &coded, out_rate, 2);
        let scale = |sample: usize| sample as f64 * f64::from(out_rate) / f64::from(rate);
        let length = scale(coded.len() * AAC_FRAME);
        assert!((out.len() as f64 - length).abs() <= 2.0, "{} {length}", out.len());
        let heard = find(&out.channels()[1]);
        assert_eq!(heard.len(), 2, "{rate}: {heard:?}");
        for (heard, made) in heard.into_iter().zip(made) {
            let error = heard as f64 - scale(made + 1024);
            assert!(error.abs() < f64::from(out_rate) / 1000.0, "{rate} Hz: {error} samples");
        }
    }
}

/// Also where the rate stays the same, and nothing was resampled before.
#[test]
fn a_run_is_stretched_by_as_many_samples_as_were_asked_for() {
    for (rate, more) in [(48_000, 96), (48_000, -96), (22_050, 96)] {
        let settings = AacEncoderConfig { sample_rate: rate, channels: 2, bitrate_bps: 64_000 };
        let (config, coded) = encode(settings, &clicks(2, 200_000, &[8000]));
        let mut decoder = AudioDecoder::new(&AudioConfig::Aac(config)).unwrap();
        let mut resampler: Option<Resampler> = None;
        let mut out = Pcm::new(2);
        for (number, frame) in coded.iter().enumerate() {
            let sound = decoder.decode(&frame.data).unwrap().unwrap();
            let resampler = resampler.get_or_insert_with(|| Resampler::new(&sound, 48_000, 2).unwrap());
            resampler.push(&sound, &mut out).unwrap();
            if number == 10 {
                resampler.stretch(more, 96_000).unwrap();
            }
            let inside = (out.len() as f64) + resampler.delay() as f64;
            let pushed = ((number + 1) * AAC_FRAME) as f64 * 48_000.0 / f64::from(rate);
            assert!((inside - pushed).abs() < 100.0, "{rate}: {inside} of {pushed}");
        }
        resampler.unwrap().finish(&mut out).unwrap();
        let expected = (coded.len() * AAC_FRAME) as f64 * 48_000.0 / f64::from(rate) + f64::from(more);
        assert!((out.len() as f64 - expected).abs() <= 3.0, "{rate}: {} for {expected}", out.len());
    }
}

#[test]
fn damaged_frames_cost_themselves() {
    let settings = AacEncoderConfig { sample_rate: 48_000, channels: 2, bitrate_bps: 128_000 };
    let (config, coded) = encode(settings, &clicks(2, 40_000, &[3000, 30_000]));
    let mut decoder = AudioDecoder::new(&AudioConfig::Aac(config)).unwrap();
    let mut errors = 0;
    for (number, frame) in coded.iter().enumerate() {
        let broken: Vec<u8> = frame.data.iter().map(|byte| byte ^ 0xA5).collect();
        let data = if number % 5 == 2 { &broken[..] } else { &frame.data[..] };
        errors += usize::from(decoder.decode(data).is_err());
    }
    assert!((1..=coded.len() / 5 + 1).contains(&errors), "{errors} of {}", coded.len());
    assert!(decoder.decode(&[]).is_err());
    assert!(decoder.decode(&coded[3].data).unwrap().is_some());
}

#[test]
fn an_encoder_refuses_what_it_cannot_do() {
    let settings = AacEncoderConfig { sample_rate: 12_345, channels: 2, bitrate_bps: 128_000 };
    assert!(matches!(AacEncoder::new(settings), Err(Error::Settings { .. })));
    let mut encoder = AacEncoder::new(AacEncoderConfig { sample_rate: 48_000, ..settings }).unwrap();
    assert!(encoder.send(&Pcm::new(2), 0).is_err());
}

fn configurations() -> impl Strategy<Value = AudioConfig> {
    let records = prop::collection::vec(any::<u8>(), 2..24);
    let aac = records.prop_filter_map("a configuration that is taken", |record| {
        let config = AudioConfig::Aac(AacConfig::parse(record.into()).ok()?);
        config.is_decodable().then_some(config)
    });
    let mp3 = Just(AudioConfig::Mp3(Mp3Config { sample_rate: 44_100, channels: 2, frame_samples: 1152 }));
    prop_oneof![4 => aac, 1 => mp3]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a publisher sends, it is decoded, refused, or silent.
    #[test]
    fn any_bytes_are_decoded_or_refused(
        config in configurations(),
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 1..20),
    ) {
        let Ok(mut decoder) = AudioDecoder::new(&config) else { return Ok(()) };
        let mut out = Pcm::new(2);
        for frame in frames {
            if let Ok(Some(sound)) = decoder.decode(&frame)
                && let Ok(mut resampler) = Resampler::new(&sound, 48_000, 2)
            {
                let _ = resampler.push(&sound, &mut out);
                let _ = resampler.finish(&mut out);
            }
        }
        prop_assert!(out.len() <= 20 * 48_000);
    }
}

/// A frame of silence in FLAC whose header says `hertz`.
fn flac_frame(hertz: u16) -> Vec<u8> {
    // 4608 samples, the rate behind the number, 2 channels of 16 bits, frame 0.
    let mut frame = vec![0xFF, 0xF8, 0x5D, 0x18, 0];
    frame.extend(hertz.to_be_bytes());
    let check = frame.iter().fold(0_u8, |check, byte| {
        (0..8).fold(check ^ byte, |check, _| (check << 1) ^ if check & 0x80 == 0 { 0 } else { 7 })
    });
    frame.push(check);
    // Two constant subframes, and a sum that nobody checks.
    frame.extend([0, 0, 1, 0, 0, 1, 0, 0]);
    frame
}

/// A few bytes of it would be minutes of sound.
#[test]
fn a_frame_of_flac_with_a_rate_of_its_own_is_damaged() {
    let mut info = vec![0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0x02, 0xF0];
    info.resize(34, 0);
    let config = AudioConfig::Flac(headwater_media::FlacConfig::parse(&info.into()).unwrap());
    let mut decoder = AudioDecoder::new(&config).unwrap();
    for hertz in [2, 8000] {
        let error = decoder.decode(&flac_frame(hertz)).unwrap_err().to_string();
        assert!(error.contains(&format!("a frame of {hertz} Hz in sound of 48000 Hz")), "{error}");
        assert_eq!(decoder.decode(&flac_frame(48_000)).unwrap().unwrap().len(), 4608);
    }
}
