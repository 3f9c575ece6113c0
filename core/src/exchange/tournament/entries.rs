//! The entries that are left: what a party does in a round.

use super::{Part, select_words};
use crate::bits::LANES;
use crate::error::Internal;
use crate::exchange::planes::{Batch, Of, PlaneReader, planes_at};
use crate::gate::{argmax, comparison};
use crate::packing::{Unpacker, packed_len};
use crate::party::half::{Half, MaterialError, Position};
use crate::party::memory::{part, part_mut};
use crate::plan::step::tournament_round;
use crate::plan::{Section, Step, Work};
use crate::ring::low_mask;

/// Where a tournament stands. Its values live in the state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tournament {
    classes: usize,
    entries: usize,
    round: u8,
    holds_public: bool,
}

/// The parts of the state.
pub(super) struct Parts<'s> {
    pub(super) values: &'s mut [u64],
    pub(super) indices: &'s mut [u64],
    pub(super) own_difference: &'s mut [u64],
    pub(super) own_choice: &'s mut [u64],
    pub(super) difference: &'s mut [u64],
    pub(super) choice: &'s mut [u64],
    pub(super) comparisons: &'s mut [u64],
}

impl Tournament {
    /// From the logits' shares.
    pub(super) const fn of(classes: usize, holds_public: bool) -> Self {
        Self { classes, entries: classes, round: 0, holds_public }
    }

    pub(super) fn parts<'s>(&self, state: &'s mut [u64]) -> Result<Parts<'s>, Internal> {
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

    pub(super) const fn pairs(&self) -> usize {
        self.entries / 2
    }

    pub(super) const fn batch(&self, work: &Work) -> Batch {
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
    pub(super) fn advance<H: Half>(
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
    pub(super) fn receive<H: Half>(
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
pub(super) fn planes_of(values: &[u64], bits: u8) -> [u64; 64] {
    let mut planes = [0_u64; 64];
    for (lane, value) in values.iter().enumerate() {
        for (bit, plane) in planes.iter_mut().enumerate().take(usize::from(bits)) {
            *plane |= (value >> bit & 1) << lane;
        }
    }
    planes
}
