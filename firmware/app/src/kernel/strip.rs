//! The input rows of a few output rows, with their padding: a word an input column, or a column of two channels.
//!
//! With a stride the columns lie by phase, all of phase 0 first: neighbouring outputs then read neighbouring words.

use core::ops::Range;

use halfnet_core::ring::Word;
use halfnet_core::shape::Convolution;

use super::layout::Layout;
use super::word::BlockWord;

/// Rows of input that become rows of a strip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub(super) count: usize,
    /// Words of a row.
    pub(super) width: usize,
    /// Inputs from row to row.
    pub(super) step: usize,
    /// Words of the strip from row to row.
    pub(super) out_step: usize,
}

/// Writes the strip of output rows `rows` for the planes of `chunk`. Columns outside the input are left as they are: zero.
///
/// # Shapes
/// `planes`: the group's input; `strip`: [`Layout::strip_words`].
pub(super) fn build<I: Word, W: BlockWord>(
    layout: &Layout,
    geometry: &Convolution,
    planes: &[I],
    chunk: usize,
    rows: Range<usize>,
    strip: &mut [u32],
) {
    let (height, width) = (usize::from(geometry.input.height), usize::from(geometry.input.width));
    let (stride, padding) = (layout.stride, usize::from(geometry.padding));
    let plane = height * width;
    let count = (rows.len() - 1) * layout.row_step + layout.kernel_height;
    // The input row under a row of the strip, counted from the padding's first. Between those of kernels lower than the stride some are left out.
    let source = |row: usize| (rows.start + row / layout.row_step) * stride + row % layout.row_step;
    let inside = |row: &usize| (padding..height + padding).contains(&source(*row));
    let first = (0..count).find(inside).unwrap_or(count);
    let last = (first..count).rfind(inside).map_or(first, |row| row + 1);
    // Neighbouring rows of the strip are as far apart as the first two, wherever it matters.
    let together = layout.row_step == stride || layout.kernel_height == 1;
    let step = (source(1) - source(0)) * width;
    let words = layout.strip_rows * layout.row_words;
    let numbers = chunk * layout.chunk..chunk * layout.chunk + layout.chunk_planes(chunk);
    if (first, last) != (0, count) {
        for strip in strip.chunks_exact_mut(words).take(numbers.len()) {
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
            let lines = Lines { count, width: end - start, step, out_step: layout.row_words };
            let own = row * layout.row_words + phase * layout.span + start;
            for (strip, number) in strip.chunks_exact_mut(words).zip(numbers.clone()) {
                let from = number * W::LANES * plane + begin + skipped;
                let one = planes.get(from..).unwrap_or(&[]);
                // The last channel of an odd number is alone.
                let two = if W::LANES == 2 { planes.get(from + plane..).filter(|two| !two.is_empty()) } else { None };
                copy(strip.get_mut(own..).unwrap_or(&mut []), one, two, stride, &lines);
            }
        }
        row += count;
    }
}

/// Every `stride`-th input of the rows, of one channel or of two.
fn copy<I: Word>(out: &mut [u32], one: &[I], two: Option<&[I]>, stride: usize, lines: &Lines) {
    #[cfg(halfnet_dsp)]
    if super::arm::copy_rows(out, one, two, stride, lines) {
        return;
    }
    if lines.width == 0 {
        return;
    }
    for row in 0..lines.count {
        let out = out.get_mut(row * lines.out_step..).and_then(|out| out.get_mut(..lines.width)).unwrap_or(&mut []);
        let one = one.get(row * lines.step..).unwrap_or(&[]);
        match two.and_then(|two| two.get(row * lines.step..)) {
            Some(two) => {
                for (slot, (one, two)) in out.iter_mut().zip(one.iter().step_by(stride).zip(two.iter().step_by(stride))) {
                    *slot = one.to_u64() as u32 & 0xffff | (two.to_u64() as u32) << 16;
                }
            }
            None => {
                for (slot, value) in out.iter_mut().zip(one.iter().step_by(stride)) {
                    *slot = value.to_u64() as u32;
                }
            }
        }
    }
}
