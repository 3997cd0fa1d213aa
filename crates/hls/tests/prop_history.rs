//! Random histories of a stream: what two consecutive playlists may differ in, what every playlist keeps, and that
//! windows which were told the same list the same.

mod support;

use std::sync::Arc;

use headwater_hls::{Decision, Directives, MediaPlaylist, Seconds, Window, check};
use headwater_media::{
    Cut, CutKind, Init, MediaSequence, Part, PartIndex, PartPayload, Timestamp, TrackKind, WallTime,
};
use proptest::prelude::*;
use support::{NOON, audio_scale, config, cut, gap_part, init, name, part};

/// Ticks of a slot at 30 frames per second, and of a part of 1 s.
const SLOT: i64 = 4000;
const PART: i64 = 30 * SLOT;
/// The longest segment that TARGETDURATION 4 allows, less one slot.
const LIMIT: i64 = 134 * SLOT;
const INITS: [&str; 3] = ["zero", "one", "two"];

/// One segment of a random stream.
#[derive(Clone, Debug)]
struct Plan {
    /// For each video part: is it a gap, does it begin with an IDR.
    parts: Vec<(bool, bool)>,
    /// Slots of the last part.
    last_slots: i64,
    /// No media at all, as a takeover leaves it.
    nothing: bool,
    /// It begins with a discontinuity, and then perhaps with another init and after an outage.
    discontinuity: bool,
    init: usize,
    outage_millis: i64,
    /// How many parts before the end of this one the next cut is known.
    early: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let parts = prop::collection::vec((prop::bool::weighted(0.1), any::<bool>()), 1..=4);
    let start = (prop::bool::weighted(0.1), prop::bool::weighted(0.2), 0..INITS.len(), 0..60_000i64);
    (parts, 1..=30i64, start, 0..4usize).prop_map(|(parts, last_slots, start, early)| {
        let (nothing, discontinuity, init, outage_millis) = start;
        Plan { parts, last_slots, nothing, discontinuity, init, outage_millis, early }
    })
}

/// What a window is told.
#[derive(Clone, Debug)]
enum Told {
    Cut(Cut),
    Part(Part),
}

fn tell(window: &mut Window, told: &Told) {
    match told {
        Told::Cut(cut) => window.push_cut(cut).expect("cuts follow each other"),
        Told::Part(part) => window.push_part(part).expect("parts follow each other"),
    }
}

/// What the video and the audio rendition of a stream are told, in order.
fn stream(plans: &[Plan]) -> (Vec<Told>, Vec<Told>) {
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    let audio_init = init("audio");
    let (mut at, mut pdt, mut discontinuity, mut init_used) = (0, NOON.unix_millis * 120, 0, 0);
    for (msn, plan) in (1u64..).zip(plans) {
        // Media goes on after a hole with a discontinuity.
        let after_a_hole = msn > 1 && plans[place_of(msn) - 1].nothing && !plan.nothing;
        if (plan.discontinuity && msn > 1) || after_a_hole {
            discontinuity += 1;
            init_used = plan.init;
            pdt += plan.outage_millis * 120;
        }
        let cut = Cut {
            start: Timestamp::video(at),
            discontinuity,
            program_date_time: WallTime { unix_millis: (pdt + at + 60).div_euclid(120) },
            kind: if plan.nothing { CutKind::Gap } else { CutKind::Media },
            ..cut(msn, 0)
        };
        insert_cut(&mut video, &cut, plans, msn);
        insert_cut(&mut audio, &cut, plans, msn);
        if plan.nothing {
            at += LIMIT;
            continue;
        }
        let video_init = init(INITS[init_used]);
        for (place, (gap, idr)) in plan.parts.iter().enumerate() {
            let last = place + 1 == plan.parts.len();
            let end = at + if last { plan.last_slots * SLOT } else { PART };
            let index = u32::try_from(place).expect("few parts");
            video.push(Told::Part(packaged(msn, index, at, end, &video_init, *gap, *idr || place == 0)));
            audio.extend(sound(msn, index, at, end, &audio_init, *gap).map(Told::Part));
            at = end;
        }
    }
    (video, audio)
}

fn place_of(msn: u64) -> usize {
    usize::try_from(msn).expect("few segments") - 1
}

