//! Where samples lie that the log keeps.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Copies of samples, one behind the other in blocks.
///
/// A stream's samples are let go of in about the order in which they came, half a minute later. In pieces of their own sizes
/// they would leave holes in the allocator's memory, and looking for one that fits would take a fifth of all time. A block
/// all of whose samples are gone is filled again. What samples were received in is free at once, and still in the
/// processor's cache when the next message comes.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The block that is being filled: what is free of it.
    open: Block,
    /// One before it: room for small samples, where a large one did not fit.
    spare: Block,
    /// All others, oldest first.
    full: VecDeque<Block>,
    /// Bytes of a sample, on average.
    mean: usize,
}

#[derive(Debug, Default)]
struct Block {
    /// What is free of it.
    room: BytesMut,
    /// Bytes of the whole.
    size: usize,
}

/// A block holds so many samples of average length, and none that takes more than a quarter of it.
const PER_BLOCK: usize = 16;
const SHARE: usize = 4;
const BLOCK_MIN: usize = 4 << 10;
const BLOCK_MAX: usize = 4 << 20;
/// How many samples the average is of.
const MEMORY: usize = 64;

/// So many blocks without a sample are kept: logs let go of whole segments.
const FREE_MAX: usize = 8;

impl Blocks {
    /// The same bytes, in a block.
    pub(super) fn keep(&mut self, data: &[u8]) -> Bytes {
        self.mean = (self.mean * (MEMORY - 1) + data.len()).div_ceil(MEMORY);
        let size = (self.mean * PER_BLOCK).next_power_of_two().clamp(BLOCK_MIN, BLOCK_MAX);
        if data.len() > size / SHARE {
            return Bytes::copy_from_slice(data);
        }
        let block = if data.len() <= self.spare.room.capacity() {
            &mut self.spare
        } else {
            if data.len() > self.open.room.capacity() {
                self.begin(size);
            }
            &mut self.open
        };
        block.room.extend_from_slice(data);
        block.room.split().freeze()
    }

    /// Begins a block. Of the two that were being filled, the one with more room stays.
    fn begin(&mut self, size: usize) {
        let next = self.free(size).unwrap_or_else(|| Block { room: BytesMut::with_capacity(size), size });
        let mut full = std::mem::replace(&mut self.open, next);
        if full.room.capacity() > self.spare.room.capacity() {
            std::mem::swap(&mut full, &mut self.spare);
        }
        self.full.push_back(full);
    }

    /// The oldest block without a sample, if it has about that size. What is kept for another size, or for nothing, is given
    /// back.
    fn free(&mut self, size: usize) -> Option<Block> {
        let (mut free, mut found) = (0, None);
        self.full.retain_mut(|block| {
            if !(size..=2 * size).contains(&block.size) {
                return false;
            }
            if !block.room.try_reclaim(block.size) {
                return true;
            }
            free += 1;
            if free == 1 {
                found = Some(std::mem::take(block));
                return false;
            }
            free <= FREE_MAX
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of `bytes` bytes, of which the log keeps the last `kept`.
    fn pass(blocks: &mut Blocks, log: &mut VecDeque<Bytes>, count: usize, bytes: usize, kept: usize) {
        for _ in 0..count {
            log.push_back(blocks.keep(&vec![7; bytes]));
            while log.len() > kept {
                log.pop_front();
            }
        }
    }

    #[test]
    fn samples_are_what_they_were() {
        let (mut blocks, mut random) = (Blocks::default(), 1_u32);
        let mut kept = Vec::new();
        for number in 0..5000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let length = if number % 60 == 0 { random >> 14 } else { random >> 20 };
            let data = vec![random.to_le_bytes()[3]; length as usize];
            kept.push((blocks.keep(&data), data));
            if number > 1000 {
                let (copy, data) = kept.remove(random as usize % 500);
                assert_eq!(copy, data);
            }
        }
        assert!(kept.iter().all(|(copy, data)| copy == data));
    }

    #[test]
    fn a_log_that_is_full_needs_no_more_blocks() {
        let (mut blocks, mut log) = (Blocks::default(), VecDeque::new());
        pass(&mut blocks, &mut log, 3000, 1000, 1000);
        // 1000 samples of 1000 bytes, in blocks of 16 KiB.
        assert!((62..=64).contains(&blocks.full.len()), "{}", blocks.full.len());
        let places = |blocks: &Blocks| -> Vec<usize> {
            let all = blocks.full.iter().chain([&blocks.open, &blocks.spare]);
            all.map(|block| block.room.as_ptr().addr()).collect()
        };
        let before = places(&blocks);
        pass(&mut blocks, &mut log, 3000, 1000, 1000);
        let known = |place: &usize| before.iter().any(|before| before.abs_diff(*place) <= 16 << 10);
        assert!(places(&blocks).iter().all(known));
    }

    #[test]
    fn a_reader_that_holds_one_sample_keeps_one_block_and_no_more() {
        let (mut blocks, mut log) = (Blocks::default(), VecDeque::new());
        pass(&mut blocks, &mut log, 2000, 1000, 1000);
        let held = log[0].clone();
        pass(&mut blocks, &mut log, 20_000, 1000, 1000);
        assert!(blocks.full.len() <= 65, "{}", blocks.full.len());
        assert!(held.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn what_nobody_needs_is_given_back() {
        let (mut blocks, mut log) = (Blocks::default(), VecDeque::new());
        pass(&mut blocks, &mut log, 3000, 1000, 1000);
        log.clear();
        pass(&mut blocks, &mut log, 40, 1000, 10);
        assert!(blocks.full.len() <= FREE_MAX + 4, "{}", blocks.full.len());
        // Other sizes need other blocks.
        pass(&mut blocks, &mut log, 1000, 100, 10);
        assert!(blocks.full.iter().all(|block| block.size == BLOCK_MIN), "{:?}", blocks.full);
    }
}
