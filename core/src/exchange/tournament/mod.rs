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
//! * *Arena*: the state, in the parts of [`entries::Parts`].

mod entries;

pub(crate) use entries::Tournament;
use entries::planes_of;

use super::comparison::{deal_leaves, deal_levels};
use super::linear::sum;
use super::opening::Turn;
use super::party::{Group, Party};
use super::planes::{Of, plane_bytes};
use super::{Exchange, Known, Order, Place, chunked_bytes};
use crate::bits::LANES;
use crate::dealer::{Dealing, Own, Sink};
use crate::gate::argmax;
use crate::gate::comparison::Layout;
use crate::packing::{Packer, packed_len};
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{part, part_mut, window_as};
use crate::plan::step::{tournament_round, tournament_rounds};
use crate::plan::{GroupPlan, LayerPlan, Options, Role, Section, Step, Work};
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

    fn frames(self, _group: &GroupPlan<'_, '_>) -> usize {
        1
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, _turn: Turn) -> usize {
        let (pairs, _) = tournament_round(at.group.layer.elements(), self.round);
        match self.part {
            Part::Open => {
                packed_len(if self.round == 0 { pairs } else { 2 * pairs }, at.group.work.ring_bits)
            }
            Part::Tree(level) => plane_bytes(pairs, at.group.work.layout.opened_planes(usize::from(level))),
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
    group.tournament = Tournament::of(classes, holds_public);
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
