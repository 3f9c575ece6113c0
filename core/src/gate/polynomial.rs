//! Polynomial activation of degree 2 or 1 with secret coefficients a channel (AutoReP, Eq. 3, 4, 13). No
//! message.
//!
//! On the opened C of [`crate::opening`], with m = 1 − msb(C) and R_m = R + 2^(n−2) − m·M, M = msb(R)·2^n,
//! the truncated value is y = C − R_m, so p(y) = c2·y² + c1·y + c0 is
//!
//! ```text
//! [p] = [c2]·C² + [β_m]·C + [γ_m]   mod 2^L,   β_m = c1 − 2·c2·R_m,   γ_m = c2·R_m² − c1·R_m + c0 + mask
//! ```
//!
//! C is public and uniform; m is a function of C alone. The dealer supplies β_0, β_1, γ_0, γ_1 for every
//! element, also where a pair is equal: leaving one out would show msb(R). First-order replacement is c2 = 0;
//! SNL's identity is c2 = c0 = 0, c1 = 1.

use crate::error::Internal;
use crate::opening::{lifted_mask, wrap_choice};
use crate::ring::Word;

/// Correlated words an element: β_0, β_1, γ_0, γ_1.
pub const WORDS: usize = 4;

/// c2·y² + c1·y + c0 over the integers, before opening 2 cuts the coefficients' fraction bits.
#[must_use]
#[inline]
pub const fn reference(y: i64, c2: i64, c1: i64, c0: i64) -> i64 {
    c2.wrapping_mul(y).wrapping_add(c1).wrapping_mul(y).wrapping_add(c0)
}

/// AutoReP's distribution-aware replacement of ReLU (Eq. 13): the c2, c1 and c0 that err least, in the mean
/// square, on inputs distributed N(μ, σ²). With φ and Φ the standard normal density and distribution at μ/σ,
///
/// ```text
/// c2 = φ / (2σ)      c1 = Φ − μφ/σ      c0 = (μ² + σ²)·φ / (2σ)
/// ```
///
/// Made where the network is, before it becomes integers: the one place where this crate computes with reals.
#[must_use]
pub fn distribution_aware(mean: f64, deviation: f64) -> [f64; 3] {
    let at = mean / deviation;
    let density = libm::exp(-at * at / 2.0) / libm::sqrt(core::f64::consts::TAU);
    let below = (1.0 + libm::erf(at * core::f64::consts::FRAC_1_SQRT_2)) / 2.0;
    let c2 = density / (2.0 * deviation);
    [c2, below - at * density, (mean * mean + deviation * deviation) * c2]
}

/// What the dealer knows of a polynomial element.
#[derive(Clone, Copy)]
pub struct Secret {
    /// R, in Z_n.
    pub mask: u64,
    /// The channel's coefficients.
    pub c2: i64,
    /// See `c2`.
    pub c1: i64,
    /// See `c2`.
    pub c0: i64,
    /// The mask of opening 2 with its rounding constant; zero where a pool follows and its window is masked
    /// instead.
    pub next_mask: u64,
}

/// The four words of every element, in full.
///
/// # Shapes
/// `secrets`: N; `out`: 4·N, all β_0 first. Not reduced.
///
/// # Errors
/// Other shapes.
pub fn deal(opened_bits: u8, secrets: &[Secret], out: &mut [u64]) -> Result<(), Internal> {
    let count = secrets.len();
    if out.len() != WORDS * count {
        return Err(Internal);
    }
    for (i, s) in secrets.iter().enumerate() {
        for m in 0..2_u64 {
            let lifted = lifted_mask(s.mask, m, opened_bits) as i64;
            let beta = s.c1.wrapping_sub(s.c2.wrapping_mul(2).wrapping_mul(lifted));
            let gamma = reference(lifted.wrapping_neg(), s.c2, s.c1, s.c0).wrapping_add(s.next_mask as i64);
            for (offset, value) in [(m as usize, beta), (2 + m as usize, gamma)] {
                *out.get_mut(offset * count + i).ok_or(Internal)? = value as u64;
            }
        }
    }
    Ok(())
}

