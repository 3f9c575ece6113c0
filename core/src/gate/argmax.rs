//! Selection inside argmax's tournament: the winner of a pair, by the opened difference and the opened t = s
//! ⊕ ρ. No message.
//!
//! d = v_i − v_j is opened without a cut (f1 = 0, n = b), C = d + 2^(b−2) + R, so d = C − R_m as in
//! [`crate::opening`], and v = v_j + s·d, ι = ι_j + s·δ, δ = ι_i − ι_j, with s = t + (1 − 2t)·ρ and −2^(b−2)
//! ≤ d < 2^(b−2). In the first round δ = −1 is public; later D = δ + a is opened, and s·δ = s·D − t·a − (1 −
//! 2t)·ρ·a. The public terms enter through P1 alone.

use crate::ring::low_mask;

/// What both parties know of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// C.
    pub difference: u64,
    /// t.
    pub sign: u64,
    /// D; unused in the first round.
    pub choice: u64,
}

/// A party's shares for a pair.
#[derive(Clone, Copy)]
pub struct Share {
    /// ρ.
    pub flip: u64,
    /// R_0, R_1.
    pub masks: [u64; 2],
    /// ρ·R_0, ρ·R_1.
    pub products: [u64; 2],
    /// a and ρ·a, from the second round.
    pub choice: Option<(u64, u64)>,
}

/// A party's shares of s·d and s·δ, modulo 2^64 (the low b bits count).
#[derive(Clone, Copy)]
pub struct Chosen {
    /// s·d.
    pub value: u64,
    /// s·δ.
    pub index: u64,
}

/// The first of the largest.
#[must_use]
pub fn reference(values: impl IntoIterator<Item = i64>) -> usize {
    let mut best: Option<(usize, i64)> = None;
    for (index, value) in values.into_iter().enumerate() {
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((index, value));
        }
    }
    best.map_or(0, |(index, _)| index)
}

/// m = 1 − msb(C).
const fn wrap_choice(opened: u64, ring_bits: u8) -> u64 {
    1 ^ (opened >> (ring_bits - 1) & 1)
}

/// The dealer's words of a pair: ρ, R_0, R_1, ρ·R_0, ρ·R_1, a, ρ·a; not reduced.
#[must_use]
pub const fn deal(ring_bits: u8, mask: u64, flip: u64, choice: u64) -> [u64; 7] {
    let mask = mask & low_mask(ring_bits);
    let all = flip.wrapping_neg();
    let lifted =
        [crate::opening::lifted_mask(mask, 0, ring_bits), crate::opening::lifted_mask(mask, 1, ring_bits)];
    [flip, lifted[0], lifted[1], lifted[0] & all, lifted[1] & all, choice, choice & all]
}

/// A party's shares of the winner over the loser.
#[must_use]
pub fn evaluate(ring_bits: u8, holds_public: bool, opened: &Opened, share: &Share) -> Chosen {
    let public = u64::from(holds_public).wrapping_neg();
    let all = opened.sign.wrapping_neg();
    // (1 − 2t)·v.
    let flip = |v: u64| (v ^ all).wrapping_sub(all);
    let one = wrap_choice(opened.difference, ring_bits).wrapping_neg();
    let choose = |pair: [u64; 2]| pair[0] ^ ((pair[0] ^ pair[1]) & one);
    let c = opened.difference;
    let flipped = share.flip.wrapping_mul(c).wrapping_sub(choose(share.products));
    let value = ((c & public).wrapping_sub(choose(share.masks)) & all).wrapping_add(flip(flipped));
    // [s], the public t through P1.
    let s = (opened.sign & public).wrapping_add(flip(share.flip));
    let index = match share.choice {
        None => s.wrapping_neg(),
        Some((a, product)) => s.wrapping_mul(opened.choice).wrapping_sub(a & all).wrapping_sub(flip(product)),
    };
    Chosen { value, index }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::signed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up_to_the_winner(
            b in 4_u8..=32, d in any::<i64>(), edge in 0_u8..5, mask in any::<u64>(), flip in 0_u64..2, delta in -1000_i64..1000,
            choice in any::<u64>(), shares in any::<[u64; 7]>(), first in any::<bool>(),
        ) {
            let bound = 1_i64 << (b - 2);
            let d = match edge { 0 => -bound, 1 => bound - 1, 2 => 0, 3 => -1, _ => d.rem_euclid(2 * bound) - bound };
            let mask = mask & low_mask(b);
            let s = i64::from(d >= 0);
            let opened = Opened {
                difference: (d as u64).wrapping_add(1 << (b - 2)).wrapping_add(mask) & low_mask(b),
                sign: s as u64 ^ flip,
                choice: (delta as u64).wrapping_add(choice) & low_mask(b),
            };
            let words = deal(b, mask, flip, choice);
            let share = |w: [u64; 7]| Share { flip: w[0], masks: [w[1], w[2]], products: [w[3], w[4]], choice: (!first).then_some((w[5], w[6])) };
            let zero = evaluate(b, false, &opened, &share(shares));
            let one = evaluate(b, true, &opened, &share(core::array::from_fn(|i| words[i].wrapping_sub(shares[i]))));
            prop_assert_eq!(signed(zero.value.wrapping_add(one.value), b), signed((s * d) as u64, b));
            let expected = s * if first { -1 } else { delta };
            prop_assert_eq!(signed(zero.index.wrapping_add(one.index), b), signed(expected as u64, b));
        }
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        assert_eq!(reference([1, 5, 5, 2]), 1);
        assert_eq!(reference([-3]), 0);
    }
}
