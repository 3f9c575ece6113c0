//! The dealer: walks the plan and makes P1's corrections for one inference, section by section, into any
//! sink.
//!
//! It knows the model, P0's seed and randomness of its own, is never online, and is run by neither party's
//! operator. Masks (r, ρ, tree masks, inner A) are the dealer's own randomness; P0's shares of everything are
//! PRG output, P1's are value − P0's share.

mod gates;
mod secrets;
mod split;
mod tournament;

use core::ops::Range;

pub use secrets::Secrets;
use secrets::{Own, masks};
pub use split::{FullWeights, split_tensor, tensors};

use zeroize::Zeroize;

use crate::bits::LANES;
use crate::gate::{comparison, linear};
use crate::model::{Integers, Layer, Model, Step};
use crate::opening::{self, Exchange};
use crate::packing::Packer;
use crate::party::half::{Half, MaterialError, ModelHalf, Position, TermId};
use crate::party::memory::{region, region_mut, window_as};
use crate::party::seed::SeedHalf;
use crate::plan::cost;
use crate::plan::{Client, LayerPlan, LinearPlan, Mode, Plan, Release, Section, StepPlan, Work};
use crate::prg::Stream;
use crate::ring::{Word, WordKind, WordsMut, low_mask};
use crate::{with_kind, with_words};

/// Takes a bundle's bytes in order.
pub trait Sink {
    /// # Errors
    /// They could not be kept.
    fn write(&mut self, bytes: &[u8]) -> Result<(), MaterialError>;
}

const NO_MASK: opening::Mask = opening::Mask { added: 0, high: 0, coin: 0 };

/// Makes the bundle of one inference.
///
/// `model` is the whole model, `weights` multiplies by its full weights, `arena` holds [`arena_words`] words
/// and is wiped at the end.
///
/// # Errors
/// The plan is not of this model, the arena is too short, or sink or streams failed.
pub fn deal<M: ModelHalf>(
    plan: &Plan<'_>,
    model: &Model<'_>,
    secrets: &Secrets,
    weights: &mut M,
    arena: &mut [u64],
    sink: &mut impl Sink,
) -> Result<(), MaterialError> {
    let (wires, window) =
        arena.split_at_mut_checked(plan.header.wire_words[1] as usize).ok_or(MaterialError::Weights)?;
    let (open, next) = (secrets.stream(0, Own::Open), secrets.stream(0, Own::Next));
    let mut walk =
        Walk { plan, secrets, half: secrets.seed_half(), weights, wires, window, open, next, sink };
    let walked = walk.all(model);
    // Masks of every wire.
    arena.zeroize();
    walked
}

/// Words of the arena that [`deal`] needs.
#[must_use]
pub fn arena_words(plan: &Plan<'_>) -> usize {
    plan.header.wire_words[1] as usize + plan.header.window_words[1] as usize
}

struct Walk<'w, 'p, M, S> {
    plan: &'w Plan<'p>,
    secrets: &'w Secrets,
    half: SeedHalf,
    weights: &'w mut M,
    wires: &'w mut [u64],
    window: &'w mut [u64],
    /// The layer's masks, kept between elements: deriving a stream costs as much as a hundred masks.
    open: Stream,
    next: Stream,
    sink: &'w mut S,
}

impl<M: ModelHalf, S: Sink> Walk<'_, '_, M, S> {
    fn all(&mut self, model: &Model<'_>) -> Result<(), MaterialError> {
        self.input()?;
        let mut layers = model.layers.iter();
        for layer in self.plan.layers() {
            self.layer(&layer, layers.next().ok_or(MaterialError::Weights)?)?;
        }
        Ok(())
    }

    fn exchange(&self) -> Exchange {
        self.plan.header.options.mode.exchange()
    }

    fn open_masks(
        &mut self,
        work: &Work,
        first: usize,
        out: &mut [opening::Mask],
    ) -> Result<(), MaterialError> {
        let exchange = self.exchange();
        masks(&mut self.open, work.opened_bits, work.shift, exchange, first, out)
    }

