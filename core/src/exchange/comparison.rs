//! Comparisons, 64 a word: leaves, the levels of the tree and t, of a layer's ReLUs and of a tournament's
//! rounds. Their arithmetic is [`crate::gate::comparison`]'s.
//!
//! * *Moves*, both ways at once in every mode: of each 64 comparisons 2 planes of 8 bytes for the lowest node
//!   of a level and 3 for the others, then one plane of t; the last word's planes are cut to whole bytes. Of
//!   ReLUs a frame is as many words as a tile may fill; of a round there is one.
//! * *Sections*: a leaf section and one a level, in words of 64 comparisons, group by group.
//! * *Waits*: a level for the one before, the first for all of the group's C, t for the last level.
//! * *Arena*: [`Layout::state_words`] at the front of the state for every 64 comparisons.

use super::opening::Turn;
use super::party::{Group, Party};
use super::planes::{Batch, Frame, Of, PlaneReader, plane_bytes, planes_at};
use super::{Exchange, Known, Order, Place};
use crate::bits::{LANES, bits_from, transpose};
use crate::dealer::{Dealing, NO_MASK, Own, Sink};
use crate::error::Internal;
use crate::gate::comparison::{self, Layout};
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf};
use crate::party::memory::{Selected, part, part_mut};
use crate::plan::{GroupPlan, LayerPlan, Role, Work};

/// Words of 64 comparisons in the groups before.
#[derive(Default)]
pub(crate) struct Course(usize);

impl Course {
    pub(crate) const fn pass(&mut self, relus: usize) {
        self.0 += relus.div_ceil(LANES);
    }
}

/// A level of a group's ReLUs, or t.
#[derive(Clone, Copy)]
pub(crate) struct Relus {
    pub(crate) level: Option<u8>,
}

impl Relus {
    fn level(self) -> Option<usize> {
        self.level.map(usize::from)
    }
}

impl Exchange for Relus {
    const ORDER: Order = Order::Both;
    const IN_EVERY_GROUP: bool = true;

    fn after(self, _layer: &LayerPlan<'_>) -> Known {
        Known::Link
    }

    fn gives(self) -> &'static [Known] {
        if self.level.is_some() { &[Known::Link] } else { &[Known::Activated] }
    }

    fn frames(self, group: &GroupPlan<'_, '_>) -> usize {
        group.relus.div_ceil(LANES).div_ceil(group.layer.words_a_frame())
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, _turn: Turn) -> usize {
        let planes = self.level().map_or(1, |level| at.group.work.layout.opened_planes(level));
        plane_bytes(frame_of(at.group.layer, at.group.relus, at.tile).lanes, planes)
    }

    fn write<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &mut [u8],
    ) -> Result<(), ErrorKind> {
        let frame = frame_of(&group.layer, group.relus, tile);
        Ok(batch(party, group).write(party.state, self.level(), frame, payload)?)
    }

    fn read<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
        tile: usize,
        payload: &[u8],
    ) -> Result<(), ErrorKind> {
        let (batch, frame) = (batch(party, group), frame_of(&group.layer, group.relus, tile));
        if let Some(level) = self.level() {
            return Ok(batch.join_level(&mut party.half, party.state, level, frame, payload)?);
        }
        let mut reader = PlaneReader::new(payload, frame.lanes);
        for word in frame.word..frame.word + frame.lanes.div_ceil(LANES) {
            let mut peer = [0];
            reader.take(&mut peer)?;
            let record = batch.record(party.state, word)?;
            let opened = *part(record, batch.layout.own_planes())? ^ peer[0];
            // t takes lt's place.
            *part_mut(record, 0)? = opened;
        }
        Ok(())
    }

    fn finish<H: Half, M: ModelHalf>(
        self,
        party: &mut Party<'_, H, M>,
        group: &mut Group<'_>,
    ) -> Result<(), ErrorKind> {
        match self.level() {
            Some(level) => mask_level(party, group, level + 1),
            None => super::activation::signed(party, group),
        }
    }
}

/// Comparisons of a frame of a group's bit steps.
fn frame_of(layer: &LayerPlan<'_>, relus: usize, tile: usize) -> Frame {
    let words = layer.words_a_frame();
    let word = tile * words;
    Frame { word, lanes: relus.saturating_sub(word * LANES).min(words * LANES) }
}

fn batch<H: Half, M: ModelHalf>(party: &Party<'_, H, M>, group: &Group<'_>) -> Batch {
    Batch {
        of: Of::Relus,
        layout: group.work.layout,
        count: group.relus,
        first: group.course.comparisons.0,
        holds_public: party.holds_public(),
    }
}

