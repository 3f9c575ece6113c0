//! Small networks with every kind of layer: the reference against the definition, and the importer against
//! the float network.
#![cfg(feature = "import")]

use halfnet_core::gate::truncation::{self, Coins, Opening};
use halfnet_core::model::{Bitmap, Linear, Model, Step};
use halfnet_core::shape::{Convolution, Join, Pool, Shape};
use halfnet_host::network::data::{DataSet, DataSetKind};
use halfnet_host::network::float::{
    ChannelNormalisation, FloatLayer, FloatLinear, FloatNetwork, FloatPolynomial, FloatStep, FloatTerm, Mask,
};
use halfnet_host::network::import::{ImportOptions, Imported, Report, import_network};
use halfnet_host::network::progress::Progress;
use halfnet_host::network::simulate::{LayerTrace, Nearest, Observer, Reference, SeededCoins};

/// Repeatable numbers in 0 .. 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 31) as f64
    }

    fn signed(&mut self, size: f64) -> f32 {
        ((2.0 * self.next() - 1.0) * size) as f32
    }
}

struct Builder {
    numbers: Numbers,
    layers: Vec<FloatLayer>,
    shapes: Vec<Shape>,
}

impl Builder {
    fn convolution(
        &mut self,
        source: usize,
        out_channels: u16,
        kernel: u16,
        stride: u16,
        padding: u16,
        groups: u16,
    ) -> FloatTerm {
        let input = self.shapes[source];
        let geometry = Convolution {
            input,
            out_channels,
            kernel_height: kernel,
            kernel_width: kernel,
            stride,
            padding,
            groups,
        };
        let size = (3.0 / geometry.fan_in() as f64).sqrt();
        let weights = (0..geometry.weights()).map(|_| self.numbers.signed(size)).collect();
        FloatTerm { source, linear: FloatLinear::Convolution { geometry, weights } }
    }

    fn push(&mut self, terms: Vec<FloatTerm>, step: FloatStep) {
        let channels = usize::from(terms[0].linear.output().channels);
        let bias = (0..channels).map(|_| self.numbers.signed(0.3)).collect();
        let layer = FloatLayer { name: format!("layer{}", self.layers.len()), terms, bias, step };
        self.shapes.push(layer.output_shape());
        self.layers.push(layer);
    }

    fn polynomial(&mut self, channels: usize, degree: u8) -> FloatPolynomial {
        let mut list = |centre: f64, count: usize| {
            (0..count).map(|_| centre as f32 + self.numbers.signed(0.05)).collect()
        };
        FloatPolynomial {
            c2: list(0.15, if degree == 2 { channels } else { 0 }),
            c1: list(0.5, channels),
            c0: list(0.2, channels),
        }
    }

    fn mixed(&mut self, elements: usize) -> Mask {
        Mask::Elements((0..elements).map(|_| self.numbers.next() < 0.4).collect())
    }
}

fn relu(pool: Option<Pool>) -> FloatStep {
    FloatStep::Activate { relu: Mask::All, polynomial: None, pool }
}

/// Stem, depthwise, grouped and strided with a mixed mask, option A, projection with a mixed and pooled mask,
/// polynomial alone of either degree, a linear layer directly after a linear layer, and a release.
fn network() -> FloatNetwork {
    let input = Shape::new(3, 12, 12);
    let mut b = Builder { numbers: Numbers(7), layers: Vec::new(), shapes: vec![input] };
    let stem = b.convolution(0, 8, 3, 1, 1, 1);
    b.push(vec![stem], relu(None));
    let depthwise = b.convolution(1, 8, 3, 1, 1, 8);
    let mask = b.mixed(8 * 144);
    let polynomial = Some(b.polynomial(8, 2));
    b.push(vec![depthwise], FloatStep::Activate { relu: mask, polynomial, pool: None });
    let grouped = b.convolution(2, 12, 3, 2, 1, 4);
    let join = Join { input: b.shapes[1], output: Shape::new(12, 6, 6), stride: 2, channel_offset: 2 };
    b.push(
        vec![grouped, FloatTerm { source: 1, linear: FloatLinear::Join(join) }],
        relu(Some(Pool { kernel: 3, stride: 1, padding: 1 })),
    );
    let identity = Join { input: b.shapes[3], output: b.shapes[3], stride: 1, channel_offset: 0 };
    let body = b.convolution(3, 12, 3, 1, 1, 1);
    let polynomial = Some(b.polynomial(12, 1));
    let step = FloatStep::Activate { relu: Mask::None, polynomial, pool: None };
    b.push(vec![body, FloatTerm { source: 3, linear: FloatLinear::Join(identity) }], step);
    let strided = b.convolution(4, 16, 3, 2, 1, 1);
    let projection = b.convolution(3, 16, 1, 2, 0, 1);
    let mask = b.mixed(16 * 9);
    let polynomial = Some(b.polynomial(16, 2));
    let pool = Some(Pool { kernel: 2, stride: 1, padding: 0 });
    b.push(vec![strided, projection], FloatStep::Activate { relu: mask, polynomial, pool });
    let plain = b.convolution(5, 10, 1, 1, 0, 1);
    b.push(vec![plain], FloatStep::Rescale { pool: Some(Pool { kernel: 2, stride: 2, padding: 0 }) });
    let last = b.convolution(6, 10, 1, 1, 0, 1);
    b.push(vec![last], FloatStep::Release);
    let normalisation = vec![ChannelNormalisation { mean: 0.5, deviation: 0.29 }; 3];
    FloatNetwork {
        name: "synthetic".to_owned(),
        data_set: DataSetKind::Cifar10,
        input,
        normalisation,
        layers: b.layers,
    }
}

