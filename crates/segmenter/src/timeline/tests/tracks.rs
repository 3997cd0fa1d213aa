//! Headers that come late or change, keyframes of every kind, and tracks that come and go.

use super::*;

fn sound() -> Arc<AudioConfig> {
    Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap()))
}

fn added(events: &[Event]) -> Vec<&Added> {
    events.iter().filter_map(|event| if let Event::Added(added) = event { Some(added) } else { None }).collect()
}

/// a header comes in mid-GOP, and at the keyframe of a regular cut.
#[test]
fn another_configuration_holds_from_the_next_keyframe_on() {
    for at in [100, 119, 120] {
        let mut timeline = timeline(Profile::Low);
        let mut events = PLAIN.publish(&mut timeline, 0, at);
        timeline.set_video_config(avc(1280));
        events.extend(PLAIN.publish(&mut timeline, at, 200));
        for video in pictures(&events) {
            assert_eq!(video.config.size().0, if video.slot.0 < 120 { 640 } else { 1280 }, "{at}: {:?}", video.slot);
        }
        let counts: Vec<(i64, u64)> = cuts(&events).iter().map(|cut| (cut.1 / 4000, cut.2)).collect();
        assert_eq!(counts, [(0, 0), (60, 0), (120, 1), (180, 1)], "{at}");
        check_parts(&events);
    }
}

/// decoders have to know, viewers need not.
#[test]
fn a_configuration_of_the_same_pictures_is_a_cut_without_a_discontinuity() {
    let encoder = Encoder { gop: 30, ..PLAIN };
    let mut timeline = timeline(Profile::Low);
    let mut events = encoder.publish(&mut timeline, 0, 85);
    let VideoConfig::Avc(mut config) = VideoConfig::clone(&avc(640)) else { unreachable!("it is H.264") };
    config.pps = vec![Bytes::from_static(b"other")];
    timeline.set_video_config(Arc::new(config.into()));
    events.extend(encoder.publish(&mut timeline, 85, 160));
    let counts: Vec<(i64, u64)> = cuts(&events).iter().map(|cut| (cut.1 / 4000, cut.2)).collect();
    assert_eq!(counts, [(0, 0), (60, 0), (90, 0), (150, 0)]);
    check_parts(&events);
}

/// A change that shows only in the keyframe, when its segment has been announced already.
#[test]
fn a_change_that_nobody_announced_gets_its_discontinuity_all_the_same() {
    let mut timeline = timeline(Profile::Low);
    let mut events = PLAIN.publish(&mut timeline, 0, 120);
    timeline.handle_video_start(PLAIN.frame(120).dts_millis, true);
    timeline.set_video_config(avc(1280));
    events.extend(PLAIN.publish(&mut timeline, 120, 200));
    let counts: Vec<(u64, i64, u64)> = cuts(&events).iter().map(|cut| (cut.0, cut.1 / 4000, cut.2)).collect();
    assert_eq!(counts[..4], [(1, 0, 0), (2, 60, 0), (3, 120, 0), (4, 121, 1)]);
    for video in pictures(&events) {
        assert_eq!(video.config.size().0, if video.msn.0 < 4 { 640 } else { 1280 });
    }
    check_parts(&events);
}

/// an open GOP, of which a publisher joins the middle. Two pictures that refer to what was before come behind
/// each keyframe.
#[test]
fn a_source_without_idrs_begins_at_a_recovery_point_and_is_off() {
    let mut timeline = timeline(Profile::Low);
    let encoder = Encoder { gop: 60, reorder: &[2, 4, 1, 1], ..PLAIN };
    let mut events = Vec::new();
    for index in 20..400 {
        let mut unit = encoder.frame(index);
        if unit.idr {
            (unit.idr, unit.recovery) = (false, Some(0));
        }
        // I B B: shown before the I.
        if matches!(index % 60, 1 | 2) {
            unit.composition_millis = -33;
        }
        let now = Instant::from_millis(33 * index.unsigned_abs());
        timeline.handle_audio(now, encoder.sound(index * 3 / 2));
        timeline.handle_video_start(unit.dts_millis, index % 60 == 0);
        timeline.handle_video(now, unit).unwrap();
        events.extend(std::iter::from_fn(|| timeline.poll_event()));
    }
    let pictures = pictures(&events);
    let numbers: Vec<&[u8]> = pictures.iter().take(3).map(|video| &video.data[..]).collect();
    assert_eq!(numbers, [&b"60"[..], b"63", b"64"], "what cannot be decoded is left out");
    let starts: Vec<i64> = cuts(&events).iter().map(|cut| cut.1 / 4000).collect();
    assert_eq!(starts[..4], [0, 60, 120, 180], "segments begin where decoding can");
    assert!(pictures.iter().all(|video| video.is_entry() == (video.slot.0 % 60 == 0)));
    let reason = Some("its keyframes are no IDR pictures, so that players cannot begin with them".to_owned());
    assert!(off_reasons(&events)[1..].iter().all(|off| *off == reason), "{:?}", off_reasons(&events));
    check_parts(&events);
}

