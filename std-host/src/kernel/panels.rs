//! The loop over panels, written once for every instruction set: a block of output positions times one or two panels, all of it
//! in registers, step after step.
//!
//! Everything here is `#[inline(always)]`, so that it is compiled into the function of each instruction set that calls it, with
//! the instructions which that function enables.

#![allow(clippy::needless_range_loop, reason = "indices of registers: loops of constant length that are unrolled")]

use core::ops::Range;

use halfnet_core::ring::Word;

use super::layout::{PackedInput, PackedWeights};

/// Output positions of a block, at most.
const MAX_ROWS: usize = 12;
/// Panels of a block, at most.
const MAX_PANELS: usize = 2;
/// Lanes of a vector, at most.
const MAX_LANES: usize = 16;

/// A vector of accumulators, one output channel a lane.
///
/// # Safety
/// Every function needs the instructions of its set. Pointers must be valid for what the function says it reads or writes;
/// they need no alignment.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const LANES: usize;
    /// Positions of a full block: as many as leave registers for two panels and an input.
    const ROWS: usize;
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
    /// Writes [`Lanes::LANES`] sums.
    unsafe fn store(self, to: *mut Self::Sum);
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

/// Where a block reads: `panels` at step 0, `inputs` at offset 0.
struct Block<E, const R: usize, const V: usize> {
    panels: [*const E; V],
    inputs: [*const E; R],
}

impl<E, const R: usize, const V: usize> Block<E, R, V> {
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
    /// As [`Lanes`]; `panels` are of `weights`, `inputs` are places of output positions in `input`'s planes.
    unsafe fn sum<const R: usize, const V: usize>(
        weights: &PackedWeights,
        panels: [*const Element<Self>; V],
        inputs: [*const Element<Self>; R],
        group: usize,
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
        panels: [*const L::Element; V],
        inputs: [*const L::Element; R],
        group: usize,
    ) -> [[L; V]; R] {
        let start = group * weights.layout.group_planes * weights.layout.plane;
        // SAFETY: the caller's promise; a group's planes lie one group's size after the last's.
        unsafe {
            let block = Block { panels, inputs: inputs.map(|input| input.add(start)) };
            block.add_steps([[L::zero(); V]; R], &weights.main)
        }
    }
}

/// The format `Digits`.
pub(super) struct Digits<L>(L);

impl<L: DigitLanes> Scheme for Digits<L> {
    type Lanes = L;

    #[inline(always)]
    unsafe fn sum<const R: usize, const V: usize>(
        weights: &PackedWeights,
        panels: [*const L::Element; V],
        inputs: [*const L::Element; R],
        group: usize,
    ) -> [[L; V]; R] {
        let layout = &weights.layout;
        let main = group * layout.group_planes * layout.plane;
        let low = layout.low_base() + group * layout.group_low_planes * layout.plane;
        // SAFETY: the caller's promise; low planes follow all main planes and have the same positions.
        unsafe {
            let block = Block { panels, inputs: inputs.map(|input| input.add(main)) };
            let mut sums: [[L; V]; R] = block.add_steps([[L::zero(); V]; R], &weights.main);
            for row in &mut sums {
                for sum in row {
                    *sum = sum.shift_digit();
                }
            }
            let block = Block { panels, inputs: inputs.map(|input| input.add(low)) };
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

impl Section<'_> {
    /// # Safety
    /// As [`accumulate`]; `channels` lie in `V` panels of the group, beginning in the first.
    #[inline(always)]
    unsafe fn run<S: Scheme, W: Word, const V: usize>(&self, channels: Range<usize>, out: &mut [W]) {
        let mut position = self.positions.start;
        // SAFETY: the caller's promise; each block stays inside the positions.
        unsafe {
            while position < self.positions.end {
                let left = self.positions.end - position;
                let rows = block_rows(left, S::Lanes::ROWS);
                match rows {
                    12 => self.block::<S, W, 12, V>(position, &channels, out),
                    8 => self.block::<S, W, 8, V>(position, &channels, out),
                    6 => self.block::<S, W, 6, V>(position, &channels, out),
                    4 => self.block::<S, W, 4, V>(position, &channels, out),
                    2 => self.block::<S, W, 2, V>(position, &channels, out),
                    _ => self.block::<S, W, 1, V>(position, &channels, out),
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
    unsafe fn block<S: Scheme, W: Word, const R: usize, const V: usize>(&self, position: usize, channels: &Range<usize>, out: &mut [W]) {
        if R > S::Lanes::ROWS {
            return;
        }
        let layout = &self.weights.layout;
        let lanes = S::Lanes::LANES;
        let planes = self.input.planes.words::<Element<S>>();
        let all_panels = self.weights.panels.words::<Element<S>>();
        let panel_elements = layout.steps * lanes;
        let start = (self.group * layout.group_panels + self.first_panel) * panel_elements;
        let mut panels = [all_panels.as_ptr(); V];
        let mut inputs = [planes.as_ptr(); R];
        let mut sums = [<S::Lanes as Lanes>::Sum::default(); MAX_ROWS * MAX_PANELS * MAX_LANES];
        // SAFETY: the caller's promise: panels start inside the packed weights, positions inside a plane, and `sums` has room
        // for R·V vectors.
        unsafe {
            for (v, panel) in panels.iter_mut().enumerate() {
                *panel = panel.add(start + v * panel_elements);
            }
            for (r, input) in inputs.iter_mut().enumerate() {
                *input = input.add(layout.position((position + r).min(self.positions.end - 1)));
            }
            let block = S::sum::<R, V>(self.weights, panels, inputs, self.group);
            for r in 0..R {
                for v in 0..V {
                    block[r][v].store(sums.as_mut_ptr().add((r * V + v) * lanes));
                }
            }
        }
        let plane = layout.output.plane();
        let first = self.group * layout.group_outputs + self.first_panel * lanes;
        let count = R.min(self.positions.end - position);
        for channel in channels.clone() {
            let to = &mut out[channel * plane + position - self.tile..][..count];
            let from = sums[channel - first..].iter().step_by(V * lanes);
            to.iter_mut().zip(from).for_each(|(to, &sum)| *to = to.add(W::from_u64(sum.to_u64())));
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
