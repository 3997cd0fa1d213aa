//! Which picture stands in which slot: the source's pictures laid on the session's grid, exactly one per slot.
//!
//! It only decides; it decodes and encodes nothing, and reads no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater_media::MediaSequence;
use headwater_media::captions::Triplet;

/// Pictures that wait for the timeline at most. None do with encoders that number their pictures sensibly.
const WAITING_MAX: usize = 32;
/// Caption triplets that wait for a slot at most: several seconds of them.
const CAPTIONS_MAX: usize = 4096;

/// Lays decoded pictures on the grid.
///
/// A picture goes out when the timeline has spoken about its slot, so that every cut up to it is known. Slots without one
/// repeat the picture before them, however many they are: the source may send few pictures, or none while sound goes on,
/// some may not decode, and gaps cost players more than a picture that stands.
///
/// Captions go with the first slot that is filled at their time or later: once, whatever happens to their picture.
#[derive(Debug)]
pub(crate) struct Slots<P> {
    /// The cut that rules `next`, and those after it.
    cuts: VecDeque<Segment>,
    /// Every cut that begins at or before this slot is known.
    heard: Option<i64>,
    /// Pictures, and `None` for samples without one.
    waiting: VecDeque<(i64, Option<P>)>,
    captions: VecDeque<(i64, Triplet)>,
    /// The slot that is filled next; slots below it are over.
    next: Option<i64>,
    /// The picture before `next`; `None` after a start, when a hole cannot be filled.
    last: Option<P>,
    /// No picture comes any more for slots before this one.
    silent_until: Option<i64>,
    counts: Counts,
}

/// What did not go one to one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// Slots filled with the picture before.
    pub(crate) repeated: u64,
    /// Pictures without a slot of their own.
    pub(crate) dropped: u64,
}

/// One slot with its picture.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Slot<P> {
    pub(crate) segment: Segment,
    pub(crate) slot: i64,
    /// It must be an IDR: it opens a segment, or nothing stands directly before it.
    pub(crate) idr: bool,
    /// The picture was shown before.
    pub(crate) repeated: bool,
    pub(crate) picture: P,
    /// What its picture is to carry, besides what is left over from those before. A gear that leaves the slot out carries
    /// it in its next one.
    pub(crate) captions: Arc<[Triplet]>,
}

/// A segment of the timeline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) msn: MediaSequence,
    /// Its first slot.
    pub(crate) start: i64,
}

impl<P: Clone> Slots<P> {
    pub(crate) fn new() -> Self {
        Self {
            cuts: VecDeque::new(),
            heard: None,
            waiting: VecDeque::new(),
            captions: VecDeque::new(),
            next: None,
            last: None,
            silent_until: None,
            counts: Counts::default(),
        }
    }

    /// A segment begins.
    pub(crate) fn cut(&mut self, segment: Segment) {
        self.cuts.push_back(segment);
    }

    /// The timeline has got to `slot`.
    pub(crate) fn heard(&mut self, slot: i64) {
        self.heard = self.heard.max(Some(slot));
    }

    /// No picture comes any more for the slots before `slot`, which the timeline has passed.
    pub(crate) fn silent(&mut self, slot: i64) {
        self.silent_until = self.silent_until.max(Some(slot));
    }

    /// A picture was decoded, to be shown from `slot` on. One whose slot is over or taken is dropped.
    ///
    /// Pictures come in the order in which they are shown: those that wait for a time far behind this one's have a wrong
    /// one, and are dropped in its stead.
    pub(crate) fn picture(&mut self, slot: i64, picture: P) {
        while self.waiting.back().is_some_and(|(newest, _)| is_far(*newest, slot)) {
            self.counts.dropped += u64::from(self.waiting.pop_back().is_some_and(|(_, picture)| picture.is_some()));
        }
        if self.is_over(slot) {
            self.counts.dropped += 1;
        } else {
            self.wait(slot, Some(picture));
        }
    }

    /// The source has something for `slot` that could not be decoded.
    pub(crate) fn lost(&mut self, slot: i64) {
        if !self.is_over(slot) {
            self.wait(slot, None);
        }
    }

    /// Captions that are to be shown from `slot` on; those of later calls come after them.
    pub(crate) fn captions(&mut self, slot: i64, triplets: &[Triplet]) {
        for (wrong, _) in self.captions.iter_mut().rev().take_while(|(newest, _)| is_far(*newest, slot)) {
            *wrong = slot;
        }
        self.captions.extend(triplets.iter().map(|triplet| (slot, *triplet)));
        self.captions.drain(..self.captions.len().saturating_sub(CAPTIONS_MAX));
    }

    /// A later picture waits already, or was shown.
    fn is_over(&self, slot: i64) -> bool {
        self.waiting.back().is_some_and(|(newest, _)| slot <= *newest) || self.next.is_some_and(|next| slot < next)
    }

