//! Clocks that jump, wrong times, and tracks that are sent at different times: pictures and sound carry
//! the time at which they were made, and are held against where they are played.

use super::*;

/// Pictures of a 30 fps encoder and sound of 48 kHz, both from time 0 on.
struct Show {
    timeline: Timeline,
    events: Vec<Event>,
    picture: i64,
    sound: i64,
}

/// A frame that is sent.
enum Frame {
    Picture(i64),
    Sound(i64),
}

impl Frame {
    /// When it was made, in milliseconds.
    fn made(&self) -> i64 {
        match self {
            Self::Picture(number) => number * 1000 / 30,
            Self::Sound(number) => number * 64 / 3,
        }
    }
}

impl Show {
    fn new() -> Self {
        Self { timeline: timeline(Profile::Low), events: Vec::new(), picture: 0, sound: 0 }
    }

    /// Sends everything up to `millis`. `sent` says when a frame that was made at a time comes, and with which time:
    /// milliseconds that are added to its own. Frames come in the order of their arrival.
    fn play(&mut self, until: i64, sent: impl Fn(&Frame, i64) -> (i64, i64)) {
        let mut frames = Vec::new();
        while self.picture * 1000 / 30 < until {
            frames.push(Frame::Picture(self.picture));
            self.picture += 1;
        }
        while self.sound * 64 / 3 < until {
            frames.push(Frame::Sound(self.sound));
            self.sound += 1;
        }
        let mut frames: Vec<(i64, u32, Frame)> = frames
            .into_iter()
            .map(|frame| {
                let made = frame.made();
                let (late, wrong) = sent(&frame, made);
                (made + late, (5000 + made + wrong) as u32, frame)
            })
            .collect();
        frames.sort_by_key(|(arrival, ..)| *arrival);
        for (arrival, millis, frame) in frames {
            let now = Instant::from_millis((20_000 + arrival) as u64);
            match frame {
                Frame::Picture(number) => {
                    let idr = number % 60 == 0;
                    self.timeline.handle_video_start(millis, idr);
                    let unit = AccessUnit {
                        data: Bytes::from(number.to_string()),
                        idr,
                        recovery: None,
                        dts_millis: millis,
                        composition_millis: 0,
                    };
                    self.timeline.handle_video(now, unit).unwrap();
                }
                Frame::Sound(number) => {
                    let frame = AudioFrame { data: Bytes::from(number.to_string()), pts_millis: millis };
                    self.timeline.handle_audio(now, frame);
                }
            }
            self.events.extend(std::iter::from_fn(|| self.timeline.poll_event()));
        }
    }

    /// Where each picture is shown, in milliseconds, by its number.
    fn shown(&self) -> Vec<(i64, i64)> {
        let number = |video: &StampedVideo| std::str::from_utf8(&video.data).unwrap().parse().unwrap();
        let slot = |video: &StampedVideo| video.slot.0 + i64::from(video.composition_slots);
        pictures(&self.events).iter().map(|video| (number(video), slot(video) * 1000 / 30)).collect()
    }

    /// Where each frame of sound that is not silence is played, in milliseconds, by its number.
    fn played(&self) -> Vec<(i64, i64)> {
        let number = |audio: &StampedAudio| std::str::from_utf8(&audio.data).ok()?.parse().ok();
        sounds(&self.events).iter().filter_map(|audio| Some((number(audio)?, audio.start.ticks / 48))).collect()
    }

    /// Every picture made from `from` on is shown, and sound made with it is played with it, within a frame of sound.
    /// So many frames of sound may be missing.
    #[track_caller]
    fn expect_in_sync(&self, from: i64, missing: usize) {
        let shown: Vec<(i64, i64)> =
            self.shown().into_iter().filter(|(number, _)| number * 1000 / 30 >= from).collect();
        let first = shown[0].0;
        assert!(shown.iter().map(|(number, _)| *number).eq(first..first + shown.len() as i64), "{shown:?}");
        let end = (first + shown.len() as i64) * 1000 / 30;
        let mut heard = 0;
        for (number, at) in
            self.played().into_iter().filter(|(number, _)| (from..end - 100).contains(&(number * 64 / 3)))
        {
            heard += 1;
            let made = number * 64 / 3;
            let (picture, shown_at) = shown[usize::try_from((made * 30 / 1000 - first).max(0)).unwrap()];
            let expected = shown_at + made - picture * 1000 / 30;
            assert!((at - expected).abs() <= 22, "sound made at {made} ms is played at {at}, not at {expected}");
        }
        let made = ((end - 100 - from) * 3 / 64) as usize;
        assert!(heard + missing >= made, "{heard} frames of {made} are heard");
    }

    fn discontinuities(&self) -> u64 {
        cuts(&self.events).last().unwrap().2
    }
}

const HOUR: i64 = 3_600_000;

#[test]
fn what_is_sent_right_is_in_sync() {
    let mut show = Show::new();
    show.play(10_000, |_, _| (0, 0));
    show.expect_in_sync(0, 0);
    assert_eq!(show.discontinuities(), 0);
}

