//! 3 × 3 convolutions of stride 1 with 16 products for every 36: Winograd's minimal filtering F(2×2, 3×3).
//!
//! A *tile* of 2 × 2 outputs y depends on a *patch* of 4 × 4 inputs d: with the kernel w (Lavin and Gray,
//! Fast Algorithms for Convolutional Neural Networks, 2015, arXiv 1509.09308, equations 8 to 10),
//!
//! ```text
//! y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A
//! ```
//!
//! which is linear in w and in d, so that the sum over input channels can be taken before Aᵀ·A, and both
//! gradients follow: dw = Gᵀ [(A dy Aᵀ) ⊙ (Bᵀ d B)] G, summed over tiles and pictures, and dd is a
//! convolution of dy with w turned by half, whose padding is 2 minus that of w. Between the transforms, each
//! of the 16 positions of a patch is a product of matrices.
//!
//! The transforms add, subtract and halve, so that a result differs from [`crate::sweep`]'s by rounding
//! alone. Forward and for the data it is nearer to the true sum; a weight's gradient is up to four times as
//! far from it where positions are few, and nearer where they are many.

mod planes;
mod product;
mod transform;
mod weights;

use halfnet_core::shape::Convolution;

use crate::simd::Level;
use crate::sizes::Sizes;

/// Channels in and out from which fewer products outweigh the transforms: forward and for the data, and for
/// the weights.
const WORTHWHILE: u16 = 32;
const WORTHWHILE_FOR_WEIGHTS: u16 = 64;

/// Channels of a job are a multiple of this many, where they are divided: each job transforms all patches
/// again.
const LEAST: usize = 24;

/// The tiles of a plane, row by row; the last of a side may be cut.
#[derive(Clone, Copy)]
struct Tiles {
    across: usize,
    count: usize,
}

impl Tiles {
    /// Of a plane that is written.
    const fn of(rows: usize, columns: usize) -> Self {
        let across = columns.div_ceil(2);
        Self { across, count: across * rows.div_ceil(2) }
    }

    /// Row and column of a tile's first position.
    const fn place(self, index: usize) -> (usize, usize) {
        (index / self.across * 2, index % self.across * 2)
    }
}

/// Can this layer be computed so at all?
pub(crate) const fn applies(geometry: &Convolution) -> bool {
    geometry.kernel_height == 3
        && geometry.kernel_width == 3
        && geometry.stride == 1
        && geometry.groups == 1
        && geometry.padding <= 2
}

/// Is it faster, forward? (A tile that is cut saves nothing.)
pub(crate) fn pays_forward(geometry: &Convolution) -> bool {
    let output = geometry.output();
    wide(geometry, WORTHWHILE) && output.height > 1 && output.width > 1
}

/// Is it faster for the data gradient?
pub(crate) const fn pays_for_data(geometry: &Convolution) -> bool {
    wide(geometry, WORTHWHILE) && geometry.input.height > 1 && geometry.input.width > 1
}

/// Is it faster for the weight gradient?
pub(crate) const fn pays_for_weights(geometry: &Convolution) -> bool {
    wide(geometry, WORTHWHILE_FOR_WEIGHTS)
}

const fn wide(geometry: &Convolution, least: u16) -> bool {
    applies(geometry) && geometry.input.channels >= least && geometry.out_channels >= least
}

/// As [`crate::convolution::forward`].
pub(crate) fn forward(
    level: Level,
    geometry: &Convolution,
    weights: &[f32],
    input: &[f32],
    output: &mut [f32],
) {
    planes::Pass::forward(&Sizes::of(geometry)).run(level, weights, input, output);
}

/// As [`crate::convolution::data_gradient`].
pub(crate) fn data_gradient(
    level: Level,
    geometry: &Convolution,
    weights: &[f32],
    gradient: &[f32],
    out: &mut [f32],
) {
    planes::Pass::backward(&Sizes::of(geometry)).run(level, weights, gradient, out);
}

/// As [`crate::convolution::weight_gradient`].
pub(crate) fn weight_gradient(
    level: Level,
    geometry: &Convolution,
    input: &[f32],
    gradient: &[f32],
    out: &mut [f32],
) {
    weights::run(level, &Sizes::of(geometry), input, gradient, out);
}
