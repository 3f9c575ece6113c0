//! Folding a trained network into the float network that import takes, and from there into `model.postcard`.

use std::path::Path;

use halfnet_core::model::{Bitmap, Model, Step as ModelStep};
use halfnet_core::shape::{Convolution, Pool};
use halfnet_host::network::data::{DataFolder, DataSet};
use halfnet_host::network::float::fold::BatchNorm;
use halfnet_host::network::float::{
    FloatLayer, FloatLinear, FloatNetwork, FloatPolynomial, FloatStep, FloatTerm, Mask,
};
use halfnet_host::network::import::{ImportOptions, Imported, import_network};

use crate::dapa::Degree;
use crate::error::TrainError;
use crate::forward::EPSILON;
use crate::network::{Linear, Network, Offset, Step};
use crate::state::{State, part_names, values};
use crate::weights::Weights;

/// What an activation has become.
#[derive(Clone, Debug, PartialEq)]
pub struct Replaced {
    /// Which elements are ReLUs.
    pub relu: Vec<bool>,
    /// c2, c1, c0, one of each a channel.
    pub coefficients: [Vec<f32>; 3],
}

/// The replacement of each layer, as far as it has one.
#[must_use]
pub fn replaced(network: &Network, state: &State) -> Vec<Option<Replaced>> {
    let layer = |index: usize| {
        let replacement = state.replacements.get(&index)?;
        let [_, c2, c1, c0] = part_names(&network.layers[index].name);
        let coefficients = [c2, c1, c0].map(|name| state.trained.get(&name).map(values).unwrap_or_default());
        Some(Replaced { relu: replacement.relu.to_vec(), coefficients })
    };
    (0..network.layers.len()).map(layer).collect()
}

/// The network with normalisation folded into the convolutions, averages into the weights that follow.
///
/// # Errors
/// A layer is gated (squeeze-excite), which the parties cannot run.
pub fn fold(
    network: &Network,
    weights: &Weights,
    replaced: &[Option<Replaced>],
    degree: Degree,
) -> Result<FloatNetwork, TrainError> {
    let (sums, wires) = (network.sums(), network.wires());
    let mut layers = Vec::new();
    for (index, layer) in network.layers.iter().enumerate() {
        let sum = sums[index];
        let mut bias = vec![0.0; usize::from(sum.channels)];
        let mut terms = Vec::new();
        for term in &layer.terms {
            // An average is a sum whose divisor goes into what follows.
            let divisor = match term.source.checked_sub(1).filter(|&i| network.layers[i].averages()) {
                Some(i) => sums[i].plane() as f32,
                None => 1.0,
            };
            let linear = match &term.linear {
                Linear::Convolution { name, geometry, offset } => {
                    let mut kernel = weights.get(&format!("{name}.weight")).to_vec();
                    match offset {
                        Offset::Normalisation(norm) => {
                            add(&mut bias, &normalisation(weights, norm).fold(&mut kernel))
                        }
                        Offset::Bias => add(&mut bias, weights.get(&format!("{name}.bias"))),
                        Offset::None => {}
                    }
                    kernel.iter_mut().for_each(|w| *w /= divisor);
                    FloatLinear::Convolution { geometry: *geometry, weights: kernel }
                }
                Linear::Normalisation { name } => {
                    let input = wires[term.source];
                    let mut kernel = vec![1.0; usize::from(input.channels)];
                    add(&mut bias, &normalisation(weights, name).fold(&mut kernel));
                    kernel.iter_mut().for_each(|w| *w /= divisor);
                    let (out_channels, groups) = (input.channels, input.channels);
                    let geometry = Convolution {
                        input,
                        out_channels,
                        kernel_height: 1,
                        kernel_width: 1,
                        stride: 1,
                        padding: 0,
                        groups,
                    };
                    FloatLinear::Convolution { geometry, weights: kernel }
                }
                Linear::Join(join) => FloatLinear::Join(*join),
            };
            terms.push(FloatTerm { source: term.source, linear });
        }
        let pool = layer.averages().then_some(Pool { kernel: sum.height, stride: sum.height, padding: 0 });
        let step = match layer.step {
            Step::Relu { .. } => {
                let (relu, polynomial) = match replaced.get(index).and_then(Option::as_ref) {
                    None => (Mask::All, None),
                    Some(replaced) => activation(replaced, degree),
                };
                FloatStep::Activate { relu, polynomial, pool }
            }
            Step::Linear { .. } => FloatStep::Rescale { pool },
            Step::Release => FloatStep::Release,
            Step::Gate { .. } => {
                let reason = "squeeze-excite multiplies by a sigmoid, which the two parties cannot run yet: choose a network without it";
                return Err(TrainError::Unsupported { layer: layer.name.clone(), reason });
            }
        };
        layers.push(FloatLayer { name: layer.name.clone(), terms, bias, step });
    }
    let Network { name, data_set, input, normalisation, .. } = network.clone();
    Ok(FloatNetwork { name, data_set, input, normalisation, layers })
}

fn activation(replaced: &Replaced, degree: Degree) -> (Mask, Option<FloatPolynomial>) {
    let relus = replaced.relu.iter().filter(|&&r| r).count();
    if relus == replaced.relu.len() {
        return (Mask::All, None);
    }
    let relu = if relus == 0 { Mask::None } else { Mask::Elements(replaced.relu.clone()) };
    let [c2, c1, c0] = replaced.coefficients.clone();
    (relu, Some(FloatPolynomial { c2: if degree == Degree::Two { c2 } else { Vec::new() }, c1, c0 }))
}

fn add(bias: &mut [f32], more: &[f32]) {
    bias.iter_mut().zip(more).for_each(|(b, m)| *b += m);
}

fn normalisation(weights: &Weights, name: &str) -> BatchNorm {
    let part = |part: &str| weights.get(&format!("{name}.{part}")).to_vec();
    BatchNorm {
        gain: part("weight"),
        bias: part("bias"),
        mean: part("running_mean"),
        variance: part("running_var"),
        epsilon: EPSILON,
    }
}

/// ReLUs of an integer model.
#[must_use]
pub fn relus(model: &Model<'_>) -> usize {
    let of = |layer: &halfnet_core::model::Layer<'_>| match &layer.step {
        ModelStep::Activate(a) => match a.relu {
            Bitmap::All => layer.sum_shape().elements(),
            ref mask => mask.count(0..layer.sum_shape().elements()),
        },
        _ => 0,
    };
    model.layers.iter().map(of).sum()
}

/// Calibrates on training pictures, writes `model.postcard` and returns the import's report. The bytes are
/// read back, run through the integer reference and counted before anything is saved.
///
/// # Errors
/// The import fails, the model has not the ReLUs that it must have, or the file cannot be written.
pub fn write_model(
    network: &FloatNetwork,
    data: &DataFolder,
    pictures: &DataSet,
    expected_relus: usize,
    options: &ImportOptions,
    path: &Path,
) -> Result<Imported, TrainError> {
    let class_names = data.class_names(network.data_set).unwrap_or_default();
    // The report comes from the bytes, decoded and run through the integer reference.
    let imported = import_network(network, &class_names, pictures, options)?;
    let found = relus(&Model::decode(&imported.bytes)?);
    if found != expected_relus {
        return Err(TrainError::Exported(format!("it has {found} ReLUs instead of {expected_relus}")));
    }
    std::fs::write(path, &imported.bytes).map_err(|e| TrainError::write(path, e))?;
    Ok(imported)
}
