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

mod layout;

pub use layout::Layout;

use crate::error::Internal;

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
///
/// # Errors
/// Other shapes, here and below.
pub fn deal_leaves(layout: Layout, mask: &[u64], flip: u64, out: &mut [u64]) -> Result<(), Internal> {
    if out.len() != layout.leaf_planes() {
        return Err(Internal);
    }
    let bit = |i: usize| mask.get(i).copied().ok_or(Internal);
    let mut slots = out.iter_mut();
    for chunk in 0..layout.chunks() {
        let first = chunk * usize::from(layout.chunk);
        for subset in 1..1_usize << layout.width(chunk) {
            let mut product = u64::MAX;
            for i in 0..usize::from(layout.width(chunk)) {
                if subset >> i & 1 == 1 {
                    product &= bit(first + i)?;
                }
            }
            *slots.next().ok_or(Internal)? = product;
        }
    }
    *slots.next().ok_or(Internal)? = bit(usize::from(layout.bits))? ^ flip;
    Ok(())
}

/// The dealer's planes for one level from uniform masks: a, b, ab and, above the lowest node, c, ac.
///
/// # Shapes
/// `uniform`: [`Layout::opened_planes`] (a, b, then a, b, c …); `out`: [`Layout::tree_planes`].
///
/// # Errors
/// Other shapes.
pub fn deal_tree(layout: Layout, level: usize, uniform: &[u64], out: &mut [u64]) -> Result<(), Internal> {
    if out.len() != layout.tree_planes(level) {
        return Err(Internal);
    }
    let mut masks = uniform.iter().copied();
    let mut mask = || masks.next().ok_or(Internal);
    let mut slots = out.iter_mut();
    let mut put = |value: u64| slots.next().map(|slot| *slot = value).ok_or(Internal);
    for node in 0..layout.nodes(level) {
        let (a, b) = (mask()?, mask()?);
        for value in [a, b, a & b] {
            put(value)?;
        }
        if node > 0 {
            let c = mask()?;
            put(c)?;
            put(a & c)?;
        }
    }
    Ok(())
}

/// A party's (lt, eq) of every chunk, and its share of C_k ⊕ R_k ⊕ ρ.
///
/// # Shapes
/// `opened`: bit planes of C; `leaves`: this party's [`Layout::leaf_planes`], folded in place; `state`:
/// [`Layout::state_words`].
///
/// # Errors
/// Other shapes.
pub fn evaluate_leaves(
    layout: Layout,
    holds_public: bool,
    opened: &[u64],
    leaves: &mut [u64],
    state: &mut [u64],
) -> Result<(), Internal> {
    let mut rest = leaves;
    for chunk in 0..layout.chunks() {
        let products = layout.products(chunk);
        let (products, tail) = core::mem::take(&mut rest).split_at_mut_checked(products).ok_or(Internal)?;
        evaluate_chunk(layout, chunk, holds_public, opened, products, state)?;
        rest = tail;
    }
    let [flipped] = rest else { return Err(Internal) };
    evaluate_top(layout, holds_public, opened, *flipped, state)
}

/// A party's (lt, eq) of one chunk.
///
/// # Shapes
/// `products`: this party's [`Layout::products`] of the chunk, folded in place; the others as in
/// [`evaluate_leaves`].
///
/// # Errors
/// Other shapes.
pub fn evaluate_chunk(
    layout: Layout,
    chunk: usize,
    holds_public: bool,
    opened: &[u64],
    products: &mut [u64],
    state: &mut [u64],
) -> Result<(), Internal> {
    let first = chunk * usize::from(layout.chunk);
    // The empty product is the public 1, held by P1. Products of other subsets S lie at S − 1.
    let mut equal = u64::from(holds_public).wrapping_neg();
    let mut less = 0;
    for i in (0..usize::from(layout.width(chunk))).rev() {
        let not_c = !*opened.get(first + i).ok_or(Internal)?;
        let Some((low, [with_i, high @ ..])) = products.split_at_mut_checked((1 << i) - 1) else {
            return Err(Internal);
        };
        less ^= not_c & *with_i;
        equal = *with_i ^ (not_c & equal);
        for (slot, with) in low.iter_mut().zip(high.iter()) {
            *slot = with ^ (not_c & *slot);
        }
    }
    *entry(state, lt(chunk))? = less;
    *entry(state, eq(chunk))? = equal;
    Ok(())
}

/// A word of the state of 64 comparisons.
#[inline(always)]
fn entry(state: &mut [u64], index: usize) -> Result<&mut u64, Internal> {
    state.get_mut(index).ok_or(Internal)
}

