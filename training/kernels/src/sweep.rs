//! One loop for a convolution and for its data gradient.
//!
//! Both give each target position a sum over source channels and *taps*, a tap being a source position
//! relative to the target's and a weight. Forward, all positions have the same taps, and neighbours read
//! `stride` positions apart. Backward, a position's taps depend on its row and column modulo the stride: each
//! such *phase* is a sweep of its own, whose neighbours are written `stride` positions apart. The source is
//! padded, so that no tap needs a test.

use std::cell::RefCell;
use std::ops::Range;

use halfnet_core::shape::Convolution;
use rayon::prelude::*;

use crate::LANES;
use crate::scratch::per_job;
use crate::simd::Level;
use crate::sizes::{Padded, Sizes};
use crate::tiles::{self, TILE, View};

/// Floats of the source that all tiles pass over before the next are taken: they stay in the second cache.
const BAND: usize = 320 << 10;

/// Positions that share their taps.
pub(crate) struct Phase {
    /// Offset of each tap in the padded source plane, for the phase's first position.
    pub(crate) taps: Vec<usize>,
    /// Source rows that one row's taps span.
    span: usize,
    /// Which weight of a kernel each tap is.
    kernel: Vec<usize>,
    rows: usize,
    pub(crate) columns: usize,
    /// Offset of the first position in the target plane.
    pub(crate) target: usize,
}

