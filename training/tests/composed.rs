//! The operations put together from burn's own against the project's kernels, values and gradients: what a
//! GPU computes is what the CPU does. The comparison with a GPU itself is `training/gpu/run.sh`'s.

use burn::tensor::{Device, Tensor, TensorData};
use halfnet_core::shape::{Convolution, Join, Shape};
use halfnet_layers::LANES;
use halfnet_layers::activation::RangePenalty;
use halfnet_training::ops::tensors::{self, Activations};
use halfnet_training::ops::{ActivationContext, ActivationParts, Indicator, composed};
use halfnet_training::state::values;

/// Where the composed operations run: a GPU where the feature is on and the variable `HALFNET_GPU` is set,
/// else the CPU.
fn device() -> Device {
    #[cfg(feature = "cuda")]
    if std::env::var_os("HALFNET_GPU").is_some() {
        return halfnet_training::device::find(halfnet_training::device::Choice::Cuda).unwrap();
    }
    Device::flex()
}

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (((i + seed * 7919).wrapping_mul(2_654_435_761) >> 9) % 997) as f32 / 250.0 - 2.0)
        .collect()
}

fn tensor<const D: usize>(sizes: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(sizes.iter().product(), seed), sizes), device)
}

fn sizes(blocks: usize, shape: Shape) -> [usize; 5] {
    [blocks, usize::from(shape.channels), usize::from(shape.height), usize::from(shape.width), LANES]
}

/// A leaf's values, and where its gradients are.
fn leaf<const D: usize>(sizes: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    tensor(sizes, seed, device).autodiff().require_grad()
}

fn near(name: &str, ours: &[Vec<f32>], theirs: &[Vec<f32>]) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (part, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(a.len(), b.len(), "{name} {part}");
        let size = b.iter().fold(1e-3_f32, |m, v| m.max(v.abs()));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() < 1e-4 * size, "{name}, part {part}, element {i}: {a} and {b}, of {size}");
        }
    }
}

/// Value and gradients of an operation of activations and parameters, pulled by numbers.
fn pulled(
    device: &Device,
    input: [usize; 5],
    parameters: &[usize],
    operation: impl Fn(Activations, Vec<Tensor<1>>) -> (Activations, Option<Tensor<1>>),
) -> Vec<Vec<f32>> {
    let x = leaf(input, 1, device);
    let parameters: Vec<Tensor<1>> =
        parameters.iter().enumerate().map(|(i, &count)| leaf([count], 10 + i, device)).collect();
    let (y, penalty) = operation(x.clone(), parameters.clone());
    let pull = tensor(y.dims(), 3, device).autodiff();
    let mut found = vec![values(&y.clone().inner())];
    let mut total = (y * pull).sum();
    if let Some(penalty) = penalty {
        total = total + penalty;
    }
    let mut gradients = total.backward();
    found.push(values(&x.grad_remove(&mut gradients).unwrap()));
    found.extend(parameters.iter().map(|p| values(&p.grad_remove(&mut gradients).unwrap())));
    found
}

#[test]
fn convolutions() {
    let input = Shape::new(6, 9, 7);
    for (groups, out_channels, kernel, stride, padding) in
        [(1, 8, 3, 1, 1), (1, 4, 3, 2, 1), (6, 6, 3, 2, 1), (2, 4, 1, 1, 0)]
    {
        let g = Convolution {
            input,
            out_channels,
            kernel_height: kernel,
            kernel_width: kernel,
            stride,
            padding,
            groups,
        };
        let run = |device: &Device, f: fn(Activations, Tensor<1>, Convolution) -> Activations| {
            pulled(device, sizes(2, input), &[g.weights()], |x, p| (f(x, p[0].clone(), g), None))
        };
        near("convolution", &run(&device(), composed::convolve), &run(&Device::flex(), tensors::convolve));
    }
}

#[test]
fn normalisations_and_moments() {
    let shape = sizes(2, Shape::new(5, 4, 3));
    let run = |device: &Device, f: fn(Activations, Tensor<1>, Tensor<1>, f32) -> (Activations, Tensor<1>)| {
        pulled(device, shape, &[5, 5], |x, p| (f(x, p[0].clone(), p[1].clone(), 1e-5).0, None))
    };
    near("normalisation", &run(&device(), composed::normalise), &run(&Device::flex(), tensors::normalise));
    let moments =
        |device: &Device| Tensor::<1>::from_data(TensorData::new(numbers(10, 4), [10]), device).abs() + 0.5;
    let fixed = |device: &Device, f: fn(Activations, Tensor<1>, Tensor<1>, Tensor<1>, f32) -> Activations| {
        let moments = moments(device).autodiff();
        pulled(device, shape, &[5, 5], |x, p| (f(x, p[0].clone(), p[1].clone(), moments.clone(), 1e-5), None))
    };
    near(
        "fixed",
        &fixed(&device(), composed::normalise_fixed),
        &fixed(&Device::flex(), tensors::normalise_fixed),
    );
    let measured = |device: &Device, f: fn(Activations) -> Tensor<1>| {
        vec![values(&f(tensor(shape, 1, device).autodiff()).inner())]
    };
    near("moments", &measured(&device(), composed::measure), &measured(&Device::flex(), tensors::measure));
    let both = |device: &Device,
                f: fn(Activations, Tensor<1>, Tensor<1>, f32) -> (Activations, Tensor<1>)| {
        let [gain, bias] = [1, 2].map(|seed| tensor([5], seed, device).autodiff());
        vec![values(&f(tensor(shape, 1, device).autodiff(), gain, bias, 1e-5).1.inner())]
    };
    near("its moments", &both(&device(), composed::normalise), &both(&Device::flex(), tensors::normalise));
}

