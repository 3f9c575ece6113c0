//! Comparison of a public value with a secret one, bit-sliced (AutoReP §2.1, "secure 2PC comparison").
//!
//! s = [y ≥ 0] = C_k ⊕ R_k ⊕ lt, lt = [C mod 2^k < R mod 2^k], k = n − 2; one `u64` carries 64 comparisons.
//!
//! 1. *Leaves, no message.* The k bits are cut into chunks of w. The dealer shares the products of every non-empty subset of R's bits
//!    in a chunk, 2^w − 1 bits. With ē_i = R_i ⊕ C_i ⊕ 1, eq = Π ē_i and lt = ⊕_i (¬C_i ∧ R_i) Π_{j>i} ē_j
//!    are XOR-linear in them because C is public: folding the products bit by bit from the top, P\[S\] ← P\[S
//!    ∪ {i}\] ⊕ (¬C_i ∧ P\[S\]), gives Π_{j≥i} ē_j · Π_{S} R, so eq is what remains at the end and each term
//!    of lt is one AND with a public bit on the way.
//! 2. *Tree.* lt = lt_hi ⊕ (eq_hi ∧ lt_lo), eq = eq_hi ∧ eq_lo. Operands are opened under masks a, b, c; the dealer shares a, b, ab (and
//!    c, ac where eq is still needed): x·y = XY ⊕ Xb ⊕ Ya ⊕ ab. The node over the lowest chunk never needs
//!    eq. lt_hi is never opened.
//! 3. t = s ⊕ ρ is opened; the dealer shares the one bit R_k ⊕ ρ.

/// Chunk width, at most: 2^8 − 1 products.
pub const MAX_CHUNK: u8 = 8;
/// Chunks of a comparison, at most (k ≤ 30 in chunks of 4, or of 1 for small k).
pub const MAX_CHUNKS: usize = 32;
/// Bits compared, at most.
pub const MAX_BITS: usize = 32;
/// Levels of a tree, at most.
pub const MAX_LEVELS: usize = 5;
/// Planes of the leaves or of a level, at most: 30 bits in three chunks of 8 and one of 6.
pub const MAX_PLANES: usize = 829;
/// Planes of the leaves of a value opened with up to 16 bits, at most: 8 bits in one chunk. No chunk of any
/// value has more products.
pub const MAX_LEAVES_16: usize = 256;
/// Planes that the dealer supplies for a level of a tree, at most: 30 bits in 30 chunks.
pub const MAX_TREE_PLANES: usize = 73;
/// Planes that are opened at a level of a tree, at most.
pub const MAX_OPENED_PLANES: usize = 44;

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

/// Entry offsets inside the state of 64 comparisons.
const fn lt(entry: usize) -> usize {
    2 * entry
}
const fn eq(entry: usize) -> usize {
    2 * entry + 1
}

/// [y ≥ 0].
#[must_use]
#[inline]
pub const fn reference(y: i64) -> bool {
    y >= 0
}

/// The dealer's leaf planes: products of the bits of R, then R_k ⊕ ρ.
///
/// # Shapes
/// `mask`: bit planes 0 ..= k of R; `out`: [`Layout::leaf_planes`].
pub fn deal_leaves(layout: Layout, mask: &[u64], flip: u64, out: &mut [u64]) {
    let bit = |i: usize| mask.get(i).copied().unwrap_or(0);
    let mut slots = out.iter_mut();
    for chunk in 0..layout.chunks() {
        let first = chunk * usize::from(layout.chunk);
        for subset in 1..1_usize << layout.width(chunk) {
            let mut product = u64::MAX;
            for i in 0..usize::from(layout.width(chunk)) {
                if subset >> i & 1 == 1 {
                    product &= bit(first + i);
                }
            }
            if let Some(slot) = slots.next() {
                *slot = product;
            }
        }
    }
    if let Some(slot) = slots.next() {
        *slot = bit(usize::from(layout.bits)) ^ flip;
    }
}

/// The dealer's planes for one level from uniform masks: a, b, ab and, above the lowest node, c, ac.
///
/// # Shapes
/// `uniform`: [`Layout::opened_planes`] (a, b, then a, b, c …); `out`: [`Layout::tree_planes`].
pub fn deal_tree(layout: Layout, level: usize, uniform: &[u64], out: &mut [u64]) {
    let mut masks = uniform.iter().copied();
    let mut slots = out.iter_mut();
    let mut put = |value: u64| {
        if let Some(slot) = slots.next() {
            *slot = value;
        }
    };
    for node in 0..layout.nodes(level) {
        let (a, b) = (masks.next().unwrap_or(0), masks.next().unwrap_or(0));
        for value in [a, b, a & b] {
            put(value);
        }
        if node > 0 {
            let c = masks.next().unwrap_or(0);
            put(c);
            put(a & c);
        }
    }
}