/// A party's share of p(y) and the mask, modulo the word.
///
/// # Shapes
/// `opened`, `c2` (this party's share, element by element) and `out`: N; `words`: 4·N as [`deal`] orders
/// them.
///
/// # Errors
/// Other shapes.
#[inline]
pub fn evaluate<W: Word>(
    opened_bits: u8,
    opened: &[u16],
    c2: &[W],
    words: &[W],
    out: &mut [W],
) -> Result<(), Internal> {
    let count = out.len();
    if opened.len() != count || c2.len() != count || words.len() != WORDS * count {
        return Err(Internal);
    }
    let (beta_0, rest) = words.split_at_checked(count).ok_or(Internal)?;
    let (beta_1, rest) = rest.split_at_checked(count).ok_or(Internal)?;
    let (gamma_0, gamma_1) = rest.split_at_checked(count).ok_or(Internal)?;
    let betas = beta_0.iter().zip(beta_1);
    let gammas = gamma_0.iter().zip(gamma_1);
    for ((((slot, &c), &c2), (&beta_0, &beta_1)), (&gamma_0, &gamma_1)) in
        out.iter_mut().zip(opened).zip(c2).zip(betas).zip(gammas)
    {
        let one = W::mask_from_bit(wrap_choice(c, opened_bits));
        let choose = |zero: W, other: W| zero.add(other.sub(zero).and(one));
        let c = W::from_u64(u64::from(c));
        *slot = c2.mul(c).add(choose(beta_0, beta_1)).mul(c).add(choose(gamma_0, gamma_1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening;
    use crate::ring::{low_mask, signed};
    use proptest::prelude::*;

    #[test]
    fn the_replacement_errs_least() {
        for (mean, deviation) in [(0.0, 1.0), (0.0, 1.5), (-0.7, 0.4), (1.3, 2.0)] {
            let [c2, c1, c0] = distribution_aware(mean, deviation);
            // The error is orthogonal to 1, z and z²: by the rectangle rule, which is exact to many digits
            // for a bell.
            let mut moments = [0.0; 3];
            for i in -8000..=8000 {
                let z = mean + deviation * f64::from(i) / 1000.0;
                let at = (z - mean) / deviation;
                let error = ((c2 * z + c1) * z + c0 - z.max(0.0)) * libm::exp(-at * at / 2.0) / 1000.0;
                moments.iter_mut().zip([1.0, z, z * z]).for_each(|(moment, power)| *moment += error * power);
            }
            assert!(moments.iter().all(|moment| moment.abs() < 1e-6), "{mean} {deviation}: {moments:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_reference(
            opened_bits in 2_u8..=16, ring_bits in 17_u8..=64, y in any::<i64>(), edge in 0_u8..4, mask in any::<u64>(),
            c2 in -5000_i64..5000, c1 in -100_000_i64..100_000, c0 in any::<i32>(), next in any::<u64>(), shares in any::<[u64; 5]>(),
        ) {
            let bound = 1_i64 << (opened_bits - 2);
            let y = match edge { 0 => -bound, 1 => bound - 1, _ => y.rem_euclid(2 * bound) - bound };
            let mask = mask & low_mask(opened_bits);
            let c = opening::reference_open(y, mask, opened_bits);
            let mut words = [0; 4];
            deal(opened_bits, &[Secret { mask, c2, c1, c0: i64::from(c0), next_mask: next }], &mut words).unwrap();
            let one: [u64; 4] = core::array::from_fn(|i| words[i].wrapping_sub(shares[i]));
            let (mut a, mut b) = ([0], [0]);
            evaluate(opened_bits, &[c], &[shares[4]], &shares[..4], &mut a).unwrap();
            evaluate(opened_bits, &[c], &[(c2 as u64).wrapping_sub(shares[4])], &one, &mut b).unwrap();
            let sum = a[0].wrapping_add(b[0]).wrapping_sub(next);
            let expected = reference(y, c2, c1, i64::from(c0));
            prop_assert_eq!(signed(sum, ring_bits), signed(expected as u64, ring_bits));
        }
    }

    #[test]
    fn shorter_operands_are_errors() {
        let secrets = [Secret { mask: 0, c2: 0, c1: 0, c0: 0, next_mask: 0 }; 2];
        assert_eq!(deal(8, &secrets, &mut [0; 7]), Err(Internal));
        let mut out = [0_u32; 2];
        assert_eq!(evaluate(8, &[0; 2], &[0; 2], &[0; 7], &mut out), Err(Internal));
        assert_eq!(evaluate(8, &[0; 1], &[0; 2], &[0; 8], &mut out), Err(Internal));
        assert_eq!(evaluate(8, &[0; 2], &[0; 1], &[0; 8], &mut out), Err(Internal));
        assert_eq!(evaluate(8, &[0; 2], &[0; 2], &[0; 8], &mut out), Ok(()));
    }
}