#[test]
fn shortcuts_rectifiers_and_pools() {
    let same = Shape::new(4, 3, 3);
    let joins = [
        Join { input: same, output: same, stride: 1, channel_offset: 0 },
        Join { input: Shape::new(2, 5, 6), output: Shape::new(5, 3, 3), stride: 2, channel_offset: 1 },
        Join { input: Shape::new(2, 3, 3), output: Shape::new(4, 3, 3), stride: 1, channel_offset: 0 },
    ];
    for join in joins {
        assert_eq!(join.validate(), Ok(()));
        let run = |device: &Device, f: fn(Activations, Activations, Join) -> Activations| {
            // The sum in one row, so that it is a parameter.
            let count = sizes(2, join.output).iter().product();
            pulled(device, sizes(2, join.input), &[count], |x, p| {
                (f(p[0].clone().reshape(sizes(2, join.output)), x, join), None)
            })
        };
        near(
            "shortcut",
            &run(&device(), composed::add_shortcut),
            &run(&Device::flex(), tensors::add_shortcut),
        );
    }
    for (name, ours, theirs) in [
        (
            "rectifier",
            composed::rectify as fn(Activations) -> Activations,
            tensors::rectify as fn(Activations) -> Activations,
        ),
        ("pool", composed::sum_planes, tensors::sum_planes),
    ] {
        let run = |device: &Device, f: fn(Activations) -> Activations| {
            pulled(device, sizes(2, same), &[], |x, _| (f(x), None))
        };
        near(name, &run(&device(), ours), &run(&Device::flex(), theirs));
    }
}

#[test]
fn activations_with_their_penalties() {
    let shape = Shape::new(3, 4, 2);
    let elements = shape.elements();
    let ranges = [
        RangePenalty::OFF,
        RangePenalty { limit: 0.8, knee: f32::INFINITY, weight: 30.0 },
        RangePenalty { limit: 0.8, knee: 0.5, weight: 30.0 },
    ];
    for indicator in [Indicator::Threshold, Indicator::Part] {
        for range in ranges {
            for tangent_from in [f32::INFINITY, 1.2] {
                let relu: Vec<bool> = (0..elements).map(|i| i * 7 % 3 == 0).collect();
                let context = ActivationContext {
                    relu: relu.into(),
                    range,
                    tangent_from,
                    indicator,
                    count_gradient: 0.7,
                };
                let parts = |p: &[Tensor<1>]| {
                    let [auxiliary, c2, c1, c0] = [0, 1, 2, 3].map(|i| p[i].clone());
                    ActivationParts { auxiliary, c2, c1, c0 }
                };
                let counts = [elements, 3, 3, 3];
                let ours = pulled(&device(), sizes(2, shape), &counts, |z, p| {
                    let (y, penalty) = composed::activate(z, parts(&p), &context);
                    (y, Some(penalty))
                });
                let theirs = pulled(&Device::flex(), sizes(2, shape), &counts, |z, p| {
                    let (y, penalty) = tensors::activate(z, parts(&p), context.clone());
                    assert!(penalty.is_none());
                    (y, None)
                });
                near(&format!("{indicator:?} {range:?} {tangent_from}"), &ours, &theirs);
            }
        }
    }
}

#[test]
fn a_polynomial_that_overflows_is_not_felt_where_a_relu_stays() {
    let shape = Shape::new(1, 1, 2);
    let run = |device: &Device, composed: bool| {
        let row = |values: Vec<f32>| {
            Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), device).autodiff()
        };
        let [auxiliary, c2, c1, c0] = [vec![0.5, 0.5], vec![1e38], vec![1.0], vec![0.0]].map(row);
        let (range, indicator) = (RangePenalty::OFF, Indicator::Threshold);
        let relu = vec![true, false].into();
        let context =
            ActivationContext { relu, range, tangent_from: f32::INFINITY, indicator, count_gradient: 0.0 };
        let z = Tensor::<5>::from_data(TensorData::new(vec![3.0_f32; 2 * LANES], sizes(1, shape)), device)
            .autodiff();
        let parts = ActivationParts { auxiliary, c2, c1, c0 };
        let output = if composed {
            composed::activate(z, parts, &context).0
        } else {
            tensors::activate(z, parts, context).0
        };
        values(&output.inner())
    };
    for found in [run(&device(), true), run(&Device::flex(), false)] {
        assert_eq!(found[..LANES], [3.0; LANES]);
        assert!(found[LANES..].iter().all(|v| !v.is_finite()), "{found:?}");
    }
}
