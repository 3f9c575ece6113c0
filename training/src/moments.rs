//! Normalisations' running moments measured anew, layer by layer.
//!
//! With polynomials the moments of a batch and the running ones part: squares make tails heavy, and what a
//! layer does to them compounds. Here each normalisation is measured on what the layers before it give with
//! *their* new moments.

use burn::tensor::Device;
use halfnet_host::network::data::DataSet;
use halfnet_layers::activation::{self, Activation};
use halfnet_layers::normalisation::{self, Moments};
use halfnet_layers::{LANES, convolution, layout};

use crate::data::{Augmentation, batch};
use crate::export::{Replaced, replaced};
use crate::forward::{EPSILON, RangeControl};
use crate::network::{Linear, Network, Offset, Step};
use crate::state::{State, tensor};
use crate::weights::Weights;

struct Measurement<'a> {
    weights: &'a Weights,
    found: Vec<(String, Vec<Moments>, usize)>,
}

impl Measurement<'_> {
    fn normalise(&mut self, name: &str, x: Vec<f32>, positions: usize) -> Vec<f32> {
        let (gain, bias) =
            (self.weights.get(&format!("{name}.weight")), self.weights.get(&format!("{name}.bias")));
        let moments = normalisation::moments(&x, gain.len(), positions);
        let mut y = vec![0.0; x.len()];
        normalisation::forward(&x, gain, bias, &moments, EPSILON, positions, &mut y);
        self.found.push((name.to_owned(), moments, x.len() / gain.len()));
        y
    }

    fn linear(&mut self, linear: &Linear, source: &[f32], blocks: usize, positions: usize) -> Vec<f32> {
        match linear {
            Linear::Convolution { name, geometry, offset } => {
                let mut y = vec![0.0; blocks * geometry.output().elements() * LANES];
                convolution::forward(geometry, self.weights.get(&format!("{name}.weight")), source, &mut y);
                match offset {
                    Offset::Normalisation(norm) => self.normalise(norm, y, positions),
                    Offset::Bias => {
                        layout::add_bias(self.weights.get(&format!("{name}.bias")), positions, &mut y);
                        y
                    }
                    Offset::None => y,
                }
            }
            Linear::Normalisation { name } => self.normalise(name, source.to_vec(), positions),
            Linear::Join(_) => source.to_vec(),
        }
    }
}

fn activate(replaced: Option<&Replaced>, tangent_from: f32, sum: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; sum.len()];
    match replaced {
        None => activation::relu(sum, &mut y),
        Some(Replaced { relu, coefficients: [c2, c1, c0] }) => {
            Activation { tangent_from, ..Activation::exact(relu, [c2, c1, c0]) }.forward(sum, &mut y);
        }
    }
    y
}

/// Each plane times the sigmoid of its channel's value.
fn gate(mut sum: Vec<f32>, by: &[f32], plane: usize) -> Vec<f32> {
    for (plane, gates) in sum.chunks_exact_mut(plane * LANES).zip(by.chunks_exact(LANES)) {
        for values in plane.chunks_exact_mut(LANES) {
            values.iter_mut().zip(gates).for_each(|(v, gate)| *v /= 1.0 + (-gate).exp());
        }
    }
    sum
}

/// Sets every running moment to what it is on some pictures, a whole number of blocks of them, without
/// augmentation.
pub fn remeasure(
    network: &Network,
    state: &mut State,
    set: &DataSet,
    pictures: &[usize],
    range: &RangeControl,
    device: &Device,
) {
    let pictures = &pictures[..pictures.len() / LANES * LANES];
    let blocks = pictures.len() / LANES;
    let (weights, replaced) = (state.weights(network), replaced(network, state));
    let mut measurement = Measurement { weights: &weights, found: Vec::new() };
    let mut wires = vec![batch(set, &network.normalisation, pictures, Augmentation::NONE, (0, 0)).pixels];
    let mut readers = vec![0_usize; network.layers.len() + 1];
    for term in network.layers.iter().flat_map(|l| &l.terms) {
        readers[term.source] += 1;
    }
    for (index, (layer, shape)) in network.layers.iter().zip(network.sums()).enumerate() {
        let mut sum = Vec::new();
        for term in &layer.terms {
            match &term.linear {
                Linear::Join(join) if !sum.is_empty() => {
                    layout::add_join(join, &wires[term.source], &mut sum)
                }
                linear => {
                    let more = measurement.linear(linear, &wires[term.source], blocks, shape.plane());
                    if sum.is_empty() {
                        sum = more;
                    } else {
                        sum.iter_mut().zip(&more).for_each(|(s, m)| *s += m);
                    }
                }
            }
            readers[term.source] -= 1;
            if readers[term.source] == 0 {
                wires[term.source] = Vec::new();
            }
        }
        let tangent_from =
            state.replacements.get(&index).map_or(f32::INFINITY, |r| range.tangent_from(r.limit));
        let mut output = match layer.step {
            Step::Relu { .. } => activate(replaced[index].as_ref(), tangent_from, &sum),
            Step::Gate { by } => gate(sum, &wires[by], shape.plane()),
            Step::Linear { .. } | Step::Release => sum,
        };
        if layer.averages() {
            let mut pooled = vec![0.0; output.len() / shape.plane()];
            layout::sum_planes(&output, shape.plane(), &mut pooled);
            pooled.iter_mut().for_each(|v| *v /= shape.plane() as f32);
            output = pooled;
        }
        wires.push(output);
    }
    for (name, moments, count) in measurement.found {
        let unbiased = count as f32 / (count as f32 - 1.0).max(1.0);
        let values =
            moments.iter().map(|m| m.mean).chain(moments.iter().map(|m| m.variance * unbiased)).collect();
        state.running.insert(name, tensor(values, device));
    }
}
