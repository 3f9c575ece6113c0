//! Running a folded float network on blocks of pictures: the teacher's logits, and the accuracy that is
//! exported.

mod teacher;

use std::collections::BTreeMap;

use burn::tensor::Device;
use halfnet_host::network::data::DataSet;
use halfnet_host::network::float::{
    ChannelNormalisation, FloatLayer, FloatLinear, FloatNetwork, FloatStep, Mask,
};
use halfnet_layers::activation::{self, Activation};
use halfnet_layers::{LANES, convolution, layout};

use crate::dapa::Degree;
use crate::data::{Augmentation, Batch, batch};
use crate::error::TrainError;
use crate::export::{self, Replaced};
use crate::forward::{self, PassOptions};
use crate::network::Network;
use crate::state::{State, values};
use crate::weights::Weights;
pub use teacher::Teacher;

/// Pictures that are run together.
const CHUNK: usize = 256;

/// What some pictures came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Pictures whose label is right, in percent.
    pub accuracy: f64,
    /// Part of the pictures with a polynomial's argument beyond its layer's limit; nothing where arguments
    /// were not looked at.
    pub beyond: Option<f64>,
    /// Part of them with one beyond twice the limit.
    pub far: Option<f64>,
    /// Of each layer by name: the largest argument of a picture in parts of the limit, of the median picture,
    /// of the 99th percentile and of the worst.
    pub reach: BTreeMap<String, [f32; 3]>,
}

/// A float network ready to run on blocks.
#[derive(Clone, Debug)]
pub struct Evaluator {
    network: FloatNetwork,
    /// Of each layer with polynomials, c2 filled in.
    mixed: Vec<Option<Replaced>>,
    /// Where a layer's polynomials go on as their tangents, if they do.
    tangents: BTreeMap<usize, f32>,
}

impl Judged {
    /// An accuracy, and nothing of arguments.
    #[must_use]
    pub const fn of(accuracy: f64) -> Self {
        Self { accuracy, beyond: None, far: None, reach: BTreeMap::new() }
    }
}

impl Evaluator {
    /// Takes a network.
    ///
    /// # Errors
    /// It has a pool over less than a whole plane.
    pub fn new(network: FloatNetwork) -> Result<Self, TrainError> {
        let mut mixed = Vec::new();
        for layer in &network.layers {
            let sum = layer.sum_shape();
            if layer.pool().is_some_and(|p| {
                p.output(sum).plane() != 1 || p.kernel != sum.height || sum.height != sum.width
            }) {
                return Err(TrainError::Unsupported {
                    layer: layer.name.clone(),
                    reason: "training pools whole planes only",
                });
            }
            mixed.push(match &layer.step {
                FloatStep::Activate { relu, polynomial: Some(p), .. } => {
                    let relu = match relu {
                        Mask::All => vec![true; sum.elements()],
                        Mask::None => vec![false; sum.elements()],
                        Mask::Elements(elements) => elements.clone(),
                    };
                    let c2 = if p.c2.is_empty() { vec![0.0; p.c1.len()] } else { p.c2.clone() };
                    Some(Replaced { relu, coefficients: [c2, p.c1.clone(), p.c0.clone()] })
                }
                _ => None,
            });
        }
        Ok(Self { network, mixed, tangents: BTreeMap::new() })
    }

    /// A network with all its ReLUs.
    ///
    /// # Errors
    /// It has a pool or a gate that cannot be run.
    pub fn of(network: &Network, weights: &Weights) -> Result<Self, TrainError> {
        Self::new(export::fold(network, weights, &[], Degree::Two)?)
    }

