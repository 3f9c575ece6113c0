//! The dealer's part: β and γ of polynomials, ρ, R and their products of ReLUs.

use super::Values;
use crate::bits::{LANES, bits_from};
use crate::dealer::{Dealing, NO_MASK, Own, Sink};
use crate::gate::{polynomial, relu};
use crate::model::Polynomial;
use crate::party::half::{MaterialError, ModelHalf, Position};
use crate::party::memory::{Selected, part_mut, region_mut};
use crate::plan::{LayerPlan, Section, Work};
use crate::ring::low_mask;

/// β and γ of a layer's polynomials.
pub(crate) fn deal_polynomials<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
    coefficients: &Polynomial<'_>,
) -> Result<(), MaterialError> {
    let plane = layer.sum.plane().max(1);
    let mut position = Position::default();
    for (_, range) in layer.tiles() {
        for chunk in Selected::new(layer.relu(), false, range) {
            let mut secrets = [polynomial::Secret { mask: 0, c2: 0, c1: 0, c0: 0, next_mask: 0 }; LANES];
            let secrets = part_mut(&mut secrets, ..chunk.indices().len())?;
            for (slot, &index) in secrets.iter_mut().zip(chunk.indices()) {
                let (mask, next_mask) = element_masks(dealing, layer, work, index as usize, work.frac_bits)?;
                let channel = index as usize / plane;
                *slot = polynomial::Secret {
                    mask,
                    c2: coefficients.c2.get(channel),
                    c1: coefficients.c1.get(channel),
                    c0: coefficients.c0.get(channel),
                    next_mask,
                };
            }
            let mut words = [0_u64; polynomial::WORDS * LANES];
            let words = part_mut(&mut words, ..polynomial::WORDS * secrets.len())?;
            polynomial::deal(work.opened_bits, secrets, words)?;
            dealing.put(Section::Polynomial, &mut position, Values::Polynomials.bits(work), words, true)?;
        }
    }
    Ok(())
}

/// ρ, R and their products of a layer's ReLUs.
pub(crate) fn deal_relus<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
) -> Result<(), MaterialError> {
    let kinds = Values::Relus.words(layer);
    let mut flips = dealing.secrets.stream(layer.index, Own::Flip);
    let mut position = Position::default();
    // Words of ρ before the group, and ReLUs of the group so far.
    let (mut base, mut rank, mut current) = (0, 0_usize, 0);
    for (group, range) in layer.tiles() {
        if group != current {
            base += rank.div_ceil(LANES);
            (rank, current) = (0, group);
        }
        for chunk in Selected::new(layer.relu(), true, range) {
            let count = chunk.indices().len();
            let mut flip = [0_u64; 2];
            flips.fill_words((base + rank / LANES) as u64, &mut flip)?;
            let flip = bits_from(&flip, rank % LANES);
            rank += count;
            let mut secrets = [relu::Secret { mask: 0, flip: 0, next_mask: 0 }; LANES];
            let secrets = part_mut(&mut secrets, ..count)?;
            for (i, (slot, &index)) in secrets.iter_mut().zip(chunk.indices()).enumerate() {
                let (mask, next_mask) = element_masks(dealing, layer, work, index as usize, 0)?;
                *slot = relu::Secret { mask, flip: flip >> i & 1, next_mask };
            }
            let mut words = [0_u64; relu::WORDS * LANES];
            let words = part_mut(&mut words, ..kinds * count)?;
            relu::deal(work.opened_bits, secrets, words)?;
            dealing.put(Section::Relu, &mut position, work.wire_bits, words, true)?;
        }
    }
    Ok(())
}

/// R of an element and, where no pool follows, the mask of its opening 2, whose A is kept.
fn element_masks<M: ModelHalf, S: Sink>(
    dealing: &mut Dealing<'_, '_, M, S>,
    layer: &LayerPlan<'_>,
    work: &Work,
    index: usize,
    shift: u8,
) -> Result<(u64, u64), MaterialError> {
    let (mut open, mut next) = ([NO_MASK], [NO_MASK]);
    dealing.open_masks(work, index, &mut open)?;
    if layer.pool().is_none() {
        dealing.next_masks(layer, shift, index, &mut next)?;
        region_mut(dealing.wires, &layer.output)?
            .set(index, next[0].high.wrapping_neg() & low_mask(work.wire_bits))?;
    }
    Ok((open[0].high, next[0].added))
}
