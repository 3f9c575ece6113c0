//! The three transforms of F(2×2, 3×3) and their transposes, on sixteen lanes at once.
//!
//! No closures where there are vectors: those are functions of their own, without the level's instructions.

use crate::simd::Lanes;

/// Positions of a patch, row by row.
pub(super) const PATCH: usize = 16;

/// Bᵀ of one row or column.
///
/// # Safety
/// The processor has the level's instructions; the same for all functions below.
#[inline(always)]
unsafe fn patch_side<L: Lanes>([d0, d1, d2, d3]: [L; 4]) -> [L; 4] {
    // SAFETY: the caller's.
    unsafe { [d0.subtract(d2), d1.add(d2), d2.subtract(d1), d1.subtract(d3)] }
}

/// Bᵀ d B.
#[inline(always)]
pub(super) unsafe fn patch<L: Lanes>(d: [L; PATCH]) -> [L; PATCH] {
    // SAFETY: the caller's.
    unsafe {
        let mut out = d;
        for y in 0..4 {
            [out[4 * y], out[4 * y + 1], out[4 * y + 2], out[4 * y + 3]] =
                patch_side([d[4 * y], d[4 * y + 1], d[4 * y + 2], d[4 * y + 3]]);
        }
        for x in 0..4 {
            [out[x], out[x + 4], out[x + 8], out[x + 12]] =
                patch_side([out[x], out[x + 4], out[x + 8], out[x + 12]]);
        }
        out
    }
}

/// Aᵀ of one row or column.
#[inline(always)]
unsafe fn tile_side<L: Lanes>([m0, m1, m2, m3]: [L; 4]) -> [L; 2] {
    // SAFETY: the caller's.
    unsafe { [m0.add(m1).add(m2), m1.subtract(m2).subtract(m3)] }
}

/// Aᵀ m A, row by row.
#[inline(always)]
pub(super) unsafe fn tile<L: Lanes>(m: [L; PATCH]) -> [L; 4] {
    // SAFETY: the caller's.
    unsafe {
        let top = tile_side([m[0], m[1], m[2], m[3]]);
        let upper = tile_side([m[4], m[5], m[6], m[7]]);
        let lower = tile_side([m[8], m[9], m[10], m[11]]);
        let bottom = tile_side([m[12], m[13], m[14], m[15]]);
        let left = tile_side([top[0], upper[0], lower[0], bottom[0]]);
        let right = tile_side([top[1], upper[1], lower[1], bottom[1]]);
        [left[0], right[0], left[1], right[1]]
    }
}

/// The positions of a row or column that Bᵀ's row `index` takes, the second with this sign.
pub(super) const fn patch_terms(index: usize) -> (usize, usize, bool) {
    match index {
        0 => (0, 2, false),
        1 => (1, 2, true),
        2 => (2, 1, false),
        _ => (1, 3, false),
    }
}

/// A's row `index`: what a side of two positions is multiplied by.
pub(super) const fn tile_terms(index: usize) -> [f32; 2] {
    match index {
        0 => [1.0, 0.0],
        1 => [1.0, 1.0],
        2 => [1.0, -1.0],
        _ => [0.0, -1.0],
    }
}

/// G of one row or column.
#[inline(always)]
unsafe fn kernel_side<L: Lanes>([w0, w1, w2]: [L; 3]) -> [L; 4] {
    // SAFETY: the caller's.
    unsafe {
        let ends = w0.add(w2);
        [w0, half(ends.add(w1)), half(ends.subtract(w1)), w2]
    }
}

/// G w Gᵀ.
#[inline(always)]
pub(super) unsafe fn kernel<L: Lanes>(w: [L; 9]) -> [L; PATCH] {
    // SAFETY: the caller's.
    unsafe {
        let top = kernel_side([w[0], w[1], w[2]]);
        let middle = kernel_side([w[3], w[4], w[5]]);
        let bottom = kernel_side([w[6], w[7], w[8]]);
        let mut out = [L::zero(); PATCH];
        for x in 0..4 {
            [out[x], out[x + 4], out[x + 8], out[x + 12]] = kernel_side([top[x], middle[x], bottom[x]]);
        }
        out
    }
}

/// Gᵀ of one row or column.
#[inline(always)]
unsafe fn kernel_gradient_side<L: Lanes>([u0, u1, u2, u3]: [L; 4]) -> [L; 3] {
    // SAFETY: the caller's.
    unsafe {
        let even = half(u1.add(u2));
        [u0.add(even), half(u1.subtract(u2)), even.add(u3)]
    }
}

/// Gᵀ u G.
#[inline(always)]
pub(super) unsafe fn kernel_gradient<L: Lanes>(u: [L; PATCH]) -> [L; 9] {
    // SAFETY: the caller's.
    unsafe {
        let mut rows = [[L::zero(); 3]; 4];
        for (y, row) in rows.iter_mut().enumerate() {
            *row = kernel_gradient_side([u[4 * y], u[4 * y + 1], u[4 * y + 2], u[4 * y + 3]]);
        }
        let mut out = [L::zero(); 9];
        for x in 0..3 {
            [out[x], out[x + 3], out[x + 6]] =
                kernel_gradient_side([rows[0][x], rows[1][x], rows[2][x], rows[3][x]]);
        }
        out
    }
}

#[inline(always)]
unsafe fn half<L: Lanes>(value: L) -> L {
    // SAFETY: the caller's.
    unsafe { L::splat(&0.5).multiply_add(value, L::zero()) }
}
