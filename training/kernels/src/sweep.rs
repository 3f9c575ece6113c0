//! One loop for a convolution and for its data gradient.
//!
//! Both give each target position a sum over source channels and *taps*, a tap being a source position relative to the target's and
//! a weight. Forward, all positions have the same taps, and neighbours read `stride` positions apart. Backward, a position's taps
//! depend on its row and column modulo the stride: each such *phase* is a sweep of its own, whose neighbours are written `stride`
//! positions apart. The source is padded, so that no tap needs a test.

use std::cell::RefCell;

use halfnet_core::shape::Convolution;
use rayon::prelude::*;

use crate::LANES;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Lanes, Level, Portable};

/// Target channels of a tile.
const TILE: usize = 4;
/// Positions of a tile where registers are many.
const WIDE: usize = 4;

/// Zeros around a source plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Padded {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) padded_height: usize,
    pub(crate) padded_width: usize,
}

impl Padded {
    /// Floats of a padded plane.
    pub(crate) const fn plane(&self) -> usize {
        self.padded_height * self.padded_width * LANES
    }

    /// Are there any zeros to add?
    pub(crate) const fn is_plain(&self) -> bool {
        self.height == self.padded_height && self.width == self.padded_width
    }

    /// Copies planes into the middle of zeros; `out` is resized.
    pub(crate) fn fill(&self, planes: &[f32], out: &mut Vec<f32>) {
        let (plane, line) = (self.height * self.width * LANES, self.width * LANES);
        let count = planes.len() / plane;
        out.clear();
        out.resize(count * self.plane(), 0.0);
        for (from, to) in planes.chunks_exact(plane).zip(out.chunks_exact_mut(self.plane())) {
            for (y, row) in from.chunks_exact(line).enumerate() {
                let start = ((self.top + y) * self.padded_width + self.left) * LANES;
                to[start..start + line].copy_from_slice(row);
            }
        }
    }
}

/// Positions that share their taps.
struct Phase {
    /// Offset of each tap in the padded source plane, for the phase's first position.
    taps: Vec<usize>,
    /// Which weight of a kernel each tap is.
    kernel: Vec<usize>,
    rows: usize,
    columns: usize,
    /// Offset of the first position in the target plane.
    target: usize,
}

/// Everything about a sweep but the numbers.
pub(crate) struct Sweep {
    groups: usize,
    /// Of a group.
    sources: usize,
    /// Of a group.
    targets: usize,
    pub(crate) source: Padded,
    /// Floats from a position's source to its neighbour's, and from a row's to the next.
    source_step: usize,
    source_row: usize,
    target_plane: usize,
    target_step: usize,
    target_row: usize,
    phases: Vec<Phase>,
    transposed: bool,
    kernel_size: usize,
}

impl Sweep {
    /// Input to output.
    pub(crate) fn forward(geometry: &Convolution) -> Self {
        let sizes = Sizes::of(geometry);
        let source = sizes.padded_input();
        let line = source.padded_width;
        let taps = (0..sizes.kernel_height).flat_map(|ky| (0..sizes.kernel_width).map(move |kx| (ky * line + kx) * LANES));
        let kernel_size = sizes.kernel_height * sizes.kernel_width;
        let phase = Phase { taps: taps.collect(), kernel: (0..kernel_size).collect(), rows: sizes.rows, columns: sizes.columns, target: 0 };
        Self {
            groups: sizes.groups,
            sources: sizes.inputs,
            targets: sizes.outputs,
            source,
            source_step: sizes.stride * LANES,
            source_row: sizes.stride * line * LANES,
            target_plane: sizes.rows * sizes.columns * LANES,
            target_step: LANES,
            target_row: sizes.columns * LANES,
            phases: vec![phase],
            transposed: false,
            kernel_size,
        }
    }

