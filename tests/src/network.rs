//! Random small networks with every feature, made so that their ranges hold on the inputs they were made
//! with.

use halfnet_core::gate::truncation::Nearest;
use halfnet_core::model::{
    Activation, Bitmap, Header, Integers, Layer, Linear, Model, Normalisation, Polynomial, Step, Term,
};
use halfnet_core::shape::{Convolution, Join, Pool, Shape};

use crate::reference;

/// A small deterministic generator: tests repeat exactly.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next word (SplitMix64).
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A value below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound.max(1)
    }

    /// A value in −bound ..= bound.
    pub fn about(&mut self, bound: i64) -> i64 {
        self.below(2 * bound as u64 + 1) as i64 - bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Integers that live as long as the test.
pub fn integers(values: &[i64], bits: u8) -> Integers<'static> {
    let bytes: Vec<u8> =
        values.iter().flat_map(|v| v.to_le_bytes()[..usize::from(bits / 8)].to_vec()).collect();
    Integers { bits, bytes: Box::leak(bytes.into_boxed_slice()) }
}

/// A picture that the random networks are made with.
pub fn picture(shape: Shape, seed: u64) -> Vec<i64> {
    let mut random = Random(seed ^ 0xfeed);
    (0..shape.elements()).map(|_| random.about(120)).collect()
}

/// Builds a network layer by layer, choosing each ring from what the layer's sum really is on a few pictures.
#[derive(Debug)]
pub struct Builder {
    /// The network so far.
    pub model: Model<'static>,
    /// Randomness of shapes and weights.
    pub random: Random,
    /// n of activations; random if 0.
    pub opened_bits: u8,
}

impl Builder {
    /// A network for pictures of `input`.
    pub fn new(input: Shape, seed: u64) -> Self {
        let header = Header {
            name: "random",
            data_set: "none",
            input,
            normalisation: heapless::Vec::from_slice(&vec![
                Normalisation::IDENTITY;
                usize::from(input.channels)
            ])
            .expect("few channels"),
            classes: 0,
            class_names: "",
        };
        Self { model: Model { header, layers: heapless::Vec::new() }, random: Random(seed), opened_bits: 0 }
    }

    /// The last wire and its shape.
    pub fn last(&self) -> (u16, Shape) {
        let shape = self.model.layers.last().map_or(self.model.header.input, Layer::output_shape);
        (self.model.layers.len() as u16, shape)
    }

