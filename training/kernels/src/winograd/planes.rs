//! A convolution, or its data gradient: for a strip of tiles of a block, all patches are transformed,
//! multiplied and transformed back.

use std::cell::RefCell;

use rayon::prelude::*;

use super::product::Product;
use super::transform::{self, PATCH};
use super::{LEAST, Tiles};
use crate::LANES;
use crate::scratch::{at_least, per_job};
use crate::simd::{Level, each_level};
use crate::sizes::Sizes;

/// Floats of a strip's transformed patches and products, about: they stay in the second cache, up to some 500
/// channels together.
const STRIP: usize = 256 << 10;

/// Source planes to target planes.
pub(super) struct Pass {
    sources: usize,
    targets: usize,
    /// Of a source plane.
    height: usize,
    width: usize,
    /// Of a target plane.
    rows: usize,
    columns: usize,
    padding: usize,
    /// Do weights lead from target to source?
    transposed: bool,
}

/// One job: a block's source, and the target planes of some channels.
struct View<'a> {
    pass: &'a Pass,
    source: &'a [f32],
    /// (channel, position, source channel), from the job's first channel.
    kernels: &'a [f32],
    target: &'a mut [f32],
    channels: usize,
    scratch: &'a mut Scratch,
}

/// A strip's transformed patches, and products: (position, channel, tile, lane).
#[derive(Default)]
struct Scratch {
    patches: Vec<f32>,
    products: Vec<f32>,
}

impl Pass {
    pub(super) const fn forward(sizes: &Sizes) -> Self {
        Self {
            sources: sizes.inputs,
            targets: sizes.outputs,
            height: sizes.height,
            width: sizes.width,
            rows: sizes.rows,
            columns: sizes.columns,
            padding: sizes.padding,
            transposed: false,
        }
    }

    pub(super) const fn backward(sizes: &Sizes) -> Self {
        Self {
            sources: sizes.outputs,
            targets: sizes.inputs,
            height: sizes.rows,
            width: sizes.columns,
            rows: sizes.height,
            columns: sizes.width,
            padding: 2 - sizes.padding,
            transposed: true,
        }
    }

    /// Floats from one target's transformed kernels to the next: one vector more than they are, so that a
    /// tile's rows do not all fall into one set of the cache.
    const fn kernel_step(&self) -> usize {
        PATCH * self.sources + LANES
    }

    /// G w Gᵀ of every kernel: (target, position, source).
    fn transform_all(&self, level: Level, weights: &[f32], kernels: &mut [f32]) {
        let step = self.kernel_step();
        let (next_target, next_source) =
            if self.transposed { (9, self.targets * 9) } else { (self.sources * 9, 9) };
        kernels.par_chunks_mut(step * LANES).enumerate().for_each(|(index, out)| {
            let weights = &weights[index * LANES * next_target..];
            // Neighbours of either kind share lines of the cache.
            for first in (0..self.sources).step_by(LANES) {
                let count = LANES.min(self.sources - first);
                for (target, out) in out.chunks_exact_mut(step).enumerate() {
                    let weights = &weights[target * next_target + first * next_source..];
                    // SAFETY: the processor has the level's instructions.
                    unsafe {
                        transform_kernels(
                            level,
                            weights,
                            next_source,
                            count,
                            self.transposed,
                            self.sources,
                            &mut out[first..],
                        )
                    };
                }
            }
        });
    }

    /// Runs it over every block.
    ///
    /// # Shapes
    /// `source`: (block, sources, height, width, lane), `target`: (block, targets, rows, columns, lane);
    /// overwritten.
    pub(super) fn run(&self, level: Level, weights: &[f32], source: &[f32], target: &mut [f32]) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
            static KERNELS: RefCell<Vec<f32>> = RefCell::default();
        }
        let (source_block, plane) =
            (self.sources * self.height * self.width * LANES, self.rows * self.columns * LANES);
        let blocks = source.len() / source_block;
        assert_eq!(source.len(), blocks * source_block, "source of a convolution");
        assert_eq!(target.len(), blocks * self.targets * plane, "target of a convolution");
        assert_eq!(weights.len(), self.sources * self.targets * 9, "weights of a convolution");
        let mut kernels = KERNELS.take();
        let transformed = at_least(&mut kernels, self.targets * self.kernel_step());
        self.transform_all(level, weights, transformed);
        let transformed = &*transformed;
        // Where blocks are few, the channels of one are divided; not too finely, for each part transforms all
        // patches again.
        let per_part = per_job(self.targets, blocks, LEAST);
        let jobs = target.par_chunks_mut(self.targets * plane).zip(source.par_chunks(source_block)).flat_map(
            |(target, source)| {
                target
                    .par_chunks_mut(per_part * plane)
                    .enumerate()
                    .map(move |(part, target)| (part * per_part, source, target))
            },
        );
        jobs.for_each(|(first, source, target)| {
            let channels = target.len() / plane;
            let kernels = &transformed[first * self.kernel_step()..];
            SCRATCH.with_borrow_mut(|scratch| {
                let view = View { pass: self, source, kernels, target, channels, scratch };
                // SAFETY: the processor has the level's instructions.
                unsafe { strips(level, view) };
            });
        });
        KERNELS.set(kernels);
    }
}

