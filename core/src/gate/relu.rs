//! ReLU's selection (AutoReP §2.1): from the opened C and the opened bit t = s ⊕ ρ, s = [y ≥ 0], to a share
//! of s·y. No message.
//!
//! s = t + (1 − 2t)·ρ and y = C − R_m, so, the public C entering through P1 alone,
//!
//! ```text
//! [s·y] = t·C − t·[R_m] + (1 − 2t)·([ρ]·C − [ρ·R_m])   modulo 2^L
//! ```
//!
//! and only then + [mask of opening 2]. The dealer supplies ρ, R_0, R_1, ρ·R_0, ρ·R_1 and, apart, the mask:
//! it cannot be merged, because the sign of the other terms depends on t.

use crate::error::Internal;
use crate::opening::{lifted_mask, wrap_choice};
use crate::ring::Word;

/// Correlated words an element: ρ, R_0, R_1, ρ·R_0, ρ·R_1, and the mask, which a pooled element has not.
pub const WORDS: usize = 6;
/// Words of an element that flows into a pool: the window has the mask.
pub const WORDS_POOLED: usize = 5;

/// max(y, 0).
#[must_use]
#[inline]
pub const fn reference(y: i64) -> i64 {
    if y > 0 { y } else { 0 }
}

/// What the dealer knows of a ReLU element.
#[derive(Clone, Copy)]
pub struct Secret {
    /// R, in Z_n.
    pub mask: u64,
    /// ρ, 0 or 1.
    pub flip: u64,
    /// The mask of opening 2; unused where a pool follows.
    pub next_mask: u64,
}

/// The words of every element, in full.
///
/// # Shapes
/// `secrets`: N; `out`: [`WORDS`]·N or [`WORDS_POOLED`]·N, all ρ first. Not reduced.
///
/// # Errors
/// Other shapes.
pub fn deal(opened_bits: u8, secrets: &[Secret], out: &mut [u64]) -> Result<(), Internal> {
    let count = secrets.len();
    if out.len() != WORDS * count && out.len() != WORDS_POOLED * count {
        return Err(Internal);
    }
    for (i, s) in secrets.iter().enumerate() {
        let lifted = [lifted_mask(s.mask, 0, opened_bits), lifted_mask(s.mask, 1, opened_bits)];
        let flip = s.flip.wrapping_neg();
        let words = [s.flip, lifted[0], lifted[1], lifted[0] & flip, lifted[1] & flip, s.next_mask];
        for (kind, word) in words.into_iter().enumerate() {
            if let Some(slot) = out.get_mut(kind * count + i) {
                *slot = word;
            }
        }
    }
    Ok(())
}

/// A party's share of s·y (and the mask, where `words` holds one), modulo the word.
///
/// # Shapes
/// `opened` and `out`: N ≤ 64; bit i of `signs` is t of element i; `words` as [`deal`] orders them.
///
/// # Errors
/// Other shapes.
#[inline]
pub fn evaluate<W: Word>(
    opened_bits: u8,
    holds_public: bool,
    opened: &[u16],
    signs: u64,
    words: &[W],
    out: &mut [W],
) -> Result<(), Internal> {
    let count = out.len();
    if opened.len() != count || (words.len() != WORDS * count && words.len() != WORDS_POOLED * count) {
        return Err(Internal);
    }
    let mut parts = words.chunks_exact(count.max(1));
    let (Some(flip), Some(mask_0), Some(mask_1), Some(product_0), Some(product_1)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        // No element.
        return Ok(());
    };
    let public = W::mask_from_bit(u64::from(holds_public));
    let masks = mask_0.iter().zip(mask_1);
    let products = product_0.iter().zip(product_1);
    for (i, ((((slot, &c), &flip), (&mask_0, &mask_1)), (&product_0, &product_1))) in
        out.iter_mut().zip(opened).zip(flip).zip(masks).zip(products).enumerate()
    {
        let one = W::mask_from_bit(wrap_choice(c, opened_bits));
        let choose = |zero: W, other: W| zero.add(other.sub(zero).and(one));
        let t = signs >> i & 1;
        let all = W::mask_from_bit(t);
        let c = W::from_u64(u64::from(c));
        let chosen = c.and(public).sub(choose(mask_0, mask_1)).and(all);
        let flipped = flip.mul(c).sub(choose(product_0, product_1));
        // (1 − 2t)·v = v − 2·(v if t).
        *slot = chosen.add(flipped).sub(flipped.and(all)).sub(flipped.and(all));
    }
    if let Some(masks) = parts.next() {
        for (slot, &mask) in out.iter_mut().zip(masks) {
            *slot = slot.add(mask);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening;
    use crate::ring::{low_mask, signed};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up_to_the_reference(
            opened_bits in 2_u8..=16, ring_bits in 12_u8..=32, y in any::<i64>(), edge in 0_u8..5, mask in any::<u64>(), flip in 0_u64..2,
            next in any::<u64>(), shares in any::<[u32; 6]>(),
        ) {
            let bound = 1_i64 << (opened_bits - 2);
            let y = match edge { 0 => -bound, 1 => bound - 1, 2 => 0, 3 => -1, _ => y.rem_euclid(2 * bound) - bound };
            let mask = mask & low_mask(opened_bits);
            let c = opening::reference_open(y, mask, opened_bits);
            let t = u64::from(y >= 0) ^ flip;
            let mut words = [0; 6];
            deal(opened_bits, &[Secret { mask, flip, next_mask: next }], &mut words).unwrap();
            let one: [u32; 6] = core::array::from_fn(|i| (words[i] as u32).wrapping_sub(shares[i]));
            let (mut a, mut b) = ([0], [0]);
            evaluate(opened_bits, false, &[c], t, &shares, &mut a).unwrap();
            evaluate(opened_bits, true, &[c], t, &one, &mut b).unwrap();
            let sum = u64::from(a[0].wrapping_add(b[0]).wrapping_sub(next as u32));
            prop_assert_eq!(signed(sum, ring_bits), signed(reference(y) as u64, ring_bits));
        }
    }

    #[test]
    fn shorter_operands_are_errors() {
        let secrets = [Secret { mask: 0, flip: 0, next_mask: 0 }; 2];
        assert_eq!(deal(8, &secrets, &mut [0; 9]), Err(Internal));
        let mut out = [0_u32; 2];
        assert_eq!(evaluate(8, true, &[0; 2], 0, &[0; 9], &mut out), Err(Internal));
        assert_eq!(evaluate(8, true, &[0; 1], 0, &[0; 12], &mut out), Err(Internal));
        assert_eq!(evaluate(8, true, &[0; 2], 0, &[0; 12], &mut out), Ok(()));
    }
}
