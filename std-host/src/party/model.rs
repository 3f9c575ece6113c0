//! A party's half of the model on a host: weights packed once for the fastest kernel, one copy of them in
//! memory.
//!
//! [`HostWeights`] are made from P0's seed, from P1's material, or (for the dealer) from the model;
//! [`HostModel`] multiplies by them. Weights may be shared by several [`HostModel`]s, one a thread: the
//! dealer makes bundles in parallel.

use core::ops::Range;
use std::collections::HashMap;
use std::sync::Arc;

use halfnet_core::dealer::tensors;
use halfnet_core::gate::linear::join_convolution;
use halfnet_core::model::{Integers, MAX_TERMS, Model};
use halfnet_core::party::half::{LinearTerm, MaterialError, ModelHalf, TermId};
use halfnet_core::party::seed::{QUADRATIC, model_key, tensor_kind};
use halfnet_core::plan::{LinearPlan, Mode, Plan, StepPlan};
use halfnet_core::prg::{Exhausted, Key, Stream};
use halfnet_core::ring::{Word, WordKind, Words, WordsMut};
use halfnet_core::shape::Convolution;
use halfnet_core::{with_kind, with_words};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::party::kernel::{Kernel, KernelError, Kernels, PackedInput, PackedWeights};
use crate::party::material::{FileError, PartyOne, PartyZero};

/// Channels that are packed at once: a panel of any kernel.
const CHANNELS: usize = 16;

/// Why weights could not be made ready.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightError {
    /// No kernel, or one refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The material.
    #[error(transparent)]
    File(#[from] FileError),
    /// P0's stream.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The model is not the plan's.
    #[error("layer {layer}, term {term}: the weights are not those that the plan describes")]
    Shape {
        /// Layer.
        layer: u16,
        /// Term.
        term: u8,
    },
}

/// Where weights come from.
trait Source {
    /// Fills `out` with weights from weight `first` of a tensor on.
    fn read<W: Word>(&mut self, id: TermId, first: usize, out: &mut [W]) -> Result<(), WeightError>;
    /// Is there such a tensor? `count` is what the plan expects.
    fn holds(&self, id: TermId, count: usize) -> Result<bool, WeightError>;
}

/// P0's: the model stream.
struct SeedSource {
    key: Key,
    stream: Option<(TermId, Stream)>,
}

impl Source for SeedSource {
    fn read<W: Word>(&mut self, id: TermId, first: usize, out: &mut [W]) -> Result<(), WeightError> {
        let key = &self.key;
        if self.stream.as_ref().is_none_or(|(kept, _)| *kept != id) {
            self.stream = Some((id, Stream::new(key, tensor_kind(id.layer, id.term))));
        }
        if let Some((_, stream)) = &mut self.stream {
            stream.fill_words(first as u64, out)?;
        }
        Ok(())
    }

    fn holds(&self, _id: TermId, _count: usize) -> Result<bool, WeightError> {
        Ok(true)
    }
}

/// P1's: its material.
struct FileSource<'f> {
    file: &'f PartyOne,
    bytes: Zeroizing<Vec<u8>>,
}

impl Source for FileSource<'_> {
    fn read<W: Word>(&mut self, id: TermId, first: usize, out: &mut [W]) -> Result<(), WeightError> {
        let bits = self.file.read(id, first, out.len(), &mut self.bytes)?;
        let tensor = Integers { bits, bytes: &self.bytes };
        for (index, slot) in out.iter_mut().enumerate() {
            *slot = W::from_i64(tensor.get(index));
        }
        Ok(())
    }

    fn holds(&self, id: TermId, count: usize) -> Result<bool, WeightError> {
        match self.file.entry(id) {
            Some(entry) if entry.count as usize != count => {
                Err(WeightError::Shape { layer: id.layer, term: id.term })
            }
            entry => Ok(entry.is_some()),
        }
    }
}

/// The dealer's: the model itself.
struct ModelSource<'m>(HashMap<(u16, u8), Integers<'m>>);