/// a frame that nobody agrees with, a keyframe or another.
#[test]
fn a_single_wrong_time_moves_its_own_picture_alone_and_not_by_a_slot() {
    for wrong in [-4000, 20_000, -HOUR, 100 * HOUR] {
        let mut show = Show::new();
        show.play(8000, |frame, _| match frame {
            Frame::Picture(75 | 120 | 150 | 151) | Frame::Sound(200 | 300) => (0, wrong),
            _ => (0, 0),
        });
        show.expect_in_sync(0, 0);
        assert!(show.shown().iter().all(|(number, at)| number * 1000 / 30 == *at), "{wrong}");
        assert_eq!(show.discontinuities(), 0, "{wrong}");
        check_parts(&show.events);
    }
}

/// both tracks go over to another clock, one a moment before the other, in mid-GOP. Nothing is lost, and the next
/// keyframe begins a new stretch.
#[test]
fn a_jump_of_the_clock_loses_no_picture_and_stays_in_sync() {
    for jump in [-2000, -HOUR, 12_000, 100 * HOUR] {
        for (pictures, sounds) in [(3010, 3010), (3010, 3090), (3090, 3010)] {
            let mut show = Show::new();
            show.play(8000, |frame, made| match frame {
                Frame::Picture(_) if made > pictures => (0, jump),
                Frame::Sound(_) if made > sounds => (0, jump),
                _ => (0, 0),
            });
            show.expect_in_sync(0, 6);
            assert!(show.shown().iter().all(|(number, at)| number * 1000 / 30 == *at), "{jump}");
            let counts: Vec<u64> = cuts(&show.events).iter().map(|cut| cut.2).collect();
            assert_eq!(counts, [0, 0, 1, 1], "{jump}");
            check_parts(&show.events);
        }
    }
}

#[test]
fn a_jump_with_a_keyframe_begins_the_new_stretch_there() {
    for jump in [-HOUR, HOUR] {
        let mut show = Show::new();
        show.play(8000, |_, made| (0, if made >= 4000 { jump } else { 0 }));
        show.expect_in_sync(0, 6);
        let cuts = cuts(&show.events);
        assert_eq!((cuts[2].1, cuts[2].2), (120 * 4000, 1), "{jump}");
        assert_eq!(show.discontinuities(), 1);
    }
}

///
#[test]
fn sound_that_comes_late_is_waited_for_once_it_is_known() {
    for late in [300, 1500, 9000] {
        let mut show = Show::new();
        show.play(30_000, |frame, _| (if matches!(frame, Frame::Sound(_)) { late } else { 0 }, 0));
        // What was silent before the first frame came stays silent.
        show.expect_in_sync(late, 80);
        assert_eq!(show.discontinuities(), 0);
        assert!(cuts(&show.events).iter().all(|cut| !cut.3), "{late}");
    }
}

///
#[test]
fn sound_that_comes_early_waits_for_its_picture() {
    for early in [300, 900] {
        let mut show = Show::new();
        show.play(30_000, |frame, _| (if matches!(frame, Frame::Picture(_)) { early } else { 0 }, 0));
        show.expect_in_sync(0, 5);
        assert_eq!(show.discontinuities(), 0);
        assert!(cuts(&show.events).iter().all(|cut| !cut.3), "{early}: {:?}", off_reasons(&show.events));
    }
    // From the middle on: what is missing meanwhile is gone, then pictures are waited for.
    let mut show = Show::new();
    show.play(40_000, |frame, made| (if matches!(frame, Frame::Picture(_)) && made >= 4000 { 9000 } else { 0 }, 0));
    show.expect_in_sync(14_000, 5);
    assert_eq!(off_reasons(&show.events).last().unwrap().as_deref(), None);
}

/// What comes together belongs together, where times say nothing.
#[test]
fn sound_on_a_clock_of_its_own_is_played_with_what_it_came_with() {
    let mut show = Show::new();
    show.play(12_000, |frame, _| (0, if matches!(frame, Frame::Sound(_)) { 50 * HOUR } else { 0 }));
    show.expect_in_sync(4000, 2);
    // From the middle on.
    let mut show = Show::new();
    show.play(16_000, |frame, made| (0, if matches!(frame, Frame::Sound(_)) && made > 6000 { -HOUR } else { 0 }));
    show.expect_in_sync(9000, 2);
    assert_eq!(show.discontinuities(), 0);
}

/// pairs of equal times, and times that go back by less than a second.
#[test]
fn equal_and_falling_times_keep_pictures_in_order() {
    let mut show = Show::new();
    show.play(8000, |frame, _| match frame {
        Frame::Picture(number) if number % 2 == 1 => (0, -33),
        _ => (0, 0),
    });
    show.expect_in_sync(0, 0);
    assert!(cuts(&show.events).iter().all(|cut| !cut.3));
    let mut show = Show::new();
    show.play(8000, |frame, made| match frame {
        Frame::Picture(_) if made > 3010 => (0, -300),
        _ => (0, 0),
    });
    let pictures = pictures(&show.events);
    assert!(pictures.windows(2).all(|pair| pair[0].slot <= pair[1].slot));
    assert!(
        pictures.iter().all(|video| video.composition_slots.abs() <= 3),
        "none is shown long before those before it"
    );
    check_parts(&show.events);
}
