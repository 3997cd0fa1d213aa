//! What a transcoder makes of a source's sound, from stamped frames to parts in the log.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod stage;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_media::{AacConfig, AudioConfig, RenditionName};
use headwater_router::AudioGear;
use headwater_segmenter::Profile;
use stage::Stage;
use stage::clip::{Clip, Recipe};
use stage::sound::{self, Made, Sound, clicks, clicks_in_mp4};

/// Pictures are only there to make parts. Sound may begin a little before them.
fn pictures(seconds: u32) -> Clip {
    let mut clip = Recipe::new(64, 36, seconds * 30).make(&format!("for-sound-{seconds}"));
    clip.units.iter_mut().for_each(|unit| unit.dts_millis += 1000);
    clip
}

fn stage(sound: &Sound) -> Stage {
    let mut stage = Stage::new(Profile::Low, Vec::new());
    stage.audio = vec![AudioGear::main(&sound.config), AudioGear::low(&sound.config)];
    stage
}

fn begin(stage: &mut Stage, pictures: &Clip, sound: &Sound) {
    stage.begin(pictures);
    stage.timeline.set_audio_config(sound.config.clone());
}

async fn end(stage: &mut Stage) {
    stage.pass(Duration::from_secs(2)).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
}

/// A whole session of one publisher and one transcoder.
async fn play(stage: &mut Stage, pictures: &Clip, sound: &Sound) {
    let worker = stage.worker();
    begin(stage, pictures, sound);
    publish_whole(stage, pictures, sound).await;
    end(stage).await;
    worker.stop().await;
}

/// In front of a transcoder that is to make all of it: one that begins late begins at the newest cut, so the rest waits
/// until the first parts are there.
async fn publish_whole(stage: &mut Stage, pictures: &Clip, sound: &Sound) {
    let mut frames = sound.at(pictures.units[0].dts_millis);
    let (first, rest) = pictures.units.split_at(30);
    stage.publish_with(first, &mut frames).await;
    wait_for_parts(stage, 1).await;
    stage.publish_with(rest, &mut frames).await;
}

fn main_and_low(stage: &Stage) -> [Made; 2] {
    [sound::made(stage, &RenditionName::audio()), sound::made(stage, &RenditionName::audio_low())]
}

