//! The portable loop of a convolution of stride 1, blocked so that sums stay in registers: a few neighbouring
//! outputs at a time, all input channels and kernel rows of theirs before they are stored.
//!
//! Each input is loaded once a kernel row and used by every sum that it reaches. On a Cortex-M, where the
//! plain loop spends most of its instructions on loading and storing sums, that halves them.

use core::ops::Range;

use crate::ring::Word;
use crate::shape::Convolution;

/// What a block of neighbouring outputs reads.
struct Window<'a, I, O> {
    /// The group's input planes, from the kernel's first row and column of the block's first output on.
    input: &'a [I],
    /// From one plane to the next.
    plane: usize,
    /// From one row to the next.
    width: usize,
    /// The channel's weights, from the first kernel row that is inside on.
    weights: &'a [O],
    /// Weights of one input channel.
    kernel: usize,
    /// Kernel rows that are inside.
    rows: usize,
}

/// Sums of one block: `$sums` of them, over kernel rows of `$taps` taps, which reach `$reach` = sums + taps −
/// 1 inputs. Each line is one input and the (sum, tap) pairs that it is multiplied for.
macro_rules! block {
    ($name:ident, $sums:literal, $taps:literal, $reach:literal, $($input:literal => $(($sum:literal, $tap:literal))+;)+) => {
        // On its own, so that its few values have the registers to themselves.
        #[inline(never)]
        fn $name<I: Word, O: Word>(window: &Window<'_, I, O>, out: &mut [O]) -> Option<()> {
            let out: &mut [O; $sums] = out.first_chunk_mut()?;
            let mut sums = *out;
            let (mut input, mut weights) = (window.input, window.weights);
            loop {
                let mut row = input;
                let mut line = weights;
                for _ in 0..window.rows {
                    let values: &[I; $reach] = row.first_chunk()?;
                    let taps: &[O; $taps] = line.first_chunk()?;
                    $(
                        let value = O::from_u64(values[$input].to_u64());
                        $(sums[$sum] = sums[$sum].add(value.mul(taps[$tap]));)+
                    )+
                    row = row.get(window.width..).unwrap_or(&[]);
                    line = line.get($taps..)?;
                }
                // The last plane ends the weights, whichever of its rows are inside.
                let (Some(next), Some(after)) = (input.get(window.plane..), weights.get(window.kernel..)) else { break };
                if after.len() < $taps * window.rows || next.is_empty() {
                    break;
                }
                (input, weights) = (next, after);
            }
            *out = sums;
            Some(())
        }
    };
}

block!(six_of_three, 6, 3, 8,
    0 => (0, 0);
    1 => (1, 0) (0, 1);
    2 => (2, 0) (1, 1) (0, 2);
    3 => (3, 0) (2, 1) (1, 2);
    4 => (4, 0) (3, 1) (2, 2);
    5 => (5, 0) (4, 1) (3, 2);
    6 => (5, 1) (4, 2);
    7 => (5, 2);
);
block!(two_of_three, 2, 3, 4,
    0 => (0, 0);
    1 => (1, 0) (0, 1);
    2 => (1, 1) (0, 2);
    3 => (1, 2);
);
block!(four_of_five, 4, 5, 8,
    0 => (0, 0);
    1 => (1, 0) (0, 1);
    2 => (2, 0) (1, 1) (0, 2);
    3 => (3, 0) (2, 1) (1, 2) (0, 3);
    4 => (3, 1) (2, 2) (1, 3) (0, 4);
    5 => (3, 2) (2, 3) (1, 4);
    6 => (3, 3) (2, 4);
    7 => (3, 4);
);
block!(two_of_five, 2, 5, 6,
    0 => (0, 0);
    1 => (1, 0) (0, 1);
    2 => (1, 1) (0, 2);
    3 => (1, 2) (0, 3);
    4 => (1, 3) (0, 4);
    5 => (1, 4);
);

/// Kernels that this file knows.
pub(super) const fn applies(geometry: &Convolution) -> bool {
    geometry.stride == 1 && matches!(geometry.kernel_width, 3 | 5)
}

