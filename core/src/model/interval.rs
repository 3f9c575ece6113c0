//! Bounds of a value, with which sums are shown to fit their rings.

use crate::shape::Pool;

/// Most that a wire's values can be, as an interval.
#[derive(Clone, Copy)]
pub(super) struct Interval {
    pub(super) low: i128,
    pub(super) high: i128,
}

impl Interval {
    pub(super) const ZERO: Self = Self { low: 0, high: 0 };

    pub(super) fn plus(self, other: Self) -> Self {
        Self { low: self.low.saturating_add(other.low), high: self.high.saturating_add(other.high) }
    }

    pub(super) fn times(self, factor: i128) -> Self {
        let (a, b) = (self.low.saturating_mul(factor), self.high.saturating_mul(factor));
        Self { low: a.min(b), high: a.max(b) }
    }

    pub(super) fn with_zero(self) -> Self {
        Self { low: self.low.min(0), high: self.high.max(0) }
    }

    /// floor(v / 2^shift) or one more.
    pub(super) fn cut(self, shift: u8) -> Self {
        Self { low: self.low >> shift.min(127), high: (self.high >> shift.min(127)).saturating_add(1) }
    }

    /// Sums over windows, some of them with padding.
    pub(super) fn pooled(self, pool: Option<Pool>) -> Self {
        pool.map_or(self, |p| self.with_zero().times(i128::from(p.kernel) * i128::from(p.kernel)))
    }

    pub(super) fn fits_i64(self) -> bool {
        // One bit to spare: coins and offsets are added to it.
        self.low >= i128::from(i64::MIN / 2) && self.high <= i128::from(i64::MAX / 2)
    }

    pub(super) fn meets(self, low: i128, high: i128) -> bool {
        self.low <= high && self.high >= low
    }
}