    /// The same with polynomials that go on as their tangents beyond each layer's limit, as they do while
    /// training.
    #[must_use]
    pub fn with_tangents(self, limits: BTreeMap<usize, f32>) -> Self {
        Self { tangents: limits, ..self }
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &FloatNetwork {
        &self.network
    }

    /// Logits, (block, class, lane), of pictures (block, channel, row, column, lane).
    #[must_use]
    pub fn logits(&self, pixels: Vec<f32>) -> Vec<f32> {
        self.run(pixels, |_, _| ())
    }

    /// Logits; `see` is shown each layer's sum.
    fn run(&self, pixels: Vec<f32>, mut see: impl FnMut(usize, &[f32])) -> Vec<f32> {
        let blocks = pixels.len() / (self.network.input.elements() * LANES);
        let mut wires = vec![pixels];
        let mut readers = vec![0_usize; self.network.layers.len() + 1];
        for term in self.network.layers.iter().flat_map(|l| &l.terms) {
            readers[term.source] += 1;
        }
        for (index, (layer, mixed)) in self.network.layers.iter().zip(&self.mixed).enumerate() {
            let sum = layer_sum(layer, &wires, blocks);
            see(index, &sum);
            let tangent_from = self.tangents.get(&index).copied().unwrap_or(f32::INFINITY);
            let output = layer_output(layer, mixed.as_ref(), tangent_from, sum);
            for term in &layer.terms {
                readers[term.source] -= 1;
                if readers[term.source] == 0 {
                    wires[term.source] = Vec::new();
                }
            }
            wires.push(output);
        }
        wires.pop().unwrap_or_default()
    }

    /// Accuracy on some pictures of a set, and how far polynomials' arguments go in parts of each layer's
    /// limit.
    #[must_use]
    pub fn judge(&self, set: &DataSet, pictures: &[usize], limits: &BTreeMap<usize, f32>) -> Judged {
        // The largest argument of each picture, layer by layer.
        let mut reached: BTreeMap<usize, Vec<f32>> =
            limits.keys().map(|&index| (index, Vec::new())).collect();
        let accuracy = score(set, &self.network.normalisation, self.network.classes(), pictures, |batch| {
            let count = batch.labels.len();
            self.run(batch.pixels, |index, sum| {
                let (Some(Replaced { relu, .. }), Some(limit)) = (&self.mixed[index], limits.get(&index))
                else {
                    return;
                };
                let mut all = Vec::new();
                for block in sum.chunks_exact(relu.len() * LANES) {
                    let mut most = [0.0_f32; LANES];
                    for (z, _) in block.as_chunks::<LANES>().0.iter().zip(relu).filter(|&(_, &relu)| !relu) {
                        // A value that is no number has left the range as well.
                        let part = |z: f32| if z.is_nan() { f32::INFINITY } else { z.abs() / limit };
                        most.iter_mut().zip(z).for_each(|(m, &z)| *m = m.max(part(z)));
                    }
                    all.extend(most);
                }
                reached.entry(index).or_default().extend(&all[..count]);
            })
        });
        let count = pictures.len().max(1);
        let most: Vec<f32> = (0..pictures.len())
            .map(|picture| {
                reached.values().filter_map(|layer| layer.get(picture)).fold(0.0, |m: f32, &r| m.max(r))
            })
            .collect();
        let reach = reached.into_iter().map(|(index, mut all)| {
            all.sort_by(f32::total_cmp);
            let at = |part: usize| {
                all.get((all.len() * part / 100).min(all.len().saturating_sub(1))).copied().unwrap_or(0.0)
            };
            // JSON has no infinity.
            (self.network.layers[index].name.clone(), [50, 99, 100].map(|part| at(part).min(f32::MAX)))
        });
        Judged {
            accuracy,
            beyond: Some(most.iter().filter(|&&m| m > 1.0).count() as f64 / count as f64),
            far: Some(most.iter().filter(|&&m| m > 2.0).count() as f64 / count as f64),
            reach: reach.collect(),
        }
    }

    /// Accuracy on some pictures of a set, in percent.
    #[must_use]
    pub fn accuracy(&self, set: &DataSet, pictures: &[usize]) -> f64 {
        self.judge(set, pictures, &BTreeMap::new()).accuracy
    }
}

/// Accuracy of a network in training, with its running moments, in percent. Unlike an [`Evaluator`] it runs
/// every network that can be trained, where its tensors are.
#[must_use]
pub fn accuracy(network: &Network, state: &State, set: &DataSet, pictures: &[usize], device: &Device) -> f64 {
    let pass = PassOptions { frozen_moments: true, ..PassOptions::PLAIN };
    let leaves = forward::constants(state);
    score(set, &network.normalisation, network.classes(), pictures, |batch| {
        let input = forward::pictures(network, &batch, device);
        values(&forward::run(network, state, &leaves, input, &pass).logits.inner())
    })
}

/// Accuracy, in percent, of whatever makes logits, (block, class, lane), of a batch.
fn score(
    set: &DataSet,
    normalisation: &[ChannelNormalisation],
    classes: usize,
    pictures: &[usize],
    mut logits: impl FnMut(Batch) -> Vec<f32>,
) -> f64 {
    let mut correct = 0;
    for chunk in pictures.chunks(CHUNK) {
        let batch = batch(set, normalisation, chunk, Augmentation::NONE, (0, 0));
        let labels = batch.labels.clone();
        let logits = layout::from_blocks(&logits(batch), classes, chunk.len());
        let right = |&(logits, &label): &(&[f32], &u16)| {
            halfnet_host::network::float::forward::label(logits) == usize::from(label)
        };
        correct += logits.chunks_exact(classes).zip(&labels).filter(right).count();
    }
    100.0 * correct as f64 / pictures.len().max(1) as f64
}

fn layer_sum(layer: &FloatLayer, wires: &[Vec<f32>], blocks: usize) -> Vec<f32> {
    let shape = layer.sum_shape();
    let mut sum = vec![0.0; blocks * shape.elements() * LANES];
    for (index, term) in layer.terms.iter().enumerate() {
        let source = &wires[term.source];
        match &term.linear {
            FloatLinear::Convolution { geometry, weights } if index == 0 => {
                convolution::forward(geometry, weights, source, &mut sum)
            }
            FloatLinear::Convolution { geometry, weights } => {
                let mut more = vec![0.0; sum.len()];
                convolution::forward(geometry, weights, source, &mut more);
                sum.iter_mut().zip(&more).for_each(|(s, m)| *s += m);
            }
            FloatLinear::Join(join) => layout::add_join(join, source, &mut sum),
        }
    }
    layout::add_bias(&layer.bias, shape.plane(), &mut sum);
    sum
}

fn layer_output(layer: &FloatLayer, mixed: Option<&Replaced>, tangent_from: f32, sum: Vec<f32>) -> Vec<f32> {
    let shape = layer.sum_shape();
    let mut output = match &layer.step {
        FloatStep::Activate { .. } => {
            let mut output = vec![0.0; sum.len()];
            match mixed {
                Some(Replaced { relu, coefficients: [c2, c1, c0] }) => {
                    Activation { tangent_from, ..Activation::exact(relu, [c2, c1, c0]) }
                        .forward(&sum, &mut output)
                }
                None => activation::relu(&sum, &mut output),
            }
            output
        }
        FloatStep::Rescale { .. } | FloatStep::Release => sum,
    };
    if layer.pool().is_some() {
        let mut pooled = vec![0.0; output.len() / shape.plane()];
        layout::sum_planes(&output, shape.plane(), &mut pooled);
        output = pooled;
    }
    output
}
