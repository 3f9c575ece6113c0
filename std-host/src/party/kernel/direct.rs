//! Convolutions whose groups have only a few output channels (depthwise, chiefly): positions in lanes, a
//! weight for all of them.
//!
//! Plain code over arrays, inlined into the function of each instruction set and vectorised by the compiler.

use core::ops::Range;

use halfnet_core::ring::Word;

use super::packed::{PackedInput, PackedWeights};

/// Positions of a block: neighbours in one row.
const BLOCK: usize = 32;

/// Adds the convolution's elements `tile` to `out`, which holds as many.
#[inline(always)]
pub(super) fn accumulate<W: Word>(
    weights: &PackedWeights,
    input: &PackedInput,
    tile: Range<usize>,
    out: &mut [W],
) {
    let layout = &weights.layout;
    let (plane, width) = (layout.output.plane(), usize::from(layout.output.width));
    let (all_weights, planes) = (weights.panels.words::<W>(), input.planes.words::<W>());
    let mut next = tile.start;
    while next < tile.end {
        let (channel, position) = (next / plane, next % plane);
        let count = (width - position % width).min(tile.end - next).min(BLOCK);
        let group = channel / layout.group_outputs;
        let start = group * layout.group_planes * layout.plane
            + position / width * layout.row_step
            + position % width * layout.column_step;
        let weights_of_channel = &all_weights[channel * layout.steps..][..layout.steps];
        let mut sums = [W::default(); BLOCK];
        for (&weight, &offset) in weights_of_channel.iter().zip(&weights.main) {
            // The planes have slack behind them: a whole block is always readable.
            let inputs: &[W; BLOCK] =
                planes[start + offset as usize..].first_chunk().expect("planes end with a block's slack");
            for (sum, &input) in sums.iter_mut().zip(inputs) {
                *sum = sum.add(input.mul(weight));
            }
        }
        let to = &mut out[next - tile.start..][..count];
        to.iter_mut().zip(&sums).for_each(|(to, &sum)| *to = to.add(sum));
        next += count;
    }
}
