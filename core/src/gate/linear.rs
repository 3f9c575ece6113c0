//! Linear layers (AutoReP Eq. 1, 2): convolution, depthwise, grouped, 1×1, fully connected, and residual
//! joins. No message.
//!
//! ```text
//! [Z] = E ⊗ [Y] + [U] in Z_b,   U = A ⊗ Y + bias (+ the mask of the opening that follows)
//! ```
//!
//! It is Eq. 2 with F = Y − B opened once a model instead of once an inference. The same function serves the
//! parties (E, a share of Y), the dealer (A, Y) and the reference (X, Y): it is arithmetic modulo the word.

use core::ops::Range;

use super::register_block;
use crate::error::Internal;
use crate::ring::{Word, Words, WordsMut};
use crate::shape::{Convolution, Join};
use crate::with_words;

/// The part of element range `tile` that lies in channel `channel` of planes of `plane` elements, as
/// positions in that plane.
#[must_use]
pub fn positions(tile: &Range<usize>, channel: usize, plane: usize) -> Range<usize> {
    let first = channel * plane;
    tile.start.clamp(first, first + plane) - first..tile.end.clamp(first, first + plane) - first
}

/// As [`convolve_channel`] for words of any kind, those of `weights` and `out` the same: compiled in this
/// crate and so optimised as it is, whatever the crate that calls it asks for.
///
/// # Errors
/// The kinds differ, or as there.
#[inline(never)]
pub fn convolve_words(
    geometry: &Convolution,
    input: Words<'_>,
    weights: Words<'_>,
    channel: usize,
    positions: Range<usize>,
    out: WordsMut<'_>,
) -> Result<(), Internal> {
    with_words!(Words, input, input => match (weights, out) {
        (Words::U16(weights), WordsMut::U16(out)) => convolve_channel(geometry, input, weights, channel, positions, out),
        (Words::U32(weights), WordsMut::U32(out)) => convolve_channel(geometry, input, weights, channel, positions, out),
        #[cfg(feature = "wide-rings")]
        (Words::U64(weights), WordsMut::U64(out)) => convolve_channel(geometry, input, weights, channel, positions, out),
        _ => Err(Internal),
    })
}

/// out += input ⊗ weights for the output elements of one channel, modulo the word: the portable form of every
/// kernel.
///
/// # Shapes
/// `input`: the whole input tensor; `weights`: this channel's [`Convolution::fan_in`] weights; `out`: one
/// slot for each of `positions`, a range of the channel's plane.
///
/// # Errors
/// Slices are shorter than that.
pub fn convolve_channel<I: Word, O: Word>(
    geometry: &Convolution,
    input: &[I],
    weights: &[O],
    channel: usize,
    positions: Range<usize>,
    out: &mut [O],
) -> Result<(), Internal> {
    if covers_input(geometry) && positions == (0..1) {
        let per_group = (usize::from(geometry.out_channels) / usize::from(geometry.groups).max(1)).max(1);
        let values = input.get(channel / per_group * geometry.fan_in()..).ok_or(Internal)?;
        let values = values.get(..geometry.fan_in()).ok_or(Internal)?;
        let weights = weights.get(..geometry.fan_in()).ok_or(Internal)?;
        let sum = out.first_mut().ok_or(Internal)?;
        *sum = values
            .iter()
            .zip(weights)
            .fold(*sum, |sum, (value, weight)| sum.add(O::from_u64(value.to_u64()).mul(*weight)));
        return Ok(());
    }
    if register_block::applies(geometry) {
        return register_block::convolve_channel(geometry, input, weights, channel, &positions, out)
            .ok_or(Internal);
    }
    let kernel = (usize::from(geometry.kernel_height) * usize::from(geometry.kernel_width)).max(1);
    for in_channel in 0..geometry.group_channels() {
        let weights = weights.get(kernel * in_channel..kernel * (in_channel + 1)).ok_or(Internal)?;
        let weights = weights.iter().copied();
        convolve_plane(geometry, input, channel, in_channel, weights, positions.clone(), out)?;
    }
    Ok(())
}

/// A fully connected layer: one output a channel, and inputs in the order of its weights.
const fn covers_input(geometry: &Convolution) -> bool {
    geometry.padding == 0
        && geometry.kernel_height == geometry.input.height
        && geometry.kernel_width == geometry.input.width
}

