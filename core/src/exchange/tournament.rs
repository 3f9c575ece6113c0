//! Argmax as a tournament: which of the logits is largest, without opening any. Its algebra is
//! [`crate::gate::argmax`]'s.
//!
//! A round compares neighbours i < j of the entries left: d = v_i − v_j is opened under a fresh mask
//! (mutually in every mode: nothing is cut, so there is no coin to hide), s = \[d ≥ 0\] by [`comparison`], so
//! ties go to the lower index; the winner's value and index are selected without a message. From the second
//! round the indices are shared, and δ = ι_i − ι_j is opened under a of its own beside d, so that s·δ = s·(δ
//! + a) − s·a is local. Only the last index leaves, as two words, to the client.
//!
//! * *Moves*, both ways at once in every mode: b bits a pair, from the second round twice; then the round's
//!   levels and t. A frame a step.
//! * *Sections* of a round: the differences' masks; leaves and levels; ρ, R_0, R_1, ρ·R_0, ρ·R_1 and, from the
//!   second, a and ρ·a, in chunks of 64 pairs.
//! * *Waits* for the step before.
//! * *Arena*: the state, in the parts of [`Parts`].

use super::comparison::{Batch, Of, PlaneReader, deal_leaves, deal_levels, plane_bytes, planes_at};
use super::linear::sum;
use super::opening::Turn;
use super::party::{Group, Party};
use super::{Exchange, Known, Order, Place, chunked_bytes};
use crate::bits::LANES;
use crate::dealer::{Dealing, Own, Sink};
use crate::error::Internal;
use crate::gate::argmax;
use crate::gate::comparison::{self, Layout};
use crate::packing::{Packer, Unpacker, packed_len};
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{part, part_mut, window_as};
use crate::plan::step::{tournament_round, tournament_rounds};
use crate::plan::{LayerPlan, Options, Role, Section, Step, Work};
use crate::ring::{Word, low_mask};
use crate::with_kind;

/// A step of a round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) round: u8,
    pub(crate) part: Part,
}

/// Which step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Differences and masked index choices.
    Open,
    /// A level of the comparison.
    Tree(u8),
    /// Its t.
    Sign,
}

impl Exchange for Round {
    const ORDER: Order = Order::Both;
    const IN_EVERY_GROUP: bool = false;

    fn after(self, _layer: &LayerPlan<'_>) -> Known {
        Known::Link
    }

    fn gives(self) -> &'static [Known] {
        &[Known::Link]
    }

    fn frames(self, _layer: &LayerPlan<'_>, _group: usize) -> usize {
        1
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, _turn: Turn) -> usize {
        let (pairs, _) = tournament_round(at.layer.elements(), self.round);
        match self.part {
            Part::Open => packed_len(if self.round == 0 { pairs } else { 2 * pairs }, at.work.ring_bits),
            Part::Tree(level) => plane_bytes(pairs, at.work.layout.opened_planes(usize::from(level))),
            Part::Sign => plane_bytes(pairs, 1),
        }
    }

    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        _tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let parts = group.tournament.parts(party.state)?;
        let (pairs, work) = (group.tournament.pairs(), &group.work);
        let batch = group.tournament.batch(work);
        match self.part {
            Part::Open => {
                let mut packer = Packer::new(payload);
                packer.extend(part(parts.own_difference, ..pairs)?, work.ring_bits);
                if self.round > 0 {
                    packer.extend(part(parts.own_choice, ..pairs)?, work.ring_bits);
                }
                packer.fill()?;
            }
            Part::Tree(level) => {
                batch.write(parts.comparisons, Some(usize::from(level)), batch.frame(), payload)?;
            }
            Part::Sign => batch.write(parts.comparisons, None, batch.frame(), payload)?,
        }
        Ok(())
    }

    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        _tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let (work, tournament) = (&group.work, &mut group.tournament);
        let next = tournament.receive(work, &mut party.half, self.part, party.state, payload)?;
        group.ready = Some(next);
        Ok(())
    }
}

