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
use super::{Exchange, Known, Order, Place};
use crate::bits::{LANES, bits_from, transpose};
use crate::dealer::{Dealing, NO_MASK, Own, Sink};
use crate::error::Internal;
use crate::gate::comparison::{self, Layout};
use crate::party::ErrorKind;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{Selected, part, part_mut};
use crate::plan::{LayerPlan, Role, Section, Step, Work};

/// Whose comparisons they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// A group's ReLUs.
    Relus,
    /// A tournament's round.
    Round(u8),
}

impl Of {
    pub(crate) const fn leaf(self) -> Section {
        match self {
            Self::Relus => Section::Leaf,
            Self::Round(round) => Section::TournamentLeaf(round),
        }
    }

    pub(crate) const fn tree(self, level: usize) -> Section {
        match self {
            Self::Relus => Section::Tree(level as u8),
            Self::Round(round) => Section::TournamentTree(round, level as u8),
        }
    }

    /// The step of a level; after the last, that of t.
    pub(crate) const fn step(self, layout: Layout, level: usize) -> Step {
        match self {
            Self::Relus if level == layout.levels() => Step::Sign,
            Self::Relus => Step::Tree(level as u8),
            Self::Round(round) if level == layout.levels() => Step::TournamentSign(round),
            Self::Round(round) => Step::TournamentTree(round, level as u8),
        }
    }

    /// Every level's, and t's.
    pub(crate) fn steps(self, layout: Layout) -> impl Iterator<Item = Step> {
        (0..=layout.levels()).map(move |level| self.step(layout, level))
    }

    pub(crate) fn sections(self, layout: Layout) -> impl Iterator<Item = Section> {
        core::iter::once(self.leaf()).chain((0..layout.levels()).map(move |level| self.tree(level)))
    }
}

/// Where the planes of word `word` lie in a section with `planes` planes a word.
pub(crate) const fn planes_at(word: usize, planes: usize) -> Position {
    Position { words: (word * planes) as u64, bytes: (word * planes * 8) as u64 }
}

/// Words of 64 comparisons in the groups before.
#[derive(Default)]
pub(crate) struct Course(usize);

impl Course {
    pub(crate) const fn pass(&mut self, relus: usize) {
        self.0 += relus.div_ceil(LANES);
    }
}

/// Comparisons that are carried out together.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) of: Of,
    pub(crate) layout: Layout,
    pub(crate) count: usize,
    /// Words before them in their sections.
    pub(crate) first: usize,
    pub(crate) holds_public: bool,
}

/// Comparisons of one frame.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// The first word of the batch.
    pub(crate) word: usize,
    pub(crate) lanes: usize,
}

impl Batch {
    pub(crate) const fn words(&self) -> usize {
        self.count.div_ceil(LANES)
    }

    /// All of them in one frame.
    pub(crate) const fn frame(&self) -> Frame {
        Frame { word: 0, lanes: self.count }
    }

    /// The state of 64 comparisons.
    pub(crate) fn record<'s>(&self, records: &'s mut [u64], word: usize) -> Result<&'s mut [u64], Internal> {
        let size = self.layout.state_words();
        part_mut(records, word * size..(word + 1) * size)
    }

    /// Masks the operands of a level of the tree, or, after the last, takes this party's share of t; gives the
    /// step that sends them.
    ///
    /// Never inlined, like its neighbour: their arrays of planes would stay on a small party's stack through
    /// the whole session.
    #[inline(never)]
    pub(crate) fn mask_level<H: Half>(
        &self,
        half: &mut H,
        records: &mut [u64],
        level: usize,
    ) -> Result<Step, MaterialError> {
        for word in 0..self.words() {
            let record = self.record(records, word)?;
            if level == self.layout.levels() {
                comparison::open_sign(self.layout, record)?;
                continue;
            }
            let mut masks = [0; comparison::MAX_TREE_PLANES];
            let masks = part_mut(&mut masks, ..self.layout.tree_planes(level))?;
            let at = planes_at(self.first + word, masks.len());
            half.words(self.of.tree(level), at, 64, masks)?;
            comparison::open_tree(self.layout, level, masks, record)?;
        }
        Ok(self.of.step(self.layout, level))
    }

    /// Joins a level with the peer's planes of a frame.
    #[inline(never)]
    pub(crate) fn join_level<H: Half>(
        &self,
        half: &mut H,
        records: &mut [u64],
        level: usize,
        frame: Frame,
        payload: &[u8],
    ) -> Result<(), MaterialError> {
        let mut reader = PlaneReader::new(payload, frame.lanes);
        for word in frame.word..frame.word + frame.lanes.div_ceil(LANES) {
            let mut peer = [0; comparison::MAX_OPENED_PLANES];
            let mut masks = [0; comparison::MAX_TREE_PLANES];
            let peer = part_mut(&mut peer, ..self.layout.opened_planes(level))?;
            reader.take(peer)?;
            let masks = part_mut(&mut masks, ..self.layout.tree_planes(level))?;
            half.words(self.of.tree(level), planes_at(self.first + word, masks.len()), 64, masks)?;
            let record = self.record(records, word)?;
            comparison::join_tree(self.layout, level, self.holds_public, masks, peer, record)?;
        }
        Ok(())
    }

    /// Planes of a level, or of t.
    const fn planes(&self, level: Option<usize>) -> usize {
        match level {
            Some(level) => self.layout.opened_planes(level),
            None => 1,
        }
    }

    /// Writes this party's own opened planes of a frame, word by word; the last word's planes are cut to whole
    /// bytes.
    pub(crate) fn write(
        &self,
        records: &[u64],
        level: Option<usize>,
        frame: Frame,
        out: &mut [u8],
    ) -> Result<(), Internal> {
        let (size, own) = (self.layout.state_words(), self.layout.own_planes());
        let mut rest = out;
        for index in 0..frame.lanes.div_ceil(LANES) {
            let bytes = (frame.lanes - LANES * index).min(LANES).div_ceil(8);
            let from = (frame.word + index) * size + own;
            for plane in part(records, from..from + self.planes(level))? {
                let (head, tail) = core::mem::take(&mut rest).split_at_mut_checked(bytes).ok_or(Internal)?;
                for (slot, byte) in head.iter_mut().zip(plane.to_le_bytes()) {
                    *slot = byte;
                }
                rest = tail;
            }
        }
        // Old bytes would be sent behind the planes.
        if rest.is_empty() { Ok(()) } else { Err(Internal) }
    }
}