/// The cut of `msn` is known some parts before the end of the segment before it, at the latest before its last one.
fn insert_cut(told: &mut Vec<Told>, cut: &Cut, plans: &[Plan], msn: u64) {
    let before = place_of(msn).checked_sub(1).map(|place| &plans[place]);
    let parts = told.iter().rev().take_while(|told| matches!(told, Told::Part(_))).count();
    let early = before.map_or(0, |plan| plan.early + 1).min(parts);
    told.insert(told.len() - early, Told::Cut(cut.clone()));
}

fn packaged(msn: u64, index: u32, start: i64, end: i64, init: &Arc<Init>, gap: bool, idr: bool) -> Part {
    let payload = if gap { PartPayload::Gap } else { part(msn, index, 0, 0, init, idr).payload };
    Part { start: Timestamp::video(start), end: Timestamp::video(end), payload, ..gap_part(msn, index, 0, 0) }
}

/// The audio frames that start between `start` and `end`, if there are any.
fn sound(msn: u64, index: u32, start: i64, end: i64, init: &Arc<Init>, gap: bool) -> Option<Part> {
    let frame_at = |ticks: i64| (ticks * 48_000 + 120_000 * 1024 - 1).div_euclid(120_000 * 1024) * 1024;
    let (start, end) = (frame_at(start), frame_at(end));
    let at = |ticks| Timestamp::new(ticks, audio_scale());
    (start < end).then(|| Part { start: at(start), end: at(end), ..packaged(msn, index, 0, 0, init, gap, true) })
}

fn windows() -> (Window, Window) {
    let video = Window::new(config(TrackKind::Video), vec![name("audio")]);
    (video, Window::new(config(TrackKind::Audio), vec![name("source")]))
}

/// A window that looks at itself after each step.
struct Watched {
    window: Window,
    before: Option<MediaPlaylist>,
    i_frames_before: Option<MediaPlaylist>,
    asked: Vec<(Directives, bool)>,
}

impl Watched {
    fn new(window: Window) -> Self {
        let ask =
            |msn, part: Option<u32>| Directives { after: Some((MediaSequence(msn), part.map(PartIndex))), skip: None };
        let parts = [None, Some(0), Some(1), Some(3), Some(9)];
        let asked = (0..12).flat_map(|msn| parts.map(|part| (ask(msn, part), false))).collect();
        Self { window, before: None, i_frames_before: None, asked }
    }

    fn step(&mut self, act: impl FnOnce(&mut Window), also_alone: bool) -> Result<(), TestCaseError> {
        let position = self.window.position();
        act(&mut self.window);
        if self.window.is_empty() {
            return Ok(());
        }
        prop_assert!(self.window.position() >= position, "the position fell");
        let text = self.window.render();
        let playlist: MediaPlaylist = text.parse()?;
        prop_assert_eq!(playlist.to_string(), text);
        if also_alone {
            prop_assert_eq!(check::playlist(&playlist), []);
        }
        let i_frames: MediaPlaylist = self.window.i_frame_playlist().to_string().parse()?;
        prop_assert_eq!(&i_frames, &self.window.i_frame_playlist());
        if also_alone {
            prop_assert_eq!(check::playlist(&i_frames), []);
        }
        prop_assert_eq!(check::trick_play(&playlist, &i_frames), []);
        if let Some(before) = &self.i_frames_before {
            prop_assert_eq!(check::successor(before, &i_frames), [], "{}\nbecame\n{}", before, i_frames);
        }
        self.i_frames_before = Some(i_frames);
        if let Some(before) = &self.before {
            prop_assert_eq!(check::successor(before, &playlist), [], "{}\nbecame\n{}", before, playlist);
        }
        self.before = Some(playlist);
        for (directives, was_ready) in &mut self.asked {
            let is_ready = self.window.decide(directives) == Decision::Ready;
            prop_assert!(is_ready || !*was_ready, "{:?} was answered, waits again", directives);
            *was_ready = is_ready;
        }
        Ok(())
    }

    fn tell(&mut self, told: &Told) -> Result<(), TestCaseError> {
        let hint = self.window.next_part();
        self.step(|window| tell(window, told), true)?;
        if let Told::Part(part) = told {
            prop_assert_eq!(hint.unwrap_or((part.msn, part.index)), (part.msn, part.index), "the hint was wrong");
        }
        Ok(())
    }
}

