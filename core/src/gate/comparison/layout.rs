//! How the bits of a comparison are cut.

use super::MAX_CHUNK;

/// How the bits of a comparison are cut into leaves and joined by a tree. Public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// k: bits compared; 0 means that lt is zero.
    pub bits: u8,
    /// w: bits of a chunk, the highest chunk may have fewer.
    pub chunk: u8,
}

impl Layout {
    /// The layout for values opened with `opened_bits` = n bits and chunks of about `chunk` bits.
    #[must_use]
    pub const fn new(opened_bits: u8, chunk: u8) -> Self {
        let bits = opened_bits.saturating_sub(2);
        let chunk = if chunk == 0 {
            1
        } else if chunk > MAX_CHUNK {
            MAX_CHUNK
        } else {
            chunk
        };
        // The same number of chunks, as even as they come: fewer products.
        let count = bits.div_ceil(chunk);
        Self { bits, chunk: if count == 0 { 1 } else { bits.div_ceil(count) } }
    }

    /// Number of chunks.
    #[must_use]
    pub const fn chunks(&self) -> usize {
        self.bits.div_ceil(self.chunk) as usize
    }

    /// Width of chunk `index`, the lowest first.
    #[must_use]
    pub const fn width(&self, index: usize) -> u8 {
        let rest = self.bits.saturating_sub(index as u8 * self.chunk);
        if rest < self.chunk { rest } else { self.chunk }
    }

    /// Products of chunk `index`: one for every non-empty subset of its bits.
    #[must_use]
    pub const fn products(&self, index: usize) -> usize {
        (1 << self.width(index)) - 1
    }

    /// Bit planes that the dealer supplies before the tree: the products of every chunk, then R_k ⊕ ρ.
    #[must_use]
    pub const fn leaf_planes(&self) -> usize {
        let mut planes = 1;
        let mut index = 0;
        while index < self.chunks() {
            planes += self.products(index);
            index += 1;
        }
        planes
    }

    /// Levels of the tree.
    #[must_use]
    pub const fn levels(&self) -> usize {
        let mut entries = self.chunks();
        let mut levels = 0;
        while entries > 1 {
            entries = entries.div_ceil(2);
            levels += 1;
        }
        levels
    }

    /// Pairs joined at a level: (how many entries the level starts with) / 2.
    #[must_use]
    pub const fn nodes(&self, level: usize) -> usize {
        let mut entries = self.chunks();
        let mut at = 0;
        while at < level {
            entries = entries.div_ceil(2);
            at += 1;
        }
        entries / 2
    }

    /// Planes opened at a level: 2 for the lowest node, 3 for the others.
    #[must_use]
    pub const fn opened_planes(&self, level: usize) -> usize {
        (3 * self.nodes(level)).saturating_sub(1)
    }

    /// Planes that the dealer supplies for a level: 3 for the lowest node, 5 for the others.
    #[must_use]
    pub const fn tree_planes(&self, level: usize) -> usize {
        (5 * self.nodes(level)).saturating_sub(2)
    }

    /// Words of state that a party keeps for 64 comparisons: (lt, eq) of every chunk, its own opened planes,
    /// and its share of C_k ⊕ R_k ⊕ ρ at the end.
    #[must_use]
    pub const fn state_words(&self) -> usize {
        let opened = self.opened_planes(0);
        self.own_planes() + (if opened == 0 { 1 } else { opened }) + 1
    }

    /// Where a party's own opened planes begin in the state.
    #[must_use]
    pub const fn own_planes(&self) -> usize {
        2 * (if self.chunks() == 0 { 1 } else { self.chunks() })
    }
}