    /// A convolution with random small weights; kernel as (rows, columns).
    pub fn convolution(
        &mut self,
        source: u16,
        input: Shape,
        out_channels: u16,
        kernel: (u16, u16),
        (stride, padding): (u16, u16),
        groups: u16,
    ) -> Term<'static> {
        let geometry = Convolution {
            input,
            out_channels,
            kernel_height: kernel.0,
            kernel_width: kernel.1,
            stride,
            padding,
            groups,
        };
        geometry.validate().expect("a geometry that fits");
        let weights: Vec<i64> = (0..geometry.weights()).map(|_| self.random.about(15)).collect();
        let bits = if self.random.one_in(3) { 16 } else { 8 };
        Term { source, linear: Linear::Convolution { geometry, weights: integers(&weights, bits) } }
    }

    /// A residual join.
    pub fn join(
        &mut self,
        source: u16,
        input: Shape,
        output: Shape,
        stride: u16,
        channel_offset: u16,
        secret: bool,
    ) -> Term<'static> {
        let geometry = Join { input, output, stride, channel_offset };
        geometry.validate().expect("a join that fits");
        let linear = if secret {
            let factors: Vec<i64> = (0..input.channels).map(|_| 1 + self.random.about(20).abs()).collect();
            Linear::JoinScaled { geometry, factors: integers(&factors, 16) }
        } else {
            Linear::JoinShift { geometry, shift: self.random.below(5) as u8 }
        };
        Term { source, linear }
    }

    /// Adds a layer of these terms; the step's widths follow from the sums.
    pub fn layer(
        &mut self,
        terms: &[Term<'static>],
        step: impl FnOnce(&mut Random, u8, Shape) -> Step<'static>,
    ) {
        let shape = terms[0].linear.output();
        let bias: Vec<i64> = (0..shape.channels).map(|_| self.random.about(500)).collect();
        let mut layer = Layer {
            terms: heapless::Vec::from_slice(terms).expect("few terms"),
            bias: integers(&bias, 32),
            step: Step::Release { ring_bits: 32 },
            output_scale: &[],
        };
        let mut largest = 0_i64;
        for seed in 0..4 {
            let trace = reference::run(&self.model, &picture(self.model.header.input, seed), &mut Nearest);
            largest =
                largest.max(reference::sum(&layer, &trace.wires).iter().map(|z| z.abs()).max().unwrap_or(0));
        }
        // Bits of the magnitude, and a margin of a factor 2 for coins.
        let magnitude = (64 - largest.leading_zeros()) as u8 + 1;
        layer.step = step(&mut self.random, magnitude, shape);
        if matches!(layer.step, Step::Release { .. }) {
            self.model.header.classes = shape.elements() as u16;
        }
        self.model.layers.push(layer).expect("few layers");
    }

    /// An activation layer: all ReLU, all polynomial or a mixture, perhaps pooled.
    pub fn activate(&mut self, terms: &[Term<'static>], pool: Option<Pool>) {
        let opened = self.opened_bits;
        self.layer(terms, |random, magnitude, shape| {
            let n = if opened > 0 { opened } else { 4 + random.below(13) as u8 };
            // 2^(b−2) − 2^f1 ≥ 2^magnitude.
            let ring_bits = (magnitude + 3).clamp(n, 32);
            let shift = ring_bits - n;
            let relu = match random.below(3) {
                0 => Bitmap::All,
                1 => Bitmap::None,
                _ => {
                    let mut bytes = vec![0; shape.elements().div_ceil(8)];
                    let dense = random.one_in(2);
                    for i in 0..shape.elements() {
                        if random.one_in(if dense { 2 } else { 9 }) {
                            bytes[i / 8] |= 1 << (i % 8);
                        }
                    }
                    Bitmap::Bits(Box::leak(bytes.into_boxed_slice()))
                }
            };
            let channels = i64::from(shape.channels);
            let frac_bits = 3 + random.below(10) as u8;
            let unit = 1_i64 << frac_bits;
            let degree = if random.one_in(4) { 1 } else { 2 };
            let mut coefficients =
                |bound: i64| integers(&(0..channels).map(|_| random.about(bound)).collect::<Vec<_>>(), 32);
            let polynomial = (relu != Bitmap::All).then(|| {
                // c2·y² stays below about a quarter of y's range.
                let c2 = coefficients((unit >> (n - 2)).max(1));
                let c1 = coefficients(unit);
                let c0 = coefficients(unit * 3);
                let c2 = if degree == 1 { integers(&[], 8) } else { c2 };
                Polynomial { degree, frac_bits, c2, c1, c0 }
            });
            Step::Activate(Activation { ring_bits, shift, relu, polynomial, pool })
        });
    }

    /// A bare rescaling.
    pub fn rescale(&mut self, terms: &[Term<'static>], pool: Option<Pool>) {
        self.layer(terms, |_, magnitude, _| Step::Rescale {
            shift: magnitude.saturating_sub(8).max(1),
            pool,
        });
    }

    /// The last layer: fully connected onto `classes`.
    pub fn release(mut self, classes: u16) -> Model<'static> {
        let (wire, shape) = self.last();
        let term = self.convolution(wire, shape, classes, (shape.height, shape.width), (1, 0), 1);
        self.layer(&[term], |_, magnitude, _| Step::Release { ring_bits: (magnitude + 3).clamp(12, 32) });
        self.model
    }
}

/// A random network of a few layers with residual blocks, mixed bitmaps, pools, groups and rescalings.
pub fn random_network(seed: u64) -> Model<'static> {
    let mut random = Random(seed);
    let input =
        Shape::new(1 + random.below(3) as u16, 5 + random.below(4) as u16, 5 + random.below(4) as u16);
    let mut b = Builder::new(input, seed);
    let channels = 2 * (1 + random.below(2) as u16);
    let (wire, shape) = b.last();
    let stem = b.convolution(wire, shape, channels, (3, 3), (1, 1), 1);
    let pool = random.one_in(3).then_some(Pool { kernel: 2, stride: 2, padding: 0 });
    if random.one_in(3) {
        b.rescale(&[stem], pool)
    } else {
        b.activate(&[stem], pool)
    }
    for _ in 0..1 + random.below(2) {
        let (skip, shape) = b.last();
        // Too small to be strided or cut any further.
        let small = shape.height < 3 || shape.width < 3;
        match if small { 0 } else { random.below(4) } {
            0 => {
                // Identity block.
                let first = b.convolution(skip, shape, channels, (3, 3), (1, 1), 1);
                b.activate(&[first], None);
                let (inner, inner_shape) = b.last();
                let second = b.convolution(inner, inner_shape, shape.channels, (3, 3), (1, 1), 1);
                let secret = random.one_in(2);
                let join = b.join(skip, shape, shape, 1, 0, secret);
                b.activate(&[second, join], None);
            }
            1 => {
                // Strided, option A, or a projection.
                let wide = shape.channels + 2;
                let first = b.convolution(skip, shape, wide, (3, 3), (2, 1), 1);
                b.activate(&[first], None);
                let (inner, inner_shape) = b.last();
                let second = b.convolution(inner, inner_shape, wide, (1, 1), (1, 0), 1);
                let join = if random.one_in(2) {
                    let secret = random.one_in(2);
                    b.join(skip, shape, inner_shape, 2, 1, secret)
                } else {
                    b.convolution(skip, shape, wide, (1, 1), (2, 0), 1)
                };
                b.activate(&[second, join], None);
            }
            2 => {
                let depthwise = b.convolution(skip, shape, shape.channels, (3, 2), (1, 1), shape.channels);
                b.activate(&[depthwise], None);
            }
            _ => {
                let grouped = b.convolution(
                    skip,
                    shape,
                    shape.channels,
                    (2, 2),
                    (1, 0),
                    if shape.channels.is_multiple_of(2) { 2 } else { 1 },
                );
                if random.one_in(2) {
                    b.rescale(&[grouped], None);
                } else {
                    b.activate(&[grouped], Some(Pool { kernel: 3, stride: 1, padding: 1 }));
                }
            }
        }
    }
    let (wire, shape) = b.last();
    let last = b.convolution(wire, shape, 3, (1, 1), (1, 0), 1);
    let global =
        (shape.height == shape.width).then_some(Pool { kernel: shape.height, stride: 1, padding: 0 });
    b.activate(&[last], global);
    let classes = 2 + random.below(11) as u16;
    b.release(classes)
}

