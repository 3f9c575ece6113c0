//! The operations on the CPU.

use std::borrow::Cow;

use burn::backend::TensorMetadata;
use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::TensorData;
use halfnet_core::shape::{Convolution, Join};
use halfnet_layers::activation::{self, Activation, Mask};
use halfnet_layers::normalisation::{Moments, Source};
use halfnet_layers::{LANES, convolution, layout, normalisation};

use super::{ActivationContext, ActivationParts, Indicator, LayerKernels, LayerOps};

/// A tensor's elements in their order.
fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.as_slice::<f32>() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(tensor.to_contiguous().storage::<f32>().to_vec()),
    }
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// (block, channel, row, column, lane) of a tensor of activations.
fn dimensions(tensor: &FlexTensor) -> [usize; 5] {
    let shape = tensor.shape();
    let sizes: Vec<usize> = (0..shape.num_dims()).map(|d| shape[d]).collect();
    match <[usize; 5]>::try_from(sizes) {
        Ok(sizes) if sizes[4] == LANES => sizes,
        _ => panic!("a tensor of activations is (block, channel, row, column, {LANES}), this is {shape:?}"),
    }
}

fn of(blocks: usize, shape: halfnet_core::shape::Shape) -> [usize; 5] {
    [blocks, usize::from(shape.channels), usize::from(shape.height), usize::from(shape.width), LANES]
}

fn zeros(shape: &[usize]) -> Vec<f32> {
    vec![0.0; shape.iter().product()]
}

fn pack(moments: &[Moments]) -> FlexTensor {
    let all: Vec<f32> = moments.iter().map(|m| m.mean).chain(moments.iter().map(|m| m.variance)).collect();
    tensor(all, &[2 * moments.len()])
}

fn unpack(moments: &FlexTensor) -> Vec<Moments> {
    let values = values(moments);
    let (means, variances) = values.split_at(values.len() / 2);
    means.iter().zip(variances).map(|(&mean, &variance)| Moments { mean, variance }).collect()
}

fn mixed<'a>(
    auxiliary: &'a [f32],
    [c2, c1, c0]: &'a [Cow<'a, [f32]>; 3],
    context: &'a ActivationContext,
) -> Activation<'a> {
    let mask = match context.indicator {
        Indicator::Threshold => Mask::Hard(&context.relu),
        Indicator::Part => Mask::Soft(auxiliary),
    };
    Activation { mask, c2, c1, c0, tangent_from: context.tangent_from }
}

impl LayerKernels for Flex {
    fn convolution(input: FlexTensor, weights: FlexTensor, geometry: &Convolution) -> FlexTensor {
        let shape = of(dimensions(&input)[0], geometry.output());
        let mut out = zeros(&shape);
        convolution::forward(geometry, &values(&weights), &values(&input), &mut out);
        tensor(out, &shape)
    }

    fn convolution_data(weights: FlexTensor, gradient: FlexTensor, geometry: &Convolution) -> FlexTensor {
        let shape = of(dimensions(&gradient)[0], geometry.input);
        let mut out = zeros(&shape);
        convolution::data_gradient(geometry, &values(&weights), &values(&gradient), &mut out);
        tensor(out, &shape)
    }

    fn convolution_weights(input: FlexTensor, gradient: FlexTensor, geometry: &Convolution) -> FlexTensor {
        let mut out = vec![0.0; geometry.weights()];
        convolution::weight_gradient(geometry, &values(&input), &values(&gradient), &mut out);
        tensor(out, &[geometry.weights()])
    }

    fn normalisation(
        input: FlexTensor,
        gain: FlexTensor,
        bias: FlexTensor,
        epsilon: f32,
    ) -> (FlexTensor, FlexTensor) {
        let shape = dimensions(&input);
        let (positions, x) = (shape[2] * shape[3], values(&input));
        let moments = normalisation::moments(&x, shape[1], positions);
        let mut out = zeros(&shape);
        normalisation::forward(&x, &values(&gain), &values(&bias), &moments, epsilon, positions, &mut out);
        (tensor(out, &shape), pack(&moments))
    }

    fn fixed_normalisation(
        input: FlexTensor,
        gain: FlexTensor,
        bias: FlexTensor,
        moments: FlexTensor,
        epsilon: f32,
    ) -> FlexTensor {
        let shape = dimensions(&input);
        let mut out = zeros(&shape);
        let (gain, bias, moments) = (values(&gain), values(&bias), unpack(&moments));
        normalisation::forward(
            &values(&input),
            &gain,
            &bias,
            &moments,
            epsilon,
            shape[2] * shape[3],
            &mut out,
        );
        tensor(out, &shape)
    }

    fn channel_moments(input: FlexTensor) -> FlexTensor {
        let shape = dimensions(&input);
        pack(&normalisation::moments(&values(&input), shape[1], shape[2] * shape[3]))
    }

    fn normalisation_gradients(
        source: Source,
        input: FlexTensor,
        gain: FlexTensor,
        moments: FlexTensor,
        gradient: FlexTensor,
        epsilon: f32,
    ) -> [FlexTensor; 3] {
        let shape = dimensions(&input);
        let mut out = zeros(&shape);
        let (gain_gradient, bias_gradient) = normalisation::backward(
            source,
            &values(&input),
            &values(&gain),
            &unpack(&moments),
            epsilon,
            shape[2] * shape[3],
            &values(&gradient),
            &mut out,
        );
        [tensor(out, &shape), tensor(gain_gradient, &[shape[1]]), tensor(bias_gradient, &[shape[1]])]
    }

