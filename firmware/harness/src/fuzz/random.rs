//! Numbers that are the same again for the same seed.

use std::ops::Range;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) const fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }

    /// One of `range`, which is not empty; the bias is nothing to a test.
    pub(super) fn within(&mut self, range: Range<usize>) -> usize {
        range.start + (self.next() % (range.len() as u64)) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.within(0..from.len())]
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
