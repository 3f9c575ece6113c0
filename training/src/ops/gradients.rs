//! The operations on tensors that are differentiated.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, TensorMetadata};
use halfnet_core::shape::{Convolution, Join};
use halfnet_layers::normalisation::Source;

use super::{ActivationContext, ActivationParts, LayerKernels, LayerOps};

#[derive(Debug)]
struct ConvolutionStep;

impl<B: LayerKernels> Backward<B, 2> for ConvolutionStep {
    type State = (FloatTensor<B>, FloatTensor<B>, Convolution);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (input, weights, geometry) = ops.state;
        let [input_node, weights_node] = ops.parents;
        if let Some(node) = weights_node {
            grads.register::<B>(node.id, B::convolution_weights(input, gradient.clone(), &geometry));
        }
        if let Some(node) = input_node {
            grads.register::<B>(node.id, B::convolution_data(weights, gradient, &geometry));
        }
    }
}

#[derive(Debug)]
struct NormalisationStep;

impl<B: LayerKernels> Backward<B, 3> for NormalisationStep {
    type State = (Source, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, f32);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (source, input, gain, moments, epsilon) = ops.state;
        let gradients = B::normalisation_gradients(source, input, gain, moments, gradient, epsilon);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct ShortcutStep;

impl<B: LayerKernels> Backward<B, 2> for ShortcutStep {
    type State = Join;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [sum_node, input_node] = ops.parents;
        if let Some(node) = input_node {
            grads.register::<B>(node.id, B::shortcut_gradient(gradient.clone(), &ops.state));
        }
        if let Some(node) = sum_node {
            grads.register::<B>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct RectifierStep;

impl<B: LayerKernels> Backward<B, 1> for RectifierStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::rectifier_gradient(ops.state, gradient));
        }
    }
}

#[derive(Debug)]
struct ActivationStep;

impl<B: LayerKernels> Backward<B, 5> for ActivationStep {
    type State = (FloatTensor<B>, [FloatTensor<B>; 4], ActivationContext);

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (input, [auxiliary, c2, c1, c0], context) = ops.state;
        let (input, parts) =
            B::activation_gradients(input, ActivationParts { auxiliary, c2, c1, c0 }, &context, gradient);
        let gradients = [input, parts.auxiliary, parts.c2, parts.c1, parts.c0];
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct PlaneSumsStep;

impl<B: LayerKernels> Backward<B, 1> for PlaneSumsStep {
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::plane_sums_gradient(gradient, ops.state));
        }
    }
}

impl<B: LayerKernels, C: CheckpointStrategy> LayerOps for Autodiff<B, C> {
    fn convolve(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        geometry: Convolution,
    ) -> FloatTensor<Self> {
        let prepared =
            ConvolutionStep.prepare::<C>([input.node(), weights.node()]).compute_bound().stateful();
        let (input, weights) = (input.into_primitive(), weights.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let output = B::convolution(input.clone(), weights.clone(), &geometry);
                prepared.finish((input, weights, geometry), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::convolution(input, weights, &geometry)),
        }
    }

    fn normalise(
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = NormalisationStep
            .prepare::<C>([input.node(), gain.node(), bias.node()])
            .compute_bound()
            .stateful();
        let (input, gain, bias) = (input.into_primitive(), gain.into_primitive(), bias.into_primitive());
        let (output, moments) = B::normalisation(input.clone(), gain.clone(), bias, epsilon);
        let untracked = Self::from_inner(moments.clone());
        let output = match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish((Source::Batch, input, gain, moments, epsilon), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        (output, untracked)
    }

    fn normalise_fixed(
        input: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let prepared = NormalisationStep
            .prepare::<C>([input.node(), gain.node(), bias.node()])
            .compute_bound()
            .stateful();
        let [input, gain, bias, moments] = [input, gain, bias, moments].map(|t| t.into_primitive());
        let output = B::fixed_normalisation(input.clone(), gain.clone(), bias, moments.clone(), epsilon);
        match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish((Source::Fixed, input, gain, moments, epsilon), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn measure(input: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::channel_moments(input.into_primitive()))
    }

    fn add_shortcut(sum: FloatTensor<Self>, input: FloatTensor<Self>, join: Join) -> FloatTensor<Self> {
        let prepared = ShortcutStep.prepare::<C>([sum.node(), input.node()]).compute_bound().stateful();
        let output = B::shortcut_sum(sum.into_primitive(), input.into_primitive(), &join);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(join, output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn rectify(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = RectifierStep.prepare::<C>([input.node()]).compute_bound().stateful();
        let output = B::rectifier(input.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(output.clone(), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn activate(
        input: FloatTensor<Self>,
        auxiliary: FloatTensor<Self>,
        c2: FloatTensor<Self>,
        c1: FloatTensor<Self>,
        c0: FloatTensor<Self>,
        context: ActivationContext,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), auxiliary.node(), c2.node(), c1.node(), c0.node()];
        let prepared = ActivationStep.prepare::<C>(nodes).compute_bound().stateful();
        let input = input.into_primitive();
        let parts = [auxiliary, c2, c1, c0].map(|part| part.into_primitive());
        let [auxiliary, c2, c1, c0] = parts.clone();
        let output = B::activation(input.clone(), ActivationParts { auxiliary, c2, c1, c0 }, &context);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((input, parts, context), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn sum_planes(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = input.shape();
        let prepared = PlaneSumsStep.prepare::<C>([input.node()]).compute_bound().stateful();
        let output = B::plane_sums(input.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish([shape[2], shape[3]], output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}
