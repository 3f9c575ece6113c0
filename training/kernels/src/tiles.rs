//! The inner loops of a [`crate::sweep`]: a few target channels of a few neighbouring positions in registers.

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Lanes, Level, Portable};
use crate::sweep::{Band, Sweep};

/// Target channels of a tile.
pub(crate) const TILE: usize = 4;
/// Positions of a tile where registers are many.
const WIDE: usize = 4;

/// One tile's part in a band.
pub(crate) struct View<'a> {
    pub(crate) sweep: &'a Sweep,
    pub(crate) band: &'a Band<'a>,
    /// From the group's first source channel.
    pub(crate) source: &'a [f32],
    /// (source channel, tap, target channel).
    pub(crate) weights: &'a [f32],
    /// The tile's target planes.
    pub(crate) target: &'a mut [f32],
}

/// Runs a tile of one or of [`TILE`] channels.
///
/// # Safety
/// As [`positions`].
pub(crate) unsafe fn run(level: Level, tile: usize, view: View<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match (level, tile) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 1) => avx512::<1>(view),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) => avx512::<TILE>(view),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 1) => avx2::<1>(view),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, _) => avx2::<TILE>(view),
            (Level::Portable, 1) => positions::<Portable, 1>(view),
            (Level::Portable, _) => positions::<Portable, TILE>(view),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn avx512<const T: usize>(view: View<'_>) {
    // SAFETY: the caller's.
    unsafe { positions::<Avx512, T>(view) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const T: usize>(view: View<'_>) {
    // SAFETY: the caller's.
    unsafe { positions::<Avx2, T>(view) }
}

/// Goes over rows and columns.
///
/// # Safety
/// The level's instructions are there, and every tap of every position lies inside its plane, in source and
/// target.
#[inline(always)]
unsafe fn positions<L: Lanes, const T: usize>(view: View<'_>) {
    let View { sweep, band, source, weights, target } = view;
    let phase = band.phase;
    let channels = target.len() / sweep.target_plane;
    for row in band.rows.clone() {
        let from = (row - band.rows.start) * sweep.source_row;
        let to = phase.target + row * sweep.target_row;
        let mut column = 0;
        // SAFETY: the caller's.
        unsafe {
            if L::WIDE {
                while column + WIDE <= phase.columns {
                    tile::<L, T, WIDE>(sweep, band, source, weights, target, channels, (from, to), column);
                    column += WIDE;
                }
                if column + 2 <= phase.columns {
                    tile::<L, T, 2>(sweep, band, source, weights, target, channels, (from, to), column);
                    column += 2;
                }
            }
            while column < phase.columns {
                tile::<L, T, 1>(sweep, band, source, weights, target, channels, (from, to), column);
                column += 1;
            }
        }
    }
}

/// T channels of X neighbouring positions.
///
/// # Safety
/// As [`positions`].
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "an inner loop whose parts are all in registers")]
unsafe fn tile<L: Lanes, const T: usize, const X: usize>(
    sweep: &Sweep,
    band: &Band<'_>,
    source: &[f32],
    weights: &[f32],
    target: &mut [f32],
    channels: usize,
    (from, to): (usize, usize),
    column: usize,
) {
    let (step, plane, taps) = (sweep.source_step, band.plane, &band.phase.taps[..]);
    // SAFETY: the caller's; weights hold T floats for each channel and tap.
    unsafe {
        let mut sums = [[L::zero(); X]; T];
        let mut weight = weights.as_ptr();
        let mut base = source.as_ptr().wrapping_add(from + column * step);
        for _ in 0..sweep.sources {
            for &tap in taps {
                let at = base.add(tap);
                let mut values = [L::zero(); X];
                for (x, value) in values.iter_mut().enumerate() {
                    *value = L::load(at.add(x * step));
                }
                for (t, sums) in sums.iter_mut().enumerate() {
                    let factor = L::splat(weight.add(t));
                    for x in 0..X {
                        sums[x] = factor.multiply_add(values[x], sums[x]);
                    }
                }
                weight = weight.add(T);
            }
            base = base.wrapping_add(plane);
        }
        let out = target.as_mut_ptr().add(to + column * sweep.target_step);
        for (t, sums) in sums.iter().enumerate() {
            if t < channels {
                for (x, sum) in sums.iter().enumerate() {
                    sum.store(out.add(t * sweep.target_plane + x * sweep.target_step));
                }
            }
        }
    }
}