/// A bitmap that lives as long as the test, from what each element is.
pub fn bitmap(elements: usize, is_relu: impl Fn(usize) -> bool) -> Bitmap<'static> {
    let mut bytes = vec![0; elements.div_ceil(8)];
    for i in (0..elements).filter(|&i| is_relu(i)) {
        bytes[i / 8] |= 1 << (i % 8);
    }
    Bitmap::Bits(Box::leak(bytes.into_boxed_slice()))
}

/// Two activations of four channels of `side` × `side`, one element in three a ReLU: large enough for several
/// tiles and groups.
pub fn several_groups(side: u16) -> Model<'static> {
    let mut b = Builder::new(Shape::new(1, side, side), 3);
    for opened in [10, 8] {
        let (wire, shape) = b.last();
        let convolution = b.convolution(wire, shape, 4, (3, 3), (1, 1), 1);
        b.layer(&[convolution], |random, magnitude, shape| {
            let ring_bits = (magnitude + 3).clamp(opened, 32);
            let mut draw = |bound: i64| {
                integers(&(0..i64::from(shape.channels)).map(|_| random.about(bound)).collect::<Vec<_>>(), 32)
            };
            let polynomial =
                Polynomial { degree: 2, frac_bits: 8, c2: draw(1), c1: draw(256), c0: draw(768) };
            let relu = bitmap(shape.elements(), |i| i % 3 == 0);
            Step::Activate(Activation {
                ring_bits,
                shift: ring_bits - opened,
                relu,
                polynomial: Some(polynomial),
                pool: None,
            })
        });
    }
    b.release(4)
}

