//! Weights in the order in which a block uses them.
//!
//! A record is the way from the record before to its input word in the strip, in bytes, and then 3, 2 or 1
//! neighbouring taps. Of each chunk of planes those of 3 taps come first, then those of 2, then of 1; within
//! a section plane by plane, row by row.

use core::ops::Range;

use halfnet_core::party::half::MaterialError;
use halfnet_core::ring::{Words, WordsMut};
use halfnet_core::shape::Convolution;

use super::Weights;
use super::layout::{Layout, TAPS};
use super::strip::{self, Lines};
use super::word::{lanes, weight_words};

/// Writes the ways, which are the same for every channel.
pub(super) fn frame(layout: &Layout, records: &mut [u32]) {
    let mut at = 0;
    for chunk in 0..layout.chunks() {
        let mut before = 0_usize;
        for section in 0..TAPS.len() {
            for plane in 0..layout.chunk_planes(chunk) {
                for row in 0..layout.kernel_height {
                    for piece in layout.pieces.section(section) {
                        let here = (plane * layout.strip_rows + row) * layout.row_words
                            + piece.phase * layout.span
                            + piece.first;
                        if let Some(slot) = records.get_mut(at) {
                            *slot = (here.wrapping_sub(before) as u32).wrapping_mul(4);
                        }
                        before = here;
                        at += layout.record_words(section);
                    }
                }
            }
        }
    }
}

/// Writes the weights of one output channel. `raw` is where they come to first, a few input channels at a
/// time.
///
/// # Errors
/// The weights failed.
pub(super) fn fill(
    layout: &Layout,
    geometry: &Convolution,
    weights: &mut dyn Weights,
    channel: usize,
    raw: &mut [u64],
    records: &mut [u32],
) -> Result<(), MaterialError> {
    let kernel = layout.kernel_height * layout.kernel_width;
    let channels = geometry.group_channels();
    let mut first = 0;
    while first < channels {
        let count = layout.raw_channels.min(channels - first);
        let own = WordsMut::of(layout.kind, raw).slice(0..count * kernel).ok_or(MaterialError::Weights)?;
        weights.fill((channel * channels + first) * kernel, own)?;
        put(layout, first / lanes(layout.kind), count, raw, records);
        first += count;
    }
    Ok(())
}

/// Writes the weights of `channels` input channels, those of the planes from `plane` on.
fn put(layout: &Layout, mut plane: usize, channels: usize, raw: &[u64], records: &mut [u32]) {
    let mut done = 0;
    while done < channels {
        // As many planes as lie in one chunk.
        let chunk = plane / layout.chunk;
        let planes = layout.chunk_planes(chunk);
        let skipped = plane - chunk * layout.chunk;
        let own = ((planes - skipped) * lanes(layout.kind)).min(channels - done);
        let mut base = chunk * layout.chunk * layout.plane_words();
        for section in 0..TAPS.len() {
            let words =
                layout.kernel_height * layout.pieces.section(section).len() * layout.record_words(section);
            if words > 0 {
                let records =
                    records.get_mut(base + skipped * words..base + planes * words).unwrap_or(&mut []);
                put_section(layout, section, done..done + own, raw, records);
            }
            base += planes * words;
        }
        done += own;
        plane += planes - skipped;
    }
}

/// Writes the weights of `channels` of `raw` into the records of one section.
fn put_section(layout: &Layout, section: usize, channels: Range<usize>, raw: &[u64], records: &mut [u32]) {
    let (taps, pieces) = (TAPS.get(section).copied().unwrap_or(1), layout.pieces.section(section));
    let (height, stride, words) = (layout.kernel_height, layout.stride, layout.record_words(section));
    let kernel = height * layout.kernel_width;
    let (raw, scale) = match lanes(layout.kind) {
        2 => (Words::U16(bytemuck::cast_slice(raw)), 1),
        // Weights of 64 bits are two words each.
        _ => (Words::U32(bytemuck::cast_slice(raw)), weight_words(layout.kind)),
    };
    // A piece's records are rows as those of a strip are, a kernel row apart; of planes of two channels those
    // of each are a group.
    let (planes, pair) = (channels.len() / lanes(layout.kind), lanes(layout.kind) == 2);
    let mut put = |planes: usize, record: usize, one: usize, two: Option<usize>| {
        for (number, piece) in pieces.iter().enumerate() {
            let (at, from) = (record + number * words + 1, one + piece.phase + stride * piece.first);
            let (count, groups) = if pair { (height, planes) } else { (planes * height, 1) };
            let (step, out_step, group_step) =
                (scale * layout.kernel_width, pieces.len() * words, 2 * kernel);
            let mut copy = |at: usize, from: usize, stride: usize, width: usize| {
                let group_out_step = height * out_step;
                let lines = Lines { groups, group_step, group_out_step, count, width, step, out_step };
                strip::copy(
                    records.get_mut(at..).unwrap_or(&mut []),
                    raw,
                    scale * from,
                    two.map(|two| two + from),
                    stride,
                    &lines,
                );
            };
            if scale == 1 || stride == 1 {
                copy(at, from, stride, taps * scale);
            } else {
                (0..taps).for_each(|tap| copy(at + tap * scale, from + tap * stride, 1, scale));
            }
        }
    };
    put(planes, 0, channels.start * kernel, pair.then_some(kernel));
    if pair && channels.len() % 2 == 1 {
        // The last channel of an odd number is alone.
        put(1, planes * height * pieces.len() * words, (channels.end - 1) * kernel, None);
    }
}
