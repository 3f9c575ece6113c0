//! Layers as operations of burn, with gradients.
//!
//! A tensor of activations is (block, channel, row, column, lane): on the CPU sixteen pictures are the lanes
//! of a block (see `halfnet-layers`), and the operations are that crate's. [`LayerKernels`] is what a backend
//! computes, [`LayerOps`] what can be called and differentiated, [`tensors`] its face for tensors. On a GPU
//! they are [`composed`] of burn's own.

pub mod composed;
mod flex;
mod gradients;
pub mod tensors;

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use halfnet_core::shape::{Convolution, Join};
use halfnet_layers::activation::RangePenalty;
use halfnet_layers::normalisation::Source;

/// Which elements of a layer are ReLUs, in (channel, row, column) order.
pub type ReluMask = Arc<[bool]>;

/// An activation's trained parts: the auxiliary parameter of each element's indicator, and coefficients, one
/// of each a channel.
#[derive(Clone, Debug)]
pub struct ActivationParts<T> {
    /// One an element.
    pub auxiliary: T,
    /// Of z².
    pub c2: T,
    /// Of z.
    pub c1: T,
    /// Constant.
    pub c0: T,
}

/// How auxiliary parameters say which elements are ReLUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indicator {
    /// By the mask, which was made of them; their gradient goes straight through, weighted by softplus(a)
    /// (AutoReP, Eq. 7).
    Threshold,
    /// They are the parts themselves: a · ReLU + (1 − a) · polynomial, their size penalised (SNL, Eq. 4).
    Part,
}

/// What else an activation needs to know.
#[derive(Clone, Debug)]
pub struct ActivationContext {
    /// Which elements are ReLUs.
    pub relu: ReluMask,
    /// Keeps arguments of polynomials in range.
    pub range: RangePenalty,
    /// Beyond ± this polynomials go on as their tangents; infinite: nowhere.
    pub tangent_from: f32,
    /// How auxiliary parameters become indicators.
    pub indicator: Indicator,
    /// Gradient of the penalty on ReLUs on each indicator.
    pub count_gradient: f32,
}

/// Values and gradients, as a backend without differentiation computes them.
pub trait LayerKernels: Backend {
    /// W ⊗ x.
    fn convolution(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        geometry: &Convolution,
    ) -> FloatTensor<Self>;
    /// Its dx.
    fn convolution_data(
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        geometry: &Convolution,
    ) -> FloatTensor<Self>;
    /// Its dW.
    fn convolution_weights(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        geometry: &Convolution,
    ) -> FloatTensor<Self>;
    /// Batch normalisation, and the moments: all means, then all variances.
    fn normalisation(
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The same with given moments.
    fn fixed_normalisation(
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    /// The moments of each channel.
    fn channel_moments(input: FloatTensor<Self>) -> FloatTensor<Self>;
    /// A normalisation's dx, dgain and dbias.
    fn normalisation_gradients(
        source: Source,
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f32,
    ) -> [FloatTensor<Self>; 3];
    /// sum + x laid under it.
    fn shortcut_sum(sum: FloatTensor<Self>, input: FloatTensor<Self>, join: &Join) -> FloatTensor<Self>;
    /// The gradient of `input`.
    fn shortcut_gradient(gradient: FloatTensor<Self>, join: &Join) -> FloatTensor<Self>;
    /// max(z, 0).
    fn rectifier(input: FloatTensor<Self>) -> FloatTensor<Self>;
    /// Its gradient, from its output.
    fn rectifier_gradient(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
    /// ReLUs and polynomials.
    fn activation(
        input: FloatTensor<Self>,
        parts: ActivationParts<FloatTensor<Self>>,
        context: &ActivationContext,
    ) -> FloatTensor<Self>;
    /// dz, and the gradients of the parts; that of the auxiliary parameters as the context's [`Indicator`]
    /// says.
    fn activation_gradients(
        input: FloatTensor<Self>,
        parts: ActivationParts<FloatTensor<Self>>,
        context: &ActivationContext,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, ActivationParts<FloatTensor<Self>>);
    /// The sum over each plane.
    fn plane_sums(input: FloatTensor<Self>) -> FloatTensor<Self>;
    /// Its gradient, for planes of (rows, columns).
    fn plane_sums_gradient(gradient: FloatTensor<Self>, plane: [usize; 2]) -> FloatTensor<Self>;
}

/// The operations, routed to the backend of their tensors and differentiable.
#[backend_extension(Autodiff, Flex)]
pub trait LayerOps: Backend {
    /// W ⊗ x.
    fn convolve(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        geometry: Convolution,
    ) -> FloatTensor<Self>;
    /// Batch normalisation, and the moments (without gradient): all means, then all variances.
    fn normalise(
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// Normalisation with given moments.
    fn normalise_fixed(
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    /// The moments of each channel (without gradient): all means, then all variances.
    fn measure(input: FloatTensor<Self>) -> FloatTensor<Self>;
    /// sum + x laid under it.
    fn add_shortcut(sum: FloatTensor<Self>, input: FloatTensor<Self>, join: Join) -> FloatTensor<Self>;
    /// max(z, 0).
    fn rectify(input: FloatTensor<Self>) -> FloatTensor<Self>;
    /// ReLUs and polynomials.
    fn activate(
        input: FloatTensor<Self>,
        auxiliary: FloatTensor<Self>,
        c2: FloatTensor<Self>,
        c1: FloatTensor<Self>,
        c0: FloatTensor<Self>,
        context: ActivationContext,
    ) -> FloatTensor<Self>;
    /// The sum over each plane.
    fn sum_planes(input: FloatTensor<Self>) -> FloatTensor<Self>;
}
