//! Openings directly after a linear layer: opening 1 of an activation, into C, and opening 2 of a rescaling,
//! into E. Their arithmetic is [`crate::opening`]'s.
//!
//! * *Moves* n (or W) bits an element where a party answers or both send, all b bits where P0 asks; P1 alone
//!   sends C in H, and nothing of a rescaling. A frame a tile.
//! * *Section*: U, a word of Z_b an element, in chunks of 64 within a tile.
//! * *Waits* for nothing of its group; by turns P1 answers.
//! * *Arena*: the window holds the tile's sums, `opened` (or the output wire) what was opened.

use super::linear::sum;
use super::party::{Group, Party};
use super::{Exchange, Known, Order, Place, activation, chunked_bytes, pool};
use crate::bits::LANES;
use crate::dealer::{Dealing, NO_MASK, Sink};
use crate::error::Internal;
use crate::model::Layer;
use crate::packing::{Packer, Unpacker, packed_len};
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{
    add_run, join, part, part_mut, region, region_mut, store_run, window_as, window_as_mut,
};
use crate::plan::{GroupPlan, LayerPlan, Mode, Region, Release, Role, StepPlan, Work};
use crate::ring::{Word, low_mask};
use crate::{with_kind, with_words};

/// A party's part in an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Both send the top bits of their shares at once (T).
    Mutual,
    /// P0 of S: sends its whole share, and is told what was opened.
    Ask,
    /// P1 of S: takes P0's share, cuts the sum and tells what was opened.
    Answer,
    /// P1 of H: knows sums by itself and takes P0's shares of activated values; tells C alone.
    Alone,
    /// P0 of H: is told C, and sends its shares of activated values without an answer.
    Blind,
}

impl Turn {
    /// The part of a party in a mode.
    #[must_use]
    pub const fn of(mode: Mode, role: Role) -> Self {
        match (mode, role) {
            (Mode::TwoServers, _) => Self::Mutual,
            (Mode::Shared, Role::Seed) => Self::Ask,
            (Mode::Shared, Role::Bundle) => Self::Answer,
            (Mode::Held, Role::Seed) => Self::Blind,
            (Mode::Held, Role::Bundle) => Self::Alone,
        }
    }

    /// The part of whom a half belongs to: code for what its role never is, or for two servers where it is
    /// none, is left out.
    #[inline(always)]
    pub(crate) const fn of_half<H: Half>(mode: Mode) -> Self {
        match (mode, H::ROLE) {
            (Mode::TwoServers, _) if H::TWO_SERVERS => Self::Mutual,
            (Mode::Held, Role::Seed) => Self::Blind,
            (Mode::Held, Role::Bundle) => Self::Alone,
            // Where there is no code for mode T, no party of it was made.
            (Mode::TwoServers | Mode::Shared, Role::Seed) => Self::Ask,
            (Mode::TwoServers | Mode::Shared, Role::Bundle) => Self::Answer,
        }
    }

    /// Bits an element that this party sends in an opening that cuts `all` bits to `high`.
    pub(crate) const fn bits(self, all: u8, high: u8) -> u8 {
        match self {
            Self::Mutual | Self::Answer => high,
            Self::Ask | Self::Blind => all,
            Self::Alone => 0,
        }
    }

    /// The same directly after a linear layer, whose value P1 knows in H.
    pub(crate) const fn bits_of_sum(self, all: u8, high: u8) -> u8 {
        match self {
            Self::Alone | Self::Blind => 0,
            _ => self.bits(all, high),
        }
    }
}

/// The two openings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sums {
    /// Opening 1, into C.
    Opened,
    /// A rescaling's opening 2, into E.
    Rescaled,
}

impl Sums {
    const fn target(self, layer: &LayerPlan<'_>) -> Region {
        match self {
            Self::Opened => layer.opened,
            Self::Rescaled => layer.output,
        }
    }

    const fn high_bits(self, work: &Work) -> u8 {
        match self {
            Self::Opened => work.opened_bits,
            Self::Rescaled => work.wire_bits,
        }
    }
}

impl Exchange for Sums {
    const ORDER: Order = Order::Opening;
    const IN_EVERY_GROUP: bool = true;

    fn after(self, _layer: &LayerPlan<'_>) -> Known {
        Known::Before
    }

