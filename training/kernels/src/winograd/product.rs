//! The products of matrices between the transforms.

use crate::LANES;
use crate::simd::Lanes;

/// C (+)= A B, where a row of B and of C is a number of vectors.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// (row, k).
    pub(super) a: &'a [f32],
    pub(super) a_row: usize,
    /// (k, vector, lane).
    pub(super) b: &'a [f32],
    pub(super) b_row: usize,
    /// Length of a sum.
    pub(super) depth: usize,
    pub(super) rows: usize,
    pub(super) vectors: usize,
    pub(super) c_row: usize,
    /// Are sums added to what C has?
    pub(super) adds: bool,
}

impl Product<'_> {
    /// `c`: (row, vector, lane).
    ///
    /// # Panics
    /// A matrix does not fit its slice.
    ///
    /// # Safety
    /// The processor has the level's instructions.
    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes>(self, c: &mut [f32]) {
        assert!(self.rows > 0 && self.depth > 0 && self.vectors > 0);
        assert!((self.rows - 1) * self.a_row + self.depth <= self.a.len(), "left factor");
        assert!((self.depth - 1) * self.b_row + self.vectors * LANES <= self.b.len(), "right factor");
        assert!((self.rows - 1) * self.c_row + self.vectors * LANES <= c.len(), "product");
        let mut row = 0;
        // SAFETY: every tile lies inside the matrices, and these inside their slices, as asserted.
        unsafe {
            while row + 6 <= self.rows {
                self.rows::<L, 6>(row, c);
                row += 6;
            }
            if row + 4 <= self.rows {
                self.rows::<L, 4>(row, c);
                row += 4;
            }
            if row + 2 <= self.rows {
                self.rows::<L, 2>(row, c);
                row += 2;
            }
            if row < self.rows {
                self.rows::<L, 1>(row, c);
            }
        }
    }

    /// # Safety
    /// As [`Product::tile`], for all columns.
    #[inline(always)]
    unsafe fn rows<L: Lanes, const T: usize>(self, row: usize, c: &mut [f32]) {
        let mut vector = 0;
        // SAFETY: the caller's.
        unsafe {
            if L::WIDE {
                while vector + 4 <= self.vectors {
                    self.tile::<L, T, 4>(row, vector, c);
                    vector += 4;
                }
                if vector + 2 <= self.vectors {
                    self.tile::<L, T, 2>(row, vector, c);
                    vector += 2;
                }
            }
            while vector < self.vectors {
                self.tile::<L, T, 1>(row, vector, c);
                vector += 1;
            }
        }
    }

    /// T rows of X vectors.
    ///
    /// # Safety
    /// The processor has the level's instructions; the rows and vectors lie inside the matrices, and these
    /// inside their slices.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const T: usize, const X: usize>(self, row: usize, vector: usize, c: &mut [f32]) {
        // SAFETY: the caller's.
        unsafe {
            let c = c.as_mut_ptr().add(row * self.c_row + vector * LANES);
            let mut sums = [[L::zero(); X]; T];
            let a = self.a.as_ptr().add(row * self.a_row);
            let mut b = self.b.as_ptr().wrapping_add(vector * LANES);
            for k in 0..self.depth {
                let mut values = [L::zero(); X];
                for (x, value) in values.iter_mut().enumerate() {
                    *value = L::load(b.add(x * LANES));
                }
                for (t, sums) in sums.iter_mut().enumerate() {
                    let factor = L::splat(a.add(t * self.a_row + k));
                    for (sum, &value) in sums.iter_mut().zip(&values) {
                        *sum = factor.multiply_add(value, *sum);
                    }
                }
                b = b.wrapping_add(self.b_row);
            }
            for (t, sums) in sums.iter().enumerate() {
                for (x, sum) in sums.iter().enumerate() {
                    let to = c.add(t * self.c_row + x * LANES);
                    // Added up apart from what was there, long sums round less.
                    let sum = if self.adds { sum.add(L::load(to)) } else { *sum };
                    sum.store(to);
                }
            }
        }
    }
}