fn pictures(count: usize) -> DataSet {
    let mut numbers = Numbers(99);
    let shape = Shape::new(3, 12, 12);
    let mut pixels = Vec::new();
    for _ in 0..count * 3 {
        let (a, b, c) = (numbers.next() * 6.0, numbers.next() * 6.0, numbers.next() * 200.0);
        let pixel = |i: usize, noise: f64| {
            (c + 27.0 * ((i / 12) as f64 / a).sin() + 27.0 * ((i % 12) as f64 / b).cos() + 20.0 * noise) as u8
        };
        pixels.extend((0..144).map(|i| pixel(i, numbers.next())));
    }
    DataSet { shape, pixels, labels: vec![0; count] }
}

fn options() -> ImportOptions {
    ImportOptions {
        ring_bits: Some(20),
        opened_bits: Some(12),
        range_pictures: 150,
        rounding_pictures: 150,
        judging_pictures: 150,
        progress: Progress::Hidden,
        ..ImportOptions::default()
    }
}

fn imported() -> (FloatNetwork, Imported) {
    let network = network();
    let imported = import_network(&network, &[], &pictures(150), &options()).unwrap();
    (network, imported)
}

#[test]
fn the_integers_follow_the_floats() {
    let (_, imported) = imported();
    for layer in &imported.report.layers {
        assert!(layer.error < 0.06, "{layer:?}");
    }
    assert!(imported.report.logit_error < 0.06, "{}", imported.report.logit_error);
    assert_eq!(imported.report.range_violations, 0);
    assert!(imported.report.agreement > 90.0, "{}", imported.report.agreement);
}

/// Sums, truncated sums and outputs of every layer.
#[derive(Default)]
struct Kept(Vec<[Vec<i64>; 3]>);

impl Observer for Kept {
    fn layer(&mut self, layer: usize, trace: LayerTrace<'_>) {
        assert_eq!(layer, self.0.len());
        self.0.push([trace.sum.to_vec(), trace.truncated.to_vec(), trace.output.to_vec()]);
    }
}

fn coin(coins: &mut dyn Coins, layer: usize, opening: Opening, shift: u8, element: usize) -> u64 {
    let mut one = [0];
    coins.fill(layer, opening, shift, element, &mut one);
    one[0]
}