    fn next_masks(
        &mut self,
        layer: &LayerPlan<'_>,
        shift: u8,
        first: usize,
        out: &mut [opening::Mask],
    ) -> Result<(), MaterialError> {
        let exchange = self.exchange();
        masks(&mut self.next, layer.output.bits, shift, exchange, first, out)
    }

    fn is_held(&self) -> bool {
        self.plan.header.options.mode == Mode::Held
    }

    /// Corrections of one chunk: value − P0's word, packed by itself.
    fn put(
        &mut self,
        section: Section,
        position: &mut Position,
        bits: u8,
        values: &mut [u64],
        shared: bool,
    ) -> Result<(), MaterialError> {
        if shared {
            let mut words = [0_u64; 7 * LANES];
            let words = words.get_mut(..values.len()).ok_or(MaterialError::Bundle)?;
            // P0 reads words of the ring's own size.
            with_kind!(WordKind::for_bits(bits), W => {
                let mut own = [W::default(); 7 * LANES];
                let own = own.get_mut(..values.len()).ok_or(MaterialError::Bundle)?;
                self.half.words(section, *position, bits, own)?;
                for (slot, word) in words.iter_mut().zip(own) {
                    *slot = word.to_u64();
                }
            });
            for (value, word) in values.iter_mut().zip(words) {
                *value = value.wrapping_sub(*word);
            }
        }
        let mut bytes = [0; 7 * LANES * 8];
        let mut packer = Packer::new(&mut bytes);
        packer.extend(values, bits);
        let length = packer.finish();
        position.words += values.len() as u64;
        position.bytes += length as u64;
        self.sink.write(bytes.get(..length).unwrap_or(&[]))
    }

    fn put_planes(&mut self, section: Section, word: usize, planes: &mut [u64]) -> Result<(), MaterialError> {
        let mut own = [0_u64; comparison::MAX_PLANES];
        let own = own.get_mut(..planes.len()).ok_or(MaterialError::Bundle)?;
        self.half.words(section, Position { words: (word * planes.len()) as u64, bytes: 0 }, 64, own)?;
        for (plane, own) in planes.iter_mut().zip(own) {
            *plane ^= *own;
            self.sink.write(&plane.to_le_bytes())?;
        }
        Ok(())
    }

    fn input(&mut self) -> Result<(), MaterialError> {
        let wire = self.plan.header.input;
        let elements = wire.elements as usize;
        let mut position = Position::default();
        for first in (0..elements).step_by(LANES) {
            let mut mask = [0_u64; LANES];
            let mask = mask.get_mut(..(elements - first).min(LANES)).unwrap_or(&mut []);
            self.secrets.input_mask(self.plan, first, mask)?;
            let mut kept = region_mut(self.wires, &wire);
            for (offset, value) in mask.iter_mut().enumerate() {
                *value &= low_mask(wire.bits);
                kept.set(first + offset, *value);
            }
            if self.plan.header.options.client == Client::Third {
                // P0 reads A's share as 64-bit words.
                let mut own = [0_u64; LANES];
                let own = own.get_mut(..mask.len()).unwrap_or(&mut []);
                self.half.words(Section::Sum, position, wire.bits, own)?;
                for (value, own) in mask.iter_mut().zip(own.iter()) {
                    *value = value.wrapping_sub(*own);
                }
                self.put(Section::Sum, &mut position, wire.bits, mask, false)?;
            }
        }
        Ok(())
    }

