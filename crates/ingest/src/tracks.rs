//! Which of a publisher's tracks is taken.

/// Picks one of several tracks of a kind: the one with the lowest number, which is 0 unless the publisher leaves it out.
///
/// Numbers say nothing about quality. What has been taken once stays so: a lower number that comes after the first frame
/// is too late.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct TrackChoice {
    track: Option<u8>,
    begun: bool,
}

impl TrackChoice {
    /// Whether a packet of `track` is taken.
    pub(crate) fn takes(&mut self, track: u8, is_frame: bool) -> bool {
        if !self.begun && self.track.is_none_or(|known| track < known) {
            self.track = Some(track);
        }
        let taken = self.track == Some(track);
        self.begun |= taken && is_frame;
        taken
    }

    /// Whether it is the track that is taken, as far as is known.
    pub(crate) fn is(&self, track: u8) -> bool {
        self.track == Some(track)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    ///
    #[test]
    fn the_lowest_track_is_taken_and_stays() {
        let mut choice = TrackChoice::default();
        assert!(choice.takes(2, false), "its configuration comes first");
        assert!(choice.takes(1, false));
        assert!(!choice.takes(2, true));
        assert!(choice.takes(1, true));
        assert!(!choice.takes(0, false), "too late");
        assert!(choice.is(1) && !choice.is(0));
    }
}
