//! One layer of the integer model, owned and ready to run; also what the importer builds.

use halfnet_core::gate::truncation::{self, Coins, Opening};
use halfnet_core::gate::{polynomial, relu};
use halfnet_core::model::{Activation, Bitmap, Layer, Linear, Polynomial, Step};
use halfnet_core::shape::{Join, Pool, Shape};

use super::products::{Products, Scratch};
use crate::network::float::Mask;
use crate::network::float::forward::{add_join, sum_pool};

/// As [`Layer`], owned.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerLayer {
    /// Linear terms; the first is a convolution.
    pub terms: Vec<IntegerTerm>,
    /// One an output channel.
    pub bias: Vec<i64>,
    /// What happens to the sum.
    pub step: IntegerStep,
    /// Real value of one unit of the output wire, one a channel or one for all; empty when unknown.
    pub output_scale: Vec<f32>,
}

/// As [`halfnet_core::model::Term`], owned.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerTerm {
    /// The wire it reads.
    pub source: usize,
    /// What it does.
    pub linear: IntegerLinear,
}

/// As [`Linear`], owned.
#[derive(Clone, Debug, PartialEq)]
pub enum IntegerLinear {
    /// Convolution with its weights.
    Convolution(Products),
    /// A residual input times 2^shift.
    JoinShift {
        /// Where it lies.
        geometry: Join,
        /// The public shift.
        shift: u8,
    },
    /// A residual input times an integer a channel.
    JoinScaled {
        /// Where it lies.
        geometry: Join,
        /// One a channel of the residual input.
        factors: Vec<i64>,
    },
}

/// As [`Step`], owned.
#[derive(Clone, Debug, PartialEq)]
pub enum IntegerStep {
    /// Truncation and activation.
    Activate(IntegerActivation),
    /// Truncation alone.
    Rescale {
        /// Bits cut.
        shift: u8,
        /// Sum over windows before the cut.
        pool: Option<Pool>,
    },
    /// The sum is the logits.
    Release {
        /// b.
        ring_bits: u8,
    },
}

/// As [`Activation`], owned.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerActivation {
    /// b.
    pub ring_bits: u8,
    /// f1.
    pub shift: u8,
    /// Which elements are ReLU.
    pub relu: Mask,
    /// What the others are.
    pub polynomial: Option<IntegerPolynomial>,
    /// Sum over windows of activated values.
    pub pool: Option<Pool>,
}

/// As [`Polynomial`], owned.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerPolynomial {
    /// f_c.
    pub frac_bits: u8,
    /// One a channel; empty when the degree is 1.
    pub c2: Vec<i64>,
    /// One a channel.
    pub c1: Vec<i64>,
    /// One a channel.
    pub c0: Vec<i64>,
}

/// What a layer's step makes of its sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// y, the truncated sum of an activation; empty where there is none.
    pub truncated: Vec<i64>,
    /// The wire written; for the release, the logits.
    pub output: Vec<i64>,
}

impl From<&Layer<'_>> for IntegerLayer {
    fn from(layer: &Layer<'_>) -> Self {
        let elements = layer.sum_shape().elements();
        let terms = layer.terms.iter().map(|term| {
            let linear = match &term.linear {
                Linear::Convolution { geometry, weights } => {
                    IntegerLinear::Convolution(Products::new(*geometry, weights.iter().collect()))
                }
                Linear::JoinShift { geometry, shift } => {
                    IntegerLinear::JoinShift { geometry: *geometry, shift: *shift }
                }
                Linear::JoinScaled { geometry, factors } => {
                    IntegerLinear::JoinScaled { geometry: *geometry, factors: factors.iter().collect() }
                }
            };
            IntegerTerm { source: usize::from(term.source), linear }
        });
        let step = match &layer.step {
            Step::Activate(Activation { ring_bits, shift, relu, polynomial, pool }) => {
                let owned = |p: &Polynomial<'_>| IntegerPolynomial {
                    frac_bits: p.frac_bits,
                    c2: p.c2.iter().collect(),
                    c1: p.c1.iter().collect(),
                    c0: p.c0.iter().collect(),
                };
                let relu = match relu {
                    Bitmap::All => Mask::All,
                    Bitmap::None => Mask::None,
                    Bitmap::Bits(_) => Mask::Elements((0..elements).map(|i| relu.get(i)).collect()),
                };
                let polynomial = polynomial.as_ref().map(owned);
                IntegerStep::Activate(IntegerActivation {
                    ring_bits: *ring_bits,
                    shift: *shift,
                    relu,
                    polynomial,
                    pool: *pool,
                })
            }
            Step::Rescale { shift, pool } => IntegerStep::Rescale { shift: *shift, pool: *pool },
            Step::Release { ring_bits } => IntegerStep::Release { ring_bits: *ring_bits },
        };
        let output_scale =
            layer.output_scale.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Self { terms: terms.collect(), bias: layer.bias.iter().collect(), step, output_scale }
    }
}

impl IntegerLinear {
    fn output(&self) -> Shape {
        match self {
            Self::Convolution(products) => products.geometry().output(),
            Self::JoinShift { geometry, .. } | Self::JoinScaled { geometry, .. } => geometry.output,
        }
    }
}

