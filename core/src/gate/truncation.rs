//! Truncation as both openings compute it: floor(z / 2^f) or one more, by a coin.
//!
//! By turns, r is the mask and y = ((z + r) >> f) − (r >> f), so the coin is r's low bits. Mutual, P0's share
//! has low bits l and y = (z + 2^f − 1 − l) >> f, so the coin is 2^f − 1 − l. Either way y = (z + coin) >> f
//! with a coin uniform in 0 .. 2^f: unbiased.

/// One truncation of plaintext integers, bit for bit what an opening gives when its coin is `coin`, in 0 ..
/// 2^shift.
#[must_use]
#[inline]
pub const fn reference(value: i64, shift: u8, coin: u64) -> i64 {
    value.wrapping_add(coin as i64) >> shift
}

/// The coin that rounds to the nearest integer, halves up.
#[must_use]
#[inline]
pub const fn nearest(shift: u8) -> u64 {
    if shift == 0 { 0 } else { 1 << (shift - 1) }
}

/// Which of a layer's two openings a coin belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Of the linear layer's sum; elements are counted in the sum's shape.
    First,
    /// Of the activated (and pooled) tensor into the next wire; elements are counted in the wire's shape.
    Second,
}

/// Where the reference takes its coins from.
pub trait Coins {
    /// Fills `out` with coins in 0 .. 2^shift for elements `first ..` of an opening of layer `layer`.
    fn fill(&mut self, layer: usize, opening: Opening, shift: u8, first: usize, out: &mut [u64]);

    /// The values of a wire, as soon as they are known and before any layer reads them; wire 0 is the input.
    fn wire(&mut self, _wire: usize, _values: &[i64]) {}

    /// The truncated values y of a whole activation layer, before the coins of its second opening are asked
    /// for.
    fn truncated(&mut self, _layer: usize, _values: &[i64]) {}
}

/// Coins that always round to the nearest integer: the deterministic reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

impl Coins for Nearest {
    fn fill(&mut self, _layer: usize, _opening: Opening, shift: u8, _first: usize, out: &mut [u64]) {
        out.fill(nearest(shift));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_neighbour_and_unbiased() {
        for z in -40_i64..40 {
            let total: i64 = (0..8).map(|coin| reference(z, 3, coin)).sum();
            assert_eq!(total, z, "the mean over all coins is z / 8 exactly");
        }
        assert_eq!(reference(-5, 3, nearest(3)), -1);
        assert_eq!(reference(7, 0, nearest(0)), 7);
    }
}