fn mask_level<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    level: usize,
) -> Result<(), ErrorKind> {
    group.ready = Some(batch(party, group).mask_level(&mut party.half, party.state, level)?);
    Ok(())
}

/// Evaluates every leaf of the group, whose C `opened` gives 64 ReLUs at a time, and masks the first level.
pub(crate) fn begin<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    mut opened: impl FnMut(&mut Party<'_, H, M>, usize, &mut [u16; LANES]) -> Result<(), Internal>,
) -> Result<(), ErrorKind> {
    let batch = batch(party, group);
    let layout = batch.layout;
    for word in 0..batch.words() {
        let mut values = [0_u16; LANES];
        opened(party, word, &mut values)?;
        let mut planes = [0; 16];
        transpose(&values, &mut planes);
        let mut leaves = [0; comparison::MAX_LEAVES_16];
        let leaves = part_mut(&mut leaves, ..layout.leaf_planes())?;
        party.half.words(Of::Relus.leaf(), planes_at(batch.first + word, leaves.len()), 64, leaves)?;
        let record = batch.record(party.state, word)?;
        comparison::evaluate_leaves(layout, batch.holds_public, &planes, leaves, record)?;
    }
    mask_level(party, group, 0)
}

/// t of 64 ReLUs of the group, from ReLU `first` on.
pub(crate) fn signs(state: &[u64], group: &Group<'_>, first: usize) -> Result<u64, Internal> {
    let (size, words) = (group.work.layout.state_words(), group.relus.div_ceil(LANES));
    // Behind the last word there is no ReLU.
    let at = |word: usize| if word < words { part(state, word * size).copied() } else { Ok(0) };
    Ok(bits_from(&[at(first / LANES)?, at(first / LANES + 1)?], first % LANES))
}

/// 64-bit words of the state that a group's comparisons take.
pub(crate) const fn state_words(layout: Layout, relus: usize) -> usize {
    relus.div_ceil(LANES) * layout.state_words()
}

/// Bytes of a section with so many planes for 64 comparisons.
pub(crate) fn section_bytes(layer: &LayerPlan<'_>, planes: usize) -> u64 {
    let words = |group| layer.group_relus(group).div_ceil(LANES) as u64;
    (0..layer.groups()).map(words).sum::<u64>() * 8 * planes as u64
}

/// Leaves and levels of a layer's ReLUs.
pub(crate) fn deal<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
) -> Result<(), MaterialError> {
    let mut flips = dealing.secrets.stream(layer.index, Own::Flip);
    let mut words = 0;
    for group in 0..layer.groups() {
        for chunk in Selected::new(layer.relu(), true, layer.group_range(group)) {
            let mut highs = [0_u16; LANES];
            for (slot, &index) in highs.iter_mut().zip(chunk.indices()) {
                let mut mask = [NO_MASK];
                dealing.open_masks(work, index as usize, &mut mask)?;
                *slot = mask[0].high as u16;
            }
            let mut planes = [0; 16];
            transpose(&highs, &mut planes);
            let mut flip = [0_u64];
            flips.fill_words(words as u64, &mut flip)?;
            deal_leaves(dealing, Of::Relus, work.layout, words, &planes, flip[0])?;
            words += 1;
        }
    }
    deal_levels(dealing, layer, Of::Relus, work.layout, words, |level| Own::Tree(level as u8))
}

/// Leaves of 64 comparisons.
pub(crate) fn deal_leaves<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    of: Of,
    layout: Layout,
    word: usize,
    mask: &[u64],
    flip: u64,
) -> Result<(), MaterialError> {
    let mut leaves = [0; comparison::MAX_PLANES];
    let leaves = part_mut(&mut leaves, ..layout.leaf_planes())?;
    comparison::deal_leaves(layout, mask, flip, leaves)?;
    dealing.put_planes(of.leaf(), word, leaves)
}

/// Every level of so many words, from the dealer's streams `own`.
pub(crate) fn deal_levels<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    of: Of,
    layout: Layout,
    words: usize,
    own: impl Fn(usize) -> Own,
) -> Result<(), MaterialError> {
    for level in 0..layout.levels() {
        let mut stream = dealing.secrets.stream(layer.index, own(level));
        for word in 0..words {
            let mut uniform = [0; comparison::MAX_PLANES];
            let uniform = part_mut(&mut uniform, ..layout.opened_planes(level))?;
            stream.fill_words((word * uniform.len()) as u64, uniform)?;
            let mut planes = [0; comparison::MAX_PLANES];
            let planes = part_mut(&mut planes, ..layout.tree_planes(level))?;
            comparison::deal_tree(layout, level, uniform, planes)?;
            dealing.put_planes(of.tree(level), word, planes)?;
        }
    }
    Ok(())
}