impl IntegerLayer {
    /// Shape of the sum, before a pool.
    #[must_use]
    pub fn sum_shape(&self) -> Shape {
        self.terms.first().map_or(Shape::default(), |t| t.linear.output())
    }

    /// The range that the sum must keep: that of opening 1, or of the release. A rescaling has none.
    #[must_use]
    pub fn range(&self) -> Option<(i64, i64)> {
        match &self.step {
            IntegerStep::Activate(a) => {
                Some((-(1 << (a.ring_bits - 2)), (1 << (a.ring_bits - 2)) - (1 << a.shift)))
            }
            IntegerStep::Release { ring_bits } => Some((-(1 << (ring_bits - 3)), (1 << (ring_bits - 3)) - 1)),
            IntegerStep::Rescale { .. } => None,
        }
    }

    /// z = Σ terms + bias.
    ///
    /// # Panics
    /// `wire` gives a wire of another shape.
    #[must_use]
    pub fn sum<'w>(&self, wire: impl Fn(usize) -> &'w [i64], scratch: &mut Scratch) -> Vec<i64> {
        let plane = self.sum_shape().plane();
        let mut sum: Vec<i64> = self.bias.iter().flat_map(|&b| std::iter::repeat_n(b, plane)).collect();
        for term in &self.terms {
            let source = wire(term.source);
            match &term.linear {
                IntegerLinear::Convolution(products) => products.add_to(source, &mut sum, scratch),
                IntegerLinear::JoinShift { geometry, shift } => {
                    add_join(geometry, source, &mut sum, |_, v| v << shift)
                }
                IntegerLinear::JoinScaled { geometry, factors } => {
                    add_join(geometry, source, &mut sum, |c, v| v.wrapping_mul(factors[c]))
                }
            }
        }
        sum
    }

    /// The step on a sum, as layer number `index` of its model.
    #[must_use]
    pub fn step(&self, index: usize, sum: &[i64], coins: &mut dyn Coins) -> Stepped {
        let shape = self.sum_shape();
        match &self.step {
            IntegerStep::Release { .. } => Stepped { truncated: Vec::new(), output: sum.to_vec() },
            IntegerStep::Rescale { shift, pool } => {
                let mut output = pool.map_or_else(|| sum.to_vec(), |p| sum_pool(p, shape, sum));
                truncate(&mut output, *shift, index, Opening::Second, coins);
                Stepped { truncated: Vec::new(), output }
            }
            IntegerStep::Activate(activation) => {
                let mut truncated = sum.to_vec();
                truncate(&mut truncated, activation.shift, index, Opening::First, coins);
                coins.truncated(index, &truncated);
                let output = activation.activate(index, shape, &truncated, coins);
                Stepped { truncated, output }
            }
        }
    }
}

fn truncate(values: &mut [i64], shift: u8, layer: usize, opening: Opening, coins: &mut dyn Coins) {
    if shift == 0 {
        return;
    }
    let mut drawn = vec![0; values.len()];
    coins.fill(layer, opening, shift, 0, &mut drawn);
    values.iter_mut().zip(drawn).for_each(|(v, coin)| *v = truncation::reference(*v, shift, coin));
}

impl IntegerActivation {
    fn activate(&self, layer: usize, shape: Shape, y: &[i64], coins: &mut dyn Coins) -> Vec<i64> {
        let Some(coefficients) = &self.polynomial else {
            let activated: Vec<i64> = y.iter().map(|&y| relu::reference(y)).collect();
            return self.pool.map_or_else(|| activated.clone(), |p| sum_pool(p, shape, &activated));
        };
        let frac_bits = coefficients.frac_bits;
        let at = |values: &[i64], channel: usize| values.get(channel).copied().unwrap_or(0);
        let value = |channel: usize, y: i64| {
            polynomial::reference(
                y,
                at(&coefficients.c2, channel),
                at(&coefficients.c1, channel),
                at(&coefficients.c0, channel),
            )
        };
        let output_shape = self.pool.map_or(shape, |p| p.output(shape));
        // A window is cut by f_c if any of its elements is polynomial; its ReLU elements are then shifted
        // left by as much.
        let mut cut = vec![false; output_shape.elements()];
        let into = |index: usize, visit: &mut dyn FnMut(usize)| match self.pool {
            Some(pool) => pool.windows_of(shape, index, visit),
            None => visit(index),
        };
        (0..y.len()).filter(|&i| !self.relu.get(i)).for_each(|i| into(i, &mut |w| cut[w] = true));
        let mut output = vec![0_i64; output_shape.elements()];
        for (index, &y) in y.iter().enumerate() {
            let is_relu = self.relu.get(index);
            let value = if is_relu { relu::reference(y) } else { value(index / shape.plane(), y) };
            into(index, &mut |w| {
                output[w] = output[w].wrapping_add(if is_relu && cut[w] { value << frac_bits } else { value })
            });
        }
        let mut truncated = output.clone();
        truncate(&mut truncated, frac_bits, layer, Opening::Second, coins);
        output
            .iter_mut()
            .zip(truncated)
            .zip(cut)
            .filter(|(_, cut)| *cut)
            .for_each(|((out, truncated), _)| *out = truncated);
        output
    }
}