/// Every click is where it was made, but for those of which `silent` says that nothing is heard.
#[track_caller]
fn expect_clicks(made: &Made, seconds: u32, silent: impl Fn(f64) -> bool) {
    let heard = made.clicks();
    let all = (0..seconds * 2).map(|number| 0.25 + f64::from(number) * 0.5);
    let expected: Vec<f64> = all.filter(|time| !silent(*time)).collect();
    assert_eq!(heard.len(), expected.len(), "{}: {heard:?}", made.gear.name);
    for (heard, made_at) in heard.iter().zip(expected) {
        // Half a frame of AAC at 48 kHz.
        assert!((heard - made_at).abs() < 0.0106, "{}: {heard} for {made_at}", made.gear.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_codec_rate_and_layout_becomes_aac_lc_in_time_with_the_pictures() {
    let pictures = pictures(5);
    for (name, options, rate, low_channels) in [
        ("22050", &["-c:a", "aac", "-ar", "22050", "-ac", "2"][..], 44_100, 2),
        ("32000-mono", &["-c:a", "aac", "-ar", "32000", "-ac", "1"], 48_000, 1),
        ("5.1", &["-c:a", "aac", "-ar", "48000", "-ac", "6"], 48_000, 2),
        ("7.1", &["-c:a", "aac", "-ar", "44100", "-ac", "8"], 44_100, 2),
        ("96000", &["-c:a", "aac", "-ar", "96000", "-ac", "2"], 48_000, 2),
        ("7350-mono", &["-c:a", "aac", "-ar", "7350", "-ac", "1"], 48_000, 2),
        ("mp3", &["-c:a", "libmp3lame", "-ar", "44100", "-ac", "2"], 44_100, 2),
        ("mp3-mono", &["-c:a", "libmp3lame", "-ar", "22050", "-ac", "1"], 44_100, 1),
    ] {
        let sound = clicks(name, 5, options);
        assert!(!sound.config.passes_through(), "{name}");
        let mut stage = stage(&sound);
        play(&mut stage, &pictures, &sound).await;
        for made in main_and_low(&stage) {
            assert_eq!(made.gear.sample_rate, rate, "{name}");
            expect_clicks(&made, 5, |_| false);
            made.decode_with_ffmpeg(name);
        }
        assert_eq!(stage.audio[1].channels, low_channels, "{name}");
        assert_eq!(stage.metrics.audio_decode_errors.get(), 0, "{name}");
        assert_eq!(stage.log().counters(), (0, 0), "{name}");
    }
}

/// the codecs of Enhanced RTMP, in all their channel layouts.
#[tokio::test(flavor = "multi_thread")]
async fn opus_flac_and_both_ac3_become_aac_lc_in_time_with_the_pictures() {
    let pictures = pictures(5);
    for (name, options, rate) in [
        ("opus", &["-c:a", "libopus", "-ar", "48000", "-ac", "2"][..], 48_000),
        ("opus-mono-60", &["-c:a", "libopus", "-ac", "1", "-frame_duration", "60"], 48_000),
        ("opus-5.1", &["-c:a", "libopus", "-ac", "6", "-mapping_family", "1"], 48_000),
        ("flac", &["-c:a", "flac", "-ar", "44100", "-ac", "2"], 44_100),
        ("flac-96000-24", &["-c:a", "flac", "-ar", "96000", "-ac", "2", "-sample_fmt", "s32"], 48_000),
        ("ac3-5.1", &["-c:a", "ac3", "-ar", "48000", "-ac", "6"], 48_000),
        ("ac3-32000", &["-c:a", "ac3", "-ar", "32000", "-ac", "1"], 48_000),
        ("eac3", &["-c:a", "eac3", "-ar", "44100", "-ac", "2"], 44_100),
    ] {
        let sound = clicks_in_mp4(name, 5, options);
        let mut stage = stage(&sound);
        play(&mut stage, &pictures, &sound).await;
        for made in main_and_low(&stage) {
            assert_eq!(made.gear.sample_rate, rate, "{name}");
            expect_clicks(&made, 5, |_| false);
            made.decode_with_ffmpeg(name);
        }
        assert_eq!(stage.metrics.audio_decode_errors.get(), 0, "{name}");
        assert_eq!(stage.log().counters(), (0, 0), "{name}");
    }
}

/// FFmpeg here cannot encode HE-AAC. A core without the upper half of the spectrum is HE-AAC nevertheless, when its
/// configuration says so: the decoder doubles its rate, and for parametric stereo its channels.
#[tokio::test(flavor = "multi_thread")]
async fn he_aac_has_twice_the_rate_and_keeps_its_time() {
    // Object type 5 or 29, 24 kHz, extension 48 kHz, object type 2; and AAC-LC with both signalled behind.
    for (name, channels, record) in [
        ("sbr", "2", &[0b0010_1011, 0b0001_0001, 0b1000_1000, 0][..]),
        ("ps", "1", &[0b1110_1011, 0b0000_1001, 0b1000_1000, 0]),
        ("ps-behind", "1", &[0x13, 0x08, 0x56, 0xE5, 0x9D, 0x48, 0x80]),
    ] {
        let pictures = pictures(5);
        let mut sound = clicks(name, 5, &["-c:a", "aac", "-ar", "24000", "-ac", channels]);
        let config = AacConfig::parse(Bytes::copy_from_slice(record)).unwrap();
        assert_eq!(config.extension_sample_rate, Some(48_000));
        sound.config = Arc::new(AudioConfig::Aac(config));
        let mut stage = stage(&sound);
        play(&mut stage, &pictures, &sound).await;
        assert_eq!(stage.metrics.audio_decode_errors.get(), 0, "{name}");
        for made in main_and_low(&stage) {
            assert_eq!((made.gear.sample_rate, made.gear.channels), (48_000, 2));
            // The decoder's filter bank takes 962 samples, which an encoder of HE-AAC tells in its timestamps and this
            // one does not.
            for (number, heard) in (0_u32..).zip(made.clicks()) {
                let late = heard - (0.25 + f64::from(number) * 0.5) - 962.0 / 48_000.0;
                assert!(late.abs() < 0.004, "{name}: {late}");
            }
            assert_eq!(made.clicks().len(), 10, "{name}");
            made.decode_with_ffmpeg(name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_goes_on_with_the_same_parts_and_nothing_is_missing() {
    let (pictures, sound) = (pictures(9), clicks("takeover", 9, &["-c:a", "aac", "-ar", "22050", "-ac", "2"]));
    let mut stage = stage(&sound);
    let mut frames = sound.at(pictures.units[0].dts_millis);
    begin(&mut stage, &pictures, &sound);
    for (number, units) in pictures.units.chunks(47).enumerate() {
        let worker = stage.worker();
        stage.board.wait_for("taken", number).await;
        stage.publish_with(units, &mut frames).await;
        wait_for_parts(&stage, stage.ends.len().saturating_sub(3)).await;
        if number < 5 {
            worker.stop().await;
        } else {
            end(&mut stage).await;
            worker.stop().await;
        }
    }
    for made in main_and_low(&stage) {
        expect_clicks(&made, 9, |_| false);
        made.decode_with_ffmpeg("takeover");
    }
    assert_eq!(stage.log().counters(), (0, 0));
}

async fn wait_for_parts(stage: &Stage, count: usize) {
    for gear in &stage.audio {
        let mut reader = stage.log().read_parts(&gear.name).unwrap();
        let mut parts = 0;
        while parts < count {
            parts += usize::from(matches!(reader.next().await.unwrap(), headwater_router::FeedItem::Part(_)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_and_damaged_frames_are_silent_for_exactly_their_time() {
    let (pictures, mut sound) = (pictures(5), clicks("holes", 5, &["-c:a", "aac", "-ar", "32000", "-ac", "2"]));
    let time = |frame: &headwater_media::AudioFrame| i64::from(frame.pts_millis) - i64::from(sound.begins);
    let hole = sound.frames.iter().position(|frame| time(frame) >= 1150).unwrap();
    let damaged = sound.frames.iter().position(|frame| time(frame) >= 3180).unwrap();
    for frame in &mut sound.frames[damaged..damaged + 5] {
        frame.data = Bytes::from(vec![0x55; frame.data.len()]);
    }
    sound.frames.drain(hole..hole + 8);
    let mut stage = stage(&sound);
    play(&mut stage, &pictures, &sound).await;
    for made in main_and_low(&stage) {
        expect_clicks(&made, 5, |time| (1.2..1.35).contains(&time) || (3.2..3.3).contains(&time));
        made.decode_with_ffmpeg("holes");
    }
    assert!((1..=5).contains(&stage.metrics.audio_decode_errors.get()));
}

/// Its sound card is slow by a thousandth, ten times what real ones are: in 9 s its sound would be 9 ms early.
#[tokio::test(flavor = "multi_thread")]
async fn a_sound_card_that_drifts_is_followed_without_silence() {
    let (pictures, mut sound) = (pictures(9), clicks("drift", 9, &["-c:a", "aac", "-ar", "32000", "-ac", "2"]));
    for frame in &mut sound.frames {
        let since = frame.pts_millis.saturating_sub(sound.begins);
        frame.pts_millis += since / 1000;
    }
    let mut stage = stage(&sound);
    play(&mut stage, &pictures, &sound).await;
    for made in main_and_low(&stage) {
        let heard = made.clicks();
        assert_eq!(heard.len(), 18);
        for (number, heard) in (0_u32..).zip(heard) {
            let told = (0.25 + f64::from(number) * 0.5) * 1.001;
            assert!((heard - told).abs() < 0.0045, "{number}: {heard} for {told}");
        }
    }
}

/// The first publisher stays 3 s, the next sends what players would take as it is, which then changes in mid-stream.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_sources_do_the_init_segment_stays() {
    let pictures = pictures(3);
    let first = clicks("first", 3, &["-c:a", "libmp3lame", "-ar", "44100", "-ac", "1"]);
    let second = clicks("second", 3, &["-c:a", "aac", "-ar", "48000", "-ac", "2"]);
    let third = clicks("third", 3, &["-c:a", "aac", "-ar", "24000", "-ac", "1"]);
    let mut stage = stage(&first);
    let worker = stage.worker();
    begin(&mut stage, &pictures, &first);
    publish_whole(&mut stage, &pictures, &first).await;
    stage.timeline.end_publisher();
    stage.pass(Duration::from_secs(3)).await;
    begin(&mut stage, &pictures, &second);
    let from = pictures.units[0].dts_millis;
    stage.publish_with(&pictures.units, &mut second.at(from)).await;
    // The same publisher goes on with another encoder for its sound.
    stage.timeline.set_audio_config(third.config.clone());
    let mut later = pictures.units.clone();
    later.iter_mut().for_each(|unit| unit.dts_millis += 3000);
    stage.publish_with(&later, &mut third.at(from + 3000)).await;
    end(&mut stage).await;
    worker.stop().await;
    let discontinuities: Vec<(i64, u64)> =
        stage.cuts.iter().map(|cut| (cut.start.ticks / 120_000, cut.discontinuity)).collect();
    assert_eq!(discontinuities, [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (8, 2)]);
    for made in main_and_low(&stage) {
        expect_clicks(&made, 9, |_| false);
        made.decode_with_ffmpeg("changes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_is_too_slow_goes_on_and_what_it_missed_is_silence() {
    let (pictures, sound) = (pictures(9), clicks("lag", 9, &["-c:a", "aac", "-ar", "32000", "-ac", "2"]));
    let mut stage = Stage::with_ring(Profile::Low, Vec::new(), Duration::from_secs(2));
    stage.audio = vec![AudioGear::main(&sound.config)];
    let troubled = Arc::new(stage.troubled());
    let worker = stage.worker_with(troubled.clone());
    begin(&mut stage, &pictures, &sound);
    let mut frames = sound.at(pictures.units[0].dts_millis);
    let (before, after) = pictures.units.split_at(45);
    stage.publish_with(before, &mut frames).await;
    wait_for_parts(&stage, 5).await;
    troubled.gate.send_replace(false);
    stage.publish_with(after, &mut frames).await;
    troubled.gate.send_replace(true);
    wait_for_parts(&stage, 40).await;
    end(&mut stage).await;
    worker.stop().await;
    let made = sound::made(&stage, &RenditionName::audio());
    made.decode_with_ffmpeg("lag");
    assert!(stage.metrics.lagged.get() >= 1);
    let heard = made.clicks();
    assert!(heard.len() >= 4 && heard.last().is_some_and(|last| *last > 8.7), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_are_what_the_playlist_will_say() {
    let pictures = pictures(9);
    let noise = [
        "-af",
        "aeval=0.3*random(0)+0.3*sin(2*PI*440*t)|0.3*random(1):c=stereo",
        "-c:a",
        "aac",
        "-ar",
        "48000",
        "-ac",
        "2",
    ];
    let sound = clicks("noise", 9, &noise);
    assert!(sound.config.passes_through());
    let mut stage = stage(&sound);
    play(&mut stage, &pictures, &sound).await;
    for made in main_and_low(&stage) {
        let bits: usize = made.frames.iter().map(|(_, data)| data.len() * 8).sum();
        let kbps = bits * usize::try_from(made.gear.sample_rate).unwrap() / (made.frames.len() * 1024) / 1000;
        let nominal = usize::try_from(made.gear.bitrate_kbps).unwrap();
        // H-75: at most 110 % of what is declared.
        assert!(kbps <= nominal * 105 / 100, "{}: {kbps} kbit/s", made.gear.name);
        assert!(made.frames.iter().all(|(_, data)| data.len() <= 768 * 2));
        assert_eq!(AacConfig::lc(made.gear.sample_rate, made.gear.channels).unwrap().sample_rate, 48_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_without_pictures_is_encoded_too() {
    let sound = clicks("alone", 5, &["-c:a", "libmp3lame", "-ar", "44100", "-ac", "2"]);
    let mut stage = stage(&sound);
    let worker = stage.worker();
    stage.epoch = headwater_media::Epoch(1);
    stage.timeline.begin_publisher(stage.clock_now(), headwater_media::WallTime::default());
    stage.timeline.set_audio_config(sound.config.clone());
    let frames: Vec<_> = sound.at(1000).filter(|frame| frame.pts_millis >= 1000).collect();
    for (number, frame) in frames.into_iter().enumerate() {
        stage.clock.advance(Duration::from_millis(26));
        stage.timeline.handle_audio(stage.clock_now(), frame);
        stage.pass(Duration::ZERO).await;
        if number == 60 {
            wait_for_parts(&stage, 1).await;
        }
    }
    end(&mut stage).await;
    worker.stop().await;
    assert!(matches!(*sound.config, AudioConfig::Mp3(_)));
    for made in main_and_low(&stage) {
        assert!(made.clicks().len() >= 9, "{:?}", made.clicks());
        made.decode_with_ffmpeg("alone");
    }
}