    fn wait(&mut self, slot: i64, picture: Option<P>) {
        self.waiting.push_back((slot, picture));
        if self.waiting.len() > WAITING_MAX {
            self.heard(slot);
        }
    }

    /// No picture of this stretch follows: those below `end` may go out, further ones have no place.
    pub(crate) fn finish(&mut self, end: i64) {
        self.keep(|slot| slot < end);
        self.heard(end - 1);
    }

    /// Nothing that comes is shown before `slot`: the timeline has gone on without pictures for too long. `false` when
    /// pictures have got there already.
    pub(crate) fn skip_to(&mut self, slot: i64) -> bool {
        if self.next.is_none_or(|next| next >= slot) {
            return false;
        }
        self.keep(|waiting| waiting >= slot);
        self.next = Some(slot);
        self.last = None;
        true
    }

    fn keep(&mut self, in_place: impl Fn(i64) -> bool) {
        let dropped = self.waiting.iter().filter(|(slot, picture)| picture.is_some() && !in_place(*slot)).count();
        self.counts.dropped += dropped as u64;
        self.waiting.retain(|(slot, _)| in_place(*slot));
    }

    /// Samples are missing: what follows begins at another cut.
    pub(crate) fn restart(&mut self) {
        self.cuts.clear();
        self.waiting.clear();
        self.captions.clear();
        self.heard = None;
        self.last = None;
        self.silent_until = None;
    }

    /// The next slot that is filled.
    pub(crate) fn poll(&mut self) -> Option<Slot<P>> {
        while self.last.is_none() && self.waiting.front().is_some_and(|(_, picture)| picture.is_none()) {
            self.waiting.pop_front();
        }
        let waiting = self.waiting.front().map(|(slot, _)| *slot);
        let due = waiting.filter(|slot| Some(*slot) <= self.heard);
        if let (Some(next), Some(last)) = (self.next, self.last.clone())
            && due.or(self.silent_until.min(waiting.or(Some(i64::MAX)))).is_some_and(|until| next < until)
        {
            self.counts.repeated += 1;
            return self.emit(next, false, true, last);
        }
        due?;
        let alone = self.last.is_none();
        let (slot, picture) = self.waiting.pop_front()?;
        let repeated = picture.is_none();
        if repeated {
            self.counts.repeated += 1;
        } else {
            self.last = picture;
        }
        let picture = self.last.clone()?;
        self.emit(slot, alone, repeated, picture)
    }

    /// What happened since the last call.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn emit(&mut self, slot: i64, alone: bool, repeated: bool, picture: P) -> Option<Slot<P>> {
        self.next = Some(slot + 1);
        self.forget_cuts(slot);
        // Before the first cut there is nothing to be part of.
        let segment = *self.cuts.front().filter(|segment| segment.start <= slot)?;
        let due = self.captions.iter().take_while(|(shown, _)| *shown <= slot).count();
        let captions = self.captions.drain(..due).map(|(_, triplet)| triplet).collect();
        Some(Slot { segment, slot, idr: alone || segment.start == slot, repeated, picture, captions })
    }

    fn forget_cuts(&mut self, slot: i64) {
        while self.cuts.get(1).is_some_and(|cut| cut.start <= slot) {
            self.cuts.pop_front();
        }
    }
}

