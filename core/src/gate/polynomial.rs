//! Polynomial activation of degree 2 or 1 (AutoReP, Eq. 3, 4, 13) with secret coefficients a channel.

/// c2·y² + c1·y + c0 over the integers, before opening 2 cuts the coefficients' fraction bits.
#[must_use]
#[inline]
pub const fn reference(y: i64, c2: i64, c1: i64, c0: i64) -> i64 {
    c2.wrapping_mul(y).wrapping_add(c1).wrapping_mul(y).wrapping_add(c0)
}
