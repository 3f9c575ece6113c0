//! The dealer's part of the gates behind an opening: polynomials, comparisons, ReLUs, pooled windows.

use super::{NO_MASK, Own, Sink, Walk};
use crate::bits::{LANES, bits_from, transpose};
use crate::gate::{comparison, polynomial, relu};
use crate::packing::Packer;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{Selected, region, region_mut};
use crate::plan::{LayerPlan, Section, StepPlan, Work};
use crate::ring::low_mask;

impl<M: ModelHalf, S: Sink> Walk<'_, '_, M, S> {
    pub(super) fn polynomials(
        &mut self,
        layer: &LayerPlan<'_>,
        work: &Work,
        coefficients: &crate::model::Polynomial<'_>,
    ) -> Result<(), MaterialError> {
        let plane = layer.sum.plane().max(1);
        let pooled = layer.pool().is_some();
        let bits = work.wire_bits + work.frac_bits;
        let mut position = Position::default();
        for group in 0..layer.groups() {
            for tile in 0..layer.group_tiles(group) {
                for chunk in Selected::new(layer.relu(), false, layer.tile_range(group, tile)) {
                    let mut secrets =
                        [polynomial::Secret { mask: 0, c2: 0, c1: 0, c0: 0, next_mask: 0 }; LANES];
                    let count = chunk.indices().len();
                    for (slot, &index) in secrets.iter_mut().zip(chunk.indices()) {
                        let (mask, next) =
                            self.element_masks(layer, work, index as usize, work.frac_bits, pooled)?;
                        let channel = index as usize / plane;
                        *slot = polynomial::Secret {
                            mask,
                            c2: coefficients.c2.get(channel),
                            c1: coefficients.c1.get(channel),
                            c0: coefficients.c0.get(channel),
                            next_mask: next,
                        };
                    }
                    let mut words = [0_u64; polynomial::WORDS * LANES];
                    let words = words.get_mut(..polynomial::WORDS * count).unwrap_or(&mut []);
                    polynomial::deal(work.opened_bits, secrets.get(..count).unwrap_or(&[]), words);
                    self.put(Section::Polynomial, &mut position, bits, words, true)?;
                }
            }
        }
        Ok(())
    }

    /// R of an element and, where no pool follows, the mask of its opening 2, whose A is kept.
    fn element_masks(
        &mut self,
        layer: &LayerPlan<'_>,
        work: &Work,
        index: usize,
        shift: u8,
        pooled: bool,
    ) -> Result<(u64, u64), MaterialError> {
        let (mut open, mut next) = ([NO_MASK], [NO_MASK]);
        self.open_masks(work, index, &mut open)?;
        if !pooled {
            self.next_masks(layer, shift, index, &mut next)?;
            region_mut(self.wires, &layer.output)
                .set(index, next[0].high.wrapping_neg() & low_mask(work.wire_bits));
        }
        Ok((open[0].high, next[0].added))
    }