/// As [`super::linear::convolve_channel`], where [`applies`]; `None` if slices are shorter than the geometry
/// says.
pub(super) fn convolve_channel<I: Word, O: Word>(
    geometry: &Convolution,
    input: &[I],
    weights: &[O],
    channel: usize,
    positions: &Range<usize>,
    out: &mut [O],
) -> Option<()> {
    let taps = usize::from(geometry.kernel_width);
    let (height, width) = (usize::from(geometry.input.height), usize::from(geometry.input.width));
    let (kernel_rows, padding) = (usize::from(geometry.kernel_height), usize::from(geometry.padding));
    let out_width = usize::from(geometry.output().width).max(1);
    let channels = geometry.group_channels();
    let group = channel / (usize::from(geometry.out_channels) / usize::from(geometry.groups).max(1)).max(1);
    let plane = height * width;
    let planes = input.get(group * channels * plane..)?.get(..channels * plane)?;
    let weights = weights.get(..channels * kernel_rows * taps)?;
    // Output columns whose inputs are all inside.
    let inner = padding.min(out_width)..(width + padding + 1).saturating_sub(taps).min(out_width);
    // Two sums of 64 bits take as many of 32-bit processors' registers as there are.
    let most = match (O::BITS, taps) {
        (64, _) => 2,
        (_, 3) => 6,
        _ => 4,
    };
    let mut at = positions.start;
    while at < positions.end {
        let (row, column) = (at / out_width, at % out_width);
        let end = (at - column + out_width).min(positions.end) - (at - column);
        // Kernel rows whose input row is inside: row + kernel row − padding in 0..height.
        let first_row = padding.saturating_sub(row).min(kernel_rows);
        let end_row = (height + padding).saturating_sub(row).clamp(first_row, kernel_rows);
        let skipped = first_row * taps;
        let mut column = column;
        while column < end {
            let slots = out.get_mut(row * out_width + column - positions.start..)?;
            let inside = inner.contains(&column) && first_row < end_row;
            let left = inner.end.min(end).saturating_sub(column);
            if inside && left >= 2 {
                let window = Window {
                    input: planes.get((row + first_row - padding) * width + column - padding..)?,
                    plane,
                    width,
                    weights: weights.get(skipped..)?,
                    kernel: kernel_rows * taps,
                    rows: end_row - first_row,
                };
                let count = if left >= most { most } else { 2 };
                match (taps, count) {
                    (3, 6) => six_of_three(&window, slots),
                    (3, _) => two_of_three(&window, slots),
                    (_, 4) => four_of_five(&window, slots),
                    _ => two_of_five(&window, slots),
                }?;
                column += count;
            } else {
                edge(geometry, planes, weights, (row, column), first_row..end_row, slots.first_mut()?)?;
                column += 1;
            }
        }
        at = row * out_width + end;
    }
    Some(())
}

/// One output, some of whose inputs are outside.
fn edge<I: Word, O: Word>(
    geometry: &Convolution,
    planes: &[I],
    weights: &[O],
    (row, column): (usize, usize),
    rows: Range<usize>,
    sum: &mut O,
) -> Option<()> {
    let (height, width) = (usize::from(geometry.input.height), usize::from(geometry.input.width));
    let (taps, padding) = (usize::from(geometry.kernel_width), usize::from(geometry.padding));
    let first = padding.saturating_sub(column).min(taps);
    let end = (width + padding).saturating_sub(column).clamp(first, taps);
    if first == end {
        return Some(());
    }
    let kernel = taps * usize::from(geometry.kernel_height);
    for (plane, weights) in
        planes.chunks_exact((height * width).max(1)).zip(weights.chunks_exact(kernel.max(1)))
    {
        for kernel_row in rows.clone() {
            let from = (row + kernel_row - padding) * width + column + first - padding;
            let values = plane.get(from..from + end - first)?;
            let weights = weights.get(kernel_row * taps + first..kernel_row * taps + end)?;
            for (value, weight) in values.iter().zip(weights) {
                *sum = sum.add(O::from_u64(value.to_u64()).mul(*weight));
            }
        }
    }
    Some(())
}
