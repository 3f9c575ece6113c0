//! Networks as a whole: that folding one changes nothing, gates, and what export refuses.

use burn::tensor::Device;
use halfnet_core::shape::{Convolution, Join, Shape};
use halfnet_host::network::data::{DataFolder, DataSet, DataSetKind};
use halfnet_host::network::float::ChannelNormalisation;
use halfnet_host::network::import::ImportOptions;
use halfnet_host::network::progress::Progress;
use halfnet_layers::LANES;
use halfnet_training::dapa::{Degree, fit};
use halfnet_training::data::Batch;
use halfnet_training::evaluate::{Evaluator, Teacher};
use halfnet_training::export;
use halfnet_training::forward::{self, PassOptions};
use halfnet_training::network::families::by_name;
use halfnet_training::network::{Layer, Linear, Network, Offset, Role, Step, Term};
use halfnet_training::random::Random;
use halfnet_training::search::{self, SearchOptions};
use halfnet_training::state::{State, values};
use halfnet_training::weights::Weights;

fn convolution(name: &str, source: usize, input: Shape, out_channels: u16, kernel: u16) -> Term {
    let geometry = Convolution {
        input,
        out_channels,
        kernel_height: kernel,
        kernel_width: kernel,
        stride: 1,
        padding: 0,
        groups: 1,
    };
    Term { source, linear: Linear::Convolution { name: name.to_owned(), geometry, offset: Offset::Bias } }
}