    /// A ⊗ Y + bias for elements `range`, into the window.
    fn sum(
        &mut self,
        layer: &LayerPlan<'_>,
        bias: &Integers<'_>,
        range: Range<usize>,
    ) -> Result<(), MaterialError> {
        let plane = layer.sum.plane().max(1);
        with_kind!(layer.work(&self.plan.header.options).word, W => {
            let sums: &mut [W] = bytemuck::cast_slice_mut(self.window);
            let sums = sums.get_mut(..range.len()).ok_or(MaterialError::Weights)?;
            for (slot, index) in sums.iter_mut().zip(range.clone()) {
                *slot = W::from_i64(bias.get(index / plane));
            }
            for (index, term) in layer.terms.iter().enumerate() {
                let id = TermId { layer: layer.index, term: index as u8 };
                let input = region(self.wires, &term.source);
                match &term.linear {
                    LinearPlan::Convolution(geometry) => self.weights.convolve(id, geometry, input, range.clone(), WordsMut::new(sums))?,
                    LinearPlan::JoinShift { geometry, shift } => {
                        with_words!(Words, input, input => linear::join_shift(geometry, *shift, input, range.clone(), sums));
                    }
                    LinearPlan::JoinScaled { geometry } => {
                        let tile = linear::join_tile(geometry, &range);
                        if tile.is_empty() {
                            continue;
                        }
                        let first = usize::from(geometry.channel_offset) * geometry.output.plane() + tile.start - range.start;
                        let part = sums.get_mut(first..first + tile.len()).ok_or(MaterialError::Weights)?;
                        self.weights.convolve(id, &linear::join_convolution(geometry), input, tile, WordsMut::new(part))?;
                    }
                }
            }
        });
        Ok(())
    }

    fn summed(&self, layer: &LayerPlan<'_>, offset: usize) -> u64 {
        with_kind!(layer.work(&self.plan.header.options).word, W => {
            window_as::<W>(self.window, offset + 1).get(offset).map_or(0, |v| v.to_u64())
        })
    }

    fn layer(&mut self, layer: &LayerPlan<'_>, secret: &Layer<'_>) -> Result<(), MaterialError> {
        let options = self.plan.header.options;
        let work = layer.work(&options);
        self.half.begin_layer(layer.index, &mut core::iter::empty());
        (self.open, self.next) =
            (self.secrets.stream(layer.index, Own::Open), self.secrets.stream(layer.index, Own::Next));
        for (index, term) in layer.terms.iter().enumerate() {
            let geometry = match term.linear {
                LinearPlan::Convolution(geometry) => geometry,
                LinearPlan::JoinScaled { geometry } => linear::join_convolution(&geometry),
                LinearPlan::JoinShift { .. } => continue,
            };
            let id = TermId { layer: layer.index, term: index as u8 };
            self.weights.prepare(id, &geometry, region(self.wires, &term.source))?;
        }
        if layer.pool().is_some() {
            with_words!(WordsMut, region_mut(self.wires, &layer.pooled[1]), windows => windows.fill(0));
        }
        self.sums(layer, &work, secret)?;
        match (layer.step, secret.step) {
            (StepPlan::Activate { .. }, Step::Activate(activation)) => {
                if let Some(coefficients) = activation.polynomial {
                    self.polynomials(layer, &work, &coefficients)?;
                }
                if (0..layer.groups()).any(|g| layer.group_relus(g) > 0) {
                    self.comparisons(layer, &work)?;
                    self.relus(layer, &work)?;
                }
                if layer.pool().is_some() {
                    self.windows(layer, &work)?;
                }
            }
            (StepPlan::Rescale { pool, .. }, Step::Rescale { .. }) => {
                if pool.is_some() {
                    self.windows(layer, &work)?;
                }
            }
            (StepPlan::Release { .. }, Step::Release { .. }) => match options.release {
                Release::Logits { .. } => {
                    let mut position = Position::default();
                    for first in (0..layer.elements()).step_by(LANES) {
                        let mut masks = [NO_MASK; LANES];
                        let masks = masks.get_mut(..(layer.elements() - first).min(LANES)).unwrap_or(&mut []);
                        self.open_masks(&work, first, masks)?;
                        let mut values = [0; LANES];
                        let values = values.get_mut(..masks.len()).unwrap_or(&mut []);
                        for (value, mask) in values.iter_mut().zip(masks) {
                            *value = mask.high;
                        }
                        self.put64(Section::Output, &mut position, work.opened_bits, values)?;
                    }
                }
                Release::Label => self.tournament(layer, &work)?,
            },
            _ => return Err(MaterialError::Weights),
        }
        Ok(())
    }