impl Source for ModelSource<'_> {
    fn read<W: Word>(&mut self, id: TermId, first: usize, out: &mut [W]) -> Result<(), WeightError> {
        let tensor =
            self.0.get(&(id.layer, id.term)).ok_or(WeightError::Shape { layer: id.layer, term: id.term })?;
        for (index, slot) in out.iter_mut().enumerate() {
            *slot = W::from_i64(tensor.get(first + index));
        }
        Ok(())
    }

    fn holds(&self, id: TermId, count: usize) -> Result<bool, WeightError> {
        match self.0.get(&(id.layer, id.term)) {
            Some(tensor) if tensor.len() != count => {
                Err(WeightError::Shape { layer: id.layer, term: id.term })
            }
            tensor => Ok(tensor.is_some()),
        }
    }
}

/// One layer's packed weights.
#[derive(Default)]
struct LayerWeights {
    terms: [Option<(WordKind, PackedWeights)>; MAX_TERMS],
    /// c2 by channel, or a share of it; empty where there is none.
    quadratic: Zeroizing<Vec<u64>>,
}

/// All of a party's weights, packed.
pub struct HostWeights {
    kernel: Kernel,
    layers: Vec<LayerWeights>,
}

impl core::fmt::Debug for HostWeights {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "HostWeights({:?}, {} layers, {} bytes)", self.kernel, self.layers.len(), self.bytes())
    }
}

impl HostWeights {
    /// P0's: expanded from its seed, or, in mode H, none.
    ///
    /// # Errors
    /// No kernel computes correctly.
    pub fn of_seed_party(plan: &Plan<'_>, material: &PartyZero) -> Result<Self, WeightError> {
        if plan.header.options.mode == Mode::Held {
            return Ok(Self { kernel: Kernels::detect()?, layers: Vec::new() });
        }
        let key = model_key(&material.seed, &material.public.agreement(plan));
        Self::load(plan, &mut SeedSource { key, stream: None })
    }

    /// P1's: read from its material, tensor by tensor.
    ///
    /// # Errors
    /// The material does not hold what the plan describes, or cannot be read.
    pub fn of_bundle_party(plan: &Plan<'_>, material: &PartyOne) -> Result<Self, WeightError> {
        Self::load(plan, &mut FileSource { file: material, bytes: Zeroizing::new(Vec::new()) })
    }

    /// The dealer's: the model's own.
    ///
    /// # Errors
    /// The model is not the plan's.
    pub fn of_dealer(plan: &Plan<'_>, model: &Model<'_>) -> Result<Self, WeightError> {
        Self::load(
            plan,
            &mut ModelSource(tensors(model).map(|(id, tensor)| ((id.layer, id.term), tensor)).collect()),
        )
    }

    fn load(plan: &Plan<'_>, source: &mut impl Source) -> Result<Self, WeightError> {
        let kernel = Kernels::detect()?;
        let mut layers = Vec::with_capacity(usize::from(plan.header.layers));
        for layer in plan.layers() {
            let mut weights = LayerWeights::default();
            let word = layer.work(&plan.header.options).word;
            for (index, (term, slot)) in layer.terms.iter().zip(&mut weights.terms).enumerate() {
                let geometry = match term.linear {
                    LinearPlan::Convolution(geometry) => geometry,
                    LinearPlan::JoinScaled { geometry } => join_convolution(&geometry),
                    LinearPlan::JoinShift { .. } => continue,
                };
                let id = TermId { layer: layer.index, term: index as u8 };
                if !source.holds(id, geometry.weights())? {
                    return Err(WeightError::Shape { layer: id.layer, term: id.term });
                }
                *slot = Some((word, with_kind!(word, W => pack::<W>(kernel, &geometry, word, id, source))?));
            }
            let id = TermId { layer: layer.index, term: QUADRATIC };
            let channels = usize::from(layer.sum.channels);
            let polynomial = matches!(layer.step, StepPlan::Activate { .. })
                && layer.relu().count(0..layer.elements()) < layer.elements();
            if polynomial && source.holds(id, channels)? {
                weights.quadratic.resize(channels, 0);
                source.read(id, 0, &mut weights.quadratic)?;
            }
            layers.push(weights);
        }
        Ok(Self { kernel, layers })
    }