    /// Gradient of the output to gradient of the input.
    pub(crate) fn backward(geometry: &Convolution) -> Self {
        let sizes = Sizes::of(geometry);
        let (stride, padding) = (sizes.stride, sizes.padding);
        // Along one side: for each phase, its length and its taps (weight, source of its first position, which may be negative).
        let side = |size: usize, kernel: usize| -> Vec<(usize, Vec<(usize, isize)>)> {
            (0..stride.min(size))
                .map(|first| {
                    let taps = (0..kernel).filter(|k| (first + padding + stride * kernel - k).is_multiple_of(stride));
                    let at = |k: usize| (k, (first as isize + padding as isize - k as isize) / stride as isize);
                    ((size - first).div_ceil(stride), taps.map(at).collect())
                })
                .collect()
        };
        let vertical = side(sizes.height, sizes.kernel_height);
        let horizontal = side(sizes.width, sizes.kernel_width);
        // How far the taps reach outside.
        let reach = |phases: &[(usize, Vec<(usize, isize)>)], size: usize| {
            let taps = || phases.iter().flat_map(|(length, taps)| taps.iter().map(move |&(_, at)| (*length as isize, at)));
            let before = taps().map(|(_, at)| -at).max().unwrap_or(0).max(0);
            let after = taps().map(|(length, at)| at + length - size as isize).max().unwrap_or(0).max(0);
            (before as usize, after as usize)
        };
        let (top, bottom) = reach(&vertical, sizes.rows);
        let (left, right) = reach(&horizontal, sizes.columns);
        let source = Padded {
            height: sizes.rows,
            width: sizes.columns,
            top,
            left,
            padded_height: sizes.rows + top + bottom,
            padded_width: sizes.columns + left + right,
        };
        let line = source.padded_width;
        let mut phases = Vec::new();
        for (y, (rows, vertical)) in vertical.iter().enumerate() {
            for (x, (columns, horizontal)) in horizontal.iter().enumerate() {
                let mut phase =
                    Phase { taps: Vec::new(), kernel: Vec::new(), rows: *rows, columns: *columns, target: (y * sizes.width + x) * LANES };
                for &(ky, sy) in vertical {
                    for &(kx, sx) in horizontal {
                        let at = |offset: usize, relative: isize| offset.wrapping_add_signed(relative);
                        phase.taps.push((at(top, sy) * line + at(left, sx)) * LANES);
                        phase.kernel.push(ky * sizes.kernel_width + kx);
                    }
                }
                phases.push(phase);
            }
        }
        Self {
            groups: sizes.groups,
            sources: sizes.outputs,
            targets: sizes.inputs,
            source,
            source_step: LANES,
            source_row: line * LANES,
            target_plane: sizes.height * sizes.width * LANES,
            target_step: stride * LANES,
            target_row: stride * sizes.width * LANES,
            phases,
            transposed: true,
            kernel_size: sizes.kernel_height * sizes.kernel_width,
        }
    }

    /// Target channels of a tile: one where groups have only one.
    const fn tile(&self) -> usize {
        if self.targets == 1 { 1 } else { TILE }
    }

    /// The weights in the order in which tiles read them, phase by phase: (group, tile, source channel, tap, target channel).
    fn pack(&self, weights: &[f32]) -> Vec<Vec<f32>> {
        let tile = self.tile();
        let tiles = self.targets.div_ceil(tile);
        let (per_group, size) = (self.sources * self.targets * self.kernel_size, self.kernel_size);
        let pack = |phase: &Phase| {
            let taps = phase.kernel.len();
            let mut packed = vec![0.0; self.groups * tiles * self.sources * taps * tile];
            let slice = self.sources * taps * tile;
            packed.par_chunks_mut(slice.max(1)).enumerate().for_each(|(index, slice)| {
                let (group, first) = (index / tiles, index % tiles * tile);
                let weights = &weights[group * per_group..(group + 1) * per_group];
                for lane in 0..tile.min(self.targets - first) {
                    let target = first + lane;
                    for source in 0..self.sources {
                        let kernel = if self.transposed { source * self.targets + target } else { target * self.sources + source } * size;
                        for (tap, &k) in phase.kernel.iter().enumerate() {
                            slice[(source * taps + tap) * tile + lane] = weights[kernel + k];
                        }
                    }
                }
            });
            packed
        };
        self.phases.iter().map(pack).collect()
    }

