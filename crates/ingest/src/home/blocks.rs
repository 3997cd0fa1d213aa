//! Where samples lie that the log keeps.

use bytes::{Bytes, BytesMut};

/// Copies of samples, one behind the other in blocks.
///
/// A stream's samples are let go of in about the order in which they came, half a minute later. In pieces of their own sizes
/// they would leave holes in the allocator's memory, and looking for one that fits would take a fifth of all time. A block
/// is free when all its samples are gone, and the next stream that begins one fills it again: streams let go of whole segments,
/// but not all at once. What samples were received in is free at once, and still in the processor's cache when the next message
/// comes.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// What is free of the block that is being filled.
    open: BytesMut,
    /// Of one before it: room for small samples, where a large one did not fit.
    spare: BytesMut,
    /// Bytes of a sample, on average.
    mean: usize,
}

/// The blocks of a stream's tracks. Pictures are kept as long as the parts that are made of them, sound goes earlier: in
/// blocks of both it would not be free.
#[derive(Debug, Default)]
pub(super) struct TrackBlocks {
    pub(super) video: Blocks,
    pub(super) audio: Blocks,
}

/// A block holds so many samples of average length, and none that takes more than a quarter of it.
const PER_BLOCK: usize = 16;
const SHARE: usize = 4;
const BLOCK_MIN: usize = 4 << 10;
const BLOCK_MAX: usize = 4 << 20;
/// How many samples the average is of.
const MEMORY: usize = 64;

impl Blocks {
    /// The same bytes, in a block.
    pub(super) fn keep(&mut self, data: &[u8]) -> Bytes {
        self.mean = (self.mean * (MEMORY - 1) + data.len()).div_ceil(MEMORY);
        let size = (self.mean * PER_BLOCK).next_power_of_two().clamp(BLOCK_MIN, BLOCK_MAX);
        if data.len() > size / SHARE {
            return Bytes::copy_from_slice(data);
        }
        let room = if data.len() <= self.spare.capacity() {
            &mut self.spare
        } else {
            if data.len() > self.open.capacity() {
                self.begin(size);
            }
            &mut self.open
        };
        room.extend_from_slice(data);
        room.split().freeze()
    }

    /// Begins a block. Of the two that were being filled, the one with more room stays.
    fn begin(&mut self, size: usize) {
        let full = std::mem::replace(&mut self.open, BytesMut::with_capacity(size));
        if full.capacity() > self.spare.capacity() {
            self.spare = full;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn samples_lie_one_behind_the_other() {
        let mut blocks = Blocks::default();
        let kept: Vec<Bytes> = (0..1000).map(|_| blocks.keep(&[7; 1000])).collect();
        let follows = |pair: &&[Bytes]| pair[1].as_ptr().addr() == pair[0].as_ptr().addr() + 1000;
        // In blocks of 16 KiB, once the average is known.
        assert!(kept.windows(2).filter(follows).count() > 900);
    }
}
