//! The same operations put together from burn's own, for devices that the project has no kernels for. burn
//! differentiates them.
//!
//! What is no function of its inputs' values there, the gradients that AutoReP gives its indicators and the
//! penalties, is written so that differentiation finds it: an indicator is its value plus a term that is zero
//! and has the gradient, and penalties are returned for the loss.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bool, Tensor, TensorData, s};
use halfnet_core::shape::{Convolution, Join};

use super::tensors::Activations;
use super::{ActivationContext, ActivationParts, Indicator};

/// (picture, channel, row, column) of a tensor of activations.
fn pictures(tensor: Activations) -> Tensor<4> {
    let [blocks, channels, height, width, lanes] = tensor.dims();
    tensor.permute([0, 4, 1, 2, 3]).reshape([blocks * lanes, channels, height, width])
}

/// And back.
fn blocks(tensor: Tensor<4>, lanes: usize) -> Activations {
    let [pictures, channels, height, width] = tensor.dims();
    tensor.reshape([pictures / lanes, lanes, channels, height, width]).permute([0, 2, 3, 4, 1])
}

/// One value a channel, against activations.
fn channels(values: Tensor<1>) -> Activations {
    let count = values.dims()[0];
    values.reshape([1, count, 1, 1, 1])
}

/// The mean of each channel, (1, channel, 1, 1, 1).
fn channel_means(tensor: Activations) -> Activations {
    tensor.mean_dim(0).mean_dim(2).mean_dim(3).mean_dim(4)
}

/// W ⊗ x.
pub fn convolve(input: Activations, weights: Tensor<1>, geometry: Convolution) -> Activations {
    let lanes = input.dims()[4];
    let (rows, columns) = (usize::from(geometry.kernel_height), usize::from(geometry.kernel_width));
    let kernel =
        weights.reshape([usize::from(geometry.out_channels), geometry.group_channels(), rows, columns]);
    let (stride, padding) = (usize::from(geometry.stride), usize::from(geometry.padding));
    let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], usize::from(geometry.groups));
    blocks(conv2d(pictures(input), kernel, None, options), lanes)
}

/// Batch normalisation, and the moments, without gradient.
pub fn normalise(
    input: Activations,
    gain: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
) -> (Activations, Tensor<1>) {
    let mean = channel_means(input.clone());
    let centred = input - mean.clone();
    let variance = channel_means(centred.clone() * centred.clone());
    let count = gain.dims()[0];
    let moments =
        Tensor::cat(vec![mean.detach().reshape([count]), variance.clone().detach().reshape([count])], 0);
    (centred / (variance + epsilon).sqrt() * channels(gain) + channels(bias), moments)
}

/// Normalisation with given moments.
pub fn normalise_fixed(
    input: Activations,
    gain: Tensor<1>,
    bias: Tensor<1>,
    moments: Tensor<1>,
    epsilon: f32,
) -> Activations {
    let count = gain.dims()[0];
    let moments = moments.detach();
    let (mean, variance) = (moments.clone().narrow(0, 0, count), moments.narrow(0, count, count));
    (input - channels(mean)) / channels((variance + epsilon).sqrt()) * channels(gain) + channels(bias)
}

/// The moments of each channel, without gradient.
pub fn measure(input: Activations) -> Tensor<1> {
    let input = input.detach();
    let count = input.dims()[1];
    let mean = channel_means(input.clone());
    let centred = input - mean.clone();
    Tensor::cat(vec![mean.reshape([count]), channel_means(centred.clone() * centred).reshape([count])], 0)
}

/// sum + x laid under it.
pub fn add_shortcut(sum: Activations, input: Activations, join: Join) -> Activations {
    if join.is_in_place() {
        return sum + input;
    }
    let step = isize::from(join.stride as i16);
    let taken = input.slice(s![.., .., ..;step, ..;step, ..]);
    let [blocks, inner, height, width, lanes] = taken.dims();
    let before = usize::from(join.channel_offset);
    let after = usize::from(join.output.channels) - before - inner;
    let mut parts = Vec::new();
    let zeros = |count: usize| Activations::zeros([blocks, count, height, width, lanes], &sum.device());
    if before > 0 {
        parts.push(zeros(before));
    }
    parts.push(taken);
    if after > 0 {
        parts.push(zeros(after));
    }
    sum + Tensor::cat(parts, 1)
}

/// max(z, 0).
pub fn rectify(input: Activations) -> Activations {
    burn::tensor::activation::relu(input)
}

/// ReLUs and polynomials, and what is to be added to the loss so that gradients are those of the fused
/// operation: its value means nothing.
pub fn activate(
    z: Activations,
    parts: ActivationParts<Tensor<1>>,
    context: &ActivationContext,
) -> (Activations, Tensor<1>) {
    let [_, count, height, width, _] = z.dims();
    let elements = [1, count, height, width, 1];
    let [c2, c1, c0] = [parts.c2, parts.c1, parts.c0].map(channels);
    let auxiliary = parts.auxiliary.reshape(elements);
    let limit = context.tangent_from;
    let inner = if limit.is_finite() { z.clone().clamp(-limit, limit) } else { z.clone() };
    let slope = c2.clone() * inner.clone() * 2.0 + c1.clone();
    let mut polynomial = (c2 * inner.clone() + c1) * inner.clone() + c0;
    if limit.is_finite() {
        polynomial = polynomial + slope * (z.clone() - inner);
    }
    let rectified = rectify(z.clone());
    let (output, indicator, size) = match context.indicator {
        Indicator::Threshold => {
            let mask =
                Tensor::<5, Bool>::from_data(TensorData::new(context.relu.to_vec(), elements), &z.device());
            // Its gradient is softplus(a), its value nothing: also where a polynomial overflows that is not
            // there.
            let weighted = auxiliary.clone() * burn::tensor::activation::softplus(auxiliary.detach(), 1.0);
            let through = weighted.clone() - weighted.clone().detach();
            let apart = (rectified.clone() - polynomial.clone()).clamp(f32::MIN, f32::MAX);
            let output = polynomial.mask_where(mask.clone().expand(z.dims()), rectified) + through * apart;
            (output, mask.float(), weighted)
        }
        Indicator::Part => (
            polynomial.clone() + auxiliary.clone() * (rectified - polynomial),
            auxiliary.clone(),
            auxiliary.abs(),
        ),
    };
    let mut penalty = size.sum() * context.count_gradient;
    let range = context.range;
    if range.weight > 0.0 {
        let excess = (z.clone().abs() - range.limit).clamp_min(0.0);
        let cost = if range.knee.is_finite() {
            let square = excess.clone().clamp_max(range.knee);
            square.clone() * square.clone() + (excess - square) * (2.0 * range.knee)
        } else {
            excess.clone() * excess
        };
        let rest = indicator.detach() * -1.0 + 1.0;
        penalty = penalty + (cost * rest).mean() * range.weight;
    }
    (output, penalty)
}

/// The sum over each plane.
pub fn sum_planes(input: Activations) -> Activations {
    input.sum_dim(2).sum_dim(3)
}
