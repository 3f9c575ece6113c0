//! The dealer's part of argmax's tournament.

use super::{Own, Secrets, Sink, Walk};
use crate::bits::LANES;
use crate::gate::{argmax, comparison};
use crate::party::half::{MaterialError, ModelHalf, Position};
use crate::plan::cost::tournament_select_words;
use crate::plan::step::{tournament_round, tournament_rounds};
use crate::plan::{LayerPlan, Section, Work};
use crate::ring::low_mask;

impl<M: ModelHalf, S: Sink> Walk<'_, '_, M, S> {
    pub(super) fn tournament(&mut self, layer: &LayerPlan<'_>, work: &Work) -> Result<(), MaterialError> {
        let layout = work.layout;
        let bits = work.ring_bits;
        for round in 0..tournament_rounds(layer.elements()) {
            let (pairs, _) = tournament_round(layer.elements(), round);
            let own =
                |secrets: &Secrets, kind: Own, first: usize, out: &mut [u64]| -> Result<(), MaterialError> {
                    Ok(secrets.stream(layer.index, kind).fill_words(first as u64, out)?)
                };
            let mut position = Position::default();
            for first in (0..pairs).step_by(LANES) {
                let mut masks = [0; LANES];
                let masks = masks.get_mut(..(pairs - first).min(LANES)).unwrap_or(&mut []);
                own(self.secrets, Own::TournamentMask(round), first, masks)?;
                for mask in masks.iter_mut() {
                    *mask = (*mask & low_mask(bits)).wrapping_add(1 << (bits - 2));
                }
                self.put64(Section::TournamentMask(round), &mut position, bits, masks)?;
            }
            for word in 0..pairs.div_ceil(LANES) {
                let lanes = (pairs - word * LANES).min(LANES);
                let mut masks = [0; LANES];
                let masks = masks.get_mut(..lanes).unwrap_or(&mut []);
                own(self.secrets, Own::TournamentMask(round), word * LANES, masks)?;
                let mut planes = [0_u64; 64];
                for (lane, mask) in masks.iter().enumerate() {
                    for (bit, plane) in planes.iter_mut().enumerate().take(usize::from(bits)) {
                        *plane |= (mask >> bit & 1) << lane;
                    }
                }
                let mut flip = [0];
                own(self.secrets, Own::TournamentFlip(round), word, &mut flip)?;
                let mut leaves = [0; comparison::MAX_PLANES];
                let leaves = leaves.get_mut(..layout.leaf_planes()).ok_or(MaterialError::Bundle)?;
                comparison::deal_leaves(layout, &planes, flip[0], leaves);
                self.put_planes(Section::TournamentLeaf(round), word, leaves)?;
            }
            for level in 0..layout.levels() {
                for word in 0..pairs.div_ceil(LANES) {
                    let mut uniform = [0; comparison::MAX_PLANES];
                    let uniform =
                        uniform.get_mut(..layout.opened_planes(level)).ok_or(MaterialError::Bundle)?;
                    own(
                        self.secrets,
                        Own::TournamentTree(round, level as u8),
                        word * uniform.len(),
                        uniform,
                    )?;
                    let mut planes = [0; comparison::MAX_PLANES];
                    let planes = planes.get_mut(..layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
                    comparison::deal_tree(layout, level, uniform, planes);
                    self.put_planes(Section::TournamentTree(round, level as u8), word, planes)?;
                }
            }
            let kinds = tournament_select_words(round);
            let mut position = Position::default();
            for first in (0..pairs).step_by(LANES) {
                let count = (pairs - first).min(LANES);
                let (mut masks, mut choices, mut flip) = ([0; LANES], [0; LANES], [0]);
                own(
                    self.secrets,
                    Own::TournamentMask(round),
                    first,
                    masks.get_mut(..count).unwrap_or(&mut []),
                )?;
                own(
                    self.secrets,
                    Own::TournamentChoice(round),
                    first,
                    choices.get_mut(..count).unwrap_or(&mut []),
                )?;
                own(self.secrets, Own::TournamentFlip(round), first / LANES, &mut flip)?;
                let mut words = [0; 7 * LANES];
                let words = words.get_mut(..kinds * count).unwrap_or(&mut []);
                for (i, (mask, choice)) in masks.iter().zip(&choices).take(count).enumerate() {
                    for (kind, word) in argmax::deal(bits, *mask, flip[0] >> i & 1, *choice)
                        .into_iter()
                        .enumerate()
                        .take(kinds)
                    {
                        if let Some(slot) = words.get_mut(kind * count + i) {
                            *slot = word;
                        }
                    }
                }
                self.put64(Section::TournamentSelect(round), &mut position, bits, words)?;
            }
        }
        Ok(())
    }
}
