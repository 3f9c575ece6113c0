//! This party's share of a linear sum, and what follows it without a message: windows and words of the
//! output.

use super::ErrorKind;
use super::half::{Half, MaterialError, ModelHalf, Position, TermId};
use super::memory::{region, region_mut, window_as};
use super::session::Session;
use super::walk::Group;
use crate::bits::LANES;
use crate::gate::linear;
use crate::plan::{LinearPlan, Mode, Region, Release, Role, Section, StepPlan};
use crate::ring::{Word, WordKind, WordsMut, low_mask};
use crate::shape::{Pool, Shape};
use crate::{with_kind, with_words};

impl<'p, H: Half, M: ModelHalf> Session<'p, '_, H, M> {
    /// This party's share of the sum for elements `range`, into the window; with U if `masked`.
    pub(super) fn sum(
        &mut self,
        group: &Group<'_>,
        range: core::ops::Range<usize>,
        masked: bool,
    ) -> Result<(), ErrorKind> {
        Ok(with_kind!(group.work.word, W => self.sum_words::<W>(group, range, masked))?)
    }

    fn sum_words<W: Word>(
        &mut self,
        group: &Group<'_>,
        range: core::ops::Range<usize>,
        masked: bool,
    ) -> Result<(), MaterialError> {
        let (layer, work) = (&group.layer, &group.work);
        let count = range.len();
        let sums: &mut [W] =
            bytemuck::cast_slice_mut(self.window).get_mut(..count).ok_or(MaterialError::Weights)?;
        // In H the opened value is P1's alone and U has no share of P0's, except under a tournament.
        let tournament = matches!(
            (layer.step, self.plan.header.options.release),
            (StepPlan::Release { .. }, Release::Label)
        );
        let shared = H::ROLE == Role::Bundle || self.plan.header.options.mode != Mode::Held || tournament;
        if masked && shared {
            self.half.words(Section::Sum, self.positions.sum, work.ring_bits, sums)?;
            self.positions.sum.advance(count, 1, work.ring_bits);
        } else {
            sums.fill(W::default());
        }
        if !self.plan.keeps_wires(H::ROLE) {
            return Ok(());
        }
        for (index, term) in layer.terms.iter().enumerate() {
            let id = TermId { layer: layer.index, term: index as u8 };
            let input = region(self.wires, &term.source);
            match &term.linear {
                LinearPlan::Convolution(geometry) => {
                    self.model.convolve(id, geometry, input, range.clone(), WordsMut::new(sums))?
                }
                LinearPlan::JoinShift { geometry, shift } => {
                    // E' is public: one party adds it. A' is inside U.
                    if H::ROLE == Role::Bundle {
                        with_words!(Words, input, input => linear::join_shift(geometry, *shift, input, range.clone(), sums));
                    }
                }
                LinearPlan::JoinScaled { geometry } => {
                    let tile = linear::join_tile(geometry, &range);
                    if tile.is_empty() {
                        continue;
                    }
                    let first = usize::from(geometry.channel_offset) * geometry.output.plane() + tile.start
                        - range.start;
                    let part = sums.get_mut(first..first + tile.len()).ok_or(MaterialError::Weights)?;
                    self.model.convolve(
                        id,
                        &linear::join_convolution(geometry),
                        input,
                        tile,
                        WordsMut::new(part),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Adds this party's shares of a tile's polynomial (or ReLU) elements to their windows.
    pub(super) fn add_selected(
        &mut self,
        group: &Group<'p>,
        tile: usize,
        relus: bool,
        pool: &Pool,
    ) -> Result<(), ErrorKind> {
        let range = group.layer.tile_range(group.group, tile);
        let (work, layer) = (group.work, &group.layer);
        let pooled = layer.pooled[H::ROLE.index()];
        let bits = work.wire_bits + if relus { 0 } else { work.frac_bits };
        with_kind!(WordKind::for_bits(bits), W => {
            self.selected_shares::<W>(group, range, relus, |wires, chunk, shares| {
                for (&index, share) in chunk.indices().iter().zip(shares) {
                    pool.windows_of(layer.sum, index as usize, |window| {
                        // A ReLU's share modulo 2^W, shifted, is one modulo 2^(W + f_c).
                        let shift = if relus && layer.window_is_cut(window) { work.frac_bits } else { 0 };
                        add_to_window(wires, &pooled, window, share.to_u64() << shift);
                    });
                }
            })
        })
    }

    /// This party's masked shares of a tile's windows, each with its width, for `take`.
    pub(super) fn pooled_shares(
        &mut self,
        group: &Group<'p>,
        tile: usize,
        mut take: impl FnMut(&mut [u64], usize, u8, u64),
    ) -> Result<(), ErrorKind> {
        let (layer, work) = (&group.layer, &group.work);
        let pooled = layer.pooled[H::ROLE.index()];
        let range = layer.window_range(tile);
        // Chunks of 64 windows are packed by themselves; a tile is not always a multiple of 64 of them.
        for window in range {
            if window % LANES == 0 || self.positions.windows.is_none() {
                let first = window - window % LANES;
                let count = (layer.windows() - first).min(LANES);
                let mut bits = [0_u8; LANES];
                let bits = bits.get_mut(..count).unwrap_or(&mut []);
                for (slot, window) in bits.iter_mut().zip(first..) {
                    *slot = layer.window_bits(work, window);
                }
                let mut masks = [0_u64; LANES];
                let part = masks.get_mut(..count).unwrap_or(&mut []);
                let at = Position { words: first as u64, bytes: self.positions.window_bytes };
                self.half.mixed_words(Section::Window, at, bits, part)?;
                self.positions.window_bytes += bits.iter().map(|&b| u64::from(b)).sum::<u64>().div_ceil(8);
                self.positions.windows = Some(masks);
            }
            let mask =
                self.positions.windows.as_ref().and_then(|m| m.get(window % LANES)).copied().unwrap_or(0);
            let bits = layer.window_bits(work, window);
            let share = region(self.wires, &pooled).get(window).wrapping_add(mask) & low_mask(bits);
            take(self.wires, window, bits, share);
        }
        Ok(())
    }

    /// P1 by turns: E of a tile's windows from its own shares and P0's, which `peer` gives.
    pub(super) fn pool_values(
        &mut self,
        group: &Group<'p>,
        tile: usize,
        mut peer: impl FnMut(u8) -> u64,
    ) -> Result<(), ErrorKind> {
        let (output, wire_bits) = (group.layer.output, group.work.wire_bits);
        self.pooled_shares(group, tile, |wires, window, bits, share| {
            let sum = share.wrapping_add(peer(bits)) & low_mask(bits);
            region_mut(wires, &output).set(window, sum >> (bits - wire_bits));
        })
    }

    /// This party's words of the released logits; P1 by turns takes P0's shares from `peer`.
    pub(super) fn output_words(
        &mut self,
        group: &Group<'p>,
        mut peer: impl FnMut(u8) -> u64,
    ) -> Result<(), ErrorKind> {
        let (work, elements) = (group.work, group.layer.elements());
        let alone = self.is_seed() && !self.is_mutual();
        let mut position = Position::default();
        for first in (0..elements).step_by(LANES) {
            let count = (elements - first).min(LANES);
            let mut masks = [0_u64; LANES];
            let masks = masks.get_mut(..count).unwrap_or(&mut []);
            self.half.words(Section::Output, position, work.opened_bits, masks)?;
            position.advance(count, 1, work.opened_bits);
            for (index, mask) in (first..).zip(masks) {
                let own = if alone {
                    0
                } else {
                    let sum = with_kind!(work.word, W => window_as::<W>(self.window, elements).get(index).map_or(0, |v| v.to_u64()));
                    (sum.wrapping_add(peer(work.ring_bits)) & low_mask(work.ring_bits)) >> work.shift
                };
                if let Some(slot) = self.state.get_mut(index) {
                    *slot = own.wrapping_sub(*mask) & low_mask(work.opened_bits);
                }
            }
        }
        self.output_ready = true;
        Ok(())
    }
}

/// Adds a value to every window that an element belongs to.
pub(crate) fn add_to_windows(
    wires: &mut [u64],
    pooled: &Region,
    pool: &Pool,
    shape: Shape,
    index: usize,
    value: u64,
) {
    pool.windows_of(shape, index, |window| add_to_window(wires, pooled, window, value));
}

fn add_to_window(wires: &mut [u64], pooled: &Region, window: usize, value: u64) {
    let mut windows = region_mut(wires, pooled);
    let sum = windows.as_words().get(window).wrapping_add(value);
    windows.set(window, sum);
}
