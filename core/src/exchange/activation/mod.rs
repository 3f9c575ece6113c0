//! Opening 2 of activated values: polynomials as soon as a tile's C is known, ReLUs after the group's t; and
//! what becomes of C. Their arithmetic is [`polynomial`]'s and [`relu`]'s.
//!
//! * *Moves* W bits an element where a party answers or both send; the whole share, W bits and f_c more of a
//!   polynomial, where P0 asks or is not answered. A frame a tile; before a pool nothing: shares add up in the
//!   windows.
//! * *Sections*: β_0, β_1, γ_0, γ_1 of polynomials; ρ, R_0, R_1, ρ·R_0, ρ·R_1 and, but before a pool, the mask
//!   of ReLUs, in chunks of 64 within a tile.
//! * *Waits* for the tile's C, or for t; by turns P1 answers.
//! * *Arena*: C in `opened`; for P0 in H in the window, and of ReLUs behind the comparisons; E in the output.

mod deal;

pub(crate) use deal::{deal_polynomials, deal_relus};

use super::opening::Turn;
use super::party::{Group, Party, draw};
use super::{Exchange, Known, Order, Place, chunked_bytes, comparison, pool};
use crate::bits::LANES;
use crate::error::Internal;
use crate::gate::{polynomial, relu};
use crate::packing::{Packer, Unpacker, packed_len};
use crate::party::ErrorKind;
use crate::party::half::{Half, ModelHalf, Position};
use crate::party::memory::{Chunk, Selected, join, part, part_mut, region, region_mut, window_as};
use crate::plan::{GroupPlan, LayerPlan, Role, Section, Work};
use crate::ring::{Word, WordKind, Words};
use crate::with_kind;

/// Where the layer's sections stand.
#[derive(Default)]
pub(crate) struct Course {
    polynomials: Position,
    relus: Position,
    /// ReLUs of this group in the tiles before the next to be selected.
    selected: usize,
    /// ReLUs of this group whose C was copied aside.
    kept: usize,
}

impl Course {
    /// The next group begins.
    pub(crate) const fn pass(&mut self) {
        (self.selected, self.kept) = (0, 0);
    }
}

/// Which elements of a tile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    Polynomials,
    Relus,
}

impl Values {
    fn are_relus(self) -> bool {
        self == Self::Relus
    }

    /// L of a value before opening 2 cuts it.
    const fn bits(self, work: &Work) -> u8 {
        match self {
            Self::Polynomials => work.wire_bits + work.frac_bits,
            Self::Relus => work.wire_bits,
        }
    }

    /// Correlated words an element.
    const fn words(self, layer: &LayerPlan<'_>) -> usize {
        match self {
            Self::Polynomials => polynomial::WORDS,
            Self::Relus if layer.pool().is_some() => relu::WORDS_POOLED,
            Self::Relus => relu::WORDS,
        }
    }

    fn count(self, layer: &LayerPlan<'_>, range: core::ops::Range<usize>) -> usize {
        let relus = layer.relu().count(range.clone());
        if self.are_relus() { relus } else { range.len() - relus }
    }

    /// Bytes of the section.
    pub(crate) fn section_bytes(self, layer: &LayerPlan<'_>, work: &Work) -> u64 {
        if !layer.activates() {
            return 0;
        }
        let bytes = |range| chunked_bytes(self.count(layer, range), self.words(layer), self.bits(work));
        layer.tiles().map(|(_, range)| bytes(range)).sum()
    }
}

impl Exchange for Values {
    const ORDER: Order = Order::Opening;
    const IN_EVERY_GROUP: bool = true;

    fn after(self, _layer: &LayerPlan<'_>) -> Known {
        if self.are_relus() { Known::Activated } else { Known::Opened }
    }

    fn is_beside_comparisons(self) -> bool {
        !self.are_relus()
    }