    fn shortcut_sum(sum: FlexTensor, input: FlexTensor, join: &Join) -> FlexTensor {
        let mut sum = if sum.as_slice::<f32>().is_some_and(|s| s.len() == sum.storage::<f32>().len()) {
            sum
        } else {
            sum.to_contiguous()
        };
        layout::add_join(join, &values(&input), sum.storage_mut::<f32>());
        sum
    }

    fn shortcut_gradient(gradient: FlexTensor, join: &Join) -> FlexTensor {
        if join.is_in_place() {
            return gradient;
        }
        let shape = of(dimensions(&gradient)[0], join.input);
        let mut out = zeros(&shape);
        layout::join_gradient(join, &values(&gradient), &mut out);
        tensor(out, &shape)
    }

    fn rectifier(input: FlexTensor) -> FlexTensor {
        let shape = dimensions(&input);
        let mut out = zeros(&shape);
        activation::relu(&values(&input), &mut out);
        tensor(out, &shape)
    }

    fn rectifier_gradient(output: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let shape = dimensions(&output);
        let mut out = zeros(&shape);
        activation::relu_gradient(&values(&output), &values(&gradient), &mut out);
        tensor(out, &shape)
    }

    fn activation(
        input: FlexTensor,
        parts: ActivationParts<FlexTensor>,
        context: &ActivationContext,
    ) -> FlexTensor {
        let shape = dimensions(&input);
        let mut out = zeros(&shape);
        let (auxiliary, c) =
            (values(&parts.auxiliary), [values(&parts.c2), values(&parts.c1), values(&parts.c0)]);
        mixed(&auxiliary, &c, context).forward(&values(&input), &mut out);
        tensor(out, &shape)
    }

    fn activation_gradients(
        input: FlexTensor,
        parts: ActivationParts<FlexTensor>,
        context: &ActivationContext,
        gradient: FlexTensor,
    ) -> (FlexTensor, ActivationParts<FlexTensor>) {
        let shape = dimensions(&input);
        let mut out = zeros(&shape);
        let (auxiliary, c) =
            (values(&parts.auxiliary), [values(&parts.c2), values(&parts.c1), values(&parts.c0)]);
        let gradients = mixed(&auxiliary, &c, context).backward(
            context.range,
            &values(&input),
            &values(&gradient),
            &mut out,
        );
        let softplus = |a: f32| a.max(0.0) + (-a.abs()).exp().ln_1p();
        let of = |(&a, g): (&f32, &f32)| match context.indicator {
            Indicator::Threshold => softplus(a) * (g + context.count_gradient),
            Indicator::Part => g + context.count_gradient * a.signum(),
        };
        let auxiliary: Vec<f32> = auxiliary.iter().zip(&gradients.indicator).map(of).collect();
        let channels = shape[1];
        let parts = ActivationParts {
            auxiliary: tensor(auxiliary, &[context.relu.len()]),
            c2: tensor(gradients.c2, &[channels]),
            c1: tensor(gradients.c1, &[channels]),
            c0: tensor(gradients.c0, &[channels]),
        };
        (tensor(out, &shape), parts)
    }

    fn plane_sums(input: FlexTensor) -> FlexTensor {
        let [blocks, channels, height, width, _] = dimensions(&input);
        let shape = [blocks, channels, 1, 1, LANES];
        let mut out = zeros(&shape);
        layout::sum_planes(&values(&input), height * width, &mut out);
        tensor(out, &shape)
    }

    fn plane_sums_gradient(gradient: FlexTensor, [height, width]: [usize; 2]) -> FlexTensor {
        let [blocks, channels, ..] = dimensions(&gradient);
        let shape = [blocks, channels, height, width, LANES];
        let mut out = zeros(&shape);
        layout::spread_planes(&values(&gradient), height * width, &mut out);
        tensor(out, &shape)
    }
}

impl LayerOps for Flex {
    fn convolve(input: FlexTensor, weights: FlexTensor, geometry: Convolution) -> FlexTensor {
        Self::convolution(input, weights, &geometry)
    }

    fn normalise(
        input: FlexTensor,
        gain: FlexTensor,
        bias: FlexTensor,
        epsilon: f32,
    ) -> (FlexTensor, FlexTensor) {
        Self::normalisation(input, gain, bias, epsilon)
    }

    fn normalise_fixed(
        input: FlexTensor,
        gain: FlexTensor,
        bias: FlexTensor,
        moments: FlexTensor,
        epsilon: f32,
    ) -> FlexTensor {
        Self::fixed_normalisation(input, gain, bias, moments, epsilon)
    }

    fn measure(input: FlexTensor) -> FlexTensor {
        Self::channel_moments(input)
    }

    fn add_shortcut(sum: FlexTensor, input: FlexTensor, join: Join) -> FlexTensor {
        Self::shortcut_sum(sum, input, &join)
    }

    fn rectify(input: FlexTensor) -> FlexTensor {
        Self::rectifier(input)
    }

    fn activate(
        input: FlexTensor,
        auxiliary: FlexTensor,
        c2: FlexTensor,
        c1: FlexTensor,
        c0: FlexTensor,
        context: ActivationContext,
    ) -> FlexTensor {
        Self::activation(input, ActivationParts { auxiliary, c2, c1, c0 }, &context)
    }

    fn sum_planes(input: FlexTensor) -> FlexTensor {
        Self::plane_sums(input)
    }
}