/// Whether a slot is further ahead of another than pictures are ever put in order.
fn is_far(slot: i64, other: i64) -> bool {
    slot - other > WAITING_MAX as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 60 slots from slot 0 on.
    fn slots() -> Slots<i64> {
        let mut slots = Slots::new();
        (0..4).for_each(|number| {
            slots.cut(Segment { msn: MediaSequence(1 + number), start: 60 * i64::try_from(number).unwrap() });
        });
        slots
    }

    /// Feeds pictures that are numbered by the slot that they were meant for.
    fn filled(slots: &mut Slots<i64>, pictures: &[i64]) -> Vec<(i64, i64, bool)> {
        let mut out = Vec::new();
        for &slot in pictures {
            slots.picture(slot, slot);
            slots.heard(slot);
            out.extend(std::iter::from_fn(|| slots.poll()).map(|slot| (slot.slot, slot.picture, slot.idr)));
        }
        out
    }

    #[test]
    fn each_picture_has_its_slot_and_segments_open_with_an_idr() {
        let pictures: Vec<i64> = (0..130).collect();
        let out = filled(&mut slots(), &pictures);
        assert!(out.iter().zip(0..).all(|((slot, picture, _), number)| (*slot, *picture) == (number, number)));
        let idrs: Vec<i64> = out.iter().filter(|(_, _, idr)| *idr).map(|(slot, _, _)| *slot).collect();
        assert_eq!(idrs, [0, 60, 120]);
    }

    #[test]
    fn a_hole_of_at_most_a_part_repeats_the_picture_before_it() {
        let mut slots = slots();
        let out = filled(&mut slots, &[0, 1, 8, 9]);
        let shown: Vec<i64> = out.iter().map(|(_, picture, _)| *picture).collect();
        assert_eq!(shown, [0, 1, 1, 1, 1, 1, 1, 1, 8, 9]);
        assert_eq!(out.iter().filter(|(_, _, idr)| *idr).count(), 1);
        assert_eq!(slots.take_counts(), Counts { repeated: 6, dropped: 0 });
    }

    #[test]
    fn a_longer_hole_repeats_it_too_over_a_cut_as_an_idr() {
        let out = filled(&mut slots(), &[50, 130]);
        assert!(out.iter().map(|(slot, ..)| *slot).eq(50..=130));
        assert!(out[..80].iter().all(|(_, picture, _)| *picture == 50));
        let idrs: Vec<i64> = out.iter().filter(|(_, _, idr)| *idr).map(|(slot, ..)| *slot).collect();
        assert_eq!(idrs, [50, 60, 120]);
    }

    /// Sound goes on: what is shown stays, without a picture that comes after it.
    #[test]
    fn when_pictures_stop_the_last_one_stays() {
        let mut slots = slots();
        filled(&mut slots, &[0, 1, 2]);
        slots.heard(70);
        assert_eq!(slots.poll(), None, "one may still come");
        slots.silent(65);
        let out: Vec<(i64, i64, bool)> =
            std::iter::from_fn(|| slots.poll()).map(|slot| (slot.slot, slot.picture, slot.idr)).collect();
        assert!(out.iter().map(|(slot, ..)| *slot).eq(3..65));
        assert!(out.iter().all(|(slot, picture, idr)| *picture == 2 && *idr == (*slot == 60)));
        assert_eq!(filled(&mut slots, &[67]), [(65, 2, false), (66, 2, false), (67, 67, false)]);
    }

    #[test]
    fn of_pictures_in_one_slot_and_of_ones_that_do_not_rise_the_first_is_kept() {
        let mut slots = slots();
        for (slot, picture) in [(0, 1), (0, 2), (1, 3), (0, 4), (2, 5)] {
            slots.picture(slot, picture);
        }
        slots.heard(2);
        let shown: Vec<i64> = std::iter::from_fn(|| slots.poll()).map(|slot| slot.picture).collect();
        assert_eq!(shown, [1, 3, 5]);
        slots.picture(1, 6);
        assert_eq!((slots.poll(), slots.take_counts()), (None, Counts { repeated: 0, dropped: 3 }));
    }

    #[test]
    fn a_picture_far_ahead_of_those_that_follow_is_the_one_that_is_dropped() {
        let mut slots = slots();
        let triplet = |number| Triplet([0xFC, number, 0]);
        filled(&mut slots, &[0, 1]);
        slots.captions(150, &[triplet(2)]);
        slots.picture(150, 2);
        slots.captions(3, &[triplet(3)]);
        slots.picture(3, 3);
        slots.heard(3);
        let out: Vec<_> = std::iter::from_fn(|| slots.poll()).collect();
        assert_eq!(out.iter().map(|slot| (slot.slot, slot.picture)).collect::<Vec<_>>(), [(2, 1), (3, 3)]);
        assert_eq!(*out[1].captions, [triplet(2), triplet(3)]);
        assert_eq!(slots.take_counts(), Counts { repeated: 1, dropped: 1 });
    }

    #[test]
    fn a_picture_waits_until_the_timeline_has_reached_its_slot() {
        let mut slots = slots();
        slots.heard(3);
        slots.picture(5, 5);
        assert_eq!(slots.poll(), None);
        slots.heard(5);
        assert_eq!(slots.poll().map(|slot| slot.slot), Some(5));
    }

    #[test]
    fn a_stretch_that_ends_lets_out_what_waits_below_its_end() {
        let mut slots = slots();
        slots.heard(3);
        (3..8).for_each(|slot| slots.picture(slot, slot));
        slots.finish(6);
        assert_eq!(std::iter::from_fn(|| slots.poll()).map(|slot| slot.slot).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(slots.take_counts().dropped, 2);
    }

    #[test]
    fn what_comes_after_too_long_a_silence_is_an_idr_and_not_before_where_the_timeline_is() {
        let mut slots = slots();
        filled(&mut slots, &[0, 1, 2]);
        assert!(!slots.skip_to(3));
        assert!(slots.skip_to(100));
        assert_eq!(filled(&mut slots, &[50, 99, 100, 101]), [(100, 100, true), (101, 101, false)]);
        assert_eq!(slots.take_counts(), Counts { repeated: 0, dropped: 2 });
    }

    #[test]
    fn after_a_restart_an_idr_comes_first_and_slots_do_not_fall() {
        let mut slots = slots();
        filled(&mut slots, &[0, 1, 2]);
        slots.restart();
        slots.cut(Segment { msn: MediaSequence(1), start: 0 });
        assert_eq!(filled(&mut slots, &[1, 5, 6]), [(5, 5, true), (6, 6, false)]);
    }
}