/// One input channel's part of [`convolve_channel`]: `in_channel` counts within the output channel's group,
/// `weights` gives the kernel_height · kernel_width weights.
///
/// # Errors
/// As there.
pub fn convolve_plane<I: Word, O: Word>(
    geometry: &Convolution,
    input: &[I],
    channel: usize,
    in_channel: usize,
    mut weights: impl Iterator<Item = O>,
    positions: Range<usize>,
    out: &mut [O],
) -> Result<(), Internal> {
    let shape = geometry.input;
    let (height, width) = (usize::from(shape.height), usize::from(shape.width));
    let out_width = usize::from(geometry.output().width).max(1);
    let (stride, padding) = (usize::from(geometry.stride).max(1), usize::from(geometry.padding));
    let group = channel / (usize::from(geometry.out_channels) / usize::from(geometry.groups).max(1)).max(1);
    let (kernel_height, kernel_width) =
        (usize::from(geometry.kernel_height), usize::from(geometry.kernel_width).max(1));
    let first = (group * geometry.group_channels() + in_channel) * height * width;
    let plane = input.get(first..).and_then(|p| p.get(..height * width)).ok_or(Internal)?;
    for offset in 0..kernel_height * kernel_width {
        let weight = weights.next().ok_or(Internal)?;
        let (kernel_row, kernel_column) = (offset / kernel_width, offset % kernel_width);
        // Output columns whose input column is inside: column·stride + kernel_column − padding in 0..width.
        let first_column = padding.saturating_sub(kernel_column).div_ceil(stride);
        let end_column = (width + padding).saturating_sub(kernel_column).div_ceil(stride).min(out_width);
        let mut at = positions.start;
        while at < positions.end {
            let (row, column) = (at / out_width, at % out_width);
            let end = (at - column + out_width).min(positions.end);
            let columns = column.max(first_column)..(end - (at - column)).min(end_column);
            let input_row = (row * stride + kernel_row).wrapping_sub(padding);
            if input_row < height && columns.start < columns.end {
                let start = input_row * width + columns.start * stride + kernel_column - padding;
                let slots = out.get_mut(at - column + columns.start - positions.start..).ok_or(Internal)?;
                let slots = slots.get_mut(..columns.len()).ok_or(Internal)?;
                let reach = (columns.len() - 1) * stride + 1;
                let values = plane.get(start..).and_then(|p| p.get(..reach)).ok_or(Internal)?;
                add_multiples(slots, values, stride, weight);
            }
            at = end;
        }
    }
    Ok(())
}

/// slots += every `stride`-th value · weight.
#[inline(never)]
fn add_multiples<I: Word, O: Word>(slots: &mut [O], values: &[I], stride: usize, weight: O) {
    if stride == 1 {
        // `chunks` and `step_by` cost several times the product.
        for (slot, value) in slots.iter_mut().zip(values) {
            *slot = slot.add(O::from_u64(value.to_u64()).mul(weight));
        }
    } else {
        for (slot, values) in slots.iter_mut().zip(values.chunks(stride)) {
            if let [value, ..] = values {
                *slot = slot.add(O::from_u64(value.to_u64()).mul(weight));
            }
        }
    }
}

/// out += residual · 2^shift for output elements `tile`.
///
/// # Errors
/// `out` has not the tile's length, or `input` not the geometry's.
pub fn join_shift<I: Word, O: Word>(
    geometry: &Join,
    shift: u8,
    input: &[I],
    tile: Range<usize>,
    out: &mut [O],
) -> Result<(), Internal> {
    if out.len() != tile.len() {
        return Err(Internal);
    }
    if geometry.is_in_place() {
        for (slot, value) in out.iter_mut().zip(input.get(tile).ok_or(Internal)?) {
            *slot = slot.add(O::from_u64(value.to_u64()).shl(shift));
        }
        return Ok(());
    }
    for (slot, index) in out.iter_mut().zip(tile) {
        // Channels beside the residual's have no source.
        if let Some(source) = geometry.source(index) {
            let value = input.get(source).ok_or(Internal)?;
            *slot = slot.add(O::from_u64(value.to_u64()).shl(shift));
        }
    }
    Ok(())
}

/// The depthwise 1×1 convolution that a join with a secret factor a channel is, before its channel offset.
#[must_use]
pub const fn join_convolution(geometry: &Join) -> Convolution {
    Convolution {
        input: geometry.input,
        out_channels: geometry.input.channels,
        kernel_height: 1,
        kernel_width: 1,
        stride: geometry.stride,
        padding: 0,
        groups: geometry.input.channels,
    }
}