/// Bytes of `planes` bit planes over `lanes` comparisons: whole words of 8 bytes, the last word's planes cut
/// to its lanes.
pub(crate) const fn plane_bytes(lanes: usize, planes: usize) -> usize {
    planes * (lanes / LANES * 8 + (lanes % LANES).div_ceil(8))
}

/// Reads planes as [`Batch::write`] writes them.
pub(crate) struct PlaneReader<'a> {
    bytes: &'a [u8],
    lanes: usize,
}

impl<'a> PlaneReader<'a> {
    /// Planes of `lanes` comparisons.
    pub(crate) const fn new(bytes: &'a [u8], lanes: usize) -> Self {
        Self { bytes, lanes }
    }

    /// The next word's planes.
    pub(crate) fn take(&mut self, planes: &mut [u64]) -> Result<(), Internal> {
        let bytes = self.lanes.min(LANES).div_ceil(8);
        for plane in planes {
            let (head, tail) = self.bytes.split_at_checked(bytes).ok_or(Internal)?;
            *plane = head.iter().enumerate().fold(0, |word, (i, &byte)| word | u64::from(byte) << (8 * i));
            self.bytes = tail;
        }
        self.lanes = self.lanes.saturating_sub(LANES);
        Ok(())
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

    fn frames(self, layer: &LayerPlan<'_>, group: usize) -> usize {
        layer.group_relus(group).div_ceil(LANES).div_ceil(layer.words_a_frame())
    }

    fn payload(self, at: &Place<'_, '_>, _role: Role, _turn: Turn) -> usize {
        let planes = self.level().map_or(1, |level| at.work.layout.opened_planes(level));
        plane_bytes(frame_of(at.layer, at.layer.group_relus(at.group), at.tile).lanes, planes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_whole_or_an_error() {
        let layout = Layout::new(10, 4);
        let batch = Batch { of: Of::Relus, layout, count: 70, first: 0, holds_public: true };
        let mut records = std::vec![3; 2 * layout.state_words()];
        let frame = batch.frame();
        let length = plane_bytes(70, layout.opened_planes(0));
        let mut out = std::vec![0xaa; length + 1];
        assert_eq!(batch.write(&records, Some(0), frame, &mut out[..length]), Ok(()));
        assert_eq!(batch.write(&records, Some(0), frame, &mut out[..length - 1]), Err(Internal));
        assert_eq!(batch.write(&records, Some(0), frame, &mut out), Err(Internal), "a byte would stay old");
        let short = records.len() - layout.state_words();
        assert_eq!(batch.write(&records[..short], Some(0), frame, &mut out[..length]), Err(Internal));
        assert!(batch.record(&mut records, 1).is_ok());
        assert_eq!(batch.record(&mut records, 2).err(), Some(Internal));
        let mut reader = PlaneReader::new(&out[..length - 1], 70);
        assert_eq!(reader.take(&mut [0; 2]), Ok(()));
        assert_eq!(reader.take(&mut [0; 2]), Err(Internal));
    }
}
