//! Bit-sliced words: one `u64` carries one bit of 64 comparisons.

/// Comparisons of one word, and elements of one chunk of correlations.
pub const LANES: usize = 64;

/// Transposes 64 values of up to 16 bits into bit planes: bit i of `planes[p]` is bit p of `values[i]`.
pub fn transpose(values: &[u16; LANES], planes: &mut [u64; 16]) {
    *planes = [0; 16];
    for half in 0..2 {
        for (eighth, group) in values.chunks_exact(8).enumerate() {
            let mut block = 0_u64;
            for (i, &value) in group.iter().enumerate() {
                block |= u64::from((value >> (8 * half)) as u8) << (8 * i);
            }
            let block = transpose_8x8(block);
            for bit in 0..8 {
                planes[8 * half + bit] |= (block >> (8 * bit) & 0xff) << (8 * eighth);
            }
        }
    }
}

/// Transposes an 8×8 bit matrix, byte i = row i (Warren, Hacker's Delight, 7-3).
const fn transpose_8x8(mut x: u64) -> u64 {
    let mut t = (x ^ (x >> 7)) & 0x00aa_00aa_00aa_00aa;
    x ^= t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000_cccc_0000_cccc;
    x ^= t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x0000_0000_f0f0_f0f0;
    x ^ t ^ (t << 28)
}

/// 64 bits of a bit string that starts at bit `first`; zeros beyond the end.
#[must_use]
#[inline]
pub fn bits_from(words: &[u64], first: usize) -> u64 {
    let (word, shift) = (first / 64, first % 64);
    let at = |i: usize| words.get(i).copied().unwrap_or(0);
    if shift == 0 { at(word) } else { at(word) >> shift | at(word + 1) << (64 - shift) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn planes_hold_the_bits(seed in any::<u64>()) {
            let mut values = [0_u16; LANES];
            let mut state = seed;
            for value in &mut values {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *value = (state >> 40) as u16;
            }
            let mut planes = [1; 16];
            transpose(&values, &mut planes);
            for (i, value) in values.iter().enumerate() {
                for (p, plane) in planes.iter().enumerate() {
                    prop_assert_eq!(plane >> i & 1, u64::from(value >> p & 1));
                }
            }
        }
    }

    #[test]
    fn bits_across_words() {
        let words = [0x8000_0000_0000_0001, 0b101];
        assert_eq!(bits_from(&words, 63), 0b1011);
        assert_eq!(bits_from(&words, 64), 0b101);
        assert_eq!(bits_from(&words, 128), 0);
    }
}
