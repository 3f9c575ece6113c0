//! The operations on tensors.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use halfnet_core::shape::{Convolution, Join};

use super::{ActivationContext, ActivationParts, LayerOps, composed};
use crate::device::has_kernels;

/// Activations: (block, channel, row, column, lane).
pub type Activations = Tensor<5>;

/// W ⊗ x, with the weights in one row.
#[must_use]
pub fn convolve(input: Activations, weights: Tensor<1>, geometry: Convolution) -> Activations {
    if !has_kernels(input.device()) {
        return composed::convolve(input, weights, geometry);
    }
    Tensor::from_dispatch(Dispatch::convolve(input.into_dispatch(), weights.into_dispatch(), geometry))
}

/// Batch normalisation, and the batch's moments: all means, then all variances (divided by the number of
/// values).
#[must_use]
pub fn normalise(
    input: Activations,
    gain: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
) -> (Activations, Tensor<1>) {
    if !has_kernels(input.device()) {
        return composed::normalise(input, gain, bias, epsilon);
    }
    let (output, moments) =
        Dispatch::normalise(input.into_dispatch(), gain.into_dispatch(), bias.into_dispatch(), epsilon);
    (Tensor::from_dispatch(output), Tensor::from_dispatch(moments))
}

/// Normalisation with given moments, which get no gradient.
#[must_use]
pub fn normalise_fixed(
    input: Activations,
    gain: Tensor<1>,
    bias: Tensor<1>,
    moments: Tensor<1>,
    epsilon: f32,
) -> Activations {
    if !has_kernels(input.device()) {
        return composed::normalise_fixed(input, gain, bias, moments, epsilon);
    }
    let (gain, bias, moments) = (gain.into_dispatch(), bias.into_dispatch(), moments.into_dispatch());
    Tensor::from_dispatch(Dispatch::normalise_fixed(input.into_dispatch(), gain, bias, moments, epsilon))
}

/// The moments of each channel, without gradient: all means, then all variances.
#[must_use]
pub fn measure(input: Activations) -> Tensor<1> {
    if !has_kernels(input.device()) {
        return composed::measure(input);
    }
    Tensor::from_dispatch(Dispatch::measure(input.into_dispatch()))
}

/// sum + input, laid under it as `join` says.
#[must_use]
pub fn add_shortcut(sum: Activations, input: Activations, join: Join) -> Activations {
    if !has_kernels(sum.device()) {
        return composed::add_shortcut(sum, input, join);
    }
    Tensor::from_dispatch(Dispatch::add_shortcut(sum.into_dispatch(), input.into_dispatch(), join))
}

/// max(z, 0).
#[must_use]
pub fn rectify(input: Activations) -> Activations {
    if !has_kernels(input.device()) {
        return composed::rectify(input);
    }
    Tensor::from_dispatch(Dispatch::rectify(input.into_dispatch()))
}

/// ReLUs and polynomials, as the context's mask says; and what is to be added to the loss, where the
/// gradients of penalties are not the operation's own. The value of that means nothing.
#[must_use]
pub fn activate(
    input: Activations,
    parts: ActivationParts<Tensor<1>>,
    context: ActivationContext,
) -> (Activations, Option<Tensor<1>>) {
    if !has_kernels(input.device()) {
        let (output, penalty) = composed::activate(input, parts, &context);
        return (output, Some(penalty));
    }
    let output = Tensor::from_dispatch(Dispatch::activate(
        input.into_dispatch(),
        parts.auxiliary.into_dispatch(),
        parts.c2.into_dispatch(),
        parts.c1.into_dispatch(),
        parts.c0.into_dispatch(),
        context,
    ));
    (output, None)
}

/// The sum over each plane: (block, channel, 1, 1, lane).
#[must_use]
pub fn sum_planes(input: Activations) -> Activations {
    if !has_kernels(input.device()) {
        return composed::sum_planes(input);
    }
    Tensor::from_dispatch(Dispatch::sum_planes(input.into_dispatch()))
}
