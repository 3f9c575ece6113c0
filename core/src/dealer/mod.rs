//! The dealer: walks the plan and makes P1's corrections for one inference, section by section, into any
//! sink.
//!
//! It knows the model, P0's seed and randomness of its own, is never online, and is run by neither party's
//! operator. Masks (r, ρ, tree masks, inner A) are the dealer's own randomness; P0's shares of everything are
//! PRG output, P1's are value − P0's share.

mod secrets;
mod split;

use core::ops::Range;

pub(crate) use secrets::Own;
pub use secrets::Secrets;
use secrets::masks;
pub use split::{FullWeights, split_tensor, tensors};

use zeroize::Zeroize;

use crate::bits::LANES;
use crate::error::Internal;
use crate::exchange::{self, input, linear};
use crate::gate::comparison;
use crate::model::{Integers, Layer, Model};
use crate::opening;
use crate::packing::Packer;
use crate::party::half::{Half, MaterialError, ModelHalf, Position};
use crate::party::memory::{part, part_mut, region_mut, window_as, window_as_mut};
use crate::party::seed::SeedHalf;
use crate::plan::cost;
use crate::plan::{LayerPlan, Options, Plan, Section, Work};
use crate::prg::Stream;
use crate::ring::{Word, WordKind};
use crate::{with_kind, with_words};

/// Takes a bundle's bytes in order.
pub trait Sink {
    /// # Errors
    /// They could not be kept.
    fn write(&mut self, bytes: &[u8]) -> Result<(), MaterialError>;
}

/// A closure that keeps them.
impl<F: FnMut(&[u8]) -> Result<(), MaterialError>> Sink for F {
    fn write(&mut self, bytes: &[u8]) -> Result<(), MaterialError> {
        self(bytes)
    }
}

pub(crate) const NO_MASK: opening::Mask = opening::Mask { added: 0, high: 0, coin: 0 };

/// Makes the bundle of one inference.
///
/// `model` is the whole model; `weights` multiplies by its full weights, as
/// [`PortableModel`](crate::party::bundle::PortableModel)`(`[`FullWeights`]`(&model))` does, or something faster;
/// `arena` holds [`arena_words`] words and is wiped at the end.
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
    let mut dealing =
        Dealing { plan, secrets, half: secrets.seed_half(), weights, wires, window, open, next, sink };
    let walked = dealing.all(model);
    // Masks of every wire.
    arena.zeroize();
    walked
}

/// Words of the arena that [`deal`] needs.
#[must_use]
pub fn arena_words(plan: &Plan<'_>) -> usize {
    plan.header.wire_words[1] as usize + plan.header.window_words[1] as usize
}

/// What every exchange deals from: the dealer's walk over one inference.
pub(crate) struct Dealing<'w, 'p, M, S> {
    pub(crate) plan: &'w Plan<'p>,
    pub(crate) secrets: &'w Secrets,
    pub(crate) half: SeedHalf,
    weights: &'w mut M,
    pub(crate) wires: &'w mut [u64],
    window: &'w mut [u64],
    /// The layer's masks, kept between elements: deriving a stream costs as much as a hundred masks.
    open: Stream,
    next: Stream,
    pub(crate) sink: &'w mut S,
}

impl<M: ModelHalf, S: Sink> Dealing<'_, '_, M, S> {
    fn all(&mut self, model: &Model<'_>) -> Result<(), MaterialError> {
        input::deal(self)?;
        let mut layers = model.layers.iter();
        for layer in self.plan.layers() {
            self.layer(&layer, layers.next().ok_or(MaterialError::Weights)?)?;
        }
        Ok(())
    }

    fn layer(&mut self, layer: &LayerPlan<'_>, secret: &Layer<'_>) -> Result<(), MaterialError> {
        let work = layer.work(&self.options());
        self.half.begin_layer(layer.index, &mut core::iter::empty());
        (self.open, self.next) =
            (self.secrets.stream(layer.index, Own::Open), self.secrets.stream(layer.index, Own::Next));
        linear::prepare(layer, self.weights, self.wires)?;
        if layer.pool().is_some() {
            with_words!(WordsMut, region_mut(self.wires, &layer.pooled[1])?, windows => windows.fill(0));
        }
        exchange::deal(self, layer, &work, secret)
    }

    pub(crate) const fn options(&self) -> Options {
        self.plan.header.options
    }

