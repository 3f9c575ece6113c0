//! A block: a few output positions times one or two panels, all of its sums in registers, step after step.
//!
//! Written once for every instruction set. Everything here is `#[inline(always)]`, so that it is compiled
//! into the function of each instruction set that calls it, with the instructions which that function
//! enables.

#![allow(
    clippy::needless_range_loop,
    reason = "indices of registers: loops of constant length that are unrolled"
)]

use halfnet_core::ring::Word;

use super::packed::PackedWeights;

/// Panels of a block, at most.
pub(super) const MAX_PANELS: usize = 2;

/// A vector of accumulators, one output channel a lane.
///
/// # Safety
/// Every function needs the instructions of its set. Pointers must be valid for what the function says it
/// reads or writes; they need no alignment.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const LANES: usize;
    /// Positions of a full block of one panel, and of two: as many as leave registers for weights and inputs,
    /// and enough independent sums to hide an instruction's latency. One of 12, 8, 6 and 4.
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
    pub(super) panels: [*const E; V],
    /// Each position at offset 0 of the group's planes.
    pub(super) inputs: [*const E; R],
    /// What to prefetch at step 0, and elements from one step's to the next's.
    pub(super) ahead: (*const E, usize),
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
    unsafe fn add_low_steps<L: DigitLanes<Element = E>>(
        &self,
        mut sums: [[L; V]; R],
        offsets: &[u32],
    ) -> [[L; V]; R] {
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

/// What a scheme's steps read.
pub(super) type Element<S> = <<S as Scheme>::Lanes as Lanes>::Element;

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

/// [`Lanes::store_channels`] from rows in memory, one sum after the other: for rows `done..`.
///
/// # Safety
/// `rows` holds `R` rows of `lanes` sums, `to` has room for as many.
#[inline(always)]
pub(super) unsafe fn store_transposed<T: Copy, const R: usize>(
    rows: *const T,
    lanes: usize,
    done: usize,
    to: *mut T,
) {
    for r in done..R {
        for lane in 0..lanes {
            // SAFETY: the caller's promise.
            unsafe { to.add(lane * R + r).write(rows.add(r * lanes + lane).read()) };
        }
    }
}
