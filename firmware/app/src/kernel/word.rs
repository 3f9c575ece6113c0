//! What a block of each word is.

use halfnet_core::ring::{Word, Words, WordsMut};

#[cfg(halfnet_dsp)]
use super::arm as blocks;
#[cfg(not(halfnet_dsp))]
use super::portable as blocks;

/// Rows of outputs, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// The word of the strip at which the first output's inputs begin.
    pub(super) first: usize,
    /// Words of the strip from row to row.
    pub(super) step: usize,
    /// Outputs of a row.
    pub(super) width: usize,
    /// How many; at least 1.
    pub(super) count: usize,
}

/// A word of sums and weights that blocks are made of.
pub(super) trait BlockWord: Word {
    /// Sums of a block.
    const BLOCK: usize;
    /// Input channels in a 32-bit word of a strip.
    const LANES: usize;

    /// The sum and the products of an input word and a record's weight.
    #[must_use]
    fn multiply_add(self, input: u32, weight: &[u32]) -> Self;

    /// Writes a record's weight: that of the first channel and, of words of two channels, the second's.
    fn put(first: Self, second: Self, weight: &mut [u32]);

    /// out += strip ⊗ records for the whole blocks of each of `rows`.
    fn add_blocks(strip: &[u32], rows: &Rows, records: &[u32], sections: [u32; 3], out: &mut [Self]);

    /// A slice as [`Words`].
    fn words(words: &[Self]) -> Words<'_>;

    /// A slice as [`WordsMut`].
    fn words_mut(words: &mut [Self]) -> WordsMut<'_>;
}

macro_rules! block_word {
    ($word:ty, $variant:ident, $block:literal, $lanes:literal, $blocks:ident, $multiply_add:expr, $put:expr) => {
        impl BlockWord for $word {
            const BLOCK: usize = $block;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn multiply_add(self, input: u32, weight: &[u32]) -> Self {
                $multiply_add(self, input, weight)
            }

            #[inline(always)]
            fn put(first: Self, second: Self, weight: &mut [u32]) {
                $put(first, second, weight);
            }

            fn add_blocks(strip: &[u32], rows: &Rows, records: &[u32], sections: [u32; 3], out: &mut [Self]) {
                blocks::$blocks(strip, rows, records, sections, out);
            }

            fn words(words: &[Self]) -> Words<'_> {
                Words::$variant(words)
            }

            fn words_mut(words: &mut [Self]) -> WordsMut<'_> {
                WordsMut::$variant(words)
            }
        }
    };
}

/// Sums, an input word and a record's weight, of which the first word is there.
fn word(weight: &[u32], index: usize) -> u32 {
    weight.get(index).copied().unwrap_or(0)
}

block_word!(
    u16,
    U16,
    4,
    2,
    add_16,
    |sum: u16, input: u32, weight| {
        let weight = word(weight, 0);
        let low = (input as u16).wrapping_mul(weight as u16);
        let high = ((input >> 16) as u16).wrapping_mul((weight >> 16) as u16);
        sum.wrapping_add(low).wrapping_add(high)
    },
    |first: u16, second: u16, weight: &mut [u32]| {
        if let Some(slot) = weight.first_mut() {
            *slot = u32::from(first) | u32::from(second) << 16;
        }
    }
);
block_word!(
    u32,
    U32,
    4,
    1,
    add_32,
    |sum: u32, input: u32, weight| sum.wrapping_add(input.wrapping_mul(word(weight, 0))),
    |first: u32, _, weight: &mut [u32]| {
        if let Some(slot) = weight.first_mut() {
            *slot = first;
        }
    }
);
block_word!(
    u64,
    U64,
    2,
    1,
    add_64,
    |sum: u64, input: u32, weight| {
        let weight = u64::from(word(weight, 0)) | u64::from(word(weight, 1)) << 32;
        sum.wrapping_add(u64::from(input).wrapping_mul(weight))
    },
    |first: u64, _, weight: &mut [u32]| {
        if let Some(slot) = weight.first_chunk_mut::<2>() {
            *slot = [first as u32, (first >> 32) as u32];
        }
    }
);