    /// The masks of opening 1 of elements `first ..`.
    pub(crate) fn open_masks(
        &mut self,
        work: &Work,
        first: usize,
        out: &mut [opening::Mask],
    ) -> Result<(), MaterialError> {
        let exchange = self.options().mode.exchange();
        masks(&mut self.open, work.opened_bits, work.shift, exchange, first, out)
    }

    /// The masks of opening 2 of elements (or windows) `first ..`, each cutting `shift` bits.
    pub(crate) fn next_masks(
        &mut self,
        layer: &LayerPlan<'_>,
        shift: u8,
        first: usize,
        out: &mut [opening::Mask],
    ) -> Result<(), MaterialError> {
        let exchange = self.options().mode.exchange();
        masks(&mut self.next, layer.output.bits, shift, exchange, first, out)
    }

    /// A ⊗ Y + bias for elements `range`, into the window.
    pub(crate) fn sum(
        &mut self,
        layer: &LayerPlan<'_>,
        work: &Work,
        bias: &Integers<'_>,
        range: Range<usize>,
    ) -> Result<(), MaterialError> {
        let plane = layer.sum.plane().max(1);
        with_kind!(work.word, W => {
            let sums: &mut [W] = window_as_mut(self.window, range.len())?;
            for (slot, index) in sums.iter_mut().zip(range.clone()) {
                *slot = W::from_i64(bias.get(index / plane));
            }
            linear::add_terms(layer, self.weights, self.wires, true, range, sums)
        })
    }

    /// An element of the sum in the window.
    pub(crate) fn summed(&self, work: &Work, offset: usize) -> Result<u64, Internal> {
        with_kind!(work.word, W => Ok(part(window_as::<W>(self.window, offset + 1)?, offset)?.to_u64()))
    }

    /// Corrections of one chunk: value − P0's word, packed by itself.
    pub(crate) fn put(
        &mut self,
        section: Section,
        position: &mut Position,
        bits: u8,
        values: &mut [u64],
        shared: bool,
    ) -> Result<(), MaterialError> {
        if shared {
            // P0 reads words of the ring's own size.
            with_kind!(WordKind::for_bits(bits), W => {
                let mut own = [W::default(); 7 * LANES];
                let own = part_mut(&mut own, ..values.len())?;
                self.half.words(section, *position, bits, own)?;
                for (value, word) in values.iter_mut().zip(own) {
                    *value = value.wrapping_sub(word.to_u64());
                }
            });
        }
        let mut bytes = [0; 7 * LANES * 8];
        let mut packer = Packer::new(&mut bytes);
        packer.extend(values, bits);
        let length = packer.finish();
        position.words += values.len() as u64;
        position.bytes += length as u64;
        self.sink.write(part(&bytes, ..length)?)
    }

    /// Corrections of word `word`'s bit planes.
    pub(crate) fn put_planes(
        &mut self,
        section: Section,
        word: usize,
        planes: &mut [u64],
    ) -> Result<(), MaterialError> {
        let mut own = [0_u64; comparison::MAX_PLANES];
        let own = part_mut(&mut own, ..planes.len())?;
        self.half.words(section, Position { words: (word * planes.len()) as u64, bytes: 0 }, 64, own)?;
        for (plane, own) in planes.iter_mut().zip(own) {
            *plane ^= *own;
            self.sink.write(&plane.to_le_bytes())?;
        }
        Ok(())
    }

    /// P0's share of a sum is a word of the sum's own word, which may be wider than its ring.
    pub(crate) fn put_sum(
        &mut self,
        work: &Work,
        position: &mut Position,
        values: &mut [u64],
        shared: bool,
    ) -> Result<(), MaterialError> {
        if shared {
            with_kind!(work.word, W => {
                let mut own = [W::default(); LANES];
                let own = part_mut(&mut own, ..values.len())?;
                self.half.words(Section::Sum, *position, work.ring_bits, own)?;
                for (value, word) in values.iter_mut().zip(own) {
                    *value = value.wrapping_sub(word.to_u64());
                }
            });
        }
        self.put(Section::Sum, position, work.ring_bits, values, false)
    }

    /// As [`Dealing::put`] where P0 reads 64-bit words whatever the ring.
    pub(crate) fn put64(
        &mut self,
        section: Section,
        position: &mut Position,
        bits: u8,
        values: &mut [u64],
    ) -> Result<(), MaterialError> {
        let mut own = [0_u64; 7 * LANES];
        let own = part_mut(&mut own, ..values.len())?;
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
