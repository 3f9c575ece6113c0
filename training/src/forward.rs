//! One pass of a network over a batch, recorded for its gradients.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use halfnet_layers::LANES;
use halfnet_layers::activation::RangePenalty;

use crate::data::Batch;
use crate::network::{Linear, Network, Offset, Step};
use crate::ops::tensors::{self, Activations};
use crate::ops::{ActivationContext, ActivationParts, Indicator};
use crate::state::{State, part_names};

/// What a batch normalisation adds to a variance, as PyTorch.
pub const EPSILON: f32 = halfnet_host::network::float::fold::EPSILON;

/// How a pass is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassOptions {
    /// Normalise with the running moments instead of the batch's own.
    pub frozen_moments: bool,
    /// Measure the arguments of activations.
    pub measure_arguments: bool,
    /// Keeps arguments of polynomials in range.
    pub range: RangeControl,
    /// How auxiliary parameters become indicators.
    pub indicator: Indicator,
    /// Gradient of the penalty on ReLUs on each indicator.
    pub count_gradient: f32,
}

/// What keeps polynomials' arguments in range, in parts of each layer's limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeControl {
    /// Beyond the limit polynomials go on as their tangents.
    pub tangents: bool,
    /// Arguments cost from here.
    pub margin: f32,
    /// Excess from which the cost grows no faster; infinite for a square.
    pub knee: f32,
    /// Weight of the cost in the loss.
    pub weight: f32,
}

impl RangeControl {
    /// None.
    pub const OFF: Self = Self { tangents: false, margin: 1.0, knee: f32::INFINITY, weight: 0.0 };

    /// Beyond ± this a layer's polynomials go on as their tangents.
    #[must_use]
    pub const fn tangent_from(&self, limit: f32) -> f32 {
        if self.tangents { limit } else { f32::INFINITY }
    }

    fn penalty(&self, limit: f32) -> RangePenalty {
        if self.weight == 0.0 || !limit.is_finite() {
            return RangePenalty::OFF;
        }
        RangePenalty {
            limit: self.margin * limit,
            knee: self.knee * limit,
            weight: self.weight / (limit * limit),
        }
    }
}

impl PassOptions {
    /// Ordinary training.
    pub const PLAIN: Self = Self {
        frozen_moments: false,
        measure_arguments: false,
        range: RangeControl::OFF,
        indicator: Indicator::Threshold,
        count_gradient: 0.0,
    };
}

/// What a pass gives.
#[derive(Debug)]
pub struct Pass {
    /// (block, class, 1, 1, lane).
    pub logits: Activations,
    /// Moments that each normalisation had in this batch, by name; the variances divided by the number of
    /// values.
    pub moments: Vec<(String, Tensor<1>)>,
    /// Moments of each activation's argument, by layer.
    pub arguments: Vec<(usize, Tensor<1>)>,
    /// Values of a channel in a batch, for each of `moments`.
    pub counts: Vec<usize>,
    /// To be added to the loss for its gradients, where the activations do not see to penalties themselves;
    /// its value means nothing.
    pub penalty: Option<Tensor<1>>,
}

/// A batch's pictures as a tensor.
#[must_use]
pub fn pictures(network: &Network, batch: &Batch, device: &Device) -> Activations {
    let (shape, blocks) = (network.input, batch.pixels.len() / (network.input.elements() * LANES));
    let shape =
        [blocks, usize::from(shape.channels), usize::from(shape.height), usize::from(shape.width), LANES];
    Tensor::from_data(TensorData::new(batch.pixels.clone(), shape), device)
}

/// The trained tensors as leaves that gradients are taken for.
#[must_use]
pub fn leaves(state: &State) -> BTreeMap<String, Tensor<1>> {
    state
        .trained
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.clone().autodiff().require_grad()))
        .collect()
}

/// The trained tensors as they are: nothing is recorded.
#[must_use]
pub fn constants(state: &State) -> BTreeMap<String, Tensor<1>> {
    state.trained.iter().map(|(name, tensor)| (name.clone(), tensor.clone().autodiff())).collect()
}