    fn frames(self, group: &GroupPlan<'_, '_>) -> usize {
        group.layer.group_tiles(group.index)
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, turn: Turn) -> usize {
        let count = self.count(at.group.layer, at.group.layer.tile_range(at.group.index, at.tile));
        packed_len(count, turn.bits(self.bits(at.group.work), at.group.work.wire_bits))
    }

    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let (output, wire_bits, bits) = (group.layer.output, group.work.wire_bits, self.bits(&group.work));
        let mut packer = Packer::new(payload);
        match party.turn() {
            Turn::Answer => {
                let source = region(party.wires, &output)?;
                with_kind!(output.word(), W => {
                    for chunk in Selected::new(group.layer.relu(), self.are_relus(), group.range(tile)) {
                        let mut values = [W::default(); LANES];
                        let values = part_mut(&mut values, ..chunk.indices().len())?;
                        chunk.gather(source, 0, values)?;
                        packer.extend(values, wire_bits);
                    }
                });
            }
            turn @ (Turn::Mutual | Turn::Ask | Turn::Blind) => {
                // A blind P0's C of polynomials is in the window until they are sent.
                if turn == Turn::Blind && self == Self::Polynomials && group.pending.take() != Some(tile) {
                    return Err(Internal.into());
                }
                with_kind!(WordKind::for_bits(bits), W => {
                    self.shares::<W, H, M>(party, group, tile, |_, wires, chunk, shares| {
                        if turn != Turn::Mutual {
                            packer.extend(shares, bits);
                            return Ok(());
                        }
                        for share in shares.iter_mut() {
                            *share = share.reduce(bits).shr(bits - wire_bits);
                        }
                        packer.extend(shares, wire_bits);
                        chunk.scatter(region_mut(wires, &output)?, shares)
                    })?;
                });
            }
            // P1 tells P0 no value in H.
            Turn::Alone => return Err(Internal.into()),
        }
        Ok(packer.fill()?)
    }

    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let (output, wire_bits, bits) = (group.layer.output, group.work.wire_bits, self.bits(&group.work));
        let mut unpacker = Unpacker::new(payload);
        match party.turn() {
            Turn::Answer | Turn::Alone => with_kind!(WordKind::for_bits(bits), W => {
                self.shares::<W, H, M>(party, group, tile, |_, wires, chunk, shares| {
                    join(&mut unpacker, bits, bits - wire_bits, shares)?;
                    chunk.scatter(region_mut(wires, &output)?, shares)
                })?;
            }),
            turn @ (Turn::Mutual | Turn::Ask) => with_kind!(output.word(), W => {
                for chunk in Selected::new(group.layer.relu(), self.are_relus(), group.range(tile)) {
                    let count = chunk.indices().len();
                    let (mut own, mut peer) = ([W::default(); LANES], [W::default(); LANES]);
                    let peer = part_mut(&mut peer, ..count)?;
                    unpacker.take(wire_bits, peer)?;
                    if turn == Turn::Mutual {
                        chunk.gather(region(party.wires, &output)?, 0, part_mut(&mut own, ..count)?)?;
                        for (slot, own) in peer.iter_mut().zip(own) {
                            *slot = slot.add(own).reduce(wire_bits);
                        }
                    }
                    chunk.scatter(region_mut(party.wires, &output)?, peer)?;
                }
            }),
            // P0 is told no value in H.
            Turn::Blind => return Err(Internal.into()),
        }
        Ok(())
    }
}

impl Values {
    /// This party's shares of the activated values of a tile's elements, in runs of up to 64, for `take`.
    fn shares<W: Word, H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        mut take: impl FnMut(&LayerPlan<'_>, &mut [u64], &Chunk, &mut [W]) -> Result<(), Internal>,
    ) -> Result<(), ErrorKind> {
        let range = group.range(tile);
        let (kinds, bits) = (self.words(&group.layer), self.bits(&group.work));
        let opened_bits = group.work.opened_bits;
        let plane = group.layer.sum.plane().max(1);
        let mut channel_share = None;
        for chunk in Selected::new(group.layer.relu(), self.are_relus(), range.clone()) {
            let count = chunk.indices().len();
            let mut opened = [0_u16; LANES];
            let opened = part_mut(&mut opened, ..count)?;
            match (party.is_blind(), self) {
                (true, Self::Relus) => {
                    let from = group.course.values.selected;
                    opened.copy_from_slice(part(kept(party.state, group)?, from..from + count)?);
                }
                (true, Self::Polynomials) => {
                    chunk.gather(Words::U16(window_as(party.window, range.len())?), range.start, opened)?;
                }
                (false, _) => chunk.gather(region(party.wires, &group.layer.opened)?, 0, opened)?,
            }
            let mut words = [W::default(); relu::WORDS * LANES];
            let words = part_mut(&mut words, ..kinds * count)?;
            let mut shares = [W::default(); LANES];
            let shares = part_mut(&mut shares, ..count)?;
            if self.are_relus() {
                draw(&mut party.half, Section::Relu, &mut group.course.values.relus, bits, words)?;
                let signs = comparison::signs(party.state, group, group.course.values.selected)?;
                group.course.values.selected += count;
                relu::evaluate(opened_bits, party.holds_public(), opened, signs, words, shares)?;
            } else {
                let position = &mut group.course.values.polynomials;
                draw(&mut party.half, Section::Polynomial, position, bits, words)?;
                let mut quadratic = [W::default(); LANES];
                let quadratic = part_mut(&mut quadratic, ..count)?;
                for (slot, &index) in quadratic.iter_mut().zip(chunk.indices()) {
                    let channel = (index as usize / plane) as u16;
                    *slot = match channel_share {
                        Some((known, share)) if known == channel => share,
                        _ => {
                            let share = W::from_u64(party.model.quadratic(group.layer.index, channel)?);
                            channel_share = Some((channel, share));
                            share
                        }
                    };
                }
                polynomial::evaluate(opened_bits, opened, quadratic, words, shares)?;
            }
            take(&group.layer, party.wires, &chunk, shares)?;
        }
        Ok(())
    }