/// A small network in which every step of the protocol occurs, with eight classes; every count of elements,
/// of ReLUs and of windows is a multiple of eight, so that whole bytes travel in every frame but those of an
/// odd ring.
pub fn every_step() -> Model<'static> {
    let mut b = Builder::new(Shape::new(1, 4, 4), 1);
    let mixed = |opened: u8, pool: Option<Pool>, is_relu: fn(usize) -> bool| {
        move |random: &mut Random, magnitude: u8, shape: Shape| {
            let ring_bits = (magnitude + 3).clamp(opened, 32);
            let frac_bits = 8;
            let mut draw = |bound: i64| {
                integers(&(0..i64::from(shape.channels)).map(|_| random.about(bound)).collect::<Vec<_>>(), 32)
            };
            let unit = 1_i64 << frac_bits;
            let polynomial = Polynomial {
                degree: 2,
                frac_bits,
                c2: draw((unit >> (opened - 2)).max(1)),
                c1: draw(unit),
                c0: draw(unit * 3),
            };
            let count = shape.elements();
            let relu = match (0..count).filter(|&i| is_relu(i)).count() {
                0 => Bitmap::None,
                all if all == count => Bitmap::All,
                _ => bitmap(count, is_relu),
            };
            let polynomial = (relu != Bitmap::All).then_some(polynomial);
            Step::Activate(Activation { ring_bits, shift: ring_bits - opened, relu, polynomial, pool })
        }
    };
    let (input, shape) = b.last();
    let stem = b.convolution(input, shape, 8, (3, 3), (1, 1), 1);
    b.layer(&[stem], mixed(10, None, |i| i % 4 < 2));
    let (skip, shape) = b.last();
    let direct = b.convolution(skip, shape, 8, (1, 1), (1, 0), 1);
    b.rescale(&[direct], None);
    let (inner, _) = b.last();
    let second = b.convolution(inner, shape, 8, (3, 3), (1, 1), 2);
    let join = b.join(skip, shape, shape, 1, 0, true);
    b.layer(&[second, join], mixed(8, None, |_| true));
    let (wire, shape) = b.last();
    let before_pool = b.convolution(wire, shape, 8, (1, 1), (1, 0), 1);
    b.rescale(&[before_pool], Some(Pool { kernel: 2, stride: 2, padding: 0 }));
    let (wire, shape) = b.last();
    let pooled = b.convolution(wire, shape, 8, (1, 1), (1, 0), 1);
    // Three channels of ReLUs, three of polynomials, two of both.
    b.layer(
        &[pooled],
        mixed(9, Some(Pool { kernel: 2, stride: 2, padding: 0 }), |i| i < 12 || (i >= 24 && i % 2 == 0)),
    );
    let (wire, shape) = b.last();
    let last = b.convolution(wire, shape, 8, (1, 1), (1, 0), 1);
    b.layer(&[last], mixed(8, None, |_| false));
    let (wire, shape) = b.last();
    let logits = b.convolution(wire, shape, 8, (1, 1), (1, 0), 1);
    b.layer(&[logits], |_, magnitude, _| Step::Release {
        ring_bits: (magnitude + 3).clamp(12, 32).next_multiple_of(8),
    });
    b.model
}