    /// U of every element, or, before a pool, A ⊗ Y + bias into the windows.
    fn sums(&mut self, layer: &LayerPlan<'_>, work: &Work, secret: &Layer<'_>) -> Result<(), MaterialError> {
        let options = self.plan.header.options;
        let label = matches!((layer.step, options.release), (StepPlan::Release { .. }, Release::Label));
        let rescale = matches!(layer.step, StepPlan::Rescale { .. });
        let shared = !self.is_held() || label;
        let offset =
            if matches!(layer.step, StepPlan::Activate { .. }) { 1_u64 << (work.ring_bits - 2) } else { 0 };
        let mut position = Position::default();
        for group in 0..layer.groups() {
            for tile in 0..layer.group_tiles(group) {
                let range = layer.tile_range(group, tile);
                self.sum(layer, &secret.bias, range.clone())?;
                if let (true, Some(pool)) = (rescale, layer.pool()) {
                    for index in range.clone() {
                        let sum = self.summed(layer, index - range.start);
                        crate::party::add_to_windows(
                            self.wires,
                            &layer.pooled[1],
                            &pool,
                            layer.sum,
                            index,
                            sum,
                        );
                    }
                    continue;
                }
                for first in range.clone().step_by(LANES) {
                    let count = (range.end - first).min(LANES);
                    let mut masks = [NO_MASK; LANES];
                    let masks = masks.get_mut(..count).unwrap_or(&mut []);
                    if rescale {
                        self.next_masks(layer, work.shift, first, masks)?;
                    } else if !label {
                        self.open_masks(work, first, masks)?;
                    }
                    let mut values = [0; LANES];
                    let values = values.get_mut(..count).unwrap_or(&mut []);
                    for (i, (value, mask)) in values.iter_mut().zip(masks.iter()).enumerate() {
                        *value = self
                            .summed(layer, first + i - range.start)
                            .wrapping_add(offset)
                            .wrapping_add(mask.added);
                    }
                    if rescale {
                        let mut output = region_mut(self.wires, &layer.output);
                        for (i, mask) in masks.iter().enumerate() {
                            output.set(first + i, mask.high.wrapping_neg() & low_mask(work.wire_bits));
                        }
                    }
                    self.put_sum(work, &mut position, values, shared)?;
                }
            }
        }
        Ok(())
    }

    /// P0's share of a sum is a word of the sum's own word, which may be wider than its ring.
    fn put_sum(
        &mut self,
        work: &Work,
        position: &mut Position,
        values: &mut [u64],
        shared: bool,
    ) -> Result<(), MaterialError> {
        if shared {
            with_kind!(work.word, W => {
                let mut own = [W::default(); LANES];
                let own = own.get_mut(..values.len()).ok_or(MaterialError::Bundle)?;
                self.half.words(Section::Sum, *position, work.ring_bits, own)?;
                for (value, word) in values.iter_mut().zip(own) {
                    *value = value.wrapping_sub(word.to_u64());
                }
            });
        }
        self.put(Section::Sum, position, work.ring_bits, values, false)
    }

    /// As [`Walk::put`] where P0 reads 64-bit words whatever the ring.
    fn put64(
        &mut self,
        section: Section,
        position: &mut Position,
        bits: u8,
        values: &mut [u64],
    ) -> Result<(), MaterialError> {
        let mut own = [0_u64; 7 * LANES];
        let own = own.get_mut(..values.len()).ok_or(MaterialError::Bundle)?;
        self.half.words(section, *position, bits, own)?;
        for (value, own) in values.iter_mut().zip(own.iter()) {
            *value = value.wrapping_sub(*own);
        }
        self.put(section, position, bits, values, false)
    }
}

/// Bytes of a bundle without its header.
#[must_use]
pub fn bundle_bytes(plan: &Plan<'_>) -> u64 {
    let options = &plan.header.options;
    let layers: u64 =
        plan.layers().map(|layer| cost::sections(&layer, options).map(|(_, bytes)| bytes).sum::<u64>()).sum();
    cost::input_section_bytes(&plan.header) + layers
}