    /// Adds this party's shares of a tile's values to their windows, where a pool follows.
    fn flow<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
    ) -> Result<(), ErrorKind> {
        let Some(pool) = group.layer.pool() else { return Ok(()) };
        let (pooled, frac_bits) = (group.layer.pooled[H::ROLE.index()], group.work.frac_bits);
        with_kind!(WordKind::for_bits(self.bits(&group.work)), W => {
            self.shares::<W, H, M>(party, group, tile, |layer, wires, chunk, shares| {
                // A ReLU's share modulo 2^W, shifted, is one modulo 2^(W + f_c).
                let is_shifted = |window| self.are_relus() && layer.window_is_cut(window);
                for (&index, share) in chunk.indices().iter().zip(shares) {
                    let value = |window| share.to_u64() << if is_shifted(window) { frac_bits } else { 0 };
                    pool::add(wires, &pooled, &pool, layer.sum, index as usize, value)?;
                }
                Ok(())
            })
        })
    }
}

/// C of a tile is known: polynomials of a pool add up, P0 in H puts ReLUs' C aside, and the last tile starts
/// the comparisons.
pub(crate) fn opened<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    tile: usize,
) -> Result<(), ErrorKind> {
    group.opened = tile + 1;
    let range = group.range(tile);
    Values::Polynomials.flow(party, group, tile)?;
    if party.is_blind() {
        for chunk in Selected::new(group.layer.relu(), true, range.clone()) {
            let first = group.course.values.kept;
            group.course.values.kept += chunk.indices().len();
            let kept = part_mut(kept(party.state, group)?, first..group.course.values.kept)?;
            chunk.gather(Words::U16(window_as(party.window, range.len())?), range.start, kept)?;
        }
        if group.layer.pool().is_none() && Values::Polynomials.count(&group.layer, range) > 0 {
            group.pending = Some(tile);
        }
    }
    if group.opened < group.tiles() || group.relus == 0 {
        return Ok(());
    }
    let (source, relus, blind) = (group.layer.opened, group.relus, party.is_blind());
    let mut chunks = Selected::new(group.layer.relu(), true, group.layer.group_range(group.index));
    let records = comparison::state_words(group.work.layout, relus);
    comparison::begin(party, group, |party, word, opened| {
        if blind {
            let first = word * LANES;
            let count = (relus - first).min(LANES);
            let kept = part(kept_behind(party.state, records, relus)?, first..first + count)?;
            part_mut(opened, ..count)?.copy_from_slice(kept);
            return Ok(());
        }
        chunks.next().ok_or(Internal)?.gather(region(party.wires, &source)?, 0, opened)
    })
}

/// t is known: ReLUs of a pool add up.
pub(crate) fn signed<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
) -> Result<(), ErrorKind> {
    group.signed = true;
    if group.layer.pool().is_some() {
        for tile in 0..group.tiles() {
            Values::Relus.flow(party, group, tile)?;
        }
    }
    Ok(())
}

/// 64-bit words of the state for C of a group's ReLUs, which P0 in H keeps behind the comparisons.
pub(crate) const fn kept_words(relus: usize, turn: Turn) -> usize {
    if matches!(turn, Turn::Blind) { relus.div_ceil(4) } else { 0 }
}

fn kept<'s>(state: &'s mut [u64], group: &Group<'_>) -> Result<&'s mut [u16], Internal> {
    kept_behind(state, comparison::state_words(group.work.layout, group.relus), group.relus)
}

fn kept_behind(state: &mut [u64], records: usize, relus: usize) -> Result<&mut [u16], Internal> {
    part_mut(bytemuck::cast_slice_mut(part_mut(state, records..)?), ..relus)
}