/// Squeeze-excite of the input, then logits.
fn gated() -> Network {
    let input = Shape::new(3, 2, 2);
    let layer = |name: &str, terms, step| Layer { name: name.to_owned(), terms, step };
    let whole = || Term {
        source: 0,
        linear: Linear::Join(Join { input, output: input, stride: 1, channel_offset: 0 }),
    };
    let layers = vec![
        layer("pool", vec![whole()], Step::Linear { average: true }),
        layer(
            "open",
            vec![convolution("open", 1, Shape::new(3, 1, 1), 3, 1)],
            Step::Linear { average: false },
        ),
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
    let found = values(
        &forward::run(&network, &state, &forward::leaves(&state), input, &PassOptions::PLAIN).logits.inner(),
    );
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
    let refused = Evaluator::of(&network, &weights).unwrap_err().to_string();
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

/// Weights with normalisations that do something.
fn measured(network: &Network) -> Weights {
    let mut weights = Weights::initial(network, 5);
    let mut random = Random::new(&[6]);
    for parameter in network.parameters() {
        let count = parameter.shape.iter().product();
        let mut draw = |from: f32, to: f32| {
            (0..count).map(|_| from + (to - from) * random.uniform()).collect::<Vec<f32>>()
        };
        let values = match parameter.role {
            Role::Weights => continue,
            Role::Gain | Role::Variance => draw(0.5, 1.5),
            Role::Bias | Role::Mean => draw(-0.3, 0.3),
        };
        weights.set(parameter.name, values);
    }
    weights
}

#[test]
fn folded_networks_say_what_trained_ones_do() {
    use DataSetKind::{Cifar10, Cifar100, Fsdd, Mnist};
    let known = [
        ("resnet18", Cifar100),
        ("wrn22-8", Cifar100),
        ("mobilenet", Cifar100),
        ("depthwise", Cifar10),
        ("resnet20", Cifar10),
    ];
    for (name, data_set) in known.into_iter().chain([("mnist_cnn", Mnist), ("fsdd_cnn", Fsdd)]) {
        let (network, device) = (by_name(name, data_set).unwrap(), Device::flex());
        let weights = measured(&network);
        let mut state = State::new(&network, &weights, &device);
        let pixels: Vec<f32> =
            (0..network.input.elements() * LANES).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect();
        for replaced in [false, true] {
            if replaced {
                state.replace_all(&network, 2, &device);
                state.project(&network, network.relus() / 2);
                state.fit_polynomials(
                    &network,
                    0.0,
                    |mean, variance| fit(Degree::Two, mean, variance.sqrt(), 0.02),
                    &device,
                );
            }
            let pass = PassOptions { frozen_moments: true, ..PassOptions::PLAIN };
            let input = forward::pictures(
                &network,
                &Batch { pixels: pixels.clone(), labels: vec![0; LANES] },
                &device,
            );
            let trained = values(
                &forward::run(&network, &state, &forward::constants(&state), input, &pass).logits.inner(),
            );
            let folded = export::fold(
                &network,
                &state.weights(&network),
                &export::replaced(&network, &state),
                Degree::Two,
            )
            .unwrap();
            let folded = Evaluator::new(folded).unwrap().logits(pixels.clone());
            let size = trained.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let near = trained.iter().zip(&folded).all(|(a, b)| (a - b).abs() < 1e-4 * size);
            assert!(
                size.is_finite() && near && trained.len() == folded.len(),
                "{name} {replaced}: of {size}"
            );
        }
    }
}

/// A block of a wide ResNet: normalisation and ReLU come before each convolution, and the sum goes on past
/// them.
#[test]
fn a_normalisation_before_an_activation_is_exported() {
    let input = DataSetKind::Cifar10.shape();
    let bent = Shape { channels: 4, ..input };
    let normalised =
        |source: usize, name: &str| Term { source, linear: Linear::Normalisation { name: name.to_owned() } };
    let convolved = |name: &str, source: usize, input: Shape, norm: Option<&str>| {
        let geometry = Convolution {
            input,
            out_channels: 4,
            kernel_height: 3,
            kernel_width: 3,
            stride: 1,
            padding: 1,
            groups: 1,
        };
        let offset = norm.map_or(Offset::None, |norm| Offset::Normalisation(norm.to_owned()));
        Term { source, linear: Linear::Convolution { name: name.to_owned(), geometry, offset } }
    };
    let join = Term {
        source: 1,
        linear: Linear::Join(Join { input: bent, output: bent, stride: 1, channel_offset: 0 }),
    };
    let layer = |name: &str, terms, step| Layer { name: name.to_owned(), terms, step };
    let (relu, linear) = (Step::Relu { average: false }, Step::Linear { average: false });
    let layers = vec![
        layer("stem", vec![convolved("stem", 0, input, None)], linear),
        layer("first", vec![normalised(1, "bn1")], relu),
        layer("second", vec![convolved("conv1", 2, bent, Some("bn2"))], relu),
        layer("sum", vec![convolved("conv2", 3, bent, None), join], linear),
        layer("last", vec![normalised(4, "bn3")], Step::Relu { average: true }),
        layer(
            "linear",
            vec![convolution("linear", 5, Shape { height: 1, width: 1, ..bent }, 10, 1)],
            Step::Release,
        ),
    ];
    let normalisation = vec![ChannelNormalisation { mean: 0.5, deviation: 0.25 }; 3];
    let network =
        Network { name: "block".to_owned(), data_set: DataSetKind::Cifar10, input, normalisation, layers };
    let mut random = Random::new(&[8]);
    let pixels = (0..200 * input.elements()).map(|_| random.below(256) as u8).collect();
    let set = DataSet { shape: input, pixels, labels: (0..200).map(|i| i % 10).collect() };
    let folder = tempfile::tempdir().unwrap();
    let options = ImportOptions {
        progress: Progress::Hidden,
        range_pictures: 100,
        judging_pictures: 100,
        ..ImportOptions::default()
    };
    let network = export::fold(&network, &measured(&network), &[], Degree::Two).unwrap();
    let model = folder.path().join("model.postcard");
    let exported =
        export::write_model(&network, &DataFolder::new(folder.path()), &set, 3 * 4 * 1024, &options, &model)
            .unwrap();
    assert!(
        exported.report.logit_error < 0.1 && exported.report.range_violations == 0,
        "{}",
        exported.report
    );
    let error = export::write_model(&network, &DataFolder::new(folder.path()), &set, 5, &options, &model)
        .unwrap_err()
        .to_string();
    assert!(error.contains("12288 ReLUs instead of 5"), "{error}");
}

/// The parties cannot run it, and yet it is searched.
#[test]
fn a_network_with_gates_is_searched_and_not_exported() {
    let mut network = gated();
    let bent = Shape::new(6, 2, 2);
    let Some(release) = network.layers.pop() else { panic!("no layer") };
    let relu = Layer {
        name: "bent".to_owned(),
        terms: vec![convolution("bent", 3, network.input, 6, 1)],
        step: Step::Relu { average: false },
    };
    network.layers.push(relu);
    network.layers.push(Layer { terms: vec![convolution("linear", 4, bent, 10, 2)], ..release });
    let mut random = Random::new(&[8]);
    // As bright as their label says.
    let bright = |i: usize| 25 * (i / network.input.elements() % 10);
    let pixels = (0..256 * network.input.elements()).map(|i| (bright(i) + random.below(20)) as u8).collect();
    let set = DataSet { shape: network.input, pixels, labels: (0..256).map(|i| i % 10).collect() };
    let mut options = SearchOptions {
        budget: 10,
        epochs: 4,
        batch: 32,
        validation: 32,
        distil: false,
        ..SearchOptions::default()
    };
    options.rates.weights = 1e-2;
    options.normalisation.pictures = 64;
    let weights = Weights::initial(&network, 3);
    let found = search::run(&network, &weights, &set, &options, |_| ()).unwrap();
    let all: Vec<usize> = (0..256).collect();
    assert!(found.evaluator.is_none() && found.relus == 10 && found.epochs.len() == 4);
    assert_eq!(found.with_tangents, found.epochs[3].validation);
    let accuracy = found.accuracy(&network, &set, &all);
    assert!(
        accuracy > 15.0 && found.epochs.iter().all(|epoch| epoch.beyond.is_none()),
        "{accuracy} {:?}",
        found.epochs
    );
    // Its teacher is the pass that training makes, with running moments.
    let (state, device) = (State::new(&network, &weights, &Device::flex()), Device::flex());
    let batch = Batch {
        pixels: (0..12 * LANES).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect(),
        labels: vec![0; LANES],
    };
    let pass = PassOptions { frozen_moments: true, ..PassOptions::PLAIN };
    let input = forward::pictures(&network, &batch, &device);
    let logits =
        values(&forward::run(&network, &state, &forward::leaves(&state), input, &pass).logits.inner());
    assert!(logits.iter().all(|v| v.is_finite() && *v != 0.0));
    assert_eq!(values(&Teacher::new(&network, &weights, &device).logits(&batch)), logits);
    let replaced = export::replaced(&network, &found.state);
    let refused = export::fold(&network, &found.state.weights(&network), &replaced, Degree::Two)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("`gate`") && refused.contains("squeeze-excite"), "{refused}");
}