/// A party's (lt, eq) of every chunk, and its share of C_k ⊕ R_k ⊕ ρ.
///
/// # Shapes
/// `opened`: bit planes of C; `leaves`: this party's [`Layout::leaf_planes`], folded in place; `state`:
/// [`Layout::state_words`].
pub fn evaluate_leaves(
    layout: Layout,
    holds_public: bool,
    opened: &[u64],
    leaves: &mut [u64],
    state: &mut [u64],
) {
    let mut rest = leaves;
    for chunk in 0..layout.chunks() {
        let Some((products, tail)) = core::mem::take(&mut rest).split_at_mut_checked(layout.products(chunk))
        else {
            return;
        };
        evaluate_chunk(layout, chunk, holds_public, opened, products, state);
        rest = tail;
    }
    if let Some(flipped) = rest.first() {
        evaluate_top(layout, holds_public, opened, *flipped, state);
    }
}

/// A party's (lt, eq) of one chunk.
///
/// # Shapes
/// `products`: this party's [`Layout::products`] of the chunk, folded in place; the others as in
/// [`evaluate_leaves`].
pub fn evaluate_chunk(
    layout: Layout,
    chunk: usize,
    holds_public: bool,
    opened: &[u64],
    products: &mut [u64],
    state: &mut [u64],
) {
    let first = chunk * usize::from(layout.chunk);
    // The empty product is the public 1, held by P1. Products of other subsets S lie at S − 1.
    let mut equal = u64::from(holds_public).wrapping_neg();
    let mut less = 0;
    for i in (0..usize::from(layout.width(chunk))).rev() {
        let not_c = !opened.get(first + i).copied().unwrap_or(0);
        let Some((low, [with_i, high @ ..])) = products.split_at_mut_checked((1 << i) - 1) else { return };
        less ^= not_c & *with_i;
        equal = *with_i ^ (not_c & equal);
        for (slot, with) in low.iter_mut().zip(high.iter()) {
            *slot = with ^ (not_c & *slot);
        }
    }
    for (index, value) in [(lt(chunk), less), (eq(chunk), equal)] {
        if let Some(slot) = state.get_mut(index) {
            *slot = value;
        }
    }
}

/// A party's share of C_k ⊕ R_k ⊕ ρ from its share of R_k ⊕ ρ, the last plane of the leaves.
pub fn evaluate_top(layout: Layout, holds_public: bool, opened: &[u64], flipped: u64, state: &mut [u64]) {
    let public = u64::from(holds_public).wrapping_neg();
    let top = opened.get(usize::from(layout.bits)).copied().unwrap_or(0) & public;
    if let Some(slot) = state.last_mut() {
        *slot = top ^ flipped;
    }
}

/// This party's masked operands of one level, into the end of the state.
///
/// # Shapes
/// `masks`: this party's [`Layout::tree_planes`]. Returns [`Layout::opened_planes`] to be sent.
pub fn open_tree<'s>(layout: Layout, level: usize, masks: &[u64], state: &'s mut [u64]) -> &'s [u64] {
    let Some((entries, opened)) = state.split_at_mut_checked(layout.own_planes()) else { return &[] };
    let at = |i: usize| entries.get(i).copied().unwrap_or(0);
    let mut masks = masks.iter().copied();
    let mut next = || masks.next().unwrap_or(0);
    let mut count = 0;
    let mut put = |value: u64| {
        if let Some(slot) = opened.get_mut(count) {
            *slot = value;
            count += 1;
        }
    };
    for node in 0..layout.nodes(level) {
        let (a, b, _product) = (next(), next(), next());
        put(at(eq(2 * node + 1)) ^ a);
        put(at(lt(2 * node)) ^ b);
        if node > 0 {
            let (c, _product) = (next(), next());
            put(at(eq(2 * node)) ^ c);
        }
    }
    opened.get(..count).unwrap_or(&[])
}

