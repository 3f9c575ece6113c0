//! The one sum over a layer's terms, and a party's share of it in the window.

use core::ops::Range;

use super::opening::Turn;
use super::party::{Group, Party, draw};
use crate::gate::linear;
use crate::party::half::{Half, LinearTerm, MaterialError, ModelHalf, TermId};
use crate::party::memory::{part_mut, region, window_as_mut};
use crate::plan::{LayerPlan, LinearPlan, Release, Section, StepPlan};
use crate::ring::{Word, WordsMut};
use crate::{with_kind, with_words};

/// Tells the weights of every term that its input is complete.
///
/// # Errors
/// The material failed, or `wires` ends before a term's input.
pub fn prepare(
    layer: &LayerPlan<'_>,
    weights: &mut impl ModelHalf,
    wires: &[u64],
) -> Result<(), MaterialError> {
    for (index, term) in layer.terms.iter().enumerate() {
        let id = TermId { layer: layer.index, term: index as u8 };
        let geometry = match term.linear {
            LinearPlan::Convolution(geometry) => geometry,
            LinearPlan::JoinScaled { geometry } => linear::join_convolution(&geometry),
            LinearPlan::JoinShift { .. } => continue,
        };
        weights.prepare(LinearTerm { id, geometry: &geometry, input: region(wires, &term.source)? })?;
    }
    Ok(())
}

/// sums += every term of elements `range` of a layer's sum, whoever's weights they are: a party's share of
/// them and E, the dealer's and A, a simulator's. Residual inputs times a public factor are added where
/// `public` says so.
///
/// # Shapes
/// `sums`: an element for each of `range`.
///
/// # Errors
/// The material failed, or a shape is another.
pub fn add_terms<W: Word>(
    layer: &LayerPlan<'_>,
    weights: &mut impl ModelHalf,
    wires: &[u64],
    public: bool,
    range: Range<usize>,
    sums: &mut [W],
) -> Result<(), MaterialError> {
    for (index, term) in layer.terms.iter().enumerate() {
        let id = TermId { layer: layer.index, term: index as u8 };
        let input = region(wires, &term.source)?;
        match &term.linear {
            LinearPlan::Convolution(geometry) => {
                let term = LinearTerm { id, geometry, input };
                weights.convolve(term, range.clone(), WordsMut::new(sums))?;
            }
            LinearPlan::JoinShift { geometry, shift } => {
                if public {
                    with_words!(Words, input, input => linear::join_shift(geometry, *shift, input, range.clone(), sums))?;
                }
            }
            LinearPlan::JoinScaled { geometry } => {
                let tile = linear::join_tile(geometry, &range);
                if tile.is_empty() {
                    continue;
                }
                let first =
                    usize::from(geometry.channel_offset) * geometry.output.plane() + tile.start - range.start;
                let sums = part_mut(sums, first..first + tile.len())?;
                let geometry = linear::join_convolution(geometry);
                let term = LinearTerm { id, geometry: &geometry, input };
                weights.convolve(term, tile, WordsMut::new(sums))?;
            }
        }
    }
    Ok(())
}

/// This party's share of the sum for elements `range`, into the window; with U if `masked`.
pub(crate) fn sum<H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    range: Range<usize>,
    masked: bool,
) -> Result<(), MaterialError> {
    with_kind!(group.work.word, W => sum_words::<W, H, M>(party, group, range, masked))
}

fn sum_words<W: Word, H: Half, M: ModelHalf>(
    party: &mut Party<'_, H, M>,
    group: &mut Group<'_>,
    range: Range<usize>,
    masked: bool,
) -> Result<(), MaterialError> {
    let layer = &group.layer;
    let (turn, public) = (party.turn(), party.holds_public());
    let sums: &mut [W] = window_as_mut(party.window, range.len())?;
    // In H the opened value is P1's alone and U has no share of P0's, except under a tournament.
    let tournament =
        matches!((layer.step, party.options.release), (StepPlan::Release { .. }, Release::Label));
    if masked && (turn != Turn::Blind || tournament) {
        draw(&mut party.half, Section::Sum, &mut group.course.sums, group.work.ring_bits, sums)?;
    } else {
        sums.fill(W::default());
    }
    if turn == Turn::Blind {
        return Ok(());
    }
    // E' of a residual is public: P1 adds it. A' is inside U.
    add_terms(layer, &mut party.model, party.wires, public, range, sums)
}
