//! The walk over a model's layers, on one picture.

use halfnet_core::gate::truncation::{self, Coins, Opening};
use halfnet_core::model::{Header, Model, Normalisation};
use halfnet_core::shape::Shape;
use serde::Serialize;

use super::layer::{IntegerLayer, IntegerStep};
use super::products::Scratch;

/// A model, ready to run in the clear.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    input: Shape,
    normalisation: Vec<Normalisation>,
    layers: Vec<IntegerLayer>,
}

/// What one layer computed on one picture.
#[derive(Clone, Copy, Debug)]
pub struct LayerTrace<'a> {
    /// z.
    pub sum: &'a [i64],
    /// y, the truncated sum of an activation; empty where there is none.
    pub truncated: &'a [i64],
    /// The wire written; for the release, the logits.
    pub output: &'a [i64],
}

/// Sees every layer as it is computed.
pub trait Observer {
    /// Layer number `layer` was computed.
    fn layer(&mut self, layer: usize, trace: LayerTrace<'_>);
}

/// Extremes of a layer's sum, against the range it must keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LayerRange {
    /// The smallest sum seen.
    pub low: i64,
    /// The largest sum seen.
    pub high: i64,
    /// Sums outside the layer's range.
    pub violations: u64,
}

impl LayerRange {
    fn of(sum: &[i64], range: Option<(i64, i64)>) -> Self {
        let low = sum.iter().copied().min().unwrap_or(0);
        let high = sum.iter().copied().max().unwrap_or(0);
        let violations = match range {
            Some((least, most)) if low < least || high > most => {
                sum.iter().filter(|&&z| z < least || z > most).count() as u64
            }
            _ => 0,
        };
        Self { low, high, violations }
    }

    /// Both together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            violations: self.violations + other.violations,
        }
    }

    /// The part of the range that was used, 1 for all of it.
    #[must_use]
    pub fn used(&self, range: (i64, i64)) -> f64 {
        (self.low as f64 / range.0 as f64).max(self.high as f64 / range.1 as f64)
    }
}

/// The answer on one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// z of the last layer.
    pub logits: Vec<i64>,
    /// Extremes of each layer's sum.
    pub ranges: Vec<LayerRange>,
}

impl Outcome {
    /// Sums outside their layer's range: each would be garbled between two parties. Calibrated to be none.
    #[must_use]
    pub fn range_violations(&self) -> u64 {
        self.ranges.iter().map(|r| r.violations).sum()
    }

    /// The class with the largest logit, the lower on a tie.
    #[must_use]
    pub fn label(&self) -> usize {
        crate::network::float::forward::label(&self.logits)
    }
}

impl Reference {
    /// Takes a validated model apart.
    #[must_use]
    pub fn new(model: &Model<'_>) -> Self {
        Self::from_layers(&model.header, model.layers.iter().map(IntegerLayer::from).collect())
    }

    pub(crate) fn from_layers(header: &Header<'_>, layers: Vec<IntegerLayer>) -> Self {
        Self { input: header.input, normalisation: header.normalisation.iter().copied().collect(), layers }
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> &[IntegerLayer] {
        &self.layers
    }

    /// Shape of a picture.
    #[must_use]
    pub fn input_shape(&self) -> Shape {
        self.input
    }

    /// A picture's pixels as the input wire.
    ///
    /// # Shapes
    /// `pixels`: the model's input.
    #[must_use]
    pub fn input(&self, pixels: &[u8]) -> Vec<i64> {
        let planes = pixels.chunks_exact(self.input.plane().max(1)).zip(&self.normalisation);
        planes.flat_map(|(plane, n)| plane.iter().map(|&p| i64::from(n.apply(p)))).collect()
    }

    /// Runs one picture.
    ///
    /// # Shapes
    /// `input`: the model's input, as [`Reference::input`] makes it.
    ///
    /// # Panics
    /// `input` has another shape.
    pub fn run(
        &self,
        input: &[i64],
        coins: &mut dyn Coins,
        mut observer: Option<&mut dyn Observer>,
    ) -> Outcome {
        assert_eq!(input.len(), self.input.elements(), "the input's shape is not the model's");
        let mut scratch = Scratch::default();
        let mut wires = vec![input.to_vec()];
        let mut outcome = Outcome { logits: Vec::new(), ranges: Vec::with_capacity(self.layers.len()) };
        coins.wire(0, input);
        for (index, layer) in self.layers.iter().enumerate() {
            let sum = layer.sum(|wire| wires[wire].as_slice(), &mut scratch);
            outcome.ranges.push(LayerRange::of(&sum, layer.range()));
            let stepped = layer.step(index, &sum, coins);
            if let Some(observer) = observer.as_deref_mut() {
                observer.layer(
                    index,
                    LayerTrace { sum: &sum, truncated: &stepped.truncated, output: &stepped.output },
                );
            }
            coins.wire(index + 1, &stepped.output);
            wires.push(stepped.output);
        }
        outcome.logits = wires.pop().unwrap_or_default();
        outcome
    }

    /// Logits as they are released when cut to `bits` bits: floor(z / 2^(b − bits)) or one more.
    ///
    /// # Shapes
    /// `logits`: one a class.
    #[must_use]
    pub fn release(&self, logits: &[i64], bits: u8, coins: &mut dyn Coins) -> Vec<i64> {
        let Some(IntegerStep::Release { ring_bits }) = self.layers.last().map(|l| &l.step) else {
            return Vec::new();
        };
        let shift = ring_bits.saturating_sub(bits);
        let mut drawn = vec![0; logits.len()];
        coins.fill(self.layers.len() - 1, Opening::First, shift, 0, &mut drawn);
        logits.iter().zip(drawn).map(|(&z, coin)| truncation::reference(z, shift, coin)).collect()
    }
}