/// Joins the entries of one level from the peer's opened planes and this party's own, which [`open_tree`]
/// left in the state.
pub fn join_tree(
    layout: Layout,
    level: usize,
    holds_public: bool,
    masks: &[u64],
    peer: &[u64],
    state: &mut [u64],
) {
    let Some((entries, own)) = state.split_at_mut_checked(layout.own_planes()) else { return };
    let public = u64::from(holds_public).wrapping_neg();
    let mut masks = masks.iter().copied();
    let mut next = || masks.next().unwrap_or(0);
    let mut opened = own.iter().zip(peer).map(|(a, b)| a ^ b);
    let nodes = layout.nodes(level);
    for node in 0..nodes {
        let (a, b, ab) = (next(), next(), next());
        let (x, y) = (opened.next().unwrap_or(0), opened.next().unwrap_or(0));
        let product = (x & y & public) ^ (x & b) ^ (y & a) ^ ab;
        let joined_lt = entries.get(lt(2 * node + 1)).copied().unwrap_or(0) ^ product;
        let mut joined_eq = 0;
        if node > 0 {
            let (c, ac) = (next(), next());
            let z = opened.next().unwrap_or(0);
            joined_eq = (x & z & public) ^ (x & c) ^ (z & a) ^ ac;
        }
        for (index, value) in [(lt(node), joined_lt), (eq(node), joined_eq)] {
            if let Some(slot) = entries.get_mut(index) {
                *slot = value;
            }
        }
    }
    // An odd entry at the top passes on.
    let mut before = layout.chunks();
    for _ in 0..level {
        before = before.div_ceil(2);
    }
    if before % 2 == 1 && nodes > 0 {
        for part in 0..2 {
            let last = entries.get(2 * (before - 1) + part).copied().unwrap_or(0);
            if let Some(slot) = entries.get_mut(2 * nodes + part) {
                *slot = last;
            }
        }
    }
}

/// This party's share of t = s ⊕ ρ from the joined state, whose last word is its share of C_k ⊕ R_k ⊕ ρ; left
/// where a level's own planes are.
pub fn open_sign(layout: Layout, state: &mut [u64]) {
    let less = if layout.bits == 0 { 0 } else { state.first().copied().unwrap_or(0) };
    let top = state.last().copied().unwrap_or(0);
    if let Some(slot) = state.get_mut(layout.own_planes()) {
        *slot = less ^ top;
    }
}

/// Writes this party's own opened planes of `lanes` comparisons, word by word; the last word's planes are cut
/// to whole bytes.
///
/// # Shapes
/// `records`: [`Layout::state_words`] for every 64 comparisons.
pub fn write_planes(layout: Layout, planes: usize, lanes: usize, records: &[u64], out: &mut [u8]) {
    let mut rest = out;
    for (word, record) in records.chunks_exact(layout.state_words()).take(lanes.div_ceil(64)).enumerate() {
        let bytes = (lanes - 64 * word).min(64).div_ceil(8);
        let own = record.get(layout.own_planes()..).unwrap_or(&[]);
        for plane in own.iter().take(planes) {
            let Some((head, tail)) = core::mem::take(&mut rest).split_at_mut_checked(bytes) else { return };
            for (slot, byte) in head.iter_mut().zip(plane.to_le_bytes()) {
                *slot = byte;
            }
            rest = tail;
        }
    }
}

/// Reads planes as [`write_planes`] writes them.
#[derive(Clone, Debug)]
pub struct PlaneReader<'a> {
    bytes: &'a [u8],
    lanes: usize,
}

impl<'a> PlaneReader<'a> {
    /// Planes of `lanes` comparisons.
    #[must_use]
    pub const fn new(bytes: &'a [u8], lanes: usize) -> Self {
        Self { bytes, lanes }
    }

