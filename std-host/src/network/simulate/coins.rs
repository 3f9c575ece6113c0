//! Coins of a simulated run: as uniform as the dealer's, and the same again from the same seed.

use halfnet_core::gate::truncation::{Coins, Opening};
use halfnet_core::prg::{Key, Stream};
use halfnet_core::ring::low_mask;

/// Coins of one picture, from ChaCha12 keyed by (seed, picture); a layer's opening is a stream of its own.
#[derive(Clone, Debug)]
pub struct SeededCoins {
    key: Key,
}

impl SeededCoins {
    /// The coins of picture number `picture` in the run of `seed`.
    #[must_use]
    pub fn new(seed: u64, picture: u64) -> Self {
        let key = Key::new([0; 32])
            .derive("halfnet simulated coins v1", &[&seed.to_le_bytes(), &picture.to_le_bytes()]);
        Self { key }
    }
}

impl Coins for SeededCoins {
    fn fill(&mut self, layer: usize, opening: Opening, shift: u8, first: usize, out: &mut [u64]) {
        let kind = 2 * layer as u64 + u64::from(opening == Opening::Second);
        let mut stream = Stream::new(&self.key, kind);
        // Words are of 16 bits where that is enough: half the stream for the widths that models have.
        let filled = if shift <= 16 {
            let mut words = vec![0_u16; out.len()];
            let filled = stream.fill_words(first as u64, &mut words);
            out.iter_mut().zip(words).for_each(|(coin, word)| *coin = u64::from(word) & low_mask(shift));
            filled
        } else {
            let filled = stream.fill_words(first as u64, out);
            out.iter_mut().for_each(|coin| *coin &= low_mask(shift));
            filled
        };
        // A stream has 256 GiB, a model's tensor at most 2^24 elements.
        debug_assert!(filled.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_in_range_repeatable_and_distinct() {
        for shift in [0, 1, 6, 16, 17, 40] {
            let fill = |seed, picture, layer, opening, first| {
                let mut out = [0; 64];
                SeededCoins::new(seed, picture).fill(layer, opening, shift, first, &mut out);
                out
            };
            let coins = fill(1, 2, 3, Opening::First, 0);
            assert!(coins.iter().all(|&c| c <= low_mask(shift)));
            assert_eq!(coins[10..], fill(1, 2, 3, Opening::First, 10)[..54]);
            if shift > 0 {
                for other in [
                    fill(2, 2, 3, Opening::First, 0),
                    fill(1, 3, 3, Opening::First, 0),
                    fill(1, 2, 4, Opening::First, 0),
                    fill(1, 2, 3, Opening::Second, 0),
                ] {
                    assert_ne!(coins, other);
                }
            }
        }
    }
}
