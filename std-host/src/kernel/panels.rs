//! The loop over panels, written once for every instruction set: a block of output positions times one or two panels, all of it
//! in registers, step after step.
//!
//! Everything here is `#[inline(always)]`, so that it is compiled into the function of each instruction set that calls it, with
//! the instructions which that function enables.

#![allow(clippy::needless_range_loop, reason = "indices of registers: loops of constant length that are unrolled")]

use core::mem::MaybeUninit;
use core::ops::Range;

use halfnet_core::ring::Word;

use super::layout::{Layout, PackedInput, PackedWeights};

/// Panels of a block, at most.
const MAX_PANELS: usize = 2;
/// Sums of a block, at most: 12 positions of one panel, or 8 of two.
const MAX_SUMS: usize = 256;

/// A vector of accumulators, one output channel a lane.
///
/// # Safety
/// Every function needs the instructions of its set. Pointers must be valid for what the function says it reads or writes;
/// they need no alignment.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const LANES: usize;
    /// Positions of a full block of one panel, and of two: as many as leave registers for weights and inputs, and enough
    /// independent sums to hide an instruction's latency. One of 12, 8, 6 and 4.
    const ROWS: [usize; MAX_PANELS];
    /// What a step reads, of a lane's weights and of the input.
    type Element: bytemuck::Pod;
    /// What a lane holds, at least as wide as the ring's word.
    type Sum: Word;
    /// A register of elements.
    type Operand: Copy;

    /// Zero in every lane.
    unsafe fn zero() -> Self;
    /// Reads [`Lanes::LANES`] elements.
    unsafe fn load(from: *const Self::Element) -> Self::Operand;
    /// Reads one element into every lane.
    unsafe fn broadcast(from: *const Self::Element) -> Self::Operand;
    /// Adds the step's product.
    unsafe fn multiply_add(self, a: Self::Operand, b: Self::Operand) -> Self;
    /// Writes the sums of neighbouring positions, channel by channel: lane l of row r to `to[l * R + r]`.
    unsafe fn store_channels<const R: usize>(rows: [Self; R], to: *mut Self::Sum);
    /// Asks for the cache line at `at`, which need not exist, to be brought near.
    unsafe fn prefetch(at: *const Self::Element);
}

/// What the format `Digits` needs beside.
///
/// # Safety
/// As [`Lanes`].
pub(super) trait DigitLanes: Lanes {
    /// Shifts every lane left by 16.
    unsafe fn shift_digit(self) -> Self;
    /// Low halves of `even`'s elements, high halves of `odd`'s.
    unsafe fn low_digits(even: Self::Operand, odd: Self::Operand) -> Self::Operand;
}

/// Where a block reads.
pub(super) struct Block<E, const R: usize, const V: usize> {
    /// Each panel at step 0.
    panels: [*const E; V],
    /// Each position at offset 0 of the group's planes.
    inputs: [*const E; R],
    /// What to prefetch at step 0, and elements from one step's to the next's.
    ahead: (*const E, usize),
}

impl<E, const R: usize, const V: usize> Block<E, R, V> {
    /// # Safety
    /// Every input is still in its buffer.
    #[inline(always)]
    unsafe fn advance_inputs(&mut self, elements: usize) {
        for r in 0..R {
            // SAFETY: the caller's promise.
            self.inputs[r] = unsafe { self.inputs[r].add(elements) };
        }
    }

    /// Adds one step for every offset, from the panels' start.
    ///
    /// # Safety
    /// As [`Lanes`]; each panel holds `offsets.len()` steps, and every input is readable at every offset.
    #[inline(always)]
    unsafe fn add_steps<L: Lanes<Element = E>>(&self, mut sums: [[L; V]; R], offsets: &[u32]) -> [[L; V]; R] {
        // SAFETY: the caller's promise covers every address formed here.
        unsafe {
            for (step, &offset) in offsets.iter().enumerate() {
                let mut weights = [L::load(self.panels[0].add(step * L::LANES)); V];
                for v in 1..V {
                    weights[v] = L::load(self.panels[v].add(step * L::LANES));
                }
                L::prefetch(self.ahead.0.wrapping_add(step * self.ahead.1));
                for r in 0..R {
                    let input = L::broadcast(self.inputs[r].add(offset as usize));
                    for v in 0..V {
                        sums[r][v] = sums[r][v].multiply_add(weights[v], input);
                    }
                }
            }
        }
        sums
    }

    /// Adds one low step for every offset; a low step's weights are halves of two main steps'.
    ///
    /// # Safety
    /// As [`Lanes`]; each panel holds `2 * offsets.len()` steps, and every input is readable at every offset.
    #[inline(always)]
    unsafe fn add_low_steps<L: DigitLanes<Element = E>>(&self, mut sums: [[L; V]; R], offsets: &[u32]) -> [[L; V]; R] {
        // SAFETY: the caller's promise covers every address formed here.
        unsafe {
            for (step, &offset) in offsets.iter().enumerate() {
                let mut weights = [low_weights::<L>(self.panels[0], step); V];
                for v in 1..V {
                    weights[v] = low_weights::<L>(self.panels[v], step);
                }
                for r in 0..R {
                    let input = L::broadcast(self.inputs[r].add(offset as usize));
                    for v in 0..V {
                        sums[r][v] = sums[r][v].multiply_add(weights[v], input);
                    }
                }
            }
        }
        sums
    }
}

/// The low digits of low step `step`'s weights.
///
/// # Safety
/// As [`Lanes`]; the panel holds main steps `2 * step` and the next.
#[inline(always)]
unsafe fn low_weights<L: DigitLanes>(panel: *const L::Element, step: usize) -> L::Operand {
    // SAFETY: the caller's promise.
    unsafe {
        let even = panel.add(2 * step * L::LANES);
        L::low_digits(L::load(even), L::load(even.add(L::LANES)))
    }
}

