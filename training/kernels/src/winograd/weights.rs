//! The weight gradient: one product of matrices for each position of a patch, over all tiles and pictures.
//!
//! Its columns are input channels, so that no lanes are left to be added up: the input is turned once into
//! (block, row, column, lane, channel). A position's patches need four values each, whatever the position,
//! and are made where they are used.

use std::cell::RefCell;

use rayon::prelude::*;

use super::product::Product;
use super::transform::{self, PATCH};
use super::{LEAST, Tiles};
use crate::LANES;
use crate::scratch::{at_least, per_job};
use crate::simd::{Level, each_level, vectorised};
use crate::sizes::Sizes;

/// Tiles of a chunk: with the columns of a panel, their patches (32 KiB) stay in the first cache, or near it.
const CHUNK: usize = 8;
/// Input channels of a panel.
const PANEL: usize = 64;

/// Everything but the position.
struct View<'a> {
    sizes: &'a Sizes,
    blocks: usize,
    /// (block, row, column, lane, channel), with zeros around it.
    turned: &'a [f32],
    turned_columns: usize,
    turned_rows: usize,
    /// Channels, filled up.
    width: usize,
    gradient: &'a [f32],
}

pub(super) fn run(level: Level, sizes: &Sizes, input: &[f32], gradient: &[f32], out: &mut [f32]) {
    let plane = sizes.height * sizes.width * LANES;
    let blocks = input.len() / (sizes.inputs * plane);
    assert_eq!(input.len(), blocks * sizes.inputs * plane, "input of a convolution");
    assert_eq!(
        gradient.len(),
        blocks * sizes.outputs * sizes.rows * sizes.columns * LANES,
        "gradient of a convolution"
    );
    assert_eq!(out.len(), sizes.inputs * sizes.outputs * 9, "weights of a convolution");
    let width = sizes.inputs.next_multiple_of(LANES);
    let (turned_rows, turned_columns) = (sizes.rows.div_ceil(2) * 2 + 2, sizes.columns.div_ceil(2) * 2 + 2);
    let (padded, line) = (sizes.padded_input(), turned_columns * LANES * width);
    thread_local! {
        static LARGE: RefCell<[Vec<f32>; 2]> = RefCell::default();
        static SMALL: RefCell<[Vec<f32>; 2]> = RefCell::default();
    }
    let mut large = LARGE.take();
    let [turned, sums] = &mut large;
    let turned = at_least(turned, blocks * turned_rows * line);
    turned.par_chunks_mut(line).enumerate().for_each(|(index, line)| {
        let (block, row) = (index / turned_rows, index % turned_rows);
        let planes = &input[block * sizes.inputs * plane..(block + 1) * sizes.inputs * plane];
        padded.line(row, LANES * width, line, |row, middle| {
            turn(&planes[row * sizes.width * LANES..], plane, width, middle)
        });
    });
    let view = View { sizes, blocks, turned, turned_columns, turned_rows, width, gradient };
    let sums = at_least(sums, PATCH * sizes.outputs * width);
    // Positions are divided among threads, and where that leaves some without, output channels; each part
    // makes all patches again.
    let per_part = per_job(sizes.outputs, PATCH, LEAST);
    let jobs = sums.par_chunks_mut(sizes.outputs * width).enumerate().flat_map(|(position, sums)| {
        sums.par_chunks_mut(per_part * width)
            .enumerate()
            .map(move |(part, sums)| (position, part * per_part, sums))
    });
    jobs.for_each(|(position, first, sums)| {
        SMALL.with_borrow_mut(|scratch| {
            // SAFETY: the processor has the level's instructions.
            unsafe { products(level, &view, position, first, scratch, sums) };
        });
    });
    out.par_chunks_mut(sizes.inputs * 9).enumerate().for_each(|(output, out)| {
        // SAFETY: the processor has the level's instructions.
        unsafe { transform_back(level, &sums[output * width..], sizes.outputs * width, out) };
    });
    LARGE.set(large);
}

vectorised! {
    /// Turns columns of a row, (channel, column, lane), planes `plane` apart, into (column, lane, channel),
    /// `width` channels.
    fn turn(planes: &[f32], plane: usize, width: usize, out: &mut [f32]) {
        for first in (0..width).step_by(LANES) {
            for (column, out) in out.chunks_exact_mut(LANES * width).enumerate() {
                let mut square = [[0.0; LANES]; LANES];
                for (channel, row) in square.iter_mut().enumerate() {
                    if let Some(from) = planes.get((first + channel) * plane + column * LANES..).and_then(|p| p.first_chunk()) {
                        *row = *from;
                    }
                }
                for lane in 0..LANES {
                    let to = &mut out[lane * width + first..][..LANES];
                    for (channel, to) in to.iter_mut().enumerate() {
                        *to = square[channel][lane];
                    }
                }
            }
        }
    }
}