    /// Runs the sweep over every block.
    ///
    /// # Shapes
    /// `source`: (block, sources, height, width, lane), `target`: (block, targets, height, width, lane); overwritten.
    pub(crate) fn run(&self, level: Level, weights: &[f32], source: &[f32], target: &mut [f32]) {
        thread_local! {
            static PADDED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        let packed = self.pack(weights);
        let source_block = self.groups * self.sources * self.source.height * self.source.width * LANES;
        let target_block = self.groups * self.targets * self.target_plane;
        let blocks = source.len() / source_block;
        assert_eq!(source.len(), blocks * source_block, "source of a convolution");
        assert_eq!(target.len(), blocks * target_block, "target of a convolution");
        assert_eq!(weights.len(), self.groups * self.sources * self.targets * self.kernel_size, "weights of a convolution");
        // Where blocks are few, the tiles of one are divided.
        let tiles = self.groups * self.targets.div_ceil(self.tile());
        let parts = (2 * rayon::current_num_threads()).div_ceil(blocks.max(1)).clamp(1, tiles);
        let per_part = tiles.div_ceil(if blocks.is_multiple_of(rayon::current_num_threads()) { 1 } else { parts });
        let mut jobs = Vec::new();
        for (block, mut planes) in target.chunks_exact_mut(target_block).enumerate() {
            for first in (0..tiles).step_by(per_part) {
                let last = (first + per_part).min(tiles);
                let (mine, others) =
                    planes.split_at_mut(self.channels_before(last) * self.target_plane - self.channels_before(first) * self.target_plane);
                planes = others;
                jobs.push((block, first..last, mine));
            }
        }
        jobs.into_par_iter().for_each(|(block, tiles, target)| {
            let planes = &source[block * source_block..(block + 1) * source_block];
            PADDED.with_borrow_mut(|scratch| {
                let source = if self.source.is_plain() {
                    planes
                } else {
                    self.source.fill(planes, scratch);
                    &scratch[..]
                };
                let mut rest = target;
                for tile in tiles {
                    let (mine, others) =
                        rest.split_at_mut((self.channels_before(tile + 1) - self.channels_before(tile)) * self.target_plane);
                    rest = others;
                    self.tile_planes(level, tile, source, &packed, mine);
                }
            });
        });
    }

    /// Target channels of all tiles before `tile`.
    const fn channels_before(&self, tile: usize) -> usize {
        let per_group = self.targets.div_ceil(self.tile());
        let within = tile % per_group * self.tile();
        tile / per_group * self.targets + if within > self.targets { self.targets } else { within }
    }

    /// All positions of a tile's channels.
    fn tile_planes(&self, level: Level, tile: usize, source: &[f32], packed: &[Vec<f32>], target: &mut [f32]) {
        let per_group = self.targets.div_ceil(self.tile());
        let group = tile / per_group;
        let source = &source[group * self.sources * self.source.plane()..(group + 1) * self.sources * self.source.plane()];
        for (phase, packed) in self.phases.iter().zip(packed) {
            let slice = self.sources * phase.taps.len() * self.tile();
            let weights = &packed[tile * slice..(tile + 1) * slice];
            // Every address that the loops below reach, checked once.
            let furthest = (phase.rows - 1) * self.source_row + (phase.columns - 1) * self.source_step;
            assert!(phase.taps.iter().all(|tap| tap + furthest + LANES <= self.source.plane()), "a tap outside its plane");
            let last = phase.target + (phase.rows - 1) * self.target_row + (phase.columns - 1) * self.target_step;
            assert!(last + LANES <= self.target_plane, "a position outside its plane");
            let view = View { sweep: self, phase, source, weights, target: &mut *target };
            // SAFETY: the processor has the level's instructions, and the addresses lie inside, as asserted above.
            unsafe {
                match (level, self.tile()) {
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
    }
}

/// One tile's part in a phase.
struct View<'a> {
    sweep: &'a Sweep,
    phase: &'a Phase,
    source: &'a [f32],
    weights: &'a [f32],
    target: &'a mut [f32],
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
/// The level's instructions are there, and every tap of every position lies inside its plane, in source and target.
#[inline(always)]
unsafe fn positions<L: Lanes, const T: usize>(view: View<'_>) {
    let View { sweep, phase, source, weights, target } = view;
    let channels = target.len() / sweep.target_plane;
    for row in 0..phase.rows {
        let from = row * sweep.source_row;
        let to = phase.target + row * sweep.target_row;
        let mut column = 0;
        // SAFETY: the caller's.
        unsafe {
            if L::WIDE {
                while column + WIDE <= phase.columns {
                    tile::<L, T, WIDE>(sweep, phase, source, weights, target, channels, (from, to), column);
                    column += WIDE;
                }
                if column + 2 <= phase.columns {
                    tile::<L, T, 2>(sweep, phase, source, weights, target, channels, (from, to), column);
                    column += 2;
                }
            }
            while column < phase.columns {
                tile::<L, T, 1>(sweep, phase, source, weights, target, channels, (from, to), column);
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
    phase: &Phase,
    source: &[f32],
    weights: &[f32],
    target: &mut [f32],
    channels: usize,
    (from, to): (usize, usize),
    column: usize,
) {
    let (step, plane) = (sweep.source_step, sweep.source.plane());
    // SAFETY: the caller's; weights hold T floats for each channel and tap.
    unsafe {
        let mut sums = [[L::zero(); X]; T];
        let mut weight = weights.as_ptr();
        let mut base = source.as_ptr().wrapping_add(from + column * step);
        for _ in 0..sweep.sources {
            for &tap in &phase.taps {
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

/// A geometry's sizes, channels by group.
pub(crate) struct Sizes {
    pub(crate) groups: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) kernel_height: usize,
    pub(crate) kernel_width: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Sizes {
    pub(crate) fn of(geometry: &Convolution) -> Self {
        let output = geometry.output();
        let groups = usize::from(geometry.groups);
        Self {
            groups,
            inputs: usize::from(geometry.input.channels) / groups,
            outputs: usize::from(geometry.out_channels) / groups,
            height: usize::from(geometry.input.height),
            width: usize::from(geometry.input.width),
            rows: usize::from(output.height),
            columns: usize::from(output.width),
            kernel_height: usize::from(geometry.kernel_height),
            kernel_width: usize::from(geometry.kernel_width),
            stride: usize::from(geometry.stride),
            padding: usize::from(geometry.padding),
        }
    }

    pub(crate) const fn padded_input(&self) -> Padded {
        Padded {
            height: self.height,
            width: self.width,
            top: self.padding,
            left: self.padding,
            padded_height: self.height + 2 * self.padding,
            padded_width: self.width + 2 * self.padding,
        }
    }
}
