//! Argmax as a tournament: which of the logits is largest, without opening any.
//!
//! A round compares neighbours i < j of the entries left: d = v_i − v_j is opened under a fresh mask
//! (mutually in every mode: nothing is cut, so there is no coin to hide), s = \[d ≥ 0\] by [`comparison`], so
//! ties go to the lower index; the winner's value and index are selected without a message. From the second
//! round the indices are shared, and δ = ι_i − ι_j is opened under a of its own beside d, so that s·δ = s·(δ
//! + a) − s·a is local. Only the last index leaves, as two words, to the client.

use super::half::{Half, MaterialError, Position};
use crate::bits::LANES;
use crate::gate::{argmax, comparison};
use crate::packing::{Packer, Unpacker, packed_len};
use crate::plan::cost::tournament_select_words;
use crate::plan::step::tournament_round;
use crate::plan::{Section, Step, Work};
use crate::ring::low_mask;

/// Where a tournament stands. Its values live in the session's state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tournament {
    classes: usize,
    entries: usize,
    round: u8,
    next: Option<Step>,
    holds_public: bool,
}

/// The parts of the state.
struct Parts<'s> {
    values: &'s mut [u64],
    indices: &'s mut [u64],
    own_difference: &'s mut [u64],
    own_choice: &'s mut [u64],
    difference: &'s mut [u64],
    choice: &'s mut [u64],
    comparisons: &'s mut [u64],
}