/// Runs the network.
///
/// # Panics
/// `leaves` or `state` are not the network's.
#[must_use]
pub fn run(
    network: &Network,
    state: &State,
    leaves: &BTreeMap<String, Tensor<1>>,
    input: Activations,
    options: &PassOptions,
) -> Pass {
    let mut readers = vec![0_usize; network.layers.len() + 1];
    for term in network.layers.iter().flat_map(|l| &l.terms) {
        readers[term.source] += 1;
    }
    let mut wires: Vec<Option<Activations>> = vec![Some(input.autodiff())];
    let mut pass = PassState { state, leaves, options, moments: Vec::new(), counts: Vec::new() };
    let mut arguments = Vec::new();
    let mut penalty: Option<Tensor<1>> = None;
    for (index, layer) in network.layers.iter().enumerate() {
        let mut sum: Option<Activations> = None;
        for term in &layer.terms {
            readers[term.source] -= 1;
            // A wire is given away to its last reader.
            let source = if readers[term.source] == 0 {
                wires[term.source].take()
            } else {
                wires[term.source].clone()
            };
            let source = source.expect("every wire is read as often as counted");
            sum = Some(match (&term.linear, sum) {
                (Linear::Join(join), Some(sum)) => tensors::add_shortcut(sum, source, *join),
                (Linear::Join(_), None) => source,
                (linear, None) => pass.linear(linear, source),
                (linear, Some(sum)) => sum + pass.linear(linear, source),
            });
        }
        let sum = sum.expect("every layer has a term");
        let mut output = match layer.step {
            Step::Relu { .. } => match state.replacements.get(&index) {
                None => tensors::rectify(sum),
                Some(replacement) => {
                    if options.measure_arguments {
                        arguments.push((index, tensors::measure(sum.clone()).inner()));
                    }
                    let [auxiliary, c2, c1, c0] = part_names(&layer.name).map(|name| leaves[&name].clone());
                    let context = ActivationContext {
                        relu: replacement.relu.clone(),
                        range: options.range.penalty(replacement.limit),
                        tangent_from: options.range.tangent_from(replacement.limit),
                        indicator: options.indicator,
                        count_gradient: options.count_gradient,
                    };
                    let (output, more) =
                        tensors::activate(sum, ActivationParts { auxiliary, c2, c1, c0 }, context);
                    penalty = match (penalty, more) {
                        (Some(penalty), Some(more)) => Some(penalty + more),
                        (penalty, more) => penalty.or(more),
                    };
                    output
                }
            },
            Step::Gate { by } => {
                let gate = wires[by].clone().expect("a gate is no layer's source");
                sum * burn::tensor::activation::sigmoid(gate)
            }
            Step::Linear { .. } | Step::Release => sum,
        };
        if layer.averages() {
            let [_, _, height, width, _] = output.dims();
            output = tensors::sum_planes(output) / (height * width) as f32;
        }
        wires.push(Some(output));
    }
    let logits = wires.pop().flatten().expect("the last wire has no reader");
    Pass { logits, moments: pass.moments, arguments, counts: pass.counts, penalty }
}

struct PassState<'a> {
    state: &'a State,
    leaves: &'a BTreeMap<String, Tensor<1>>,
    options: &'a PassOptions,
    moments: Vec<(String, Tensor<1>)>,
    counts: Vec<usize>,
}

impl PassState<'_> {
    fn linear(&mut self, linear: &Linear, source: Activations) -> Activations {
        match linear {
            Linear::Convolution { name, geometry, offset } => {
                let products =
                    tensors::convolve(source, self.leaves[&format!("{name}.weight")].clone(), *geometry);
                match offset {
                    Offset::Normalisation(norm) => self.normalise(norm, products),
                    Offset::Bias => {
                        let bias = self.leaves[&format!("{name}.bias")].clone();
                        let channels = bias.dims()[0];
                        products + bias.reshape([1, channels, 1, 1, 1])
                    }
                    Offset::None => products,
                }
            }
            Linear::Normalisation { name } => self.normalise(name, source),
            Linear::Join(_) => source,
        }
    }

    fn normalise(&mut self, name: &str, source: Activations) -> Activations {
        let (gain, bias) =
            (self.leaves[&format!("{name}.weight")].clone(), self.leaves[&format!("{name}.bias")].clone());
        if self.options.frozen_moments {
            return tensors::normalise_fixed(
                source,
                gain,
                bias,
                self.state.running[name].clone().autodiff(),
                EPSILON,
            );
        }
        let [blocks, _, height, width, lanes] = source.dims();
        let (output, moments) = tensors::normalise(source, gain, bias, EPSILON);
        self.moments.push((name.to_owned(), moments.inner()));
        self.counts.push(blocks * height * width * lanes);
        output
    }
}

impl Pass {
    /// Takes the batch's moments into the running ones, the variances divided by one less than the number of
    /// values.
    pub fn update_running(&self, state: &mut State) {
        for ((name, moments), &count) in self.moments.iter().zip(&self.counts) {
            let channels = moments.dims()[0] / 2;
            let unbiased = count as f32 / (count as f32 - 1.0).max(1.0);
            let batch = Tensor::cat(
                vec![
                    moments.clone().narrow(0, 0, channels),
                    moments.clone().narrow(0, channels, channels) * unbiased,
                ],
                0,
            );
            if let Some(running) = state.running.get_mut(name) {
                *running = running.clone() * (1.0 - crate::state::MOMENTUM) + batch * crate::state::MOMENTUM;
            }
        }
    }
}