/// Who asks for a timeout in the past is asked again and again.
#[test]
fn a_timeout_that_has_passed_is_not_asked_for_again() {
    for (has_header, has_sound) in [(false, true), (true, false), (true, true), (false, false)] {
        let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
        timeline.begin_publisher(Instant::default(), WallTime::default());
        timeline.set_audio_config(sound());
        if has_header {
            timeline.set_video_config(avc(640));
        }
        // No keyframe comes in the first 2 s.
        for index in 1..150i64 {
            let now = Instant::from_millis(index.unsigned_abs() * 33);
            timeline.handle_video(now, PLAIN.frame(index)).unwrap();
            if has_sound {
                timeline.handle_audio(now, PLAIN.sound(index * 3 / 2));
            }
            if timeline.poll_timeout().is_some_and(|at| at <= now) {
                timeline.handle_timeout(now);
            }
            assert!(timeline.poll_timeout().is_none_or(|at| at > now), "{has_header} {has_sound} {index}");
        }
    }
}

///
#[test]
fn sound_that_comes_later_begins_with_the_next_segment() {
    let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
    timeline.begin_publisher(Instant::default(), WallTime::default());
    timeline.set_video_config(avc(640));
    timeline.hint_frame_rate(30.0);
    let mut events = Encoder { audio: false, ..PLAIN }.publish(&mut timeline, 0, 150);
    assert!(matches!(&events[0], Event::Started(Started { audio: None, video: Some(_), .. })));
    timeline.set_audio_config(sound());
    events.extend(PLAIN.publish(&mut timeline, 150, 300));
    assert!(matches!(added(&events)[..], [Added::Audio(_)]));
    let place = events.iter().position(|event| matches!(event, Event::Added(_))).unwrap();
    let before: Vec<u64> = cuts(&events[..place]).iter().map(|cut| cut.0).collect();
    assert_eq!(before, [1, 2, 3, 4], "right behind a cut");
    let sounds = sounds(&events);
    assert!(sounds[0].start >= Timestamp::video(180 * 4000) && sounds[0].start < Timestamp::video(181 * 4000));
    assert!(sounds.windows(2).all(|pair| pair[0].end() == pair[1].start));
    assert!(sounds.iter().filter(|sound| sound.data != "a").count() < 5);
    assert!(cuts(&events).iter().all(|cut| cut.2 == 0 && !cut.3), "nothing happens to those who watch");
    check_parts(&events);
}

/// A header alone is no track.
#[test]
fn pictures_that_come_later_begin_with_a_discontinuity() {
    let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
    timeline.begin_publisher(Instant::default(), WallTime::default());
    timeline.set_video_config(avc(640));
    timeline.set_audio_config(sound());
    let mut events = Vec::new();
    for index in 0..200 {
        timeline.handle_audio(Instant::from_millis(index * 64 / 3), PLAIN.sound(index.cast_signed()));
        events.extend(std::iter::from_fn(|| timeline.poll_event()));
    }
    assert!(matches!(&events[0], Event::Started(Started { audio: Some(_), video: None, .. })));
    assert!(sounds(&events).len() >= 195, "sound did not wait for pictures that nobody sends");
    // A keyframe is waited for.
    events.extend(PLAIN.publish(&mut timeline, 140, 300));
    assert!(matches!(added(&events)[..], [Added::Video(_)]));
    let pictures = pictures(&events);
    assert_eq!((&pictures[0].data[..], pictures.len()), (&b"180"[..], 120));
    let cuts = cuts(&events);
    assert_eq!(cuts.last().unwrap().2, 1);
    let opening = cuts.iter().find(|cut| cut.2 == 1).unwrap();
    assert_eq!(pictures[0].slot.0 * 4000, opening.1);
    check_parts(&events);
}

/// the session has pictures, the next publisher sends none.
#[test]
fn a_publisher_of_sound_alone_goes_on_in_a_session_with_pictures() {
    let mut timeline = timeline(Profile::Low);
    let mut events = PLAIN.publish(&mut timeline, 0, 90);
    timeline.end_publisher();
    timeline.begin_publisher(Instant::from_millis(60_000), WallTime { unix_millis: 1_060_000 });
    timeline.set_audio_config(sound());
    for index in 0..400 {
        timeline.handle_audio(Instant::from_millis(60_000 + index * 64 / 3), PLAIN.sound(index.cast_signed()));
        events.extend(std::iter::from_fn(|| timeline.poll_event()));
    }
    assert!(sounds(&events).iter().filter(|sound| sound.data == "a").count() > 450);
    assert_eq!(off_reasons(&events).last().unwrap().as_deref(), Some("its video has stopped"));
    check_parts(&events);
    // And then pictures, which begin with a keyframe.
    timeline.set_video_config(avc(640));
    events.extend(Encoder { base_millis: 5000, ..PLAIN }.publish(&mut timeline, 250, 500));
    let later: Vec<StampedVideo> = pictures(&events).into_iter().skip(90).collect();
    assert_eq!(&later[0].data[..], b"300");
    check_parts(&events);
}

/// R-105, in a session that another home began without that track.
#[test]
fn a_track_comes_to_a_session_of_another_home() {
    let config = Config { profile: Profile::Low, source_may_be_off: true };
    let mut timeline = Timeline::resume(config, Known { audio: None, ..known() }, &announced());
    let events = goes_on(&mut timeline, 1_060_000);
    assert!(matches!(added(&events)[..], [Added::Audio(_)]));
    assert!(sounds(&events).len() > 100);
    check_parts(&events);

    let mut timeline = Timeline::resume(config, Known { has_video: false, ..known() }, &announced());
    let events = goes_on(&mut timeline, 1_060_000);
    assert!(matches!(added(&events)[..], [Added::Video(_)]));
    assert!(pictures(&events).len() > 80);
    check_parts(&events);
}
