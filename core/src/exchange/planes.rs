//! Comparisons that are carried out together, 64 a word: their names, their records in the arena, and their
//! planes on the wire.

use crate::bits::LANES;
use crate::error::Internal;
use crate::gate::comparison::{self, Layout};
use crate::party::half::{Half, MaterialError, Position};
use crate::party::memory::{part, part_mut};
use crate::plan::{Section, Step};

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
