//! The operations' values and gradients against burn's own.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use halfnet_core::shape::{Convolution, Join, Shape};
use halfnet_layers::LANES;
use halfnet_training::ops::tensors::{self, Activations};
use halfnet_training::state::values;
use proptest::prelude::*;

/// Small integers, so that sums are exact in any order.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + seed * 7919).wrapping_mul(2_654_435_761) >> 9) % 15) as f32 - 7.0).collect()
}

fn activations(blocks: usize, shape: Shape, seed: usize, device: &Device) -> Activations {
    let sizes =
        [blocks, usize::from(shape.channels), usize::from(shape.height), usize::from(shape.width), LANES];
    Tensor::from_data(TensorData::new(numbers(sizes.iter().product(), seed), sizes), device)
}

/// (picture, channel, row, column).
fn pictures(tensor: Activations) -> Tensor<4> {
    let [blocks, channels, height, width, lanes] = tensor.dims();
    tensor.permute([0, 4, 1, 2, 3]).reshape([blocks * lanes, channels, height, width])
}

fn geometry() -> impl Strategy<Value = Convolution> {
    let sizes = (1..4_u16, 1..5_u16, 1..6_u16, 1..10_u16, 1..10_u16);
    (sizes, 1..4_u16, 1..3_u16, 0..3_u16, any::<bool>())
        .prop_map(|((groups, inputs, outputs, height, width), kernel, stride, padding, depthwise)| {
            let (groups, inputs, outputs) =
                if depthwise { (groups * inputs, 1, 1) } else { (groups, inputs, outputs) };
            Convolution {
                input: Shape::new(groups * inputs, height, width),
                out_channels: groups * outputs,
                kernel_height: kernel,
                kernel_width: kernel,
                stride,
                padding,
                groups,
            }
        })
        .prop_filter("fits", |g| g.validate().is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn convolutions_are_burns(g in geometry(), blocks in 1..3_usize) {
        let device = Device::flex();
        let input = activations(blocks, g.input, 1, &device);
        let weights: Tensor<1> = Tensor::from_data(TensorData::new(numbers(g.weights(), 2), [g.weights()]), &device);
        let pull = activations(blocks, g.output(), 3, &device);

        let (x, w) = (input.clone().autodiff().require_grad(), weights.clone().autodiff().require_grad());
        let y = tensors::convolve(x.clone(), w.clone(), g);
        let found = values(&pictures(y.clone().inner()));
        let mut gradients = (y * pull.clone().autodiff()).sum().backward();
        let (dx, dw) = (x.grad_remove(&mut gradients).unwrap(), w.grad_remove(&mut gradients).unwrap());

        let kernel = [usize::from(g.out_channels), g.group_channels(), usize::from(g.kernel_height), usize::from(g.kernel_width)];
        let (x, w) = (pictures(input).autodiff().require_grad(), weights.reshape(kernel).autodiff().require_grad());
        let (stride, padding) = (usize::from(g.stride), usize::from(g.padding));
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], usize::from(g.groups));
        let y = conv2d(x.clone(), w.clone(), None, options);
        prop_assert_eq!(found, values(&y.clone().inner()));
        let mut gradients = (y * pictures(pull).autodiff()).sum().backward();
        prop_assert_eq!(values(&pictures(dx)), values(&x.grad_remove(&mut gradients).unwrap()));
        prop_assert_eq!(values(&dw), values(&w.grad_remove(&mut gradients).unwrap()));
    }
}

#[test]
fn rectifiers_shortcuts_and_pools_are_burns() {
    let device = Device::flex();
    let join = Join { input: Shape::new(2, 4, 4), output: Shape::new(4, 2, 2), stride: 2, channel_offset: 1 };
    // No sum is zero, where the gradient is a matter of taste.
    let (sum, input) =
        (activations(2, join.output, 1, &device) + 0.5, activations(2, join.input, 2, &device));
    let pull = activations(2, Shape::new(4, 1, 1), 3, &device);
    let leaf = |t: &Activations| t.clone().autodiff().require_grad();

    let (s, x) = (leaf(&sum), leaf(&input));
    let y = tensors::sum_planes(tensors::rectify(tensors::add_shortcut(s.clone(), x.clone(), join)));
    let found = values(&y.clone().inner());
    let mut gradients = (y * pull.clone().autodiff()).sum().backward();
    let found = (
        found,
        values(&s.grad_remove(&mut gradients).unwrap()),
        values(&x.grad_remove(&mut gradients).unwrap()),
    );

    let (s, x) = (leaf(&sum), leaf(&input));
    // The shortcut by hand: every second position, one channel of zeros before and after.
    let rows = Tensor::cat(vec![x.clone().narrow(2, 0, 1), x.clone().narrow(2, 2, 1)], 2);
    let taken = Tensor::cat(vec![rows.clone().narrow(3, 0, 1), rows.narrow(3, 2, 1)], 3);
    let zeros = Activations::zeros([2, 1, 2, 2, LANES], &device.clone().autodiff());
    let z = s.clone() + Tensor::cat(vec![zeros.clone(), taken, zeros], 1);
    let y = z.clamp_min(0.0).sum_dim(2).sum_dim(3);
    let expected = values(&y.clone().inner());
    let mut gradients = (y * pull.autodiff()).sum().backward();
    assert!(
        found
            == (
                expected,
                values(&s.grad_remove(&mut gradients).unwrap()),
                values(&x.grad_remove(&mut gradients).unwrap())
            )
    );
}
