//! Networks as a whole: gates, and what export refuses; and that a network put together from burn's operations says the same.

use burn::tensor::Device;
use halfnet_core::shape::{Convolution, Join, Shape};
use halfnet_host::data::DataSetKind;
use halfnet_host::float::ChannelNormalisation;
use halfnet_layers::LANES;
use halfnet_training::data::Batch;
use halfnet_training::forward::{self, PassOptions};
use halfnet_training::network::families::by_name;
use halfnet_training::network::{Layer, Linear, Network, Offset, Step, Term};
use halfnet_training::search::teacher;
use halfnet_training::state::{State, values};
use halfnet_training::weights::Weights;

fn convolution(name: &str, source: usize, input: Shape, out_channels: u16, kernel: u16) -> Term {
    let geometry = Convolution { input, out_channels, kernel_height: kernel, kernel_width: kernel, stride: 1, padding: 0, groups: 1 };
    Term { source, linear: Linear::Convolution { name: name.to_owned(), geometry, offset: Offset::Bias } }
}

/// Squeeze-excite of the input, then logits.
fn gated() -> Network {
    let input = Shape::new(3, 2, 2);
    let layer = |name: &str, terms, step| Layer { name: name.to_owned(), terms, step };
    let whole = || Term { source: 0, linear: Linear::Join(Join { input, output: input, stride: 1, channel_offset: 0 }) };
    let layers = vec![
        layer("pool", vec![whole()], Step::Linear { average: true }),
        layer("open", vec![convolution("open", 1, Shape::new(3, 1, 1), 3, 1)], Step::Linear { average: false }),
        layer("gate", vec![whole()], Step::Gate { by: 2 }),
        layer("linear", vec![convolution("linear", 3, input, 10, 2)], Step::Release),
    ];
    let normalisation = vec![ChannelNormalisation { mean: 0.0, deviation: 1.0 }; 3];
    Network { name: "gated".to_owned(), data_set: DataSetKind::Cifar10, input, normalisation, layers }
}

#[test]
fn a_gate_multiplies_by_its_sigmoid() {
    let network = gated();
    let mut weights = Weights::initial(&network, 4);
    weights.set("open.bias", vec![0.5, -1.0, 2.0]);
    let device = Device::flex();
    let state = State::new(&network, &weights, &device);
    let pixels: Vec<f32> = (0..12 * LANES).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let batch = Batch { pixels: pixels.clone(), labels: vec![0; LANES] };
    let input = forward::pictures(&network, &batch, &device);
    let found = values(&forward::run(&network, &state, &forward::leaves(&state), input, &PassOptions::PLAIN).logits.inner());
    let (open, linear) = (weights.get("open.weight"), weights.get("linear.weight"));
    for lane in 0..LANES {
        let x = |element: usize| pixels[element * LANES + lane];
        let mean = |c: usize| (0..4).map(|p| x(4 * c + p)).sum::<f32>() / 4.0;
        let gate = |c: usize| {
            let sum = weights.get("open.bias")[c] + (0..3).map(|d| open[3 * c + d] * mean(d)).sum::<f32>();
            1.0 / (1.0 + (-sum).exp())
        };
        for class in 0..10 {
            let expected: f32 = (0..12).map(|e| linear[12 * class + e] * x(e) * gate(e / 4)).sum();
            assert!((found[class * LANES + lane] - expected).abs() < 1e-4, "{class} {lane}");
        }
    }
    // The two tensors that are no logits are convolutions' in files, the last a matrix.
    let shapes: Vec<Vec<usize>> = network.parameters().into_iter().map(|p| p.shape).collect();
    assert_eq!(shapes, [vec![3, 3, 1, 1], vec![3], vec![10, 12], vec![10]]);
}

#[test]
fn squeeze_excite_is_refused_by_name() {
    let network = by_name("efficientnet_b2", DataSetKind::Imagenet).unwrap();
    let weights = Weights::initial(&network, 1);
    let refused = teacher(&network, &weights).unwrap_err().to_string();
    assert!(refused.contains("features.1.0.block.1") && refused.contains("squeeze-excite"), "{refused}");
    let names: Vec<String> = network.parameters().into_iter().map(|p| p.name).collect();
    for name in [
        "features.0.0.weight",
        "features.1.0.block.0.1.running_var",
        "features.4.3.block.2.fc1.bias",
        "features.8.1.weight",
        "classifier.1.bias",
    ] {
        assert!(names.iter().any(|n| n == name), "{name}");
    }
}

#[test]
fn a_teacher_of_burns_operations_says_the_same() {
    for (name, data_set) in [("fsdd_cnn", DataSetKind::Fsdd), ("resnet20", DataSetKind::Cifar10)] {
        let network = by_name(name, data_set).unwrap();
        let evaluator = teacher(&network, &Weights::initial(&network, 3)).unwrap();
        let count = network.input.elements() * LANES;
        let pixels: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect();
        let (ours, theirs) = (evaluator.logits(pixels.clone()), evaluator.composed_logits(pixels, &Device::flex()));
        let size = ours.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-3 * size) && ours.len() == theirs.len(), "{name}");
    }
}
