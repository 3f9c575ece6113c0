//! The walk over a tile: its channels panel by panel, one or two at a time, and their positions block by
//! block.
//!
//! Written once for every instruction set and `#[inline(always)]`, as `block.rs` is.

#![allow(
    clippy::needless_range_loop,
    reason = "indices of registers: loops of constant length that are unrolled"
)]

use core::mem::MaybeUninit;
use core::ops::Range;

use halfnet_core::ring::Word;

use super::block::{Block, Element, Lanes, MAX_PANELS, Scheme};
use super::layout::Layout;
use super::packed::{PackedInput, PackedWeights};

/// Sums of a block, at most: 12 positions of one panel, or 8 of two.
const MAX_SUMS: usize = 256;

/// Adds the convolution's elements `tile` to `out`.
///
/// # Safety
/// As [`Lanes`]; `weights` and `input` have the same layout, of a format that `S` sums and with `S`'s lanes;
/// `out` holds `tile.len()` elements and `tile` lies inside the output.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Scheme, W: Word>(
    weights: &PackedWeights,
    input: &PackedInput,
    tile: Range<usize>,
    out: &mut [W],
) {
    let plane = weights.layout.output.plane();
    for (channels, positions) in sections(plane, tile.clone()) {
        let (mut channel, last) = (channels.start, channels.end);
        while channel < last {
            let layout = &weights.layout;
            let (group, within) = (channel / layout.group_outputs, channel % layout.group_outputs);
            let first_panel = within / layout.lanes;
            // Channels up to the end of this panel and, if that is wanted too, of the next.
            let group_end = (group + 1) * layout.group_outputs;
            let panel_end = |panels: usize| {
                (group * layout.group_outputs + (first_panel + panels) * layout.lanes)
                    .min(group_end)
                    .min(last)
            };
            let one = panel_end(1);
            let two = panel_end(2);
            let section = Section {
                weights,
                input,
                tile: tile.start,
                positions: positions.clone(),
                group,
                first_panel,
            };
            // SAFETY: the caller's promise; a second panel is read only where the group has one.
            unsafe {
                if two > one {
                    section.run::<S, W, MAX_PANELS>(channel..two, out);
                    channel = two;
                } else {
                    section.run::<S, W, 1>(channel..one, out);
                    channel = one;
                }
            }
        }
    }
}

/// Splits a tile into ranges of channels with one range of positions each.
fn sections(plane: usize, tile: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut next = tile.start;
    core::iter::from_fn(move || {
        if next >= tile.end {
            return None;
        }
        let (channel, position) = (next / plane, next % plane);
        let whole = tile.end / plane;
        let section = if position == 0 && whole > channel {
            (channel..whole, 0..plane)
        } else {
            (channel..channel + 1, position..plane.min(position + tile.end - next))
        };
        next = (section.0.end - 1) * plane + section.1.end;
        Some(section)
    })
}

/// The same positions of the channels of one or two panels.
struct Section<'a> {
    weights: &'a PackedWeights,
    input: &'a PackedInput,
    /// The tile's first element.
    tile: usize,
    positions: Range<usize>,
    group: usize,
    first_panel: usize,
}

/// Walks over output positions, from one to the next in its row or to the next row's first.
struct Cursor {
    row: usize,
    column: usize,
}

impl Cursor {
    /// Where the position's input is in a plane; then the next position.
    #[inline(always)]
    fn advance(&mut self, layout: &Layout) -> usize {
        let place = self.row + self.column * layout.column_step;
        self.column += 1;
        if self.column == usize::from(layout.output.width) {
            self.column = 0;
            self.row += layout.row_step;
        }
        place
    }
}

