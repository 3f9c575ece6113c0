//! The weight gradient: each weight's is the correlation of an output channel's gradient with an input
//! channel, shifted.
//!
//! A tile has four output channels and four (input channel, kernel position) pairs: sixteen sums of sixteen
//! lanes. Rows of all blocks are taken in bands that stay in the first cache while a chunk of pairs passes
//! over them, for a few tiles of channels that share the second; the lanes are added up at the end.

use std::cell::RefCell;

use halfnet_core::shape::Convolution;
use rayon::prelude::*;

use crate::LANES;
use crate::scratch::at_least;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Lanes, Level, Portable, vectorised};
use crate::sizes::Sizes;

/// Output channels of a tile.
const TILE: usize = 4;
/// Pairs of a tile.
const PAIRS: usize = 4;
/// Pairs whose sums lie in the cache together.
const CHUNK: usize = 144;
/// Tiles of output channels that go over the same source together, at most.
const TOGETHER: usize = 4;
/// Positions of a band, about.
const BAND: usize = 64;

/// Runs it over every block.
///
/// # Shapes
/// `input`: (block, C, H, W, lane), `gradient`: (block, O, H', W', lane), `out`: (O, C / groups,
/// kernel_height, kernel_width); overwritten.
pub(crate) fn run(level: Level, geometry: &Convolution, input: &[f32], gradient: &[f32], out: &mut [f32]) {
    let sizes = Sizes::of(geometry);
    let padded = sizes.padded_input();
    let input_block = sizes.groups * sizes.inputs * sizes.height * sizes.width * LANES;
    let gradient_plane = sizes.rows * sizes.columns * LANES;
    let gradient_block = sizes.groups * sizes.outputs * gradient_plane;
    let blocks = input.len() / input_block;
    assert_eq!(input.len(), blocks * input_block, "input of a convolution");
    assert_eq!(gradient.len(), blocks * gradient_block, "gradient of a convolution");
    assert_eq!(out.len(), geometry.weights(), "weights of a convolution");

    let source_block = sizes.groups * sizes.inputs * padded.plane();
    thread_local! {
        static PADDED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    let mut copy = PADDED.take();
    let source = if padded.is_plain() {
        input
    } else {
        let copy = at_least(&mut copy, blocks * source_block);
        let (plane, line) = (sizes.height * sizes.width * LANES, padded.padded_width * LANES);
        copy.par_chunks_mut(padded.plane()).zip(input.par_chunks(plane)).for_each(|(to, from)| {
            to.chunks_exact_mut(line).enumerate().for_each(|(y, to)| padded.row(from, y, to));
        });
        copy
    };
    // Each row of each block: where it starts in the gradient and in the source.
    let rows: Vec<(usize, usize)> = (0..blocks)
        .flat_map(|block| (0..sizes.rows).map(move |row| (block, row)))
        .map(|(block, row)| {
            let at = row * sizes.stride * padded.padded_width * LANES;
            (block * gradient_block + row * sizes.columns * LANES, block * source_block + at)
        })
        .collect();
    let fan_in = geometry.fan_in();
    let tile = if sizes.outputs == 1 { 1 } else { TILE };
    let job = |first: usize, out: &mut [f32]| {
        let group = first / sizes.outputs;
        let count = out.len() / fan_in;
        let tiles = count.div_ceil(tile);
        // Channels that are not there repeat the last; what they give is dropped.
        let channels = |index: usize| {
            core::array::from_fn(|t| (first + (index * tile + t).min(count - 1)) * gradient_plane)
        };
        let channels: Vec<[usize; TILE]> = (0..tiles).map(channels).collect();
        let pair = |index: usize| {
            let index = index.min(fan_in - 1);
            let kernel = sizes.kernel_height * sizes.kernel_width;
            let (channel, ky, kx) =
                (index / kernel, index % kernel / sizes.kernel_width, index % sizes.kernel_width);
            (group * sizes.inputs + channel) * padded.plane() + (ky * padded.padded_width + kx) * LANES
        };
        let mut sums = Vec::new();
        for start in (0..fan_in).step_by(CHUNK) {
            let pairs: Vec<usize> =
                (start..(start + CHUNK).min(fan_in).next_multiple_of(PAIRS)).map(pair).collect();
            let size = pairs.len() * tile * LANES;
            sums.clear();
            sums.resize(tiles * size, 0.0);
            let span = (sizes.columns - 1) * sizes.stride * LANES + LANES;
            let last = rows.last().copied().unwrap_or_default();
            let furthest = |offsets: &mut dyn Iterator<Item = &usize>| offsets.max().copied().unwrap_or(0);
            assert!(
                furthest(&mut channels.iter().flatten()) + last.0 + sizes.columns * LANES <= gradient.len(),
                "a gradient outside"
            );
            assert!(furthest(&mut pairs.iter()) + last.1 + span <= source.len(), "a source outside");
            for band in rows.chunks(BAND.div_ceil(sizes.columns)) {
                for (&channels, sums) in channels.iter().zip(sums.chunks_exact_mut(size)) {
                    let (columns, step) = (sizes.columns, sizes.stride * LANES);
                    let view = View { gradient, source, channels, pairs: &pairs, band, columns, step, sums };
                    // SAFETY: the processor has the level's instructions; the largest offsets, asserted
                    // above, lie inside.
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
                            (Level::Portable, 1) => tiles_of::<Portable, 1>(view),
                            (Level::Portable, _) => tiles_of::<Portable, TILE>(view),
                        }
                    }
                }
            }
            let width = CHUNK.min(fan_in - start);
            for (index, sums) in sums.chunks_exact(size).enumerate() {
                let out = &mut out[index * tile * fan_in..];
                add_lanes(sums, tile, tile.min(count - index * tile), (start, width, fan_in), out);
            }
        }
    };
    // Few enough tiles together that every thread has something to do.
    let together = (sizes.groups * sizes.outputs.div_ceil(tile))
        .div_ceil(2 * rayon::current_num_threads())
        .clamp(1, TOGETHER)
        * tile;
    let mut jobs = Vec::new();
    for (group, mut weights) in out.chunks_exact_mut(sizes.outputs * fan_in).enumerate() {
        for first in (0..sizes.outputs).step_by(together) {
            let (mine, others) = weights.split_at_mut(together.min(sizes.outputs - first) * fan_in);
            weights = others;
            jobs.push((group * sizes.outputs + first, mine));
        }
    }
    jobs.into_par_iter().for_each(|(first, out)| job(first, out));
    PADDED.set(copy);
}