/// The definition, element by element, from the model's own bytes.
fn by_definition(model: &Model<'_>, input: &[i64], coins: &mut dyn Coins) -> Vec<[Vec<i64>; 3]> {
    let mut wires = vec![input.to_vec()];
    let mut kept = Vec::new();
    for (index, layer) in model.layers.iter().enumerate() {
        let shape = layer.sum_shape();
        let sum: Vec<i64> = (0..shape.elements())
            .map(|element| {
                let channel = element / shape.plane();
                let terms = layer.terms.iter().map(|term| {
                    let source = &wires[usize::from(term.source)];
                    match &term.linear {
                        Linear::Convolution { geometry, weights } => {
                            let weights: Vec<f64> = weights.iter().map(|w| w as f64).collect();
                            direct(geometry, &weights, source, element)
                        }
                        Linear::JoinShift { geometry, shift } => {
                            geometry.source(element).map_or(0, |i| source[i] << shift)
                        }
                        Linear::JoinScaled { geometry, factors } => geometry
                            .source(element)
                            .map_or(0, |i| source[i] * factors.get(i / geometry.input.plane())),
                    }
                });
                terms.sum::<i64>() + layer.bias.get(channel)
            })
            .collect();
        let output_shape = layer.output_shape();
        let windows = |pool: Option<Pool>, index: usize| {
            let mut windows = Vec::new();
            match pool {
                Some(pool) => pool.windows_of(shape, index, |w| windows.push(w)),
                None => windows.push(index),
            }
            windows
        };
        let (mut truncated, mut output) = (Vec::new(), vec![0_i64; output_shape.elements()]);
        match &layer.step {
            Step::Release { .. } => output.clone_from(&sum),
            Step::Rescale { shift, pool } => {
                (0..sum.len()).for_each(|i| windows(*pool, i).into_iter().for_each(|w| output[w] += sum[i]));
                for (w, value) in output.iter_mut().enumerate() {
                    *value =
                        truncation::reference(*value, *shift, coin(coins, index, Opening::Second, *shift, w));
                }
            }
            Step::Activate(a) => {
                let cut = |i: usize, coins: &mut dyn Coins| {
                    truncation::reference(sum[i], a.shift, coin(coins, index, Opening::First, a.shift, i))
                };
                truncated = (0..sum.len()).map(|i| cut(i, coins)).collect();
                for (w, value) in output.iter_mut().enumerate() {
                    let members: Vec<usize> =
                        (0..sum.len()).filter(|&i| windows(a.pool, i).contains(&w)).collect();
                    let polynomial = members.iter().any(|&i| !a.relu.get(i));
                    let frac_bits = a.polynomial.map_or(0, |p| p.frac_bits);
                    *value = members
                        .iter()
                        .map(|&i| {
                            let (y, channel) = (truncated[i], i / shape.plane());
                            match (a.relu.get(i), &a.polynomial) {
                                (true, _) if polynomial => y.max(0) << frac_bits,
                                (true, _) => y.max(0),
                                (false, Some(p)) => {
                                    p.c2.get(channel) * y * y + p.c1.get(channel) * y + p.c0.get(channel)
                                }
                                (false, None) => unreachable!(),
                            }
                        })
                        .sum();
                    if polynomial {
                        *value = truncation::reference(
                            *value,
                            frac_bits,
                            coin(coins, index, Opening::Second, frac_bits, w),
                        );
                    }
                }
            }
        }
        wires.push(output.clone());
        kept.push([sum, truncated, output]);
    }
    kept
}

fn direct(geometry: &Convolution, weights: &[f64], input: &[i64], element: usize) -> i64 {
    let (output, shape) = (geometry.output(), geometry.input);
    let (o, y, x) = (
        element / output.plane(),
        element % output.plane() / usize::from(output.width),
        element % usize::from(output.width),
    );
    let group = o / usize::from(geometry.out_channels / geometry.groups);
    let kernel = usize::from(geometry.kernel_height) * usize::from(geometry.kernel_width);
    let mut sum = 0;
    for k in 0..geometry.fan_in() {
        let (c, ky, kx) = (
            group * geometry.group_channels() + k / kernel,
            k % kernel / usize::from(geometry.kernel_width),
            k % usize::from(geometry.kernel_width),
        );
        let at =
            |o: usize, k: usize| (o * usize::from(geometry.stride) + k) as i64 - i64::from(geometry.padding);
        let (row, column) = (at(y, ky), at(x, kx));
        if (0..i64::from(shape.height)).contains(&row) && (0..i64::from(shape.width)).contains(&column) {
            let at =
                (c * usize::from(shape.height) + row as usize) * usize::from(shape.width) + column as usize;
            sum += weights[o * geometry.fan_in() + k] as i64 * input[at];
        }
    }
    sum
}

#[test]
fn the_reference_is_the_definition() {
    let (_, imported) = imported();
    let model = Model::decode(&imported.bytes).unwrap();
    assert!(model.layers.iter().any(
        |l| matches!(&l.step, Step::Activate(a) if matches!(a.relu, Bitmap::Bits(_)) && a.pool.is_some())
    ));
    assert!(model.layers.iter().any(|l| matches!(l.step, Step::Rescale { .. })));
    let reference = Reference::new(&model);
    let data = pictures(3);
    for index in 0..3 {
        let input = reference.input(data.picture(index));
        let mut coins: [Box<dyn Coins>; 2] = [Box::new(Nearest), Box::new(SeededCoins::new(5, index as u64))];
        for coins in &mut coins {
            let mut kept = Kept::default();
            let outcome = reference.run(&input, coins.as_mut(), Some(&mut kept));
            let expected = by_definition(&model, &input, coins.as_mut());
            for (layer, (found, expected)) in kept.0.iter().zip(&expected).enumerate() {
                assert_eq!(found, expected, "layer {layer}");
            }
            assert_eq!(Some(&outcome.logits), expected.last().map(|[_, _, output]| output));
            assert_eq!(outcome.range_violations(), 0);
        }
    }
}

