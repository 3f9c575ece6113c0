//! Between the openings: comparisons of the group, and shares of activated values.

use super::ErrorKind;
use super::half::{Half, MaterialError, ModelHalf};
use super::memory::{Chunk, Selected, region, window_as};
use super::session::Session;
use super::tournament::planes_at;
use super::walk::Group;
use crate::bits::{LANES, bits_from, transpose};
use crate::gate::{comparison, polynomial, relu};
use crate::plan::{Role, Section};
use crate::ring::Word;

impl<'p, H: Half, M: ModelHalf> Session<'p, '_, H, M> {
    /// C of a tile is known: polynomials of a pool add up, P0 in H puts ReLUs' C aside, and the last tile
    /// starts the comparisons.
    pub(super) fn opened(&mut self, group: &mut Group<'p>, tile: usize) -> Result<(), ErrorKind> {
        group.opened = tile + 1;
        let range = group.layer.tile_range(group.group, tile);
        let blind = self.is_blind();
        if let Some(pool) = group.layer.pool() {
            self.add_selected(group, tile, false, &pool)?;
        }
        if blind {
            for chunk in Selected::new(group.layer.relu(), true, range.clone()) {
                let mut opened = [0_u16; LANES];
                let opened = opened.get_mut(..chunk.indices().len()).unwrap_or(&mut []);
                chunk.gather(super::ring_words_u16(window_as(self.window, range.len())), range.start, opened);
                let kept = kept_opened(self.state, group);
                for (slot, value) in kept.iter_mut().skip(self.positions.kept).zip(opened.iter()) {
                    *slot = *value;
                }
                self.positions.kept += opened.len();
            }
            if group.layer.pool().is_none() && group.layer.relu().count(range.clone()) < range.len() {
                group.pending = Some(tile);
            }
        }
        if group.opened == group.layer.group_tiles(group.group) && group.relus > 0 {
            self.begin_comparison(group)?;
        }
        Ok(())
    }

    /// Evaluates every leaf of the group and masks the first level.
    pub(super) fn begin_comparison(&mut self, group: &mut Group<'p>) -> Result<(), ErrorKind> {
        let layout = group.work.layout;
        let size = layout.state_words();
        let blind = self.is_blind();
        let relus = group.relus;
        let mut chunks = Selected::new(group.layer.relu(), true, group.layer.group_range(group.group));
        for word in 0..relus.div_ceil(LANES) {
            let mut opened = [0_u16; LANES];
            if blind {
                let kept = kept_opened(self.state, group);
                for (slot, value) in opened
                    .iter_mut()
                    .zip(kept.get(word * LANES..relus.min((word + 1) * LANES)).unwrap_or(&[]))
                {
                    *slot = *value;
                }
            } else if let Some(chunk) = chunks.next() {
                chunk.gather(region(self.wires, &group.layer.opened), 0, &mut opened);
            }
            let mut planes = [0; 16];
            transpose(&opened, &mut planes);
            let mut leaves = [0; comparison::MAX_LEAVES_16];
            let leaves = leaves.get_mut(..layout.leaf_planes()).ok_or(MaterialError::Bundle)?;
            let at = planes_at(self.positions.comparisons as usize + word, leaves.len());
            self.half.words(Section::Leaf, at, 64, leaves)?;
            let record = self.state.get_mut(word * size..(word + 1) * size).ok_or(MaterialError::Bundle)?;
            comparison::evaluate_leaves(layout, H::ROLE == Role::Bundle, &planes, leaves, record);
        }
        self.mask_level(group, 0)
    }

    /// Masks the operands of a level of the tree, or, after the last, takes this party's share of t.
    pub(super) fn mask_level(&mut self, group: &mut Group<'p>, level: usize) -> Result<(), ErrorKind> {
        let layout = group.work.layout;
        let size = layout.state_words();
        for word in 0..group.relus.div_ceil(LANES) {
            let record = self.state.get_mut(word * size..(word + 1) * size).ok_or(MaterialError::Bundle)?;
            if level == layout.levels() {
                comparison::open_sign(layout, record);
                continue;
            }
            let mut masks = [0; comparison::MAX_TREE_PLANES];
            let masks = masks.get_mut(..layout.tree_planes(level)).ok_or(MaterialError::Bundle)?;
            let at = planes_at(self.positions.comparisons as usize + word, masks.len());
            self.half.words(Section::Tree(level as u8), at, 64, masks)?;
            comparison::open_tree(layout, level, masks, record);
        }
        group.level = Some(level);
        Ok(())
    }

    pub(super) fn transmit_planes(&self, group: &Group<'_>, tile: usize, planes: usize, payload: &mut [u8]) {
        let layout = group.work.layout;
        let first = tile * group.layer.words_a_frame();
        let lanes = self.frame_lanes(group, tile);
        let records = self.state.get(first * layout.state_words()..).unwrap_or(&[]);
        comparison::write_planes(layout, planes, lanes, records, payload);
    }

    /// Comparisons of a frame of a bit step.
    fn frame_lanes(&self, group: &Group<'_>, tile: usize) -> usize {
        let words = group.layer.words_a_frame();
        group.relus.saturating_sub(tile * words * LANES).min(words * LANES)
    }

    /// Offsets of a frame's records in the state, a reader of its planes, and the first record's number.
    pub(super) fn plane_records<'f>(
        &self,
        group: &Group<'_>,
        tile: usize,
        payload: &'f [u8],
    ) -> (impl Iterator<Item = usize> + Clone + use<'f, 'p, H, M>, comparison::PlaneReader<'f>, usize) {
        let size = group.work.layout.state_words();
        let first = tile * group.layer.words_a_frame();
        let lanes = self.frame_lanes(group, tile);
        let records = (first..first + lanes.div_ceil(LANES)).map(move |word| word * size);
        (records, comparison::PlaneReader::new(payload, lanes), first)
    }

    /// This party's shares of the activated values of a tile's polynomial (or ReLU) elements, in runs of up
    /// to 64, for `take`.
    pub(super) fn selected_shares<W: Word>(
        &mut self,
        group: &Group<'p>,
        range: core::ops::Range<usize>,
        relus: bool,
        mut take: impl FnMut(&mut [u64], &Chunk, &mut [W]),
    ) -> Result<(), ErrorKind> {
        let (layer, work) = (&group.layer, group.work);
        let pooled = layer.pool().is_some();
        let plane = layer.sum.plane().max(1);
        let blind = self.is_blind();
        let bits = work.wire_bits + if relus { 0 } else { work.frac_bits };
        let kinds = match (relus, pooled) {
            (false, _) => polynomial::WORDS,
            (true, false) => relu::WORDS,
            (true, true) => relu::WORDS_POOLED,
        };
        let mut channel_share = None;
        for chunk in Selected::new(layer.relu(), relus, range.clone()) {
            let count = chunk.indices().len();
            let mut opened = [0_u16; LANES];
            let opened = opened.get_mut(..count).unwrap_or(&mut []);
            match (blind, relus) {
                (true, true) => {
                    let kept = kept_opened(self.state, group);
                    for (slot, value) in opened.iter_mut().zip(kept.iter().skip(self.positions.selected)) {
                        *slot = *value;
                    }
                }
                (true, false) => chunk.gather(
                    super::ring_words_u16(window_as(self.window, range.len())),
                    range.start,
                    opened,
                ),
                (false, _) => chunk.gather(region(self.wires, &layer.opened), 0, opened),
            }
            let mut words = [W::default(); relu::WORDS * LANES];
            let words = words.get_mut(..kinds * count).unwrap_or(&mut []);
            let mut shares = [W::default(); LANES];
            let shares = shares.get_mut(..count).unwrap_or(&mut []);
            if relus {
                self.half.words(Section::Relu, self.positions.relu, bits, words)?;
                self.positions.relu.advance(count, kinds, bits);
                let signs = self.signs(group, self.positions.selected);
                self.positions.selected += count;
                relu::evaluate(work.opened_bits, H::ROLE == Role::Bundle, opened, signs, words, shares);
            } else {
                self.half.words(Section::Polynomial, self.positions.polynomial, bits, words)?;
                self.positions.polynomial.advance(count, kinds, bits);
                let mut quadratic = [W::default(); LANES];
                for (slot, &index) in quadratic.iter_mut().zip(chunk.indices()) {
                    let channel = (index as usize / plane) as u16;
                    let share = match channel_share {
                        Some((known, share)) if known == channel => share,
                        _ => {
                            let share = W::from_u64(self.model.quadratic(layer.index, channel)?);
                            channel_share = Some((channel, share));
                            share
                        }
                    };
                    *slot = share;
                }
                polynomial::evaluate(work.opened_bits, opened, &quadratic, words, shares);
            }
            take(self.wires, &chunk, shares);
        }
        Ok(())
    }

    /// t of 64 ReLUs of the group, from ReLU `first` on.
    fn signs(&self, group: &Group<'_>, first: usize) -> u64 {
        let size = group.work.layout.state_words();
        let at = |word: usize| self.state.get(word * size).copied().unwrap_or(0);
        bits_from(&[at(first / LANES), at(first / LANES + 1)], first % LANES)
    }
}

/// C of the group's ReLUs, which P0 in H keeps behind the comparison records.
fn kept_opened<'s>(state: &'s mut [u64], group: &Group<'_>) -> &'s mut [u16] {
    let relus = group.relus;
    let records = relus.div_ceil(LANES) * group.work.layout.state_words();
    bytemuck::cast_slice_mut(state.get_mut(records..).unwrap_or(&mut [])).get_mut(..relus).unwrap_or(&mut [])
}