/// The steps of every round.
pub(crate) fn steps(layer: &LayerPlan<'_>, options: &Options) -> impl Iterator<Item = Step> {
    let layout = layer.work(options).layout;
    (0..tournament_rounds(layer.elements())).flat_map(move |round| {
        core::iter::once(Step::TournamentOpen(round)).chain(Of::Round(round).steps(layout))
    })
}

/// The sections of every round, in the bundle's order.
pub(crate) fn sections(layer: &LayerPlan<'_>, layout: Layout) -> impl Iterator<Item = Section> + use<> {
    (0..tournament_rounds(layer.elements())).flat_map(move |round| {
        core::iter::once(Section::TournamentMask(round))
            .chain(Of::Round(round).sections(layout))
            .chain([Section::TournamentSelect(round)])
    })
}

/// Bytes of a section of a round; 0 of another.
pub(crate) fn section_bytes(layer: &LayerPlan<'_>, work: &Work, section: Section) -> u64 {
    let pairs = |round| tournament_round(layer.elements(), round).0;
    let planes = |round, planes: usize| pairs(round).div_ceil(LANES) as u64 * 8 * planes as u64;
    match section {
        Section::TournamentMask(round) => chunked_bytes(pairs(round), 1, work.ring_bits),
        Section::TournamentSelect(round) => chunked_bytes(pairs(round), select_words(round), work.ring_bits),
        Section::TournamentLeaf(round) => planes(round, work.layout.leaf_planes()),
        Section::TournamentTree(round, level) => planes(round, work.layout.tree_planes(usize::from(level))),
        _ => 0,
    }
}

/// Words an element of a round's selection: ρ, R_0, R_1, ρ·R_0, ρ·R_1 and, from the second round, a and ρ·a.
const fn select_words(round: u8) -> usize {
    if round == 0 { 5 } else { 7 }
}

/// Words of the state: values and indices, own and opened differences and index choices, comparisons.
pub(crate) const fn state_words(classes: usize, record: usize) -> usize {
    let pairs = classes / 2;
    2 * classes + 4 * pairs + pairs.div_ceil(LANES) * record
}

/// Both parties keep an additive share of the logits, P0 in H a word of its stream, and mask the first round.
pub(crate) fn begin<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
) -> Result<(), ErrorKind> {
    let classes = group.layer.elements();
    sum(party, group, 0..classes, true)?;
    let holds_public = party.holds_public();
    group.tournament = Tournament { classes, entries: classes, round: 0, holds_public };
    let parts = group.tournament.parts(party.state)?;
    let low = low_mask(group.work.ring_bits);
    with_kind!(group.work.word, W => {
        let sums = window_as::<W>(party.window, classes)?;
        for (slot, sum) in parts.values.iter_mut().zip(sums) {
            *slot = sum.to_u64() & low;
        }
    });
    for (index, place) in parts.indices.iter_mut().enumerate() {
        // The places are public at first: one party holds them.
        *place = if holds_public { index as u64 } else { 0 };
    }
    group.ready = Some(group.tournament.advance(&group.work, &mut party.half, party.state)?);
    Ok(())
}

/// Where a tournament stands. Its values live in the state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tournament {
    classes: usize,
    entries: usize,
    round: u8,
    holds_public: bool,
}

/// The parts of the state.
pub(crate) struct Parts<'s> {
    values: &'s mut [u64],
    indices: &'s mut [u64],
    own_difference: &'s mut [u64],
    own_choice: &'s mut [u64],
    difference: &'s mut [u64],
    choice: &'s mut [u64],
    comparisons: &'s mut [u64],
}

