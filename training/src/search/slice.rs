//! A smaller network from a trained one: a part of its channels, those with the largest filters (L1 norm),
//! and half the resolution, by a stem that takes every second position.
//!
//! Weights are taken from the trained network. Where a shortcut lays a wire under wider sums, the channels
//! kept in the sums are those under the wire's, and as large a part of each side.

use halfnet_core::shape::{Convolution, Join, Shape};
use serde::Serialize;

use crate::error::TrainError;
use crate::network::{Linear, Network, Offset, Step};
use crate::weights::Weights;

/// What is left of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// Channels that stay, of every `of`.
    pub channels: u16,
    /// In so many.
    pub of: u16,
    /// Planes have half the rows and columns.
    pub halved: bool,
}

impl Slice {
    /// The whole network.
    pub const WHOLE: Self = Self { channels: 1, of: 1, halved: false };

    fn part(self, channels: u16) -> Option<u16> {
        let product = u32::from(channels) * u32::from(self.channels);
        let found = product / u32::from(self.of.max(1));
        (product.is_multiple_of(u32::from(self.of.max(1))) && found > 0).then_some(found as u16)
    }
}

/// The network and its weights, sliced.
///
/// # Errors
/// A layer's channels are not divisible, its geometry does not fit, or grouped convolutions are not
/// depthwise.
pub fn slice(network: &Network, weights: &Weights, slice: Slice) -> Result<(Network, Weights), TrainError> {
    let mut found = network.clone();
    let mut sliced = Weights::default();
    let wires = network.wires();
    // Kept channels and new shape of each wire.
    let mut kept: Vec<Vec<usize>> = vec![(0..usize::from(network.input.channels)).collect()];
    let mut shapes = vec![network.input];
    for (index, layer) in found.layers.iter_mut().enumerate() {
        let unsupported = |reason: &'static str| TrainError::Unsupported {
            layer: network.layers[index].name.clone(),
            reason,
        };
        let channels = usize::from(network.sums()[index].channels);
        let keep = if layer.step == Step::Release {
            (0..channels).collect()
        } else {
            kept_channels(network, weights, index, &kept, slice)
                .ok_or_else(|| unsupported("its channels do not divide into such parts"))?
        };
        let mut sum = Shape::default();
        for term in &mut layer.terms {
            let (input, inputs) = (shapes[term.source], &kept[term.source]);
            match &mut term.linear {
                Linear::Convolution { name, geometry, offset } => {
                    // Below the stem everything halves by itself.
                    let stride =
                        if slice.halved && term.source == 0 { 2 * geometry.stride } else { geometry.stride };
                    let old = *geometry;
                    let depthwise = old.groups > 1;
                    if depthwise && (old.groups != old.input.channels || old.out_channels != old.groups) {
                        return Err(unsupported(
                            "grouped convolutions can be sliced only when they are depthwise",
                        ));
                    }
                    *geometry = Convolution {
                        input,
                        out_channels: keep.len() as u16,
                        stride,
                        groups: if depthwise { keep.len() as u16 } else { 1 },
                        ..old
                    };
                    geometry
                        .validate()
                        .map_err(|_| unsupported("its kernel does not fit half the resolution"))?;
                    let kernel = usize::from(old.kernel_height) * usize::from(old.kernel_width);
                    let all = weights.get(&format!("{name}.weight"));
                    let group = old.group_channels();
                    let columns: Vec<usize> = if depthwise { vec![0] } else { inputs.clone() };
                    let rows =
                        keep.iter().flat_map(|&out| columns.iter().map(move |&c| (out * group + c) * kernel));
                    sliced.set(
                        format!("{name}.weight"),
                        rows.flat_map(|at| all[at..at + kernel].to_vec()).collect(),
                    );
                    match offset {
                        Offset::Normalisation(norm) => take_normalisation(&mut sliced, weights, norm, &keep),
                        Offset::Bias => take(&mut sliced, weights, &format!("{name}.bias"), &keep),
                        Offset::None => {}
                    }
                    sum = geometry.output();
                }
                Linear::Normalisation { name } => {
                    take_normalisation(&mut sliced, weights, name, &keep);
                    sum = input;
                }
                Linear::Join(join) => {
                    let below = keep.iter().position(|&c| {
                        c == usize::from(join.channel_offset) + inputs.first().copied().unwrap_or(0)
                    });
                    let below = below.ok_or_else(|| unsupported("its shortcut's channels are not kept"))?;
                    *join = Join { input, output: sum, stride: join.stride, channel_offset: below as u16 };
                    join.validate()
                        .map_err(|_| unsupported("its shortcut does not fit half the resolution"))?;
                }
            }
        }
        let whole = wires[index + 1].plane() == 1 && network.sums()[index].plane() > 1;
        shapes.push(if whole { Shape::new(sum.channels, 1, 1) } else { sum });
        kept.push(keep);
    }
    Ok((found, sliced))
}

fn take(sliced: &mut Weights, weights: &Weights, name: &str, keep: &[usize]) {
    let all = weights.get(name);
    sliced.set(name, keep.iter().map(|&channel| all[channel]).collect());
}

fn take_normalisation(sliced: &mut Weights, weights: &Weights, name: &str, keep: &[usize]) {
    for part in ["weight", "bias", "running_mean", "running_var"] {
        take(sliced, weights, &format!("{name}.{part}"), keep);
    }
}

