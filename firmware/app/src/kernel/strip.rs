//! The input rows of a few output rows, with their padding: a word an input column, or a column of two
//! channels.
//!
//! With a stride the columns lie by phase, all of phase 0 first: neighbouring outputs then read neighbouring
//! words.

use core::ops::Range;

use halfnet_core::ring::Words;
use halfnet_core::shape::Convolution;

use super::layout::Layout;
use super::word::lanes;

/// Rows of input that become rows of 32-bit words, the same of each of a few groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    /// Groups.
    pub(super) groups: usize,
    /// Inputs from group to group.
    pub(super) group_step: usize,
    /// Words from group to group.
    pub(super) group_out_step: usize,
    /// Rows of a group.
    pub(super) count: usize,
    /// Words of a row.
    pub(super) width: usize,
    /// Inputs from row to row.
    pub(super) step: usize,
    /// Words from row to row.
    pub(super) out_step: usize,
}

/// Writes the strip of output rows `rows` for the planes of `chunk`. Columns outside the input are left as
/// they are: zero.
///
/// # Shapes
/// `input`: the whole input tensor, in which the group's planes are the elements `group`; `strip`:
/// [`Layout::strip_words`].
pub(super) fn build(
    layout: &Layout,
    geometry: &Convolution,
    input: Words<'_>,
    group: Range<usize>,
    chunk: usize,
    rows: Range<usize>,
    strip: &mut [u32],
) {
    let (height, width) = (usize::from(geometry.input.height), usize::from(geometry.input.width));
    let (stride, padding) = (layout.stride, usize::from(geometry.padding));
    let plane = height * width;
    let count = (rows.len() - 1) * layout.row_step + layout.kernel_height;
    // The input row under a row of the strip, counted from the padding's first. Between those of kernels
    // lower than the stride some are left out.
    let source = |row: usize| (rows.start + row / layout.row_step) * stride + row % layout.row_step;
    let inside = |row: &usize| (padding..height + padding).contains(&source(*row));
    let first = (0..count).find(inside).unwrap_or(count);
    let last = (first..count).rfind(inside).map_or(first, |row| row + 1);
    // Neighbouring rows of the strip are as far apart as the first two, wherever it matters.
    let together = layout.row_step == stride || layout.kernel_height == 1;
    let step = (source(1) - source(0)) * width;
    let words = layout.strip_rows * layout.row_words;
    let (first_plane, planes, lanes) = (chunk * layout.chunk, layout.chunk_planes(chunk), lanes(layout.kind));
    // The last channel of an odd number is alone.
    let alone = usize::from((first_plane + planes) * lanes * plane > group.len());
    if (first, last) != (0, count) {
        for strip in strip.chunks_exact_mut(words).take(planes) {
            strip.get_mut(..first * layout.row_words).unwrap_or(&mut []).fill(0);
            strip.get_mut(last * layout.row_words..).unwrap_or(&mut []).fill(0);
        }
    }
    let mut row = first;
    while row < last {
        let count = if together { last - row } else { 1 };
        let begin = (source(row) - padding) * width;
        for phase in 0..layout.row_words / layout.span {
            // Columns index · stride + phase − padding that are inside.
            let start = padding.saturating_sub(phase).div_ceil(stride).min(layout.span);
            let end = (width + padding).saturating_sub(phase).div_ceil(stride).clamp(start, layout.span);
            let skipped = (start * stride + phase).saturating_sub(padding).min(width);
            let own = row * layout.row_words + phase * layout.span + start;
            let mut copy = |skipped_planes: usize, groups: usize, paired: bool| {
                let one = group.start + (first_plane + skipped_planes) * lanes * plane + begin + skipped;
                let lines = Lines {
                    groups,
                    group_step: lanes * plane,
                    group_out_step: words,
                    count,
                    width: end - start,
                    step,
                    out_step: layout.row_words,
                };
                let strip = strip.get_mut(skipped_planes * words + own..).unwrap_or(&mut []);
                copy(strip, input, one, paired.then_some(one + plane), stride, &lines);
            };
            copy(0, planes - alone, lanes == 2);
            copy(planes - alone, alone, false);
        }
        row += count;
    }
}

/// Every `stride`-th element of the rows, from element `one` of `input` on, and with `two` the elements from
/// there on in the upper halves.
pub(super) fn copy(
    out: &mut [u32],
    input: Words<'_>,
    one: usize,
    two: Option<usize>,
    stride: usize,
    lines: &Lines,
) {
    #[cfg(halfnet_dsp)]
    if super::arm::copy_rows(out, input, one, two, stride, lines) {
        return;
    }
    for (group, row) in (0..lines.groups).flat_map(|group| (0..lines.count).map(move |row| (group, row))) {
        let to = group * lines.group_out_step + row * lines.out_step;
        let from = group * lines.group_step + row * lines.step;
        let out = out.get_mut(to..).and_then(|out| out.get_mut(..lines.width)).unwrap_or(&mut []);
        for (column, slot) in out.iter_mut().enumerate() {
            let at = from + column * stride;
            // The input is whole: who calls has compared its length with the geometry.
            let element = |first: usize| input.get(first + at).unwrap_or_default() as u32;
            *slot = element(one) | two.map_or(0, element) << 16;
        }
    }
}