    /// Bytes of packed weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.layers.iter().flat_map(|l| l.terms.iter().flatten()).map(|(_, packed)| packed.bytes()).sum()
    }

    /// The kernel that they are packed for.
    #[must_use]
    pub const fn kernel(&self) -> Kernel {
        self.kernel
    }

    fn term(&self, id: TermId) -> Option<&(WordKind, PackedWeights)> {
        self.layers.get(usize::from(id.layer))?.terms.get(usize::from(id.term))?.as_ref()
    }
}

fn pack<W: Word>(
    kernel: Kernel,
    geometry: &Convolution,
    word: WordKind,
    id: TermId,
    source: &mut impl Source,
) -> Result<PackedWeights, WeightError> {
    let mut packed = kernel.pack_empty(geometry, word)?;
    let (channels, fan_in) = (usize::from(geometry.out_channels), geometry.fan_in());
    let mut rows = Zeroizing::new(vec![W::default(); CHANNELS.min(channels) * fan_in]);
    for first in (0..channels).step_by(CHANNELS) {
        let rows = &mut rows[..CHANNELS.min(channels - first) * fan_in];
        source.read(id, first * fan_in, rows)?;
        packed.fill(first, Words::new(rows))?;
    }
    Ok(packed)
}

/// A party's half of the model: packed weights, and the inputs of the layer at hand.
pub struct HostModel {
    weights: Arc<HostWeights>,
    inputs: [PackedInput; MAX_TERMS],
    /// An input in wider words than its wire's.
    widened: Zeroizing<Vec<u64>>,
}

impl core::fmt::Debug for HostModel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "HostModel({:?})", self.weights)
    }
}

impl HostModel {
    /// A model over `weights`, which others may use at the same time.
    #[must_use]
    pub fn new(weights: Arc<HostWeights>) -> Self {
        Self { weights, inputs: Default::default(), widened: Zeroizing::new(Vec::new()) }
    }
}

/// A lent model: a session takes its model by value.
#[derive(Debug)]
pub struct Lent<'m>(pub &'m mut HostModel);

impl ModelHalf for Lent<'_> {
    fn prepare(&mut self, term: LinearTerm<'_>) -> Result<(), MaterialError> {
        self.0.prepare(term)
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        self.0.convolve(term, tile, out)
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        self.0.quadratic(layer, channel)
    }
}

/// Copies an input into wider words.
fn widen<'s, W: Word>(scratch: &'s mut Vec<u64>, input: Words<'_>) -> Words<'s> {
    let words = (input.len() * W::BYTES).div_ceil(8);
    if scratch.len() < words {
        // A fresh allocation, so that the old one is wiped.
        scratch.zeroize();
        *scratch = vec![0; words];
    }
    let out: &mut [W] = &mut bytemuck::cast_slice_mut(scratch)[..input.len()];
    with_words!(Words, input, input => {
        for (slot, value) in out.iter_mut().zip(input) {
            *slot = W::from_u64(value.to_u64());
        }
    });
    Words::new(out)
}

impl ModelHalf for HostModel {
    fn prepare(&mut self, term: LinearTerm<'_>) -> Result<(), MaterialError> {
        let Self { weights, inputs, widened } = self;
        let LinearTerm { id, geometry, input } = term;
        let (word, _) = weights.term(id).ok_or(MaterialError::Weights)?;
        let input =
            if input.kind() == *word { input } else { with_kind!(*word, W => widen::<W>(widened, input)) };
        let scratch = inputs.get_mut(usize::from(id.term)).ok_or(MaterialError::Weights)?;
        weights.kernel.prepare(scratch, geometry, input).map_err(|_| MaterialError::Weights)
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        let (_, packed) = self.weights.term(term.id).ok_or(MaterialError::Weights)?;
        let input = self.inputs.get(usize::from(term.id.term)).ok_or(MaterialError::Weights)?;
        self.weights.kernel.convolve(packed, input, tile, out).map_err(|_| MaterialError::Weights)
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        let share =
            self.weights.layers.get(usize::from(layer)).and_then(|l| l.quadratic.get(usize::from(channel)));
        // None in H for P0, and for a polynomial of first order.
        Ok(share.copied().unwrap_or(0))
    }
}
