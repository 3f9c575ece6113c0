//! The arithmetic of both openings: what is masked, what is sent, what the opened value means.
//!
//! **Opening 1**, after a linear layer, cuts f1 of b bits exactly, n = b − f1. With z⁺ = z + 2^(b−2),
//! −2^(b−2) ≤ z ≤ 2^(b−2) − 2^f1:
//!
//! * *mutual* (mode T): mask r = R·2^f1 with R uniform in Z_n, and 2^f1 − 1 added once; each party sends its
//!   share's top n bits, C is their sum modulo 2^n.
//! * *by turns* (S, H): r uniform in Z_b, R = r >> f1; P1 learns c = z⁺ + r and both learn C = c >> f1.
//!
//! Either way C is uniform and y = C − R_m, R_m = R + 2^(n−2) − m·M, m = 1 − msb(C), M = msb(R)·2^n, is
//! floor(z / 2^f1) or one more, as an integer: z⁺ >> f1 < 2^(n−1), so the sum wraps exactly when msb(R) = 1
//! and msb(C) = 0.
//!
//! **Opening 2**, into the next linear layer, cuts f2 of L = W + f2 bits: mutual with r2 = R2·2^f2 + 2^f2 − 1
//! and A = −R2; by turns with r2 uniform in Z_L and A = −(r2 >> f2). E + A = floor(x / 2^f2) or one more
//! modulo 2^W, for x of any size.

use crate::ring::low_mask;

/// Is an opening mutual, or by turns?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Both parties send the top bits of their shares at once.
    Mutual,
    /// P0 sends its whole share (where P1 does not know the value alone), P1 answers with the high part.
    ByTurns,
}

/// A mask and what follows from it.
#[derive(Clone, Copy)]
pub struct Mask {
    /// What is added to the value, the rounding constant included, modulo 2^64.
    pub added: u64,
    /// The mask's part above the cut: R or R2, reduced to the opened bits.
    pub high: u64,
    /// The coin that this mask means where the exchange is by turns; see [`crate::gate::truncation`].
    pub coin: u64,
}

/// The mask of an opening from a uniform word: cuts `shift` of `opened_bits + shift` bits.
#[must_use]
#[inline]
pub const fn mask(exchange: Exchange, uniform: u64, opened_bits: u8, shift: u8) -> Mask {
    match exchange {
        Exchange::Mutual => {
            let high = uniform & low_mask(opened_bits);
            let shifted = if shift >= 64 { 0 } else { high << shift };
            Mask { added: shifted.wrapping_add(low_mask(shift)), high, coin: 0 }
        }
        Exchange::ByTurns => {
            let all = uniform & low_mask(opened_bits + shift);
            Mask { added: all, high: if shift >= 64 { 0 } else { all >> shift }, coin: all & low_mask(shift) }
        }
    }
}

/// m = 1 − msb(C).
#[must_use]
#[inline(always)]
pub const fn wrap_choice(opened: u16, opened_bits: u8) -> u64 {
    1 ^ (opened as u64 >> (opened_bits - 1) & 1)
}

/// R_m = R + 2^(n−2) − m·msb(R)·2^n, modulo 2^64.
#[must_use]
#[inline(always)]
pub const fn lifted_mask(high: u64, m: u64, opened_bits: u8) -> u64 {
    let top = high >> (opened_bits - 1) & 1;
    high.wrapping_add(1 << (opened_bits - 2)).wrapping_sub((m & top) << opened_bits)
}