each_level! {
    /// Gᵀ u G of one output channel: `sums` (position, input channel), positions `step` floats apart, to
    /// (input channel, kernel).
    unsafe fn transform_back<L>(sums: &[f32], step: usize, out: &mut [f32]) {
        for (index, out) in out.chunks_mut(LANES * 9).enumerate() {
            let mut lanes = [[0.0; LANES]; 9];
            // SAFETY: the processor's level is the caller's; every slice and array is sixteen floats.
            unsafe {
                let mut values = [L::zero(); PATCH];
                for (position, value) in values.iter_mut().enumerate() {
                    *value = L::load(sums[position * step + index * LANES..][..LANES].as_ptr());
                }
                for (value, lanes) in transform::kernel_gradient(values).into_iter().zip(&mut lanes) {
                    value.store(lanes.as_mut_ptr());
                }
            }
            for (lane, kernel) in out.chunks_exact_mut(9).enumerate() {
                for k in 0..9 {
                    kernel[k] = lanes[k][lane];
                }
            }
        }
    }
}

each_level! {
    /// One position's sums over all tiles and pictures, from an output channel on: (output channel, input
    /// channel).
    unsafe fn products<L>(view: &View<'_>, position: usize, first_output: usize, scratch: &mut [Vec<f32>; 2], sums: &mut [f32]) {
        let View { sizes, blocks, turned, turned_columns, turned_rows, width, gradient } = *view;
        let tiles = Tiles::of(sizes.rows, sizes.columns);
        let (outputs, depth) = (sums.len() / width, CHUNK.min(tiles.count) * LANES);
        let [gradients, patches] = scratch;
        let (gradients, patches) = (at_least(gradients, outputs * depth), at_least(patches, depth * PANEL));
        let plane = sizes.rows * sizes.columns * LANES;
        let (row_terms, column_terms) = (transform::tile_terms(position / 4), transform::tile_terms(position % 4));
        let (rows, columns) = (transform::patch_terms(position / 4), transform::patch_terms(position % 4));
        let mut adds = false;
        for block in 0..blocks {
            let gradient = &gradient[(block * sizes.outputs + first_output) * plane..][..outputs * plane];
            let turned = &turned[block * turned_rows * turned_columns * LANES * width..];
            for first in (0..tiles.count).step_by(CHUNK) {
                let count = CHUNK.min(tiles.count - first);
                for index in 0..count {
                    let (y, x) = tiles.place(first + index);
                    let term = |i: usize| {
                        let (y, x, factor) = (y + i / 2, x + i % 2, row_terms[i / 2] * column_terms[i % 2]);
                        (factor != 0.0 && y < sizes.rows && x < sizes.columns).then_some(((y * sizes.columns + x) * LANES, factor))
                    };
                    let terms: [Option<(usize, f32)>; 4] = core::array::from_fn(term);
                    for (output, plane) in gradient.chunks_exact(plane).enumerate() {
                        // SAFETY: the processor's level is the caller's; every slice is sixteen floats.
                        unsafe {
                            let mut sum = L::zero();
                            for (at, factor) in terms.iter().flatten() {
                                sum = L::load(plane[*at..*at + LANES].as_ptr()).multiply_add(L::splat(factor), sum);
                            }
                            let at = output * depth + index * LANES;
                            sum.store(gradients[at..at + LANES].as_mut_ptr());
                        }
                    }
                }
                for panel in (0..width).step_by(PANEL) {
                    let vectors = PANEL.min(width - panel) / LANES;
                    for index in 0..count {
                        let (y, x) = tiles.place(first + index);
                        let at = |row: usize, column: usize| ((y + row) * turned_columns + x + column) * LANES * width;
                        let (near, far) = ([at(rows.0, columns.0), at(rows.0, columns.1)], [at(rows.1, columns.0), at(rows.1, columns.1)]);
                        let corners = [near[0], near[1], far[0], far[1]];
                        for lane in 0..LANES {
                            for vector in 0..vectors {
                                // SAFETY: as above.
                                unsafe {
                                    let from = lane * width + panel + vector * LANES;
                                    let mut values = [L::zero(); 4];
                                    for (value, corner) in values.iter_mut().zip(corners) {
                                        *value = L::load(turned[corner + from..corner + from + LANES].as_ptr());
                                    }
                                    let [a, b, c, d] = values;
                                    let (near, far) = if columns.2 { (a.add(b), c.add(d)) } else { (a.subtract(b), c.subtract(d)) };
                                    let patch = if rows.2 { near.add(far) } else { near.subtract(far) };
                                    let at = ((index * LANES + lane) * vectors + vector) * LANES;
                                    patch.store(patches[at..at + LANES].as_mut_ptr());
                                }
                            }
                        }
                    }
                    let product = Product {
                        a: gradients,
                        a_row: depth,
                        b: patches,
                        b_row: vectors * LANES,
                        depth: count * LANES,
                        rows: outputs,
                        vectors,
                        c_row: width,
                        adds,
                    };
                    // SAFETY: the processor's level is the caller's.
                    unsafe { product.run::<L>(&mut sums[panel..]) };
                }
                adds = true;
            }
        }
    }
}
