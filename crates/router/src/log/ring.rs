//! The last seconds of stamped source samples, with the cuts and part ends between them.

use std::collections::VecDeque;
use std::time::Duration;

use headwater_media::{MediaSequence, StampedVideo, Timestamp};

use super::{Item, room};

/// Items in order, each with a number.
#[derive(Debug)]
pub(super) struct Ring {
    items: VecDeque<Item>,
    first: u64,
    bytes: usize,
    bytes_max: usize,
}

/// What an item without payload is counted as, so that nothing is free.
const ITEM_BYTES: usize = 128;

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { items: VecDeque::new(), first: 0, bytes: 0, bytes_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// A cut drops what is older than `length`, in whole segments.
    pub(super) fn push(&mut self, item: Item, length: Duration) {
        self.bytes += size(&item);
        let is_cut = matches!(item, Item::Cut(_));
        room::for_one(&mut self.items);
        self.items.push_back(item);
        if is_cut {
            self.trim(length);
        }
        while self.bytes > self.bytes_max {
            self.pop();
        }
    }

    /// Drops whole segments from the front as long as what is left is long enough and can be decoded.
    fn trim(&mut self, length: Duration) {
        let Some(newest) = self.items.iter().rev().find_map(cut_start) else { return };
        let keyframe = self.newest_keyframe_cut();
        loop {
            let mut cuts = self.items.iter().enumerate().filter_map(|(index, item)| Some((index, cut_start(item)?)));
            let Some((second, start)) = cuts.nth(1) else { return };
            if self.first + second as u64 > keyframe {
                return;
            }
            let kept = Timestamp::video(newest.ticks - start.ticks).to_duration();
            if kept < length {
                return;
            }
            (0..second).for_each(|_| self.pop());
        }
    }

    fn pop(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= size(&item);
            self.first += 1;
        }
    }

    /// Forgets everything, and tells every reader so: one that has read everything goes on with the next item after it was
    /// told.
    pub(super) fn forget(&mut self) {
        self.first = self.end() + 1;
        self.items.clear();
        self.bytes = 0;
    }

    /// What the items are counted as, without the pictures for which `shared` says so.
    pub(super) fn bytes_but(&self, shared: impl Fn(&StampedVideo) -> bool) -> usize {
        let data = |item: &Item| match item {
            Item::Video(video) if shared(video) => video.data.len(),
            _ => 0,
        };
        self.bytes - self.items.iter().map(data).sum::<usize>()
    }

    /// Number of the item that will come next.
    pub(super) fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// Number of the newest cut whose first picture is a keyframe; of the newest cut when there is none; of the next
    /// item when there is no cut.
    pub(super) fn newest_keyframe_cut(&self) -> u64 {
        let mut first_video_is_keyframe = None;
        let mut newest_cut = None;
        for (index, item) in self.items.iter().enumerate().rev() {
            match item {
                Item::Video(video) => first_video_is_keyframe = Some(video.is_entry()),
                Item::Cut(_) => {
                    newest_cut = newest_cut.or(Some(index));
                    if first_video_is_keyframe == Some(true) {
                        return self.first + index as u64;
                    }
                    first_video_is_keyframe = None;
                }
                Item::Audio(_) | Item::PartEnd(_) => {}
            }
        }
        self.first + newest_cut.unwrap_or(self.items.len()) as u64
    }

    /// Number of the cut of segment `msn`, or of the first later one; of the next item when there is none.
    pub(super) fn cut(&self, msn: MediaSequence) -> u64 {
        let found = self.items.iter().position(|item| matches!(item, Item::Cut(cut) if cut.msn >= msn));
        self.first + found.unwrap_or(self.items.len()) as u64
    }

    /// Number of the cut of segment `msn`, or of the nearest one before it, from which on pictures can be decoded so that
    /// those of segment `msn` are right. `None` when there is none that begins less than `back` before the newest cut.
    pub(super) fn keyframe_cut(&self, msn: MediaSequence, back: Duration) -> Option<u64> {
        let newest = self.items.iter().rev().find_map(cut_start)?;
        let mut first_video = None;
        // The number of pictures from each one on up to the segment.
        let mut before = 0u64;
        for (index, item) in self.items.iter().enumerate().rev() {
            match item {
                Item::Video(video) => {
                    before += u64::from(video.msn < msn);
                    first_video = Some(video);
                }
                Item::Cut(cut) if Timestamp::video(newest.ticks - cut.start.ticks).to_duration() > back => return None,
                Item::Cut(cut) => {
                    let video = first_video.take().filter(|_| cut.msn <= msn);
                    let right_after = |video: &StampedVideo| match video.recovery {
                        _ if video.idr => Some(0),
                        frames => frames,
                    };
                    if video.and_then(right_after).is_some_and(|frames| u64::from(frames) <= before) {
                        return Some(self.first + index as u64);
                    }
                }
                Item::Audio(_) | Item::PartEnd(_) => {}
            }
        }
        None
    }

    /// The newest picture that can be decoded by itself.
    pub(super) fn newest_idr(&self) -> Option<&StampedVideo> {
        self.items.iter().rev().find_map(|item| match item {
            Item::Video(video) if video.idr || video.recovery == Some(0) => Some(video),
            _ => None,
        })
    }

    /// The item with number `cursor`; `Err` when it has been dropped.
    pub(super) fn item(&self, cursor: u64) -> Result<Option<&Item>, ()> {
        let offset = cursor.checked_sub(self.first).ok_or(())?;
        Ok(usize::try_from(offset).ok().and_then(|offset| self.items.get(offset)))
    }
}

fn cut_start(item: &Item) -> Option<Timestamp> {
    match item {
        Item::Cut(cut) => Some(cut.start),
        _ => None,
    }
}

fn size(item: &Item) -> usize {
    ITEM_BYTES
        + match item {
            Item::Video(video) => video.data.len(),
            Item::Audio(audio) => audio.data.len(),
            Item::Cut(_) | Item::PartEnd(_) => 0,
        }
}