    /// The next word's planes.
    pub fn take(&mut self, planes: &mut [u64]) {
        let bytes = self.lanes.min(64).div_ceil(8);
        for plane in planes {
            let (head, tail) = self.bytes.split_at_checked(bytes).unwrap_or((self.bytes, &[]));
            *plane = head.iter().enumerate().fold(0, |word, (i, &byte)| word | u64::from(byte) << (8 * i));
            self.bytes = tail;
        }
        self.lanes = self.lanes.saturating_sub(64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening;
    use crate::ring::low_mask;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_parties_find_the_sign(opened_bits in 2_u8..=32, chunk in 1_u8..=8, seed in any::<u64>(), edge in any::<bool>()) {
            let layout = Layout::new(opened_bits, chunk);
            let mut state = seed | 1;
            let mut random = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state.wrapping_mul(0x2545_f491_4f6c_dd1d) };
            let bound = 1_i64 << (opened_bits - 2);
            let mut c_planes = [0_u64; 33];
            let mut r_planes = [0_u64; 33];
            let mut signs = 0;
            for lane in 0..64 {
                let y = if edge && lane < 4 { [-bound, bound - 1, 0, -1][lane] } else { (random() % (2 * bound as u64)) as i64 - bound };
                let mask = random() & low_mask(opened_bits);
                let c = (y as u64).wrapping_add(1 << (opened_bits - 2)).wrapping_add(mask) & low_mask(opened_bits);
                if opened_bits <= 16 { prop_assert_eq!(c, u64::from(opening::reference_open(y, mask, opened_bits))); }
                for bit in 0..33 {
                    c_planes[bit] |= (c >> bit & 1) << lane;
                    r_planes[bit] |= (mask >> bit & 1) << lane;
                }
                signs |= u64::from(reference(y)) << lane;
            }
            let flip = random();
            let mut split = |planes: &[u64]| -> (std::vec::Vec<u64>, std::vec::Vec<u64>) {
                planes.iter().map(|p| { let share = random(); (share, share ^ p) }).unzip()
            };
            let mut leaves = std::vec![0; layout.leaf_planes()];
            deal_leaves(layout, &r_planes, flip, &mut leaves);
            let (mut leaves_0, mut leaves_1) = split(&leaves);
            let mut states = [std::vec![0; layout.state_words()], std::vec![0; layout.state_words()]];
            evaluate_leaves(layout, false, &c_planes, &mut leaves_0, &mut states[0]);
            evaluate_leaves(layout, true, &c_planes, &mut leaves_1, &mut states[1]);
            for level in 0..layout.levels() {
                let uniform: std::vec::Vec<u64> = (0..layout.opened_planes(level)).map(|i| seed.rotate_left(i as u32 * 7 + level as u32) ^ 0x1234_5678_9abc_def0).collect();
                let mut planes = std::vec![0; layout.tree_planes(level)];
                deal_tree(layout, level, &uniform, &mut planes);
                let (masks_0, masks_1) = split(&planes);
                let sent_0 = open_tree(layout, level, &masks_0, &mut states[0]).to_vec();
                let sent_1 = open_tree(layout, level, &masks_1, &mut states[1]).to_vec();
                prop_assert_eq!(sent_0.len(), layout.opened_planes(level));
                join_tree(layout, level, false, &masks_0, &sent_1, &mut states[0]);
                join_tree(layout, level, true, &masks_1, &sent_0, &mut states[1]);
            }
            let mut t = 0;
            for state in &mut states {
                open_sign(layout, state);
                t ^= state[layout.own_planes()];
            }
            prop_assert_eq!(t ^ flip, signs);
        }
    }

    #[test]
    fn no_layout_has_more_planes_than_buffers_hold() {
        let layouts = |opened_bits| {
            (1..=MAX_CHUNK).flat_map(move |chunk| (2..=opened_bits).map(move |n| Layout::new(n, chunk)))
        };
        let most = |opened_bits, planes: fn(&Layout, usize) -> usize| {
            layouts(opened_bits)
                .flat_map(|l| (0..l.levels().max(1)).map(move |level| planes(&l, level)))
                .max()
                .unwrap()
        };
        assert_eq!(most(32, |l, level| l.tree_planes(level).max(l.leaf_planes())), MAX_PLANES);
        assert_eq!(most(16, |l, _| l.leaf_planes()), MAX_LEAVES_16);
        assert!(
            most(32, |l, _| (0..l.chunks()).map(|chunk| l.products(chunk)).max().unwrap_or(0))
                <= MAX_LEAVES_16
        );
        assert_eq!(most(32, Layout::tree_planes), MAX_TREE_PLANES);
        assert_eq!(most(32, Layout::opened_planes), MAX_OPENED_PLANES);
    }

    #[test]
    fn costs_of_the_protocol_page() {
        let eight = Layout::new(10, 4);
        assert_eq!(
            (eight.levels(), eight.opened_planes(0), eight.leaf_planes() + eight.tree_planes(0)),
            (1, 2, 34)
        );
        let fourteen = Layout::new(16, 4);
        assert_eq!((fourteen.levels(), fourteen.opened_planes(0) + fourteen.opened_planes(1)), (2, 7));
        assert_eq!(Layout::new(10, 8).levels(), 0);
        assert_eq!((Layout::new(2, 4).leaf_planes(), Layout::new(2, 4).levels()), (1, 0));
    }
}