    fn gives(self) -> &'static [Known] {
        match self {
            Self::Opened => &[Known::Opened, Known::Link, Known::Activated],
            Self::Rescaled => &[],
        }
    }

    fn frames(self, group: &GroupPlan<'_, '_>) -> usize {
        group.layer.group_tiles(group.index)
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, turn: Turn) -> usize {
        let bits = match (self, turn) {
            (Self::Opened, Turn::Alone) => at.group.work.opened_bits,
            _ => turn.bits_of_sum(at.group.work.ring_bits, self.high_bits(at.group.work)),
        };
        packed_len(at.group.layer.tile_range(at.group.index, at.tile).len(), bits)
    }

    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let (range, target) = (group.range(tile), self.target(&group.layer));
        let mut packer = Packer::new(payload);
        let turn = party.turn();
        match turn {
            Turn::Answer => {
                let opened = region(party.wires, &target)?;
                let bits = self.high_bits(&group.work);
                with_words!(Words, opened, opened => packer.extend(part(opened, range)?, bits));
            }
            Turn::Ask => {
                sum(party, group, range.clone(), true)?;
                let bits = group.work.ring_bits;
                with_kind!(group.work.word, W => packer.extend(window_as::<W>(party.window, range.len())?, bits));
            }
            Turn::Mutual | Turn::Alone => self.cut(party, group, tile, Some(&mut packer))?,
            // P0 opens nothing in H.
            Turn::Blind => return Err(Internal.into()),
        }
        packer.fill()?;
        if turn == Turn::Alone { activation::opened(party, group, tile) } else { Ok(()) }
    }

    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let (range, target) = (group.range(tile), self.target(&group.layer));
        let mut unpacker = Unpacker::new(payload);
        match (party.turn(), self) {
            // P0's whole share; P1 keeps c to itself.
            (Turn::Answer, _) => {
                sum(party, group, range.clone(), true)?;
                let work = &group.work;
                with_kind!(work.word, W => {
                    let sums: &mut [W] = window_as_mut(party.window, range.len())?;
                    join(&mut unpacker, work.ring_bits, work.shift, sums)?;
                    store_run(region_mut(party.wires, &target)?, range, sums)?;
                });
            }
            (Turn::Blind, Self::Opened) => {
                unpacker.take(group.work.opened_bits, window_as_mut::<u16>(party.window, range.len())?)?;
            }
            (turn @ (Turn::Mutual | Turn::Ask), _) => {
                let bits = self.high_bits(&group.work);
                let opened = region_mut(party.wires, &target)?;
                add_run(opened, range, &mut unpacker, bits, turn == Turn::Mutual)?;
            }
            // P1 is sent no sum in H.
            (Turn::Alone, _) | (Turn::Blind, Self::Rescaled) => return Err(Internal.into()),
        }
        if self == Self::Opened { activation::opened(party, group, tile) } else { Ok(()) }
    }
}

impl Sums {
    /// This party's sums of a tile, cut: to be sent, and kept.
    fn cut<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        packer: Option<&mut Packer<'_>>,
    ) -> Result<(), ErrorKind> {
        let (range, target) = (group.range(tile), self.target(&group.layer));
        sum(party, group, range.clone(), true)?;
        let work = &group.work;
        with_kind!(work.word, W => {
            let sums: &mut [W] = window_as_mut(party.window, range.len())?;
            for sum in sums.iter_mut() {
                *sum = sum.reduce(work.ring_bits).shr(work.shift);
            }
            if let Some(packer) = packer {
                packer.extend(sums, self.high_bits(work));
            }
            store_run(region_mut(party.wires, &target)?, range, sums)?;
        });
        Ok(())
    }
}

/// A rescaling that P1 knows alone needs no message.
pub(crate) fn begin<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
) -> Result<(), ErrorKind> {
    if party.turn() == Turn::Alone {
        for tile in 0..group.tiles() {
            Sums::Rescaled.cut(party, group, tile, None)?;
        }
    }
    Ok(())
}

/// Bytes of U; none before a rescaling's pool, whose windows are masked instead.
pub(crate) fn section_bytes(layer: &LayerPlan<'_>, work: &Work) -> u64 {
    if layer.pool().is_some() && matches!(layer.step, StepPlan::Rescale { .. }) {
        return 0;
    }
    layer.tiles().map(|(_, range)| chunked_bytes(range.len(), 1, work.ring_bits)).sum()
}

/// U of every element, or, before a rescaling's pool, A ⊗ Y + bias into the windows.
pub(crate) fn deal<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
    secret: &Layer<'_>,
) -> Result<(), MaterialError> {
    let options = dealing.options();
    let label = matches!((layer.step, options.release), (StepPlan::Release { .. }, Release::Label));
    let rescale = matches!(layer.step, StepPlan::Rescale { .. });
    let shared = options.mode != Mode::Held || label;
    let offset =
        if matches!(layer.step, StepPlan::Activate { .. }) { 1_u64 << (work.ring_bits - 2) } else { 0 };
    let mut position = Position::default();
    for (_, range) in layer.tiles() {
        dealing.sum(layer, work, &secret.bias, range.clone())?;
        if let (true, Some(pool)) = (rescale, layer.pool()) {
            for (index, offset) in range.zip(0..) {
                let sum = dealing.summed(work, offset)?;
                pool::add(dealing.wires, &layer.pooled[1], &pool, layer.sum, index, |_| sum)?;
            }
            continue;
        }
        for first in range.clone().step_by(LANES) {
            let count = (range.end - first).min(LANES);
            let mut masks = [NO_MASK; LANES];
            let masks = part_mut(&mut masks, ..count)?;
            if rescale {
                dealing.next_masks(layer, work.shift, first, masks)?;
            } else if !label {
                dealing.open_masks(work, first, masks)?;
            }
            let mut values = [0; LANES];
            let values = part_mut(&mut values, ..count)?;
            for ((value, mask), at) in values.iter_mut().zip(masks.iter()).zip(first - range.start..) {
                *value = dealing.summed(work, at)?.wrapping_add(offset).wrapping_add(mask.added);
            }
            if rescale {
                let mut output = region_mut(dealing.wires, &layer.output)?;
                for (index, mask) in (first..).zip(masks.iter()) {
                    output.set(index, mask.high.wrapping_neg() & low_mask(work.wire_bits))?;
                }
            }
            dealing.put_sum(work, &mut position, values, shared)?;
        }
    }
    Ok(())
}