impl Tournament {
    fn parts<'s>(&self, state: &'s mut [u64]) -> Result<Parts<'s>, Internal> {
        let pairs = self.classes / 2;
        let mut rest = state;
        let mut next = |count: usize| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut_checked(count).ok_or(Internal)?;
            rest = tail;
            Ok(head)
        };
        Ok(Parts {
            values: next(self.classes)?,
            indices: next(self.classes)?,
            own_difference: next(pairs)?,
            own_choice: next(pairs)?,
            difference: next(pairs)?,
            choice: next(pairs)?,
            comparisons: rest,
        })
    }

    const fn pairs(&self) -> usize {
        self.entries / 2
    }

    const fn batch(&self, work: &Work) -> Batch {
        let (layout, count) = (work.layout, self.pairs());
        Batch { of: Of::Round(self.round), layout, count, first: 0, holds_public: self.holds_public }
    }

    fn select_words<H: Half>(
        &self,
        work: &Work,
        half: &mut H,
        first: usize,
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        let kinds = select_words(self.round);
        let position = Position {
            words: (first * kinds) as u64,
            bytes: (first / LANES * packed_len(LANES * kinds, work.ring_bits)) as u64,
        };
        half.words(Section::TournamentSelect(self.round), position, work.ring_bits, out)
    }

    /// Masks the next round; where one entry is left, its index's share goes to the front of the state.
    fn advance<H: Half>(
        &mut self,
        work: &Work,
        half: &mut H,
        state: &mut [u64],
    ) -> Result<Step, MaterialError> {
        if self.entries > 1 {
            self.open(work, half, state)?;
            return Ok(Step::TournamentOpen(self.round));
        }
        let index = *part(state, self.classes)?;
        *part_mut(state, 0)? = index;
        Ok(Step::Output)
    }

    /// Masks a round's differences and index choices.
    #[inline(never)]
    fn open<H: Half>(&mut self, work: &Work, half: &mut H, state: &mut [u64]) -> Result<(), MaterialError> {
        let (pairs, kinds, low) = (self.pairs(), select_words(self.round), low_mask(work.ring_bits));
        let parts = self.parts(state)?;
        for first in (0..pairs).step_by(LANES) {
            let count = (pairs - first).min(LANES);
            let mut masks = [0_u64; LANES];
            let masks = part_mut(&mut masks, ..count)?;
            let position = Position {
                words: first as u64,
                bytes: (first / LANES * packed_len(LANES, work.ring_bits)) as u64,
            };
            half.words(Section::TournamentMask(self.round), position, work.ring_bits, masks)?;
            let mut words = [0_u64; 7 * LANES];
            let words = part_mut(&mut words, ..kinds * count)?;
            self.select_words(work, half, first, words)?;
            for (i, mask) in masks.iter().enumerate() {
                let pair = |of: &[u64]| {
                    let at = 2 * (first + i);
                    Ok::<u64, Internal>(part(of, at)?.wrapping_sub(*part(of, at + 1)?))
                };
                *part_mut(parts.own_difference, first + i)? = pair(parts.values)?.wrapping_add(*mask) & low;
                if self.round > 0 {
                    let a = part(words, 5 * count + i)?;
                    *part_mut(parts.own_choice, first + i)? = pair(parts.indices)?.wrapping_add(*a) & low;
                }
            }
        }
        Ok(())
    }

    /// Takes the peer's payload of a step, whose length was checked, and prepares the next, which it gives.
    ///
    /// Never inlined, like what it calls: arrays of 64 lanes would stay on a small party's stack through the
    /// whole session.
    #[inline(never)]
    fn receive<H: Half>(
        &mut self,
        work: &Work,
        half: &mut H,
        step: Part,
        state: &mut [u64],
        payload: &[u8],
    ) -> Result<Step, MaterialError> {
        let batch = self.batch(work);
        match step {
            Part::Open => {
                self.differences(work, half, state, payload)?;
                batch.mask_level(half, self.parts(state)?.comparisons, 0)
            }
            Part::Tree(level) => {
                let (level, records) = (usize::from(level), self.parts(state)?.comparisons);
                batch.join_level(half, records, level, batch.frame(), payload)?;
                batch.mask_level(half, records, level + 1)
            }
            Part::Sign => {
                self.select(work, half, state, payload)?;
                self.advance(work, half, state)
            }
        }
    }

    /// Opens the round's differences and index choices, and evaluates the leaves of every difference.
    fn differences<H: Half>(
        &self,
        work: &Work,
        half: &mut H,
        state: &mut [u64],
        payload: &[u8],
    ) -> Result<(), MaterialError> {
        let (pairs, layout, low) = (self.pairs(), work.layout, low_mask(work.ring_bits));
        let parts = self.parts(state)?;
        let mut unpacker = Unpacker::new(payload);
        for (own, opened) in
            [(parts.own_difference, &mut *parts.difference), (parts.own_choice, parts.choice)]
        {
            let opened = part_mut(opened, ..pairs)?;
            unpacker.take(work.ring_bits, opened)?;
            for (slot, own) in opened.iter_mut().zip(own) {
                *slot = slot.wrapping_add(*own) & low;
            }
            if self.round == 0 {
                break;
            }
        }
        let batch = self.batch(work);
        for word in 0..batch.words() {
            let lanes = part(parts.difference, word * LANES..pairs.min((word + 1) * LANES))?;
            let planes = planes_of(lanes, work.ring_bits);
            let record = batch.record(parts.comparisons, word)?;
            // Chunk by chunk: all leaves of a wide difference would take much of a small party's stack.
            let mut leaves = [0_u64; comparison::MAX_LEAVES_16];
            let mut at = planes_at(word, layout.leaf_planes());
            let mut draw = |out: &mut [u64]| {
                half.words(batch.of.leaf(), at, 64, out)?;
                at.advance(out.len(), 1, 64);
                Ok::<(), MaterialError>(())
            };
            for chunk in 0..layout.chunks() {
                let products = part_mut(&mut leaves, ..layout.products(chunk))?;
                draw(products)?;
                comparison::evaluate_chunk(layout, chunk, self.holds_public, &planes, products, record)?;
            }
            let mut flipped = [0];
            draw(&mut flipped)?;
            comparison::evaluate_top(layout, self.holds_public, &planes, flipped[0], record)?;
        }
        Ok(())
    }

    /// Selects the winners' values and indices.
    #[inline(never)]
    fn select<H: Half>(
        &mut self,
        work: &Work,
        half: &mut H,
        state: &mut [u64],
        payload: &[u8],
    ) -> Result<(), MaterialError> {
        let (pairs, own, low) = (self.pairs(), work.layout.own_planes(), low_mask(work.ring_bits));
        let (kinds, batch) = (select_words(self.round), self.batch(work));
        let mut reader = PlaneReader::new(payload, pairs);
        let parts = self.parts(state)?;
        for word in 0..batch.words() {
            let mut peer = [0];
            reader.take(&mut peer)?;
            let signs = *part(batch.record(parts.comparisons, word)?, own)? ^ peer[0];
            let first = word * LANES;
            let count = (pairs - first).min(LANES);
            let mut words = [0_u64; 7 * LANES];
            let words = part_mut(&mut words, ..kinds * count)?;
            self.select_words(work, half, first, words)?;
            for i in 0..count {
                let pair = first + i;
                let at = |kind: usize| part(words, kind * count + i).copied();
                let share = argmax::Share {
                    flip: at(0)?,
                    masks: [at(1)?, at(2)?],
                    products: [at(3)?, at(4)?],
                    choice: if self.round > 0 { Some((at(5)?, at(6)?)) } else { None },
                };
                let opened = argmax::Opened {
                    difference: *part(parts.difference, pair)?,
                    sign: signs >> i & 1,
                    choice: *part(parts.choice, pair)?,
                };
                let chosen = argmax::evaluate(work.ring_bits, self.holds_public, &opened, &share);
                // The winner goes to the front: entry `pair` was read as part of pair `pair / 2` or is being
                // read now.
                let gains = [(&mut *parts.values, chosen.value), (&mut *parts.indices, chosen.index)];
                for (entries, gain) in gains {
                    let winner = part(entries, 2 * pair + 1)?.wrapping_add(gain) & low;
                    *part_mut(entries, pair)? = winner;
                }
            }
        }
        if tournament_round(self.classes, self.round).1 {
            for entries in [parts.values, parts.indices] {
                let last = *part(entries, self.entries - 1)?;
                *part_mut(entries, pairs)? = last;
            }
        }
        self.entries = self.entries.div_ceil(2);
        self.round += 1;
        Ok(())
    }
}