    pub(super) fn comparisons(&mut self, layer: &LayerPlan<'_>, work: &Work) -> Result<(), MaterialError> {
        let layout = work.layout;
        let mut flips = self.secrets.stream(layer.index, Own::Flip);
        let mut word = 0;
        for group in 0..layer.groups() {
            for chunk in Selected::new(layer.relu(), true, layer.group_range(group)) {
                let mut highs = [0_u16; LANES];
                for (slot, &index) in highs.iter_mut().zip(chunk.indices()) {
                    let mut mask = [NO_MASK];
                    self.open_masks(work, index as usize, &mut mask)?;
                    *slot = mask[0].high as u16;
                }
                let mut planes = [0; 16];
                transpose(&highs, &mut planes);
                let mut flip = [0_u64];
                flips.fill_words(word as u64, &mut flip)?;
                let mut leaves = [0; comparison::MAX_PLANES];
                let leaves = leaves.get_mut(..layout.leaf_planes()).ok_or(MaterialError::Bundle)?;
                comparison::deal_leaves(layout, &planes, flip[0], leaves);
                self.put_planes(Section::Leaf, word, leaves)?;
                word += 1;
            }
        }
        for level in 0..layout.levels() {
            let mut own = self.secrets.stream(layer.index, Own::Tree(level as u8));
            for word in 0..word {
                let mut uniform = [0; comparison::MAX_PLANES];
                let uniform = uniform.get_mut(..layout.opened_planes(level)).ok_or(MaterialError::Bundle)?;
                own.fill_words((word * uniform.len()) as u64, uniform)?;
                let mut planes = [0; comparison::MAX_PLANES];
                let planes = planes.get_mut(..layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
                comparison::deal_tree(layout, level, uniform, planes);
                self.put_planes(Section::Tree(level as u8), word, planes)?;
            }
        }
        Ok(())
    }

    pub(super) fn relus(&mut self, layer: &LayerPlan<'_>, work: &Work) -> Result<(), MaterialError> {
        let pooled = layer.pool().is_some();
        let kinds = if pooled { relu::WORDS_POOLED } else { relu::WORDS };
        let mut flips = self.secrets.stream(layer.index, Own::Flip);
        let mut position = Position::default();
        let mut base = 0;
        for group in 0..layer.groups() {
            let mut rank = 0;
            for tile in 0..layer.group_tiles(group) {
                for chunk in Selected::new(layer.relu(), true, layer.tile_range(group, tile)) {
                    let count = chunk.indices().len();
                    let mut flip = [0_u64; 2];
                    flips.fill_words((base + rank / LANES) as u64, &mut flip)?;
                    let flip = bits_from(&flip, rank % LANES);
                    rank += count;
                    let mut secrets = [relu::Secret { mask: 0, flip: 0, next_mask: 0 }; LANES];
                    for (i, (slot, &index)) in secrets.iter_mut().zip(chunk.indices()).enumerate() {
                        let (mask, next) = self.element_masks(layer, work, index as usize, 0, pooled)?;
                        *slot = relu::Secret { mask, flip: flip >> i & 1, next_mask: next };
                    }
                    let mut words = [0_u64; relu::WORDS * LANES];
                    let words = words.get_mut(..kinds * count).unwrap_or(&mut []);
                    relu::deal(work.opened_bits, secrets.get(..count).unwrap_or(&[]), words);
                    self.put(Section::Relu, &mut position, work.wire_bits, words, true)?;
                }
            }
            base += layer.group_relus(group).div_ceil(LANES);
        }
        Ok(())
    }

    pub(super) fn windows(&mut self, layer: &LayerPlan<'_>, work: &Work) -> Result<(), MaterialError> {
        let rescale = matches!(layer.step, StepPlan::Rescale { .. });
        // In H the windows of a linear sum are P1's alone.
        let shared = !(rescale && self.is_held());
        for first in (0..layer.windows()).step_by(LANES) {
            let count = (layer.windows() - first).min(LANES);
            let mut own = [0_u64; LANES];
            let own = own.get_mut(..count).unwrap_or(&mut []);
            if shared {
                self.half.mixed_words(
                    Section::Window,
                    Position { words: first as u64, bytes: 0 },
                    &[],
                    own,
                )?;
            }
            let mut bytes = [0; LANES * 8];
            let mut packer = Packer::new(&mut bytes);
            for (i, own) in own.iter().enumerate() {
                let window = first + i;
                let bits = layer.window_bits(work, window);
                let mut mask = [NO_MASK];
                self.next_masks(layer, bits - work.wire_bits, window, &mut mask)?;
                region_mut(self.wires, &layer.output)
                    .set(window, mask[0].high.wrapping_neg() & low_mask(work.wire_bits));
                let sum = if rescale { region(self.wires, &layer.pooled[1]).get(window) } else { 0 };
                packer.extend(&[sum.wrapping_add(mask[0].added).wrapping_sub(*own)], bits);
            }
            let length = packer.finish();
            self.sink.write(bytes.get(..length).unwrap_or(&[]))?;
        }
        Ok(())
    }
}
