//! A convolution in blocks: a few output channels' records at a time, strip by strip.

use core::ops::Range;

use halfnet_core::error::Internal;
use halfnet_core::gate::linear;
use halfnet_core::party::half::MaterialError;
use halfnet_core::ring::{Words, WordsMut};
use halfnet_core::shape::Convolution;

use super::layout::Layout;
use super::word::{Rows, add_blocks, block};
use super::{Weights, records, strip};

/// One call of [`super::convolve`].
pub(super) struct Job<'g> {
    pub(super) geometry: &'g Convolution,
    pub(super) layout: Layout,
    /// Output elements.
    pub(super) tile: Range<usize>,
}

impl Job<'_> {
    /// out += input ⊗ weights for the tile.
    ///
    /// # Errors
    /// The weights failed, or slices are shorter than the layout says.
    pub(super) fn run(
        &self,
        input: Words<'_>,
        weights: &mut dyn Weights,
        mut out: WordsMut<'_>,
        memory: &mut [u64],
    ) -> Result<(), MaterialError> {
        let Self { geometry, layout, tile } = self;
        let plane = geometry.output().plane().max(1);
        let per_group = (usize::from(geometry.out_channels) / usize::from(geometry.groups).max(1)).max(1);
        let (raw, rest) = memory.split_at_mut_checked(layout.raw_words).ok_or(MaterialError::Weights)?;
        let rest: &mut [u32] = bytemuck::cast_slice_mut(rest);
        let (records, strip) = rest
            .split_at_mut_checked(layout.channels * layout.channel_words)
            .ok_or(MaterialError::Weights)?;
        for own in records.chunks_exact_mut(layout.channel_words) {
            records::frame(layout, own);
        }
        // Columns outside the input stay zero from here on.
        let strip = strip.get_mut(..layout.strip_words()).ok_or(MaterialError::Weights)?;
        strip.fill(0);
        let last = tile.end.div_ceil(plane);
        let mut channel = tile.start / plane;
        while channel < last {
            let positions = linear::positions(tile, channel, plane);
            // Whole channels of one group share a strip; of a channel that the tile cuts, the part is done
            // alone.
            let group = channel / per_group;
            let whole = (tile.end / plane).min((group + 1) * per_group).saturating_sub(channel);
            let count = if positions.len() == plane { whole.clamp(1, layout.channels) } else { 1 };
            for (own, channel) in records.chunks_exact_mut(layout.channel_words).zip(channel..channel + count)
            {
                records::fill(layout, geometry, weights, channel, raw, own)?;
            }
            let slots = channel * plane + positions.start - tile.start
                ..(channel + count - 1) * plane + positions.end - tile.start;
            let part = out.reborrow().slice(slots).ok_or(MaterialError::Weights)?;
            let own = records.get(..count * layout.channel_words).ok_or(MaterialError::Weights)?;
            self.channels(group, input, own, strip, &positions, part)?;
            channel += count;
        }
        Ok(())
    }

    /// The channels whose `records` are given, strip by strip. `out` begins at the first one's
    /// `positions.start`.
    fn channels(
        &self,
        group: usize,
        input: Words<'_>,
        records: &[u32],
        strip: &mut [u32],
        positions: &Range<usize>,
        mut out: WordsMut<'_>,
    ) -> Result<(), Internal> {
        let Self { geometry, layout, .. } = self;
        let (width, plane) = (layout.out_width, geometry.output().plane());
        let elements = geometry.group_channels() * geometry.input.plane();
        let planes = group * elements..(group + 1) * elements;
        let mut row = positions.start / width;
        while row * width < positions.end {
            let end = (row + layout.rows).min(positions.end.div_ceil(width));
            for chunk in 0..layout.chunks() {
                strip::build(layout, geometry, input, planes.clone(), chunk, row..end, strip);
                for (channel, own) in records.chunks_exact(layout.channel_words).enumerate() {
                    let (own, sections) = layout.chunk_records(own, chunk);
                    let mut at = row;
                    while at < end {
                        let columns = positions.start.max(at * width)..positions.end.min((at + 1) * width);
                        // Rows whose blocks leave nothing over are done together.
                        let together = columns.len() == width && width % block(layout.kind) == 0;
                        let count = if together { end.min(positions.end / width) - at } else { 1 };
                        let first = channel * plane + columns.start - positions.start;
                        let rows = Rows {
                            first: (at - row) * layout.row_step * layout.row_words + columns.start
                                - at * width,
                            step: layout.row_step * layout.row_words,
                            width: columns.len(),
                            count,
                        };
                        let part = out.reborrow().slice(first..first + count * columns.len());
                        add_rows(strip, &rows, own, sections, part.ok_or(Internal)?)?;
                        at += count;
                    }
                }
            }
            row = end;
        }
        Ok(())
    }
}

/// Adds to the outputs `out` of rows that consist of blocks, or of one row of any width.
fn add_rows(
    strip: &[u32],
    rows: &Rows,
    records: &[u32],
    sections: [u32; 3],
    mut out: WordsMut<'_>,
) -> Result<(), Internal> {
    add_blocks(strip, rows, records, sections, out.reborrow());
    let block = block(out.kind());
    let tail = rows.width - rows.width % block..rows.width;
    if !tail.is_empty() {
        // A whole block all the same: what is beyond the row is thrown away.
        let mut sums = [0_u64; 4];
        let mut sums = WordsMut::of(out.kind(), &mut sums).slice(0..block).ok_or(Internal)?;
        for (slot, at) in tail.clone().enumerate() {
            sums.set(slot, out.as_words().get(at).ok_or(Internal)?)?;
        }
        let rows = Rows { first: rows.first + tail.start, width: block, ..*rows };
        add_blocks(strip, &rows, records, sections, sums.reborrow());
        for (slot, at) in tail.enumerate() {
            out.set(at, sums.as_words().get(slot).ok_or(Internal)?)?;
        }
    }
    Ok(())
}
