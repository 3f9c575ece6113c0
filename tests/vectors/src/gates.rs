//! Each gate's `evaluate`.

use halfnet_core::gate::comparison::{self, Layout};
use halfnet_core::gate::{argmax, linear, polynomial, relu};
use halfnet_core::ring::Word;
use halfnet_core::shape::Convolution;

use crate::{Mismatch, Numbers, Vector, compare, equal};

/// Operands of a gate in one vector, at most.
pub const MAX_ELEMENTS: usize = 256;

/// One operand as words.
fn words<W: Word>(numbers: &Numbers<'_>) -> Result<([W; MAX_ELEMENTS], usize), Mismatch> {
    let mut out = [W::default(); MAX_ELEMENTS];
    let count = numbers.len();
    for (slot, value) in out.get_mut(..count).ok_or(Mismatch::Operands)?.iter_mut().zip(numbers.iter()) {
        *slot = W::from_u64(value);
    }
    Ok((out, count))
}

/// Calls a function generic over the word of `numbers`.
macro_rules! with_width {
    ($numbers:expr, $function:ident $arguments:tt) => {
        match $numbers.width {
            2 => $function::<u16> $arguments,
            4 => $function::<u32> $arguments,
            8 => $function::<u64> $arguments,
            _ => Err(Mismatch::Operands),
        }
    };
}

pub(crate) fn check(vector: &Vector<'_>, scratch: &mut [u64]) -> Result<(), Mismatch> {
    match vector {
        Vector::Convolution { weights, .. } => with_width!(weights, convolution(vector)),
        Vector::JoinShift { out, .. } => with_width!(out, join(vector)),
        Vector::Polynomial { out, .. } => with_width!(out, polynomial(vector)),
        Vector::Relu { out, .. } => with_width!(out, relu(vector)),
        Vector::Comparison { .. } => comparison(vector, scratch),
        Vector::Tournament { ring_bits, holds_public, opened, share, choice, value, index } => {
            if !(2..=32).contains(ring_bits) {
                return Err(Mismatch::Operands);
            }
            let opened = argmax::Opened { difference: opened[0], sign: opened[1], choice: opened[2] };
            let [flip, mask_0, mask_1, product_0, product_1] = *share;
            let share = argmax::Share {
                flip,
                masks: [mask_0, mask_1],
                products: [product_0, product_1],
                choice: *choice,
            };
            let chosen = argmax::evaluate(*ring_bits, *holds_public, &opened, &share);
            compare(
                "a tournament's choice",
                [chosen.value, chosen.index].into_iter(),
                [*value, *index].into_iter(),
            )
        }
        _ => Err(Mismatch::Operands),
    }
}

fn convolution<W: Word>(vector: &Vector<'_>) -> Result<(), Mismatch> {
    let Vector::Convolution { geometry, input, weights, first, out } = vector else {
        return Err(Mismatch::Operands);
    };
    geometry.validate().map_err(|_| Mismatch::Operands)?;
    if geometry.input.elements() != input.len()
        || geometry.weights() != weights.len()
        || out.width != weights.width
    {
        return Err(Mismatch::Operands);
    }
    match input.width {
        2 => convolve::<u16, W>(geometry, input, weights, *first, out),
        4 => convolve::<u32, W>(geometry, input, weights, *first, out),
        _ => Err(Mismatch::Operands),
    }
}

/// Channel by channel, as P0 does it.
fn convolve<I: Word, W: Word>(
    geometry: &Convolution,
    input: &Numbers<'_>,
    weights: &Numbers<'_>,
    first: u32,
    known: &Numbers<'_>,
) -> Result<(), Mismatch> {
    let (input, inputs) = words::<I>(input)?;
    let (weights, _) = words::<W>(weights)?;
    let (_, count) = words::<W>(known)?;
    let (plane, fan_in) = (geometry.output().plane().max(1), geometry.fan_in());
    let tile = first as usize..first as usize + count;
    if tile.end > geometry.output().elements() {
        return Err(Mismatch::Operands);
    }
    let mut out = [W::default(); MAX_ELEMENTS];
    let mut rest = &mut out[..count];
    for channel in tile.start / plane..tile.end.div_ceil(plane) {
        let positions = linear::positions(&tile, channel, plane);
        let (part, after) =
            core::mem::take(&mut rest).split_at_mut_checked(positions.len()).ok_or(Mismatch::Operands)?;
        rest = after;
        let own = weights.get(channel * fan_in..(channel + 1) * fan_in).ok_or(Mismatch::Operands)?;
        linear::convolve_channel(geometry, &input[..inputs], own, channel, positions, part)
            .map_err(|_| Mismatch::Operands)?;
    }
    compare("a convolution's element", out.iter().map(|w| w.to_u64()), known.iter())
}