impl Tournament {
    fn parts<'s>(&self, state: &'s mut [u64]) -> Parts<'s> {
        let pairs = self.classes / 2;
        let mut rest = state;
        let mut next = |count: usize| {
            let (head, tail) =
                core::mem::take(&mut rest).split_at_mut_checked(count).unwrap_or((&mut [], &mut []));
            rest = tail;
            head
        };
        Parts {
            values: next(self.classes),
            indices: next(self.classes),
            own_difference: next(pairs),
            own_choice: next(pairs),
            difference: next(pairs),
            choice: next(pairs),
            comparisons: rest,
        }
    }

    /// Starts from a party's shares of the logits.
    pub(super) fn begin(
        &mut self,
        classes: usize,
        work: &Work,
        holds_public: bool,
        state: &mut [u64],
        value: impl Fn(usize) -> u64,
    ) {
        *self = Self { classes, entries: classes, round: 0, next: None, holds_public };
        let parts = self.parts(state);
        for (index, (slot, place)) in parts.values.iter_mut().zip(parts.indices).enumerate() {
            *slot = value(index) & low_mask(work.ring_bits);
            // The places are public at first: one party holds them.
            *place = if holds_public { index as u64 } else { 0 };
        }
        if self.is_finished() {
            self.finish(state);
        }
    }

    /// One entry is left: its index's share is at the front of the state.
    pub(super) const fn is_finished(&self) -> bool {
        self.entries <= 1
    }

    fn finish(&self, state: &mut [u64]) {
        let index = state.get(self.classes).copied().unwrap_or(0);
        if let Some(slot) = state.first_mut() {
            *slot = index;
        }
    }

    /// May this step be sent or received now?
    pub(super) fn is_ready(&self, step: Step) -> bool {
        self.next == Some(step)
    }

    const fn pairs(&self) -> usize {
        self.entries / 2
    }

    fn select_words<H: Half>(
        &self,
        work: &Work,
        half: &mut H,
        first: usize,
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        let kinds = tournament_select_words(self.round);
        let position = Position {
            words: (first * kinds) as u64,
            bytes: (first / LANES * packed_len(LANES * kinds, work.ring_bits)) as u64,
        };
        half.words(Section::TournamentSelect(self.round), position, work.ring_bits, out)
    }

    /// Masks a round's differences and index choices.
    #[inline(never)]
    pub(super) fn open<H: Half>(
        &mut self,
        work: &Work,
        half: &mut H,
        state: &mut [u64],
    ) -> Result<(), MaterialError> {
        let pairs = self.pairs();
        let kinds = tournament_select_words(self.round);
        let parts = self.parts(state);
        for first in (0..pairs).step_by(LANES) {
            let count = (pairs - first).min(LANES);
            let mut masks = [0_u64; LANES];
            let masks = masks.get_mut(..count).unwrap_or(&mut []);
            let position = Position {
                words: first as u64,
                bytes: (first / LANES * packed_len(LANES, work.ring_bits)) as u64,
            };
            half.words(Section::TournamentMask(self.round), position, work.ring_bits, masks)?;
            let mut words = [0_u64; 7 * LANES];
            let words = words.get_mut(..kinds * count).unwrap_or(&mut []);
            self.select_words(work, half, first, words)?;
            for (i, mask) in masks.iter().enumerate() {
                let pair = |of: &[u64]| {
                    let at = |k: usize| of.get(2 * (first + i) + k).copied().unwrap_or(0);
                    at(0).wrapping_sub(at(1))
                };
                if let Some(slot) = parts.own_difference.get_mut(first + i) {
                    *slot = pair(parts.values).wrapping_add(*mask) & low_mask(work.ring_bits);
                }
                if let (Some(slot), Some(a)) = (parts.own_choice.get_mut(first + i), words.get(5 * count + i))
                {
                    *slot = pair(parts.indices).wrapping_add(*a) & low_mask(work.ring_bits);
                }
            }
        }
        self.next = Some(Step::TournamentOpen(self.round));
        Ok(())
    }

    /// Writes a step's payload.
    pub(super) fn transmit(&self, work: &Work, step: Step, state: &mut [u64], payload: &mut [u8]) {
        let pairs = self.pairs();
        let parts = self.parts(state);
        match step {
            Step::TournamentOpen(round) => {
                let mut packer = Packer::new(payload);
                packer.extend(parts.own_difference.get(..pairs).unwrap_or(&[]), work.ring_bits);
                if round > 0 {
                    packer.extend(parts.own_choice.get(..pairs).unwrap_or(&[]), work.ring_bits);
                }
                let _ = packer.finish();
            }
            Step::TournamentTree(_, level) => {
                let planes = work.layout.opened_planes(usize::from(level));
                comparison::write_planes(work.layout, planes, pairs, parts.comparisons, payload);
            }
            _ => comparison::write_planes(work.layout, 1, pairs, parts.comparisons, payload),
        }
    }

    /// Takes the peer's payload of a step, whose length was checked, and prepares the next; true when the
    /// last index is shared.
    ///
    /// Never inlined, like what it calls: arrays of 64 lanes would stay on a small party's stack through the
    /// whole session.
    #[inline(never)]
    pub(super) fn receive<H: Half>(
        &mut self,
        work: &Work,
        half: &mut H,
        step: Step,
        state: &mut [u64],
        payload: &[u8],
    ) -> Result<bool, MaterialError> {
        let layout = work.layout;
        let (pairs, size) = (self.pairs(), layout.state_words());
        match step {
            Step::TournamentOpen(round) => {
                let parts = self.parts(state);
                let mut unpacker = Unpacker::new(payload);
                for (own, opened) in
                    [(parts.own_difference, parts.difference), (parts.own_choice, parts.choice)]
                {
                    unpacker.take(work.ring_bits, opened.get_mut(..pairs).unwrap_or(&mut []));
                    for (slot, own) in opened.iter_mut().zip(own) {
                        *slot = slot.wrapping_add(*own) & low_mask(work.ring_bits);
                    }
                    if round == 0 {
                        break;
                    }
                }
                let differences = self.parts(state);
                for (word, record) in
                    differences.comparisons.chunks_exact_mut(size).take(pairs.div_ceil(LANES)).enumerate()
                {
                    let mut planes = [0_u64; 64];
                    let lanes = differences
                        .difference
                        .get(word * LANES..pairs.min((word + 1) * LANES))
                        .unwrap_or(&[]);
                    for (lane, value) in lanes.iter().enumerate() {
                        for (bit, plane) in planes.iter_mut().enumerate().take(usize::from(work.ring_bits)) {
                            *plane |= (value >> bit & 1) << lane;
                        }
                    }
                    // Chunk by chunk: all leaves of a wide difference would take much of a small party's
                    // stack.
                    let mut leaves = [0_u64; comparison::MAX_LEAVES_16];
                    let mut at = planes_at(word, layout.leaf_planes());
                    let mut draw = |out: &mut [u64]| {
                        half.words(Section::TournamentLeaf(round), at, 64, out)?;
                        at.advance(out.len(), 1, 64);
                        Ok::<(), MaterialError>(())
                    };
                    for chunk in 0..layout.chunks() {
                        let products =
                            leaves.get_mut(..layout.products(chunk)).ok_or(MaterialError::Bundle)?;
                        draw(products)?;
                        comparison::evaluate_chunk(
                            layout,
                            chunk,
                            self.holds_public,
                            &planes,
                            products,
                            record,
                        );
                    }
                    let mut flipped = [0];
                    draw(&mut flipped)?;
                    comparison::evaluate_top(layout, self.holds_public, &planes, flipped[0], record);
                }
                self.prepare(work, half, 0, state)?;
                Ok(false)
            }
            Step::TournamentTree(round, level) => {
                let mut reader = comparison::PlaneReader::new(payload, pairs);
                let level = usize::from(level);
                let comparisons = self.parts(state).comparisons;
                for (word, record) in
                    comparisons.chunks_exact_mut(size).take(pairs.div_ceil(LANES)).enumerate()
                {
                    let mut peer = [0_u64; comparison::MAX_OPENED_PLANES];
                    let peer = peer.get_mut(..layout.opened_planes(level)).ok_or(MaterialError::Bundle)?;
                    reader.take(peer);
                    let mut masks = [0_u64; comparison::MAX_TREE_PLANES];
                    let masks = masks.get_mut(..layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
                    half.words(
                        Section::TournamentTree(round, level as u8),
                        planes_at(word, masks.len()),
                        64,
                        masks,
                    )?;
                    comparison::join_tree(layout, level, self.holds_public, masks, peer, record);
                }
                self.prepare(work, half, level + 1, state)?;
                Ok(false)
            }
            _ => {
                self.select(work, half, state, payload)?;
                if self.is_finished() {
                    self.finish(state);
                    return Ok(true);
                }
                self.open(work, half, state)?;
                Ok(false)
            }
        }
    }

    /// Masks the operands of a level, or t's share.
    fn prepare<H: Half>(
        &mut self,
        work: &Work,
        half: &mut H,
        level: usize,
        state: &mut [u64],
    ) -> Result<(), MaterialError> {
        let layout = work.layout;
        let pairs = self.pairs();
        let comparisons = self.parts(state).comparisons;
        for (word, record) in
            comparisons.chunks_exact_mut(layout.state_words()).take(pairs.div_ceil(LANES)).enumerate()
        {
            if level == layout.levels() {
                comparison::open_sign(layout, record);
                continue;
            }
            let mut masks = [0_u64; comparison::MAX_TREE_PLANES];
            let masks = masks.get_mut(..layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
            half.words(
                Section::TournamentTree(self.round, level as u8),
                planes_at(word, masks.len()),
                64,
                masks,
            )?;
            comparison::open_tree(layout, level, masks, record);
        }
        let sign = level == layout.levels();
        self.next = Some(if sign {
            Step::TournamentSign(self.round)
        } else {
            Step::TournamentTree(self.round, level as u8)
        });
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
        let (pairs, own) = (self.pairs(), work.layout.own_planes());
        let kinds = tournament_select_words(self.round);
        let mut reader = comparison::PlaneReader::new(payload, pairs);
        let parts = self.parts(state);
        let words_of_64 = pairs.div_ceil(LANES);
        for (word, record) in
            parts.comparisons.chunks_exact_mut(work.layout.state_words()).take(words_of_64).enumerate()
        {
            let mut peer = [0];
            reader.take(&mut peer);
            let signs = record.get(own).copied().unwrap_or(0) ^ peer[0];
            let first = word * LANES;
            let count = (pairs - first).min(LANES);
            let mut words = [0_u64; 7 * LANES];
            let words = words.get_mut(..kinds * count).unwrap_or(&mut []);
            self.select_words(work, half, first, words)?;
            for i in 0..count {
                let pair = first + i;
                let at = |kind: usize| words.get(kind * count + i).copied().unwrap_or(0);
                let of = |slice: &[u64], index: usize| slice.get(index).copied().unwrap_or(0);
                let share = argmax::Share {
                    flip: at(0),
                    masks: [at(1), at(2)],
                    products: [at(3), at(4)],
                    choice: (self.round > 0).then(|| (at(5), at(6))),
                };
                let opened = argmax::Opened {
                    difference: of(parts.difference, pair),
                    sign: signs >> i & 1,
                    choice: of(parts.choice, pair),
                };
                let chosen = argmax::evaluate(work.ring_bits, self.holds_public, &opened, &share);
                // The winner goes to the front: entry `pair` was read as part of pair `pair / 2` or is being
                // read now.
                let value =
                    of(parts.values, 2 * pair + 1).wrapping_add(chosen.value) & low_mask(work.ring_bits);
                let index =
                    of(parts.indices, 2 * pair + 1).wrapping_add(chosen.index) & low_mask(work.ring_bits);
                for (slice, new) in [(&mut *parts.values, value), (&mut *parts.indices, index)] {
                    if let Some(slot) = slice.get_mut(pair) {
                        *slot = new;
                    }
                }
            }
        }
        let (_, odd) = tournament_round(self.classes, self.round);
        if odd {
            for slice in [parts.values, parts.indices] {
                let last = slice.get(self.entries - 1).copied().unwrap_or(0);
                if let Some(slot) = slice.get_mut(pairs) {
                    *slot = last;
                }
            }
        }
        self.entries = self.entries.div_ceil(2);
        self.round += 1;
        self.next = None;
        Ok(())
    }
}

/// Where the planes of word `word` lie in a section with `planes` planes a word.
pub(super) const fn planes_at(word: usize, planes: usize) -> Position {
    Position { words: (word * planes) as u64, bytes: (word * planes * 8) as u64 }
}