#[test]
fn sums_out_of_range_are_counted() {
    let (_, imported) = imported();
    let mut model = Model::decode(&imported.bytes).unwrap();
    let reference = Reference::new(&model);
    let input = reference.input(pictures(1).picture(0));
    let mut kept = Kept::default();
    reference.run(&input, &mut Nearest, Some(&mut kept));
    let Step::Activate(activation) = &mut model.layers[0].step else { panic!() };
    activation.ring_bits -= 3;
    let (low, high) =
        (-(1_i64 << (activation.ring_bits - 2)), (1 << (activation.ring_bits - 2)) - (1 << activation.shift));
    let outside = kept.0[0][0].iter().filter(|&&z| z < low || z > high).count() as u64;
    let outcome = Reference::new(&model).run(&input, &mut Nearest, None);
    assert!(outside > 0);
    assert_eq!(outcome.ranges[0].violations, outside);
    assert_eq!(outcome.range_violations(), outside);
}

#[test]
fn released_logits_are_cut_without_bias() {
    let (_, imported) = imported();
    let reference = Reference::new(&Model::decode(&imported.bytes).unwrap());
    let logits = [1000, -1000, 12_345, 0, 1, -1, 7, 8, 9, 10];
    let total: Vec<i64> = (0..400)
        .map(|seed| reference.release(&logits, 8, &mut SeededCoins::new(seed, 0)))
        .fold(vec![0; 10], |sum, released| sum.iter().zip(released).map(|(a, b)| a + b).collect());
    // A released unit is 2^(b − 8), and the range ends before 2^(b − 3).
    let shift = reference
        .layers()
        .last()
        .and_then(|l| l.range())
        .map(|(_, high)| ((high + 1) << 3).trailing_zeros() - 8)
        .unwrap();
    for (logit, total) in [1000, -1000, 12_345, 0, 1, -1, 7, 8, 9, 10].into_iter().zip(total) {
        let mean = total as f64 / 400.0 * f64::from(1 << shift);
        assert!((mean - f64::from(logit)).abs() < 0.15 * f64::from(1 << shift), "{logit} {mean}");
    }
}

#[test]
fn bits_too_few_are_refused_with_a_reason() {
    let narrow = ImportOptions { ring_bits: Some(4), opened_bits: Some(4), ..options() };
    let network = network();
    let error = import_network(&network, &[], &pictures(20), &narrow).unwrap_err().to_string();
    assert!(error.contains("--bits") || error.contains("bits"), "{error}");
    let error = import_network(
        &network,
        &[],
        &DataSet { shape: network.input, pixels: Vec::new(), labels: Vec::new() },
        &options(),
    );
    assert!(error.unwrap_err().to_string().contains("training pictures"));
}

#[test]
fn widths_start_wider_where_the_usual_ones_lose_too_much() {
    let network = network();
    let import = |logit_error: f64| {
        let options = ImportOptions {
            ring_bits: None,
            opened_bits: None,
            logit_error,
            accuracy_loss: 1.0,
            ..options()
        };
        import_network(&network, &[], &pictures(150), &options).unwrap().report
    };
    let (usual, finer) = (import(0.06), import(0.004));
    for (report, most) in [(&usual, 0.06), (&finer, 0.004)] {
        assert!(
            report.logit_error <= most && report.range_violations == 0,
            "{} of {most}",
            report.logit_error
        );
    }
    let bits = |report: &Report| report.layers.iter().map(|l| u32::from(l.ring_bits)).sum::<u32>();
    assert!(bits(&finer) > bits(&usual) && finer.bytes_each_way > usual.bytes_each_way);
    // More than can be had: what errs least, from wider ones than the usual 16 and 10.
    let (most, by_rule) =
        (import(0.0), ImportOptions { ring_bits: Some(16), opened_bits: Some(10), ..options() });
    let by_rule = import_network(&network, &[], &pictures(150), &by_rule).unwrap().report;
    assert!(usual.good && finer.good && !most.good);
    assert!(most.logit_error < by_rule.logit_error / 2.0, "{} {}", most.logit_error, by_rule.logit_error);
}