vectorised! {
    /// Adds up the lanes of sums (pair, channel, lane) and writes those of `channels` channels to rows of
    /// `out`; `place`: first pair, number of pairs, length of a row.
    fn add_lanes(sums: &[f32], tile: usize, channels: usize, place: (usize, usize, usize), out: &mut [f32]) {
        let (first, width, row) = place;
        for (index, lanes) in sums.as_chunks::<LANES>().0.iter().enumerate().take(width * tile) {
            if index % tile < channels {
                let eight: [f32; 8] = core::array::from_fn(|i| lanes[i] + lanes[i + 8]);
                let four: [f32; 4] = core::array::from_fn(|i| eight[i] + eight[i + 4]);
                out[index % tile * row + first + index / tile] = (four[0] + four[2]) + (four[1] + four[3]);
            }
        }
    }
}

struct View<'a> {
    gradient: &'a [f32],
    source: &'a [f32],
    channels: [usize; TILE],
    pairs: &'a [usize],
    band: &'a [(usize, usize)],
    columns: usize,
    step: usize,
    /// (pair, channel, lane).
    sums: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn avx512<const T: usize>(view: View<'_>) {
    // SAFETY: the caller's.
    unsafe { tiles_of::<Avx512, T>(view) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const T: usize>(view: View<'_>) {
    // SAFETY: the caller's.
    unsafe { tiles_of::<Avx2, T>(view) }
}

/// # Safety
/// The level's instructions are there; every channel and pair, from every row's start and over its columns,
/// lies inside; pairs are a multiple of [`PAIRS`].
#[inline(always)]
unsafe fn tiles_of<L: Lanes, const T: usize>(view: View<'_>) {
    let View { gradient, source, channels, pairs, band, columns, step, sums } = view;
    let (gradient, source) = (gradient.as_ptr(), source.as_ptr());
    let (tiles, _) = pairs.as_chunks::<PAIRS>();
    for (index, pairs) in tiles.iter().enumerate() {
        // SAFETY: the caller's.
        unsafe {
            let stored = sums.as_mut_ptr().add(index * PAIRS * T * LANES);
            let mut sums = [[L::zero(); T]; PAIRS];
            for (p, sums) in sums.iter_mut().enumerate() {
                for (t, sum) in sums.iter_mut().enumerate() {
                    *sum = L::load(stored.add((p * T + t) * LANES));
                }
            }
            for &(to, from) in band {
                for column in 0..columns {
                    let mut gradients = [L::zero(); T];
                    for (t, value) in gradients.iter_mut().enumerate() {
                        *value = L::load(gradient.add(channels[t] + to + column * LANES));
                    }
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let value = L::load(source.add(pairs[p] + from + column * step));
                        for t in 0..T {
                            sums[t] = value.multiply_add(gradients[t], sums[t]);
                        }
                    }
                }
            }
            for (p, sums) in sums.iter().enumerate() {
                for (t, sum) in sums.iter().enumerate() {
                    sum.store(stored.add((p * T + t) * LANES));
                }
            }
        }
    }
}
