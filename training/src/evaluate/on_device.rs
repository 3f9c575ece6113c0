//! The same network on a GPU, for a teacher's logits: of what is not run on the CPU's kernels.

use burn::tensor::{Device, Tensor, TensorData};
use halfnet_host::float::{FloatLayer, FloatLinear, FloatStep};
use halfnet_layers::LANES;

use super::Evaluator;
use crate::device::has_kernels;
use crate::export::Replaced;
use crate::ops::composed;
use crate::ops::tensors::Activations;
use crate::state::{tensor, values};

impl Evaluator {
    /// Logits as [`Evaluator::logits`], computed on a device.
    #[must_use]
    pub fn logits_on(&self, pixels: Vec<f32>, device: &Device) -> Vec<f32> {
        if has_kernels(device.clone()) { self.logits(pixels) } else { self.composed_logits(pixels, device) }
    }

    /// Logits by burn's own operations.
    #[must_use]
    pub fn composed_logits(&self, pixels: Vec<f32>, device: &Device) -> Vec<f32> {
        let input = self.network.input;
        let blocks = pixels.len() / (input.elements() * LANES);
        let sizes = [blocks, usize::from(input.channels), usize::from(input.height), usize::from(input.width), LANES];
        let mut wires: Vec<Option<Activations>> = vec![Some(Tensor::from_data(TensorData::new(pixels, sizes), device))];
        let mut readers = vec![0_usize; self.network.layers.len() + 1];
        for term in self.network.layers.iter().flat_map(|l| &l.terms) {
            readers[term.source] += 1;
        }
        for (layer, mixed) in self.network.layers.iter().zip(&self.mixed) {
            let mut sum: Option<Activations> = None;
            for term in &layer.terms {
                readers[term.source] -= 1;
                let source = if readers[term.source] == 0 { wires[term.source].take() } else { wires[term.source].clone() };
                let Some(source) = source else { continue };
                sum = Some(match (&term.linear, sum) {
                    (FloatLinear::Join(join), Some(sum)) => composed::add_shortcut(sum, source, *join),
                    (FloatLinear::Join(_), None) => source,
                    (FloatLinear::Convolution { geometry, weights }, sum) => {
                        let products = composed::convolve(source, tensor(weights.clone(), device), *geometry);
                        match sum {
                            Some(sum) => sum + products,
                            None => products,
                        }
                    }
                });
            }
            wires.push(sum.map(|sum| step(layer, mixed.as_ref(), sum + of_channels(&layer.bias, device), device)));
        }
        wires.pop().flatten().map(|logits| values(&logits)).unwrap_or_default()
    }
}

/// One value a channel.
fn of_channels(values: &[f32], device: &Device) -> Activations {
    tensor(values.to_vec(), device).reshape([1, values.len(), 1, 1, 1])
}

fn step(layer: &FloatLayer, mixed: Option<&Replaced>, sum: Activations, device: &Device) -> Activations {
    let output = match (&layer.step, mixed) {
        (FloatStep::Activate { .. }, None) => composed::rectify(sum),
        (FloatStep::Activate { .. }, Some(Replaced { relu, coefficients })) => {
            let [_, channels, height, width, _] = sum.dims();
            let mask: Vec<f32> = relu.iter().map(|&relu| f32::from(u8::from(relu))).collect();
            let mask = tensor(mask, device).reshape([1, channels, height, width, 1]);
            let [c2, c1, c0] = [0, 1, 2].map(|i| of_channels(&coefficients[i], device));
            let polynomial = (c2 * sum.clone() + c1) * sum.clone() + c0;
            polynomial.clone() + mask * (composed::rectify(sum) - polynomial)
        }
        (FloatStep::Rescale { .. } | FloatStep::Release, _) => sum,
    };
    // Pools are sums over whole planes.
    if layer.pool().is_some() { composed::sum_planes(output) } else { output }
}