proptest! {
    /// H-11, H-92, H-93 over whole streams, in two renditions that are fed at different paces.
    #[test]
    fn playlists_only_grow_at_the_end_and_shrink_at_the_front(
        plans in prop::collection::vec(plan(), 1..30),
        pace in prop::collection::vec(any::<bool>(), 1..40),
        ends in any::<bool>(),
    ) {
        let (video_told, audio_told) = stream(&plans);
        let (video, audio) = windows();
        let (mut video, mut audio) = (Watched::new(video), Watched::new(audio));
        let (mut video_told, mut audio_told) = (video_told.iter(), audio_told.iter());
        let frame = Seconds::round_up(Timestamp::new(1024, audio_scale()));
        for video_first in pace.iter().cycle() {
            let (one, other) = (video_told.len(), audio_told.len());
            if one + other == 0 {
                break;
            }
            if other == 0 || (*video_first && one > 0) {
                video.tell(video_told.next().expect("some are left"))?;
            } else {
                audio.tell(audio_told.next().expect("some are left"))?;
            }
            if let (Some(video), Some(audio)) = (&video.before, &audio.before) {
                prop_assert_eq!(check::aligned(video, audio, frame), []);
            }
        }
        if ends {
            video.step(Window::end, true)?;
            audio.step(Window::end, true)?;
        }
    }

    /// When a cut becomes known does not change what is listed in the end, nor does it matter who was there from the
    /// start (H-94), once the first segment that a late window knows has left it.
    #[test]
    fn windows_that_were_told_the_same_list_the_same(plans in prop::collection::vec(plan(), 20..30), late in 1u64..8) {
        let (video, _) = stream(&plans);
        let mut all_cuts_early = video.clone();
        all_cuts_early.sort_by_key(|told| match told {
            Told::Cut(cut) => (cut.msn.0.saturating_sub(1), 0),
            Told::Part(part) => (part.msn.0, part.index.0 + 1),
        });
        let joined = video.iter().filter(|told| match told {
            Told::Cut(cut) => cut.msn.0 >= late,
            Told::Part(part) => part.msn.0 >= late,
        });
        let text = |told: &mut dyn Iterator<Item = &Told>| {
            let (mut window, _) = windows();
            told.for_each(|told| tell(&mut window, told));
            (window.first_listed(), window.render())
        };
        let (first, rendered) = text(&mut video.iter());
        prop_assert_eq!(&rendered, &text(&mut all_cuts_early.iter()).1);
        let joined = text(&mut joined.into_iter());
        if first > Some(MediaSequence(late)) && joined.0 == first {
            prop_assert_eq!(rendered, joined.1);
        }
    }

    /// An unsealed takeover at any moment: what was listed stays, whatever had been announced.
    #[test]
    fn a_crash_changes_nothing_that_was_listed(
        plans in prop::collection::vec(plan(), 1..12),
        at in any::<prop::sample::Index>(),
        audio in any::<bool>(),
        recorded_before in 0..2u64,
        outage in 0..60_000i64,
    ) {
        let (video_told, audio_told) = stream(&plans);
        let (video_window, audio_window) = windows();
        let (told, window) = if audio { (audio_told, audio_window) } else { (video_told, video_window) };
        let told = &told[..=at.index(told.len())];
        let mut window = Watched::new(window);
        for told in told {
            window.tell(told)?;
        }
        // The record may lack the last cut. Two numbers are closed as gaps, then the new home's first follows.
        let cuts: Vec<&Cut> = told.iter().filter_map(|told| if let Told::Cut(cut) = told { Some(cut) } else { None }).collect();
        let known = cuts.len().saturating_sub(1 + usize::try_from(recorded_before)?);
        let last = cuts[known];
        for step in 0..3u64 {
            let after = i64::try_from(step)? * LIMIT;
            let new = Cut {
                msn: MediaSequence(last.msn.0 + step),
                start: Timestamp::video(last.start.ticks + after),
                kind: if step < 2 { CutKind::Gap } else { CutKind::Media },
                discontinuity: last.discontinuity + u64::from(step == 2),
                program_date_time: WallTime {
                    unix_millis: last.program_date_time.unix_millis + after / 120 + if step == 2 { outage } else { 0 },
                },
                renditions: Arc::new([]),
            };
            // A cut of the old home that the new one does not know may count one more discontinuity or lie later.
            window.step(|window| _ = window.push_cut(&new), true)?;
        }
    }
}