/// Everything about a sweep but the numbers.
pub(crate) struct Sweep {
    groups: usize,
    /// Of a group.
    pub(crate) sources: usize,
    /// Of a group.
    targets: usize,
    source: Padded,
    /// Floats from a position's source to its neighbour's, and from a row's to the next.
    pub(crate) source_step: usize,
    pub(crate) source_row: usize,
    pub(crate) target_plane: usize,
    pub(crate) target_step: usize,
    pub(crate) target_row: usize,
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
        let taps = (0..sizes.kernel_height)
            .flat_map(|ky| (0..sizes.kernel_width).map(move |kx| (ky * line + kx) * LANES));
        let kernel_size = sizes.kernel_height * sizes.kernel_width;
        let span = sizes.kernel_height;
        let phase = Phase {
            taps: taps.collect(),
            span,
            kernel: (0..kernel_size).collect(),
            rows: sizes.rows,
            columns: sizes.columns,
            target: 0,
        };
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
        // Along one side: for each phase, its length and its taps (weight, source of its first position,
        // which may be negative).
        let side = |size: usize, kernel: usize| -> Vec<(usize, Vec<(usize, isize)>)> {
            (0..stride.min(size))
                .map(|first| {
                    let taps = (0..kernel)
                        .filter(|k| (first + padding + stride * kernel - k).is_multiple_of(stride));
                    let at =
                        |k: usize| (k, (first as isize + padding as isize - k as isize) / stride as isize);
                    ((size - first).div_ceil(stride), taps.map(at).collect())
                })
                .collect()
        };
        let vertical = side(sizes.height, sizes.kernel_height);
        let horizontal = side(sizes.width, sizes.kernel_width);
        // How far the taps reach outside.
        let reach = |phases: &[(usize, Vec<(usize, isize)>)], size: usize| {
            let taps = || {
                phases
                    .iter()
                    .flat_map(|(length, taps)| taps.iter().map(move |&(_, at)| (*length as isize, at)))
            };
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
                let mut phase = Phase {
                    taps: Vec::new(),
                    span: 1,
                    kernel: Vec::new(),
                    rows: *rows,
                    columns: *columns,
                    target: (y * sizes.width + x) * LANES,
                };
                for &(ky, sy) in vertical {
                    phase.span = phase.span.max(top.wrapping_add_signed(sy) + 1);
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

    /// The weights in the order in which tiles read them, phase by phase: (group, tile, source channel, tap,
    /// target channel).
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
                let lanes = tile.min(self.targets - first);
                for source in 0..self.sources {
                    for lane in 0..lanes {
                        let target = first + lane;
                        let kernel = if self.transposed {
                            source * self.targets + target
                        } else {
                            target * self.sources + source
                        } * size;
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
    /// `source`: (block, sources, height, width, lane), `target`: (block, targets, height, width, lane);
    /// overwritten.
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
        assert_eq!(
            weights.len(),
            self.groups * self.sources * self.targets * self.kernel_size,
            "weights of a convolution"
        );
        // Where blocks are few, the tiles of one are divided.
        let tiles = self.groups * self.targets.div_ceil(self.tile());
        let per_part = per_job(tiles, blocks, 1);
        let mut jobs = Vec::new();
        for (block, mut planes) in target.chunks_exact_mut(target_block).enumerate() {
            for first in (0..tiles).step_by(per_part) {
                let last = (first + per_part).min(tiles);
                let (mine, others) = planes.split_at_mut(
                    self.channels_before(last) * self.target_plane
                        - self.channels_before(first) * self.target_plane,
                );
                planes = others;
                jobs.push((block, first..last, mine));
            }
        }
        jobs.into_par_iter().for_each(|(block, tiles, target)| {
            let planes = &source[block * source_block..(block + 1) * source_block];
            PADDED.with_borrow_mut(|scratch| {
                for (phase, packed) in self.phases.iter().zip(&packed) {
                    let row = self.groups * self.sources * self.source.padded_width * LANES;
                    let step = self.source_row / (self.source.padded_width * LANES);
                    let rows = ((BAND / row).saturating_sub(phase.span) / step + 1).min(phase.rows);
                    for first in (0..phase.rows).step_by(rows) {
                        let band =
                            Band::new(self, phase, first..(first + rows).min(phase.rows), planes, scratch);
                        let mut rest = &mut *target;
                        for tile in tiles.clone() {
                            let channels = self.channels_before(tile + 1) - self.channels_before(tile);
                            let (mine, others) = rest.split_at_mut(channels * self.target_plane);
                            rest = others;
                            self.tile_rows(level, tile, &band, packed, mine);
                        }
                    }
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

    /// A band's positions of a tile's channels.
    fn tile_rows(&self, level: Level, tile: usize, band: &Band<'_>, packed: &[f32], target: &mut [f32]) {
        let (phase, group) = (band.phase, tile / self.targets.div_ceil(self.tile()));
        let first = group * self.sources * band.plane;
        let source = &band.source[first..];
        let slice = self.sources * phase.taps.len() * self.tile();
        let weights = &packed[tile * slice..(tile + 1) * slice];
        // Every address that the loops below reach, checked once.
        let furthest = (band.rows.len() - 1) * self.source_row + (phase.columns - 1) * self.source_step;
        let reach =
            phase.taps.iter().max().map_or(0, |tap| (self.sources - 1) * band.plane + tap + furthest + LANES);
        assert!(reach <= source.len(), "a tap outside its planes");
        let last =
            phase.target + (band.rows.end - 1) * self.target_row + (phase.columns - 1) * self.target_step;
        assert!(last + LANES <= self.target_plane, "a position outside its plane");
        let view = View { sweep: self, band, source, weights, target };
        // SAFETY: the processor has the level's instructions, and the addresses lie inside, as asserted
        // above.
        unsafe { tiles::run(level, self.tile(), view) };
    }
}

/// Some rows of a phase, and the source rows that they read.
pub(crate) struct Band<'a> {
    pub(crate) phase: &'a Phase,
    pub(crate) rows: Range<usize>,
    /// Starts at the first of these rows.
    source: &'a [f32],
    /// Floats from a channel to the next.
    pub(crate) plane: usize,
}

impl<'a> Band<'a> {
    fn new(
        sweep: &Sweep,
        phase: &'a Phase,
        rows: Range<usize>,
        planes: &'a [f32],
        scratch: &'a mut Vec<f32>,
    ) -> Self {
        let line = sweep.source.padded_width * LANES;
        let from = rows.start * sweep.source_row / line;
        if sweep.source.is_plain() {
            let source = planes.get(from * line..).unwrap_or_default();
            return Self { phase, rows, source, plane: sweep.source.plane() };
        }
        let count = ((rows.len() - 1) * sweep.source_row / line + phase.span)
            .min(sweep.source.padded_height.saturating_sub(from));
        Self { phase, rows, source: sweep.source.rows(planes, from, count, scratch), plane: count * line }
    }
}
