//! What a block of each word is.
//!
//! The words of sums and weights are told apart as the program runs, not as it is compiled: what goes on
//! around the blocks is in flash once.

use halfnet_core::ring::WordKind;

#[cfg(halfnet_dsp)]
pub(super) use super::arm::add_blocks;
#[cfg(not(halfnet_dsp))]
pub(super) use super::portable::add_blocks;

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

/// Sums of a block.
pub(super) const fn block(kind: WordKind) -> usize {
    if kind.bytes() == 8 { 2 } else { 4 }
}

/// Input channels in a 32-bit word of a strip.
pub(super) const fn lanes(kind: WordKind) -> usize {
    if kind.bytes() == 2 { 2 } else { 1 }
}

/// 32-bit words of a weight in a record; of Z_16 it is the weights of two channels.
pub(super) const fn weight_words(kind: WordKind) -> usize {
    kind.bytes().div_ceil(4)
}