/// The part of `tile`, a range of the sum's elements, that a join reaches, as a range of its convolution's
/// output elements.
#[must_use]
pub fn join_tile(geometry: &Join, tile: &Range<usize>) -> Range<usize> {
    let plane = geometry.output.plane();
    let first = usize::from(geometry.channel_offset) * plane;
    let end = first + usize::from(geometry.input.channels) * plane;
    tile.start.clamp(first, end) - first..tile.end.clamp(first, end) - first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn naive(geometry: &Convolution, input: &[i64], weights: &[i64]) -> Vec<i64> {
        let output = geometry.output();
        let (gc, kh, kw) =
            (geometry.group_channels(), geometry.kernel_height as usize, geometry.kernel_width as usize);
        let per_group = usize::from(geometry.out_channels / geometry.groups);
        let mut out = Vec::new();
        for o in 0..usize::from(output.channels) {
            for y in 0..usize::from(output.height) {
                for x in 0..usize::from(output.width) {
                    let mut sum = 0;
                    for c in 0..gc {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                let iy = (y * usize::from(geometry.stride) + ky) as i64
                                    - i64::from(geometry.padding);
                                let ix = (x * usize::from(geometry.stride) + kx) as i64
                                    - i64::from(geometry.padding);
                                if (0..i64::from(geometry.input.height)).contains(&iy)
                                    && (0..i64::from(geometry.input.width)).contains(&ix)
                                {
                                    let channel = o / per_group * gc + c;
                                    let at = (channel * geometry.input.height as usize + iy as usize)
                                        * geometry.input.width as usize
                                        + ix as usize;
                                    sum += input[at] * weights[((o * gc + c) * kh + ky) * kw + kx];
                                }
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            groups in 1_u16..3, gc in 1_u16..3, go in 1_u16..3, h in 1_u16..8, w in 1_u16..14, kh in 1_u16..5, kw in 1_u16..7,
            stride in 1_u16..4, padding in 0_u16..3, seed in any::<u32>(), cut in any::<(u16, u16)>(),
        ) {
            let geometry = Convolution { input: Shape::new(groups * gc, h, w), out_channels: groups * go, kernel_height: kh, kernel_width: kw, stride, padding, groups };
            prop_assume!(geometry.validate().is_ok());
            let value = |i: usize| i64::from(((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed)) as i16);
            let input: Vec<i64> = (0..geometry.input.elements()).map(value).collect();
            let weights: Vec<i64> = (0..geometry.weights()).map(|i| value(i + 1000)).collect();
            let expected = naive(&geometry, &input, &weights);
            let words: Vec<u32> = input.iter().map(|&v| v as u32).collect();
            let shares: Vec<u16> = weights.iter().map(|&v| v as u16).collect();
            let a = cut.0 as usize % (expected.len() + 1);
            let b = cut.1 as usize % (expected.len() + 1);
            let tile = a.min(b)..a.max(b);
            let plane = geometry.output().plane();
            for channel in 0..usize::from(geometry.out_channels) {
                let positions = positions(&tile, channel, plane);
                let mut out = std::vec![5_u16; positions.len()];
                convolve_channel(&geometry, &words, &shares[channel * geometry.fan_in()..][..geometry.fan_in()], channel, positions.clone(), &mut out).unwrap();
                for (slot, at) in out.iter().zip(positions) {
                    prop_assert_eq!(*slot, (expected[channel * plane + at] as u16).wrapping_add(5));
                }
            }
        }
    }

    #[test]
    fn option_a_join_reads_every_second_position_under_offset_channels() {
        let geometry =
            Join { input: Shape::new(2, 4, 4), output: Shape::new(4, 2, 2), stride: 2, channel_offset: 1 };
        geometry.validate().unwrap();
        let input: Vec<u32> = (0..32).collect();
        let mut out = [0_u32; 16];
        join_shift(&geometry, 1, &input, 0..16, &mut out).unwrap();
        assert_eq!(out, [0, 0, 0, 0, 0, 4, 16, 20, 32, 36, 48, 52, 0, 0, 0, 0]);
        assert_eq!(join_shift(&geometry, 1, &input[..26], 0..16, &mut out), Err(Internal));
        assert_eq!(join_shift(&geometry, 1, &input, 0..15, &mut out), Err(Internal));
        let convolution = join_convolution(&geometry);
        assert_eq!(convolution.output(), Shape::new(2, 2, 2));
        assert_eq!(join_tile(&geometry, &(2..9)), 0..5);
    }

    /// The three forms: fully connected, in register blocks, plane by plane.
    #[test]
    fn shorter_operands_are_errors() {
        let input = Shape::new(2, 4, 4);
        let square = |kernel: u16, stride: u16| Convolution {
            input,
            out_channels: 1,
            kernel_height: kernel,
            kernel_width: kernel,
            stride,
            padding: if kernel == 4 { 0 } else { 1 },
            groups: 1,
        };
        for geometry in [square(4, 1), square(3, 1), square(3, 2)] {
            let (fan_in, plane) = (geometry.fan_in(), geometry.output().plane());
            let convolve = |inputs: usize, weights: usize, outputs: usize| {
                let (input, weights) = (std::vec![1_u16; inputs], std::vec![1_u32; weights]);
                let mut out = std::vec![0_u32; outputs];
                convolve_channel(&geometry, &input, &weights, 0, 0..plane, &mut out)
            };
            assert_eq!(convolve(32, fan_in, plane), Ok(()));
            assert_eq!(convolve(31, fan_in, plane), Err(Internal));
            assert_eq!(convolve(32, fan_in - 1, plane), Err(Internal));
            assert_eq!(convolve(32, fan_in, plane - 1), Err(Internal));
        }
        let (words, weights, mut out) = ([1_u16; 32], [1_u16; 18], [0_u32; 16]);
        let (words, weights) = (Words::U16(&words), Words::U16(&weights));
        let mixed = convolve_words(&square(3, 1), words, weights, 0, 0..16, WordsMut::U32(&mut out));
        assert_eq!(mixed, Err(Internal), "weights and sums of two words");
    }
}