/// A party's share of C_k ⊕ R_k ⊕ ρ from its share of R_k ⊕ ρ, the last plane of the leaves.
///
/// # Errors
/// Other shapes than in [`evaluate_leaves`].
pub fn evaluate_top(
    layout: Layout,
    holds_public: bool,
    opened: &[u64],
    flipped: u64,
    state: &mut [u64],
) -> Result<(), Internal> {
    let public = u64::from(holds_public).wrapping_neg();
    let top = *opened.get(usize::from(layout.bits)).ok_or(Internal)? & public;
    if state.len() != layout.state_words() {
        return Err(Internal);
    }
    *state.last_mut().ok_or(Internal)? = top ^ flipped;
    Ok(())
}

/// This party's masked operands of one level, into the end of the state.
///
/// # Shapes
/// `masks`: this party's [`Layout::tree_planes`]. Returns [`Layout::opened_planes`] to be sent.
///
/// # Errors
/// Other shapes.
pub fn open_tree<'s>(
    layout: Layout,
    level: usize,
    masks: &[u64],
    state: &'s mut [u64],
) -> Result<&'s [u64], Internal> {
    let (entries, opened) = state.split_at_mut_checked(layout.own_planes()).ok_or(Internal)?;
    let opened = opened.get_mut(..layout.opened_planes(level)).ok_or(Internal)?;
    let at = |i: usize| entries.get(i).copied().ok_or(Internal);
    let mut masks = masks.iter().copied();
    let mut next = || masks.next().ok_or(Internal);
    let mut slots = opened.iter_mut();
    let mut put = |value: u64| slots.next().map(|slot| *slot = value).ok_or(Internal);
    for node in 0..layout.nodes(level) {
        let (a, b, _product) = (next()?, next()?, next()?);
        put(at(eq(2 * node + 1))? ^ a)?;
        put(at(lt(2 * node))? ^ b)?;
        if node > 0 {
            let (c, _product) = (next()?, next()?);
            put(at(eq(2 * node))? ^ c)?;
        }
    }
    Ok(opened)
}

/// Joins the entries of one level from the peer's opened planes and this party's own, which [`open_tree`]
/// left in the state.
///
/// # Errors
/// Other shapes than there.
pub fn join_tree(
    layout: Layout,
    level: usize,
    holds_public: bool,
    masks: &[u64],
    peer: &[u64],
    state: &mut [u64],
) -> Result<(), Internal> {
    let (entries, own) = state.split_at_mut_checked(layout.own_planes()).ok_or(Internal)?;
    let public = u64::from(holds_public).wrapping_neg();
    let mut masks = masks.iter().copied();
    let mut next = || masks.next().ok_or(Internal);
    let mut planes = own.iter().zip(peer).map(|(a, b)| a ^ b);
    let mut opened = || planes.next().ok_or(Internal);
    let nodes = layout.nodes(level);
    for node in 0..nodes {
        let (a, b, ab) = (next()?, next()?, next()?);
        let (x, y) = (opened()?, opened()?);
        let product = (x & y & public) ^ (x & b) ^ (y & a) ^ ab;
        let joined_lt = *entry(entries, lt(2 * node + 1))? ^ product;
        let mut joined_eq = 0;
        if node > 0 {
            let (c, ac) = (next()?, next()?);
            let z = opened()?;
            joined_eq = (x & z & public) ^ (x & c) ^ (z & a) ^ ac;
        }
        *entry(entries, lt(node))? = joined_lt;
        *entry(entries, eq(node))? = joined_eq;
    }
    // An odd entry at the top passes on.
    let mut before = layout.chunks();
    for _ in 0..level {
        before = before.div_ceil(2);
    }
    if before % 2 == 1 && nodes > 0 {
        for part in 0..2 {
            let last = *entry(entries, 2 * (before - 1) + part)?;
            *entry(entries, 2 * nodes + part)? = last;
        }
    }
    Ok(())
}

/// This party's share of t = s ⊕ ρ from the joined state, whose last word is its share of C_k ⊕ R_k ⊕ ρ; left
/// where a level's own planes are.
///
/// # Errors
/// The state has not [`Layout::state_words`].
pub fn open_sign(layout: Layout, state: &mut [u64]) -> Result<(), Internal> {
    if state.len() != layout.state_words() {
        return Err(Internal);
    }
    let less = if layout.bits == 0 { 0 } else { *entry(state, lt(0))? };
    let top = *state.last().ok_or(Internal)?;
    *entry(state, layout.own_planes())? = less ^ top;
    Ok(())
}

#[cfg(test)]
mod tests;
