//! Waking a session's ladder and letting it go cold: where windows begin, and what is left of them (architecture 6).

use headwater_media::{CutKind, Instant, MediaSequence, Timescale};
use tokio::sync::watch;

use super::making::Making;
use super::{Demand, Inner, StreamLog};

impl StreamLog {
    /// A player asked for something at `now`. Wakes the ladder when it is cold.
    pub fn watched(&self, now: Instant) {
        if self.is_replica() {
            if self.watched.mark_replica(now) {
                self.wishes.send_replace(());
            }
            return;
        }
        self.watched.mark(now, || {
            let mut inner = self.inner();
            inner.begins = inner.beginning(self.session.grid.target_duration);
        });
    }

    /// The segment with which all windows begin since the ladder was last woken: gears, and with them the source and
    /// audio that is passed through, because players that find more of one than of another wait, or give up.
    pub fn begins(&self) -> MediaSequence {
        self.inner().begins
    }

    /// When a player last asked for something.
    pub fn last_watched(&self) -> Instant {
        self.watched.last()
    }

    /// Whether gears are wanted, now and later.
    pub fn demand(&self) -> watch::Receiver<Demand> {
        self.watched.subscribe()
    }

    /// Stops all gears, unless a player asked for something after `limit`: their writers lose their turns, what they made
    /// is forgotten, and they begin anew when the ladder is woken. Readers of all renditions are at their end. Whether it
    /// stopped them.
    pub fn cool(&self, limit: Instant) -> bool {
        self.watched.cool(limit, || {
            self.inner().stop_gears();
            self.change_state(|state| {
                let mut renditions = state.renditions.to_vec();
                for rendition in renditions.iter_mut().filter(|known| known.kind.is_encoded()) {
                    rendition.begun = false;
                    rendition.off = None;
                }
                state.renditions = renditions.into();
            });
        })
    }
}

impl Inner {
    fn stop_gears(&mut self) {
        if !self.has_gears() {
            return;
        }
        for making in &mut self.renditions {
            if making.is_encoded() {
                making.stop();
            } else {
                making.end_readers();
            }
        }
    }

    fn has_gears(&self) -> bool {
        self.renditions.iter().any(Making::is_encoded)
    }

    /// Where a ladder begins that is woken now: with the last whole segment, since players need one, and nobody has to
    /// wait for the next to be whole. When that is too much to catch up with, with the segment that is open.
    fn beginning(&self, target_duration: u32) -> MediaSequence {
        let Some(open) = self.cuts.back().filter(|_| self.has_gears()) else { return MediaSequence(0) };
        if open.kind == CutKind::Gap {
            return open.msn.next();
        }
        let newest = self.part_ends.back().map_or(open.start.ticks, |end| end.end.0 * self.slot_ticks);
        let enough = i64::from(target_duration) * i64::from(Timescale::VIDEO.units_per_second()) * 3 / 2;
        let whole = self.cuts.iter().rev().nth(1);
        let whole = whole.filter(|cut| cut.kind == CutKind::Media && newest - cut.start.ticks <= enough);
        let unmade = self.renditions.iter().map(|making| making.unmade).max();
        whole.unwrap_or(open).msn.max(unmade.unwrap_or_default())
    }
}