/// Bit planes of up to 64 values.
fn planes_of(values: &[u64], bits: u8) -> [u64; 64] {
    let mut planes = [0_u64; 64];
    for (lane, value) in values.iter().enumerate() {
        for (bit, plane) in planes.iter_mut().enumerate().take(usize::from(bits)) {
            *plane |= (value >> bit & 1) << lane;
        }
    }
    planes
}

/// The correlations of every round.
pub(crate) fn deal<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
) -> Result<(), MaterialError> {
    let (layout, bits) = (work.layout, work.ring_bits);
    for round in 0..tournament_rounds(layer.elements()) {
        let (pairs, _) = tournament_round(layer.elements(), round);
        let secrets = dealing.secrets;
        let own = |kind: Own, first: usize, out: &mut [u64]| -> Result<(), MaterialError> {
            Ok(secrets.stream(layer.index, kind).fill_words(first as u64, out)?)
        };
        let chunks = (0..pairs).step_by(LANES).map(|first| (first, (pairs - first).min(LANES)));
        let mut position = Position::default();
        for (first, count) in chunks.clone() {
            let mut masks = [0; LANES];
            let masks = part_mut(&mut masks, ..count)?;
            own(Own::TournamentMask(round), first, masks)?;
            for mask in masks.iter_mut() {
                *mask = (*mask & low_mask(bits)).wrapping_add(1 << (bits - 2));
            }
            dealing.put64(Section::TournamentMask(round), &mut position, bits, masks)?;
        }
        for (first, count) in chunks.clone() {
            let mut masks = [0; LANES];
            let masks = part_mut(&mut masks, ..count)?;
            own(Own::TournamentMask(round), first, masks)?;
            let mut flip = [0];
            own(Own::TournamentFlip(round), first / LANES, &mut flip)?;
            let planes = planes_of(masks, bits);
            deal_leaves(dealing, Of::Round(round), layout, first / LANES, &planes, flip[0])?;
        }
        let levels = |level: usize| Own::TournamentTree(round, level as u8);
        deal_levels(dealing, layer, Of::Round(round), layout, pairs.div_ceil(LANES), levels)?;
        let kinds = select_words(round);
        let mut position = Position::default();
        for (first, count) in chunks {
            let (mut masks, mut choices, mut flip) = ([0; LANES], [0; LANES], [0]);
            own(Own::TournamentMask(round), first, part_mut(&mut masks, ..count)?)?;
            own(Own::TournamentChoice(round), first, part_mut(&mut choices, ..count)?)?;
            own(Own::TournamentFlip(round), first / LANES, &mut flip)?;
            let mut words = [0; 7 * LANES];
            let words = part_mut(&mut words, ..kinds * count)?;
            for (i, (mask, choice)) in masks.iter().zip(&choices).take(count).enumerate() {
                let pair = argmax::deal(bits, *mask, flip[0] >> i & 1, *choice);
                for (kind, word) in pair.into_iter().enumerate().take(kinds) {
                    *part_mut(words, kind * count + i)? = word;
                }
            }
            dealing.put64(Section::TournamentSelect(round), &mut position, bits, words)?;
        }
    }
    Ok(())
}
