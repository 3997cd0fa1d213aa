//! Times that no encoder means, or that somebody makes up: what is made of them is bounded, and the timeline goes on.

use super::*;

fn sound(millis: i64) -> AudioFrame {
    AudioFrame { data: Bytes::from_static(b"a"), pts_millis: millis as u32 }
}

fn drain(timeline: &mut Timeline) -> Vec<Event> {
    std::iter::from_fn(|| timeline.poll_event()).collect()
}

/// Sound alone from `from` milliseconds on, in real time, for so many frames.
fn hear(timeline: &mut Timeline, from: i64, clock: i64, frames: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for index in 0..frames {
        let millis = index * 64 / 3;
        timeline.handle_audio(Instant::from_millis((from + millis) as u64), sound(clock + millis));
        timeline.handle_timeout(Instant::from_millis((from + millis) as u64));
        events.extend(drain(timeline));
    }
    events
}

/// Another publisher, after 3 s.
fn come_back(timeline: &mut Timeline) {
    timeline.end_publisher();
    drain(timeline);
    timeline.begin_publisher(Instant::from_millis(3000), WallTime { unix_millis: 1_003_000 });
    timeline.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    timeline.set_video_config(avc(640));
}

#[test]
fn pictures_on_a_clock_that_stands_still_end_their_parts() {
    for profile in [Profile::Ultra, Profile::Standard] {
        let mut timeline = timeline(profile);
        let still = Encoder { audio: false, fps: 30.0, gop: 1 << 40, ..PLAIN };
        let mut events = Encoder { audio: false, ..PLAIN }.publish(&mut timeline, 0, 10);
        for index in 10..3000 {
            let unit = AccessUnit { dts_millis: 5300, ..still.frame(index) };
            timeline.handle_video(Instant::from_millis(index as u64 * 33), unit).unwrap();
            events.extend(drain(&mut timeline));
        }
        check_parts(&events);
        let (mut open, mut most) = (0, 0);
        for event in &events {
            match event {
                Event::Video(_) => open += 1,
                Event::PartEnd(_) => open = 0,
                _ => {}
            }
            most = most.max(open);
        }
        assert!(most <= 12 * 60, "{most} pictures wait for the end of their part");
        assert_eq!(pictures(&events).len(), 3000);
    }
}

/// Ahead of the sound that came so far, or behind it.
#[test]
fn one_frame_that_is_days_away_does_not_move_a_timeline_that_began_with_sound() {
    for away in [400_000_000, -400_000_000] {
        let mut timeline = timeline(Profile::Low);
        // It begins with the last of them.
        let events = hear(&mut timeline, 0, 1_000_000_000, 48);
        assert!(!cuts(&events).is_empty());
        timeline.handle_audio(Instant::from_millis(1024), sound(1_000_000_000 + away));
        assert!(drain(&mut timeline).len() < 10);
        let events = hear(&mut timeline, 1024, 1_000_001_024, 200);
        assert!(part_ends(&events).iter().all(|end| end.end.0 < 300), "{:?}", part_ends(&events).last());
    }
}

#[test]
fn a_first_keyframe_that_is_days_away_does_not_move_a_session_that_goes_on_with_sound() {
    for away in [400_000_000, -400_000_000] {
        let mut timeline = timeline(Profile::Low);
        PLAIN.publish(&mut timeline, 0, 60);
        timeline.end_publisher();
        drain(&mut timeline);
        come_back(&mut timeline);
        let mut events = hear(&mut timeline, 3000, 1_000_000_000, 80);
        assert!(!sounds(&events).is_empty());
        let unit = AccessUnit { dts_millis: (1_000_000_000 + away) as u32, ..PLAIN.frame(0) };
        timeline.handle_video(Instant::from_millis(4800), unit).unwrap();
        events.extend(drain(&mut timeline));
        assert!(part_ends(&events).iter().all(|end| end.end.0 < 300), "{:?}", part_ends(&events).last());
        // When it is not alone, that is the clock.
        for index in 1..40 {
            let unit = PLAIN.frame(index);
            let unit = AccessUnit { dts_millis: unit.dts_millis - 5000 + (1_000_000_000 + away) as u32, ..unit };
            timeline.handle_video(Instant::from_millis(4800 + index as u64 * 33), unit).unwrap();
            events.extend(drain(&mut timeline));
        }
        assert_eq!(pictures(&events).len(), 40);
        assert!(part_ends(&events).iter().all(|end| end.end.0 < 300), "{:?}", part_ends(&events).last());
    }
}

/// Pictures and sound each on a clock of their own, and then no more pictures.
#[test]
fn sound_does_not_wait_for_ever_for_pictures_that_are_waited_for() {
    let mut timeline = timeline(Profile::Low);
    PLAIN.publish(&mut timeline, 0, 90);
    for index in 0..3 {
        let unit = AccessUnit { dts_millis: 900_000_000 + index * 33, ..PLAIN.frame(90 + i64::from(index)) };
        timeline.handle_video(Instant::from_millis(3000 + u64::from(index) * 33), unit).unwrap();
    }
    drain(&mut timeline);
    let events = hear(&mut timeline, 3100, 400_000_000, 400);
    let heard = sounds(&events).iter().filter(|sound| sound.data == "a").count();
    assert!(heard > 200, "{heard} frames");
    check_parts(&events);
}

/// In a session with pictures, of which this publisher has sent none.
#[test]
fn sound_alone_that_changes_its_clock_goes_on() {
    let mut timeline = timeline(Profile::Low);
    PLAIN.publish(&mut timeline, 0, 60);
    come_back(&mut timeline);
    hear(&mut timeline, 3000, 5000, 100);
    let events = hear(&mut timeline, 5200, 700_000_000, 200);
    let heard = sounds(&events).iter().filter(|sound| sound.data == "a").count();
    assert!(heard > 100, "{heard} frames");
}

/// C-13, R-96: sound has ended parts that the keyframe would have been in.
#[test]
fn another_configuration_after_pictures_stood_still_begins_behind_the_parts_that_are_out() {
    for at in [95, 100, 104, 110, 118] {
        let mut timeline = timeline(Profile::Low);
        let mut events = PLAIN.publish(&mut timeline, 0, 30);
        // Sound goes on for 3 s, pictures do not.
        events.extend(hear(&mut timeline, 1000, 6000, 141));
        timeline.set_video_config(avc(1280));
        let unit = AccessUnit { idr: true, ..PLAIN.frame(at) };
        timeline.handle_video_start(unit.dts_millis, true);
        timeline.handle_video(Instant::from_millis(4000), unit).unwrap();
        events.extend(drain(&mut timeline));
        events.extend(PLAIN.publish(&mut timeline, at + 1, at + 70));
        check_parts(&events);
        let starts: Vec<i64> = cuts(&events).iter().map(|cut| cut.1).collect();
        assert!(starts.is_sorted(), "{at}: {starts:?}");
        for cut in cuts(&events).iter().skip(1) {
            let before =
                part_ends(&events).into_iter().filter(|end| end.msn.0 < cut.0).map(|end| end.end.0 * 4000).max();
            assert_eq!(before, Some(cut.1), "{at}");
        }
    }
}