/// The channels of a layer that stay, in their order; `None` where they do not divide.
fn kept_channels(
    network: &Network,
    weights: &Weights,
    index: usize,
    kept: &[Vec<usize>],
    slice: Slice,
) -> Option<Vec<usize>> {
    let layer = &network.layers[index];
    let channels = network.sums()[index].channels;
    let mut norms = vec![0.0_f32; usize::from(channels)];
    for term in &layer.terms {
        match &term.linear {
            Linear::Join(join) => {
                let (inputs, below) = (&kept[term.source], usize::from(join.channel_offset));
                let above = usize::from(channels) - below - usize::from(join.input.channels);
                let sides = (slice.part(below as u16), slice.part(above as u16));
                let sides = if below + above == 0 { (0, 0) } else { (sides.0?, sides.1?) };
                let norms = layer_norms(network, weights, index);
                let mut keep = largest(&norms, 0..below, usize::from(sides.0));
                keep.extend(inputs.iter().map(|c| c + below));
                keep.extend(largest(
                    &norms,
                    below + usize::from(join.input.channels)..usize::from(channels),
                    usize::from(sides.1),
                ));
                return Some(keep);
            }
            Linear::Normalisation { .. } => return Some(kept[term.source].clone()),
            Linear::Convolution { geometry, .. } if geometry.groups > 1 => {
                return Some(kept[term.source].clone());
            }
            Linear::Convolution { .. } => norms = layer_norms(network, weights, index),
        }
    }
    Some(largest(&norms, 0..usize::from(channels), usize::from(slice.part(channels)?)))
}

/// L1 norm of each channel's filters, all convolutions of the layer together.
fn layer_norms(network: &Network, weights: &Weights, index: usize) -> Vec<f32> {
    let mut norms = vec![0.0; usize::from(network.sums()[index].channels)];
    for term in &network.layers[index].terms {
        if let Linear::Convolution { name, .. } = &term.linear {
            let all = weights.get(&format!("{name}.weight"));
            let filters = all.chunks_exact((all.len() / norms.len()).max(1));
            norms
                .iter_mut()
                .zip(filters)
                .for_each(|(norm, filter)| *norm += filter.iter().map(|w| w.abs()).sum::<f32>());
        }
    }
    norms
}

/// The `count` largest of some channels, in their order.
fn largest(norms: &[f32], among: std::ops::Range<usize>, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = among.collect();
    order.sort_by(|&a, &b| norms[b].total_cmp(&norms[a]).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use halfnet_host::network::data::DataSetKind;

    use super::*;
    use crate::evaluate::Evaluator;
    use crate::network::families::by_name;

    const HALF: Slice = Slice { channels: 1, of: 2, halved: false };

    fn logits(evaluator: &Evaluator, shape: Shape) -> Vec<f32> {
        let pixels =
            (0..shape.elements() * halfnet_layers::LANES).map(|i| (i as f32 * 0.713).sin()).collect();
        evaluator.logits(pixels)
    }

    #[test]
    fn channels_that_are_nothing_can_be_left_out() {
        for name in ["resnet20", "resnet18", "wrn22-8", "mobilenet"] {
            let network = by_name(name, DataSetKind::Cifar10).unwrap();
            let mut weights = Weights::initial(&network, 3);
            let (small, _) = slice(&network, &weights, HALF).unwrap();
            // What is left out becomes zero: filters small, and the normalisations' gains nothing.
            let mut kept = vec![(0..3).collect::<Vec<usize>>()];
            for (index, layer) in network.layers.iter().enumerate() {
                let keep = if layer.step == Step::Release {
                    (0..10).collect()
                } else {
                    kept_channels(&network, &weights, index, &kept, HALF).unwrap()
                };
                for term in &layer.terms {
                    let (filters, norm) = match &term.linear {
                        Linear::Convolution { name, offset: Offset::Normalisation(norm), .. } => {
                            (Some(name), Some(norm))
                        }
                        Linear::Convolution { name, .. } => (Some(name), None),
                        Linear::Normalisation { name } => (None, Some(name)),
                        Linear::Join(_) => (None, None),
                    };
                    for (tensor, part) in filters
                        .map(|n| (format!("{n}.weight"), 0))
                        .into_iter()
                        .chain(norm.map(|n| (format!("{n}.weight"), 1)))
                    {
                        let mut values = weights.get(&tensor).to_vec();
                        let channels = usize::from(network.sums()[index].channels);
                        let each = if part == 0 { values.len() / channels } else { 1 };
                        for channel in (0..channels).filter(|c| !keep.contains(c)) {
                            values[channel * each..(channel + 1) * each].fill(0.0);
                        }
                        weights.set(tensor, values);
                    }
                }
                kept.push(keep);
            }
            let (_, sliced) = slice(&network, &weights, HALF).unwrap();
            let (whole, part) =
                (Evaluator::of(&network, &weights).unwrap(), Evaluator::of(&small, &sliced).unwrap());
            let (a, b) = (logits(&whole, network.input), logits(&part, network.input));
            let largest = a.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            assert!(
                largest > 1e-3 && a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3 * largest),
                "{name}"
            );
        }
    }

    #[test]
    fn half_the_resolution_is_a_quarter_of_the_relus() {
        let network = by_name("resnet20", DataSetKind::Cifar10).unwrap();
        let weights = Weights::initial(&network, 3);
        let (small, sliced) = slice(&network, &weights, Slice { halved: true, ..HALF }).unwrap();
        assert_eq!(small.relus(), network.relus() / 8);
        assert!(Evaluator::of(&small, &sliced).is_ok());
        assert_eq!(small.classes(), 10);
        // A layer over the whole plane has no half.
        let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
        assert!(
            slice(&network, &Weights::initial(&network, 3), Slice { halved: true, ..Slice::WHOLE }).is_err()
        );
    }
}