impl Section<'_> {
    /// # Safety
    /// As [`accumulate`]; `channels` lie in `V` panels of the group, beginning in the first.
    #[inline(always)]
    unsafe fn run<S: Scheme, W: Word, const V: usize>(&self, channels: Range<usize>, out: &mut [W]) {
        let layout = &self.weights.layout;
        let width = usize::from(layout.output.width);
        let mut position = self.positions.start;
        let mut cursor = Cursor { row: position / width * layout.row_step, column: position % width };
        // SAFETY: the caller's promise; each block stays inside the positions.
        unsafe {
            while position < self.positions.end {
                let left = self.positions.end - position;
                let rows = block_rows(left, S::Lanes::ROWS[V - 1]);
                match rows {
                    12 => self.block::<S, W, 12, V>(position, &mut cursor, &channels, out),
                    8 => self.block::<S, W, 8, V>(position, &mut cursor, &channels, out),
                    6 => self.block::<S, W, 6, V>(position, &mut cursor, &channels, out),
                    4 => self.block::<S, W, 4, V>(position, &mut cursor, &channels, out),
                    2 => self.block::<S, W, 2, V>(position, &mut cursor, &channels, out),
                    _ => self.block::<S, W, 1, V>(position, &mut cursor, &channels, out),
                }
                position += rows.min(left);
            }
        }
    }

    /// One block of up to `R` positions; those beyond the section's end repeat its last and are dropped.
    ///
    /// # Safety
    /// As [`Section::run`].
    #[inline(always)]
    unsafe fn block<S: Scheme, W: Word, const R: usize, const V: usize>(
        &self,
        position: usize,
        cursor: &mut Cursor,
        channels: &Range<usize>,
        out: &mut [W],
    ) {
        if R > S::Lanes::ROWS[V - 1] {
            return;
        }
        let layout = &self.weights.layout;
        let lanes = S::Lanes::LANES;
        let planes = self.input.planes.words::<Element<S>>();
        let all_panels = self.weights.panels.words::<Element<S>>();
        let panel_elements = layout.steps * lanes;
        let start = (self.group * layout.group_panels + self.first_panel) * panel_elements;
        let count = R.min(self.positions.end - position);
        // The weights come from far: each of a section's first blocks asks for a share of the next section's.
        // Later ones ask for what is near already.
        let nth = (position - self.positions.start) / R;
        let ahead = if nth < V {
            (all_panels.as_ptr().wrapping_add(start + (V + nth) * panel_elements), lanes)
        } else {
            (planes.as_ptr(), 0)
        };
        let mut block: Block<_, R, V> =
            Block { panels: [all_panels.as_ptr(); V], inputs: [planes.as_ptr(); R], ahead };
        let mut sums = [MaybeUninit::<<S::Lanes as Lanes>::Sum>::uninit(); MAX_SUMS];
        // SAFETY: the caller's promise: panels start inside the packed weights, positions inside a plane, and
        // `sums` has room for R·V vectors.
        unsafe {
            for (v, panel) in block.panels.iter_mut().enumerate() {
                *panel = panel.add(start + v * panel_elements);
            }
            let mut place = 0;
            for (r, input) in block.inputs.iter_mut().enumerate() {
                if r < count {
                    place = cursor.advance(layout);
                }
                *input = input.add(place);
            }
            let block = S::sum::<R, V>(self.weights, self.group, block);
            for v in 0..V {
                let mut rows = [block[0][v]; R];
                for r in 1..R {
                    rows[r] = block[r][v];
                }
                S::Lanes::store_channels(rows, sums.as_mut_ptr().add(v * lanes * R).cast());
            }
        }
        let plane = layout.output.plane();
        let first = self.group * layout.group_outputs + self.first_panel * lanes;
        for channel in channels.clone() {
            let to = &mut out[channel * plane + position - self.tile..][..count];
            // SAFETY: the channel's lane is one of those stored above.
            let from =
                unsafe { &*sums.as_ptr().add((channel - first) * R).cast::<[<S::Lanes as Lanes>::Sum; R]>() };
            if let Some(to) = to.first_chunk_mut::<R>() {
                for r in 0..R {
                    to[r] = to[r].add(W::from_u64(from[r].to_u64()));
                }
            } else {
                to.iter_mut().zip(from).for_each(|(to, &sum)| *to = to.add(W::from_u64(sum.to_u64())));
            }
        }
    }
}

/// Positions of the next block when `left` are left: full blocks, then the smallest that holds the rest, but
/// never a full and a tiny one where two middling ones do.
fn block_rows(left: usize, full: usize) -> usize {
    match (left, full) {
        (1 | 2 | 4, _) => left,
        (3, _) | (_, 4) => 4,
        (5 | 6, _) => 6,
        (7 | 8, 6) => 4,
        (7 | 8, _) => 8,
        (9..=12, 8) => 6,
        (13..=16, 12) => 8,
        _ => full,
    }
}

#[cfg(test)]
mod tests {
    use super::block_rows;

    #[test]
    fn blocks_are_never_larger_than_a_full_one() {
        for full in [4, 6, 8, 12] {
            for left in 1..100 {
                let rows = block_rows(left, full);
                assert!(
                    rows <= full && [1, 2, 4, 6, 8, 12].contains(&rows),
                    "{left} left, {full} full: {rows}"
                );
            }
        }
    }
}