/// How a format sums one block. The two implementations differ only in what steps they walk.
pub(super) trait Scheme {
    type Lanes: Lanes;

    /// # Safety
    /// As [`Lanes`]; `block` reads panels of `weights` and an input of the same layout.
    unsafe fn sum<const R: usize, const V: usize>(
        weights: &PackedWeights,
        group: usize,
        block: Block<Element<Self>, R, V>,
    ) -> [[Self::Lanes; V]; R];
}

type Element<S> = <<S as Scheme>::Lanes as Lanes>::Element;

/// One instruction's product a step: the formats `Words` and `Pairs`.
pub(super) struct Single<L>(L);

impl<L: Lanes> Scheme for Single<L> {
    type Lanes = L;

    #[inline(always)]
    unsafe fn sum<const R: usize, const V: usize>(
        weights: &PackedWeights,
        group: usize,
        mut block: Block<L::Element, R, V>,
    ) -> [[L; V]; R] {
        // SAFETY: the caller's promise; a group's planes lie one group's size after the last's.
        unsafe {
            block.advance_inputs(group * weights.layout.group_planes * weights.layout.plane);
            block.add_steps([[L::zero(); V]; R], &weights.main)
        }
    }
}

/// Two digits: the format `Digits`.
pub(super) struct Digits<L>(L);

impl<L: DigitLanes> Scheme for Digits<L> {
    type Lanes = L;

    #[inline(always)]
    unsafe fn sum<const R: usize, const V: usize>(
        weights: &PackedWeights,
        group: usize,
        mut block: Block<L::Element, R, V>,
    ) -> [[L; V]; R] {
        let layout = &weights.layout;
        let main = group * layout.group_planes * layout.plane;
        let low = layout.low_base() + group * layout.group_low_planes * layout.plane;
        // SAFETY: the caller's promise; low planes follow all main planes and have the same positions.
        unsafe {
            block.advance_inputs(main);
            let mut sums: [[L; V]; R] = block.add_steps([[L::zero(); V]; R], &weights.main);
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = sums[r][v].shift_digit();
                }
            }
            block.advance_inputs(low - main);
            block.add_low_steps(sums, &weights.low)
        }
    }
}

/// Adds the convolution's elements `tile` to `out`.
///
/// # Safety
/// As [`Lanes`]; `weights` and `input` have the same layout, of a format that `S` sums and with `S`'s lanes; `out` holds
/// `tile.len()` elements and `tile` lies inside the output.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Scheme, W: Word>(weights: &PackedWeights, input: &PackedInput, tile: Range<usize>, out: &mut [W]) {
    let plane = weights.layout.output.plane();
    for (channels, positions) in sections(plane, tile.clone()) {
        let (mut channel, last) = (channels.start, channels.end);
        while channel < last {
            let layout = &weights.layout;
            let (group, within) = (channel / layout.group_outputs, channel % layout.group_outputs);
            let first_panel = within / layout.lanes;
            // Channels up to the end of this panel and, if that is wanted too, of the next.
            let group_end = (group + 1) * layout.group_outputs;
            let panel_end = |panels: usize| (group * layout.group_outputs + (first_panel + panels) * layout.lanes).min(group_end).min(last);
            let one = panel_end(1);
            let two = panel_end(2);
            let section = Section { weights, input, tile: tile.start, positions: positions.clone(), group, first_panel };
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
        // The weights come from far: each of a section's first blocks asks for a share of the next section's. Later ones ask for
        // what is near already.
        let nth = (position - self.positions.start) / R;
        let ahead =
            if nth < V { (all_panels.as_ptr().wrapping_add(start + (V + nth) * panel_elements), lanes) } else { (planes.as_ptr(), 0) };
        let mut block: Block<_, R, V> = Block { panels: [all_panels.as_ptr(); V], inputs: [planes.as_ptr(); R], ahead };
        let mut sums = [MaybeUninit::<<S::Lanes as Lanes>::Sum>::uninit(); MAX_SUMS];
        // SAFETY: the caller's promise: panels start inside the packed weights, positions inside a plane, and `sums` has room
        // for R·V vectors.
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
            let from = unsafe { &*sums.as_ptr().add((channel - first) * R).cast::<[<S::Lanes as Lanes>::Sum; R]>() };
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

/// [`Lanes::store_channels`] from rows in memory, one sum after the other: for rows `done..`.
///
/// # Safety
/// `rows` holds `R` rows of `lanes` sums, `to` has room for as many.
#[inline(always)]
pub(super) unsafe fn store_transposed<T: Copy, const R: usize>(rows: *const T, lanes: usize, done: usize, to: *mut T) {
    for r in done..R {
        for lane in 0..lanes {
            // SAFETY: the caller's promise.
            unsafe { to.add(lane * R + r).write(rows.add(r * lanes + lane).read()) };
        }
    }
}

/// Positions of the next block when `left` are left: full blocks, then the smallest that holds the rest, but never a full and
/// a tiny one where two middling ones do.
fn block_rows(left: usize, full: usize) -> usize {
    match full {
        12 => match left {
            1 | 2 | 4 => left,
            3 => 4,
            5 | 6 => 6,
            7 | 8 | 13..=16 => 8,
            _ => 12,
        },
        8 => match left {
            1 | 2 | 4 => left,
            3 => 4,
            5 | 6 | 9..=12 => 6,
            _ => 8,
        },
        _ => match left {
            1 | 2 | 4 => left,
            3 | 7 | 8 => 4,
            _ => 6,
        },
    }
}