/// What opening 1 opens for a truncated value y under R.
#[must_use]
pub const fn reference_open(y: i64, high: u64, opened_bits: u8) -> u16 {
    ((y as u64).wrapping_add(1 << (opened_bits - 2)).wrapping_add(high) & low_mask(opened_bits)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::truncation;
    use crate::ring::signed;
    use proptest::prelude::*;

    /// A legal z of opening 1, edges often.
    fn legal(b: u8, f1: u8, raw: u64, edge: u8) -> i64 {
        let (low, high) = (-(1_i64 << (b - 2)), (1_i64 << (b - 2)) - (1_i64 << f1));
        match edge {
            0 => low,
            1 => high,
            2 => 0,
            3 => -1_i64.max(low),
            _ => low + (raw % (high - low + 1) as u64) as i64,
        }
    }

    proptest! {
        #[test]
        fn opening_1_is_exact(b in 4_u8..=32, f1 in 0_u8..=30, raw in any::<u64>(), edge in 0_u8..8, uniform in any::<u64>(), share in any::<u64>()) {
            let f1 = f1.min(b - 2).max(b.saturating_sub(16));
            let n = b - f1;
            let z = legal(b, f1, raw, edge);
            let plus = (z as u64).wrapping_add(1 << (b - 2));
            for exchange in [Exchange::Mutual, Exchange::ByTurns] {
                let mask = mask(exchange, uniform, n, f1);
                let sum = plus.wrapping_add(mask.added);
                let share_0 = share & low_mask(b);
                let share_1 = sum.wrapping_sub(share_0) & low_mask(b);
                let (c, coin) = match exchange {
                    Exchange::Mutual => ((share_0 >> f1).wrapping_add(share_1 >> f1), low_mask(f1) - (share_0 & low_mask(f1))),
                    Exchange::ByTurns => (share_0.wrapping_add(share_1) >> f1, mask.coin),
                };
                let c = (c & low_mask(n)) as u16;
                let y = u64::from(c).wrapping_sub(lifted_mask(mask.high, wrap_choice(c, n), n)) as i64;
                prop_assert_eq!(y, truncation::reference(z, f1, coin));
                prop_assert_eq!(c, reference_open(y, mask.high, n));
            }
        }

        #[test]
        fn opening_2_is_exact_for_any_value(w in 4_u8..=32, f2 in 0_u8..=32, x in any::<i64>(), uniform in any::<u64>(), share in any::<u64>()) {
            let length = w + f2;
            for exchange in [Exchange::Mutual, Exchange::ByTurns] {
                let mask = mask(exchange, uniform, w, f2);
                let sum = (x as u64).wrapping_add(mask.added);
                let share_0 = share & low_mask(length);
                let share_1 = sum.wrapping_sub(share_0) & low_mask(length);
                let (e, coin) = match exchange {
                    Exchange::Mutual => ((share_0 >> f2).wrapping_add(share_1 >> f2), low_mask(f2) - (share_0 & low_mask(f2))),
                    Exchange::ByTurns => ((share_0.wrapping_add(share_1) & low_mask(length)) >> f2, mask.coin),
                };
                let wire = e.wrapping_sub(mask.high);
                // x itself counts modulo 2^L.
                let expected = truncation::reference(signed(x as u64, length.min(63)), f2, coin);
                prop_assert_eq!(wire & low_mask(w.min(63 - f2)), expected as u64 & low_mask(w.min(63 - f2)));
            }
        }

        #[test]
        fn release_covers_the_whole_ring(n in 2_u8..=16, f1 in 1_u8..=16, raw in any::<u64>(), edge in 0_u8..4, uniform in any::<u64>(), share in any::<u64>()) {
            // No offset; the two words of Z_n add up to the truncated logit.
            let b = n + f1;
            let top = (1_i64 << (b - 1)) - (1_i64 << f1);
            let z = match edge { 0 => -(1_i64 << (b - 1)), 1 => top, _ => signed(raw, b).min(top) };
            for exchange in [Exchange::Mutual, Exchange::ByTurns] {
                let mask = mask(exchange, uniform, n, f1);
                let share_0 = share & low_mask(b);
                let share_1 = (z as u64).wrapping_add(mask.added).wrapping_sub(share_0) & low_mask(b);
                let (c, coin) = match exchange {
                    Exchange::Mutual => ((share_0 >> f1).wrapping_add(share_1 >> f1), low_mask(f1) - (share_0 & low_mask(f1))),
                    Exchange::ByTurns => ((share_0.wrapping_add(share_1) & low_mask(b)) >> f1, mask.coin),
                };
                prop_assert_eq!(signed(c.wrapping_sub(mask.high), n), truncation::reference(z, f1, coin));
            }
        }
    }
}