fn join<W: Word>(vector: &Vector<'_>) -> Result<(), Mismatch> {
    let Vector::JoinShift { geometry, shift, input, first, out: known } = vector else {
        return Err(Mismatch::Operands);
    };
    geometry.validate().map_err(|_| Mismatch::Operands)?;
    let (input, inputs) = words::<u16>(input)?;
    let count = known.len();
    let tile = *first as usize..*first as usize + count;
    if tile.end > geometry.output.elements() || inputs != geometry.input.elements() {
        return Err(Mismatch::Operands);
    }
    let mut out = [W::default(); MAX_ELEMENTS];
    let out = out.get_mut(..count).ok_or(Mismatch::Operands)?;
    linear::join_shift(geometry, *shift, &input[..inputs], tile, out).map_err(|_| Mismatch::Operands)?;
    compare("a join's element", out.iter().map(|w| w.to_u64()), known.iter())
}

fn polynomial<W: Word>(vector: &Vector<'_>) -> Result<(), Mismatch> {
    let Vector::Polynomial { opened_bits, opened, c2, words: correlated, out: known } = vector else {
        return Err(Mismatch::Operands);
    };
    let (opened, count) = words::<u16>(opened)?;
    let (c2, _) = words::<W>(c2)?;
    let (correlated, total) = words::<W>(correlated)?;
    if !(2..=16).contains(opened_bits) || total != polynomial::WORDS * count || known.len() != count {
        return Err(Mismatch::Operands);
    }
    let mut out = [W::default(); MAX_ELEMENTS];
    polynomial::evaluate(
        *opened_bits,
        &opened[..count],
        &c2[..count],
        &correlated[..total],
        &mut out[..count],
    )
    .map_err(|_| Mismatch::Operands)?;
    compare("a polynomial's share", out.iter().map(|w| w.to_u64()), known.iter())
}

fn relu<W: Word>(vector: &Vector<'_>) -> Result<(), Mismatch> {
    let Vector::Relu { opened_bits, holds_public, opened, signs, words: correlated, out: known } = vector
    else {
        return Err(Mismatch::Operands);
    };
    let (opened, count) = words::<u16>(opened)?;
    let (correlated, total) = words::<W>(correlated)?;
    let whole = total == relu::WORDS * count || total == relu::WORDS_POOLED * count;
    if !(2..=16).contains(opened_bits) || !whole || known.len() != count || count > 64 {
        return Err(Mismatch::Operands);
    }
    let mut out = [W::default(); MAX_ELEMENTS];
    relu::evaluate(
        *opened_bits,
        *holds_public,
        &opened[..count],
        *signs,
        &correlated[..total],
        &mut out[..count],
    )
    .map_err(|_| Mismatch::Operands)?;
    compare("a ReLU's share", out.iter().map(|w| w.to_u64()), known.iter())
}

fn comparison(vector: &Vector<'_>, scratch: &mut [u64]) -> Result<(), Mismatch> {
    let Vector::Comparison { opened_bits, chunk, holds_public, opened, leaves, masks, received, sent, sign } =
        vector
    else {
        return Err(Mismatch::Operands);
    };
    let layout = Layout::new(*opened_bits, *chunk);
    let needed = layout.state_words();
    let state =
        scratch.get_mut(..needed).ok_or(Mismatch::Scratch { what: "the state of a comparison", needed })?;
    state.fill(0);
    let (opened, planes) = words::<u64>(opened)?;
    let (mut leaves, leaf_planes) = words::<u64>(leaves)?;
    if !(2..=32).contains(opened_bits) || leaf_planes != layout.leaf_planes() {
        return Err(Mismatch::Operands);
    }
    let refused = |_| Mismatch::Operands;
    comparison::evaluate_leaves(layout, *holds_public, &opened[..planes], &mut leaves[..leaf_planes], state)
        .map_err(refused)?;
    let (masks, _) = words::<u64>(masks)?;
    let (received, _) = words::<u64>(received)?;
    let (mut mask, mut plane) = (0, 0);
    for level in 0..layout.levels() {
        let (supplied, moved) = (layout.tree_planes(level), layout.opened_planes(level));
        let own_masks = masks.get(mask..mask + supplied).ok_or(Mismatch::Operands)?;
        let own = comparison::open_tree(layout, level, own_masks, state).map_err(refused)?;
        compare("an opened plane of a tree", own.iter().copied(), sent.iter().skip(plane))?;
        let peer = received.get(plane..plane + moved).ok_or(Mismatch::Operands)?;
        comparison::join_tree(layout, level, *holds_public, own_masks, peer, state).map_err(refused)?;
        mask += supplied;
        plane += moved;
    }
    equal("the number of opened planes", sent.len(), plane)?;
    comparison::open_sign(layout, state).map_err(refused)?;
    equal("a share of t", state.get(layout.own_planes()).copied(), Some(*sign))
}
