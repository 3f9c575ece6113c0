//! Weights in the order in which a block uses them.
//!
//! A record is the way from the record before to its input word in the strip, in bytes, and then 3, 2 or 1 neighbouring taps. Of each
//! chunk of planes those of 3 taps come first, then those of 2, then of 1; within a section plane by plane, row by row.

use halfnet_core::party::half::MaterialError;
use halfnet_core::shape::Convolution;

use super::Weights;
use super::layout::{Layout, Piece, TAPS};
use super::word::BlockWord;

/// Writes the ways, which are the same for every channel.
pub(super) fn frame(layout: &Layout, records: &mut [u32]) {
    let mut at = 0;
    for chunk in 0..layout.chunks() {
        let mut before = 0_usize;
        for section in 0..TAPS.len() {
            for plane in 0..layout.chunk_planes(chunk) {
                for row in 0..layout.kernel_height {
                    for piece in layout.pieces.section(section) {
                        let here = (plane * layout.strip_rows + row) * layout.row_words + piece.phase * layout.span + piece.first;
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

/// Writes the weights of one output channel. `raw` is where they come to first, a few input channels at a time.
///
/// # Errors
/// The weights failed.
pub(super) fn fill<W: BlockWord>(
    layout: &Layout,
    geometry: &Convolution,
    weights: &mut dyn Weights,
    channel: usize,
    raw: &mut [W],
    records: &mut [u32],
) -> Result<(), MaterialError> {
    let kernel = layout.kernel_height * layout.kernel_width;
    let channels = geometry.group_channels();
    let mut first = 0;
    while first < channels {
        let count = layout.raw_channels.min(channels - first);
        let raw = raw.get_mut(..count * kernel).ok_or(MaterialError::Weights)?;
        weights.fill((channel * channels + first) * kernel, W::words_mut(raw))?;
        put(layout, first / W::LANES, raw, records);
        first += count;
    }
    Ok(())
}

/// Writes the weights of the planes from `plane` on.
fn put<W: BlockWord>(layout: &Layout, mut plane: usize, raw: &[W], records: &mut [u32]) {
    let mut rest = raw;
    while !rest.is_empty() {
        // As many planes as lie in one chunk.
        let chunk = plane / layout.chunk;
        let planes = layout.chunk_planes(chunk);
        let skipped = plane - chunk * layout.chunk;
        let all = (planes - skipped) * W::LANES * layout.kernel_height * layout.kernel_width;
        let (own, after) = rest.split_at_checked(all).unwrap_or((rest, &[]));
        let mut base = chunk * layout.chunk * layout.plane_words();
        for (section, taps) in TAPS.into_iter().enumerate() {
            let pieces = layout.pieces.section(section);
            let words = layout.kernel_height * pieces.len() * layout.record_words(section);
            if words > 0 {
                let records = records.get_mut(base + skipped * words..base + planes * words).unwrap_or(&mut []);
                match taps {
                    3 => put_section::<W, 3>(layout, pieces, own, records),
                    2 => put_section::<W, 2>(layout, pieces, own, records),
                    _ => put_section::<W, 1>(layout, pieces, own, records),
                }
            }
            base += planes * words;
        }
        rest = after;
        plane += planes - skipped;
    }
}

/// Writes the weights of pieces of so many taps, plane by plane.
fn put_section<W: BlockWord, const TAPS: usize>(layout: &Layout, pieces: &[Piece], raw: &[W], records: &mut [u32]) {
    let words = 1 + TAPS * W::BYTES.div_ceil(4);
    let (width, stride) = (layout.kernel_width, layout.stride);
    let kernel = layout.kernel_height * width;
    let planes = records.chunks_exact_mut(layout.kernel_height * pieces.len() * words).zip(raw.chunks(W::LANES * kernel));
    let in_order = TAPS * pieces.len() == width && (stride == 1 || width == 1);
    for (records, plane) in planes {
        // The last channel of an odd number is alone.
        let (one, two) = plane.split_at_checked(kernel).unwrap_or((plane, &[]));
        let mut records = records.chunks_exact_mut(words);
        if in_order {
            let (one, two) = (one.as_chunks::<TAPS>().0, two.as_chunks::<TAPS>().0);
            if two.is_empty() {
                one.iter().zip(records).for_each(|(one, record)| put_record(one, &[W::default(); TAPS], record));
            } else {
                one.iter().zip(two).zip(records).for_each(|((one, two), record)| put_record(one, two, record));
            }
            continue;
        }
        let reach = (TAPS - 1) * stride + 1;
        for row in 0..layout.kernel_height {
            for (piece, record) in pieces.iter().zip(&mut records) {
                let first = row * width + piece.phase + stride * piece.first;
                let one = one.get(first..first + reach).unwrap_or(&[]);
                let two = two.get(first..first + reach).unwrap_or(&[]);
                let pick = |weights: &[W]| core::array::from_fn(|tap| weights.get(tap * stride).copied().unwrap_or_default());
                put_record::<W, TAPS>(&pick(one), &pick(two), record);
            }
        }
    }
}

/// Writes a record's weights behind its way.
#[inline(always)]
fn put_record<W: BlockWord, const TAPS: usize>(one: &[W; TAPS], two: &[W; TAPS], record: &mut [u32]) {
    let weights = record.get_mut(1..).unwrap_or(&mut []).chunks_exact_mut(W::BYTES.div_ceil(4));
    for ((one, two), slot) in one.iter().zip(two).zip(weights) {
        W::put(*one, *two, slot);
    }
}
