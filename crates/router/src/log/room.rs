//! Room for items that come and go as long as a session lasts.

use std::collections::VecDeque;

/// Room is made for so many more items, and for one in so many of those that are there: a queue that doubled would keep up
/// to half of its room empty for good.
const MIN: usize = 32;
const SHARE: usize = 8;

/// Makes room for one more.
pub(super) fn for_one<T>(items: &mut VecDeque<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact(items.len() / SHARE + MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_little_more_room_than_it_needs() {
        let mut items = VecDeque::new();
        for number in 0..1100 {
            for_one(&mut items);
            items.push_back(number);
        }
        assert!(items.capacity() <= 1100 * 9 / 8 + MIN, "{}", items.capacity());
    }
}