each_level! {
    /// G w Gᵀ of up to sixteen kernels, `step` weights apart, `turned` by half or not; positions are written
    /// `stride` floats apart.
    unsafe fn transform_kernels<L>(weights: &[f32], step: usize, count: usize, turned: bool, stride: usize, out: &mut [f32]) {
        let mut lanes = [[0.0; LANES]; 9];
        for lane in 0..count {
            let kernel = &weights[lane * step..][..9];
            for k in 0..9 {
                lanes[k][lane] = kernel[k];
            }
        }
        // SAFETY: the processor's level is the caller's; every array is sixteen floats.
        unsafe {
            let mut kernels = [L::zero(); 9];
            for (k, lanes) in lanes.iter().enumerate() {
                kernels[if turned { 8 - k } else { k }] = L::load(lanes.as_ptr());
            }
            for (position, value) in transform::kernel(kernels).into_iter().enumerate() {
                let out = &mut out[position * stride..][..count];
                if count == LANES {
                    value.store(out.as_mut_ptr());
                } else {
                    let mut values = [0.0; LANES];
                    value.store(values.as_mut_ptr());
                    out.copy_from_slice(&values[..count]);
                }
            }
        }
    }
}

each_level! {
    /// Goes over a block's tiles, strip by strip.
    unsafe fn strips<L>(view: View<'_>) {
        let View { pass, source, kernels, target, channels, scratch } = view;
        let tiles = Tiles::of(pass.rows, pass.columns);
        // Whole tiles of the product's registers, but no more than there are.
        let strip = (STRIP / (PATCH * LANES * (pass.sources + channels)) / 4 * 4).clamp(4, 16).min(tiles.count);
        // One vector between positions, so that theirs do not all fall into one set of the cache.
        let (patch_step, product_step) = ((pass.sources * strip + 1) * LANES, (channels * strip + 1) * LANES);
        let patches = at_least(&mut scratch.patches, PATCH * patch_step);
        let products = at_least(&mut scratch.products, PATCH * product_step);
        let plane = pass.height * pass.width * LANES;
        for first in (0..tiles.count).step_by(strip) {
            let count = strip.min(tiles.count - first);
            for index in 0..count {
                let (y, x) = tiles.place(first + index);
                // Where each position of the patch lies in a plane; outside are zeros.
                let offsets: [Option<usize>; PATCH] = core::array::from_fn(|i| {
                    let y = (y + i / 4).checked_sub(pass.padding).filter(|&y| y < pass.height)?;
                    let x = (x + i % 4).checked_sub(pass.padding).filter(|&x| x < pass.width)?;
                    Some((y * pass.width + x) * LANES)
                });
                for (channel, values) in source.chunks_exact(plane).enumerate() {
                    // SAFETY: the processor's level is the caller's; every slice is sixteen floats.
                    unsafe {
                        let mut patch = [L::zero(); PATCH];
                        for (value, offset) in patch.iter_mut().zip(offsets) {
                            if let Some(at) = offset {
                                *value = L::load(values[at..at + LANES].as_ptr());
                            }
                        }
                        for (position, value) in transform::patch(patch).into_iter().enumerate() {
                            let at = position * patch_step + (channel * count + index) * LANES;
                            value.store(patches[at..at + LANES].as_mut_ptr());
                        }
                    }
                }
            }
            for position in 0..PATCH {
                let product = Product {
                    a: &kernels[position * pass.sources..],
                    a_row: pass.kernel_step(),
                    b: &patches[position * patch_step..],
                    b_row: count * LANES,
                    depth: pass.sources,
                    rows: channels,
                    vectors: count,
                    c_row: count * LANES,
                    adds: false,
                };
                // SAFETY: the processor's level is the caller's.
                unsafe { product.run::<L>(&mut products[position * product_step..]) };
            }
            for (channel, target) in target.chunks_exact_mut(pass.rows * pass.columns * LANES).enumerate() {
                for index in 0..count {
                    let (y, x) = tiles.place(first + index);
                    // SAFETY: the processor's level is the caller's; every slice is sixteen floats.
                    unsafe {
                        let mut sums = [L::zero(); PATCH];
                        for (position, sum) in sums.iter_mut().enumerate() {
                            let at = position * product_step + (channel * count + index) * LANES;
                            *sum = L::load(products[at..at + LANES].as_ptr());
                        }
                        for (i, value) in transform::tile(sums).into_iter().enumerate() {
                            let (y, x) = (y + i / 2, x + i % 2);
                            if y < pass.rows && x < pass.columns {
                                let at = (y * pass.columns + x) * LANES;
                                value.store(target[at..at + LANES].as_mut_ptr());
                            }
                        }
                    }
                }
            }
        }
    }
}
