//! The shapes of real residual networks with weights that are all zero: what a plan says of memory, bytes and
//! rounds follows from shapes and widths alone.

use halfnet_core::model::{
    Activation, Bitmap, Header, Integers, Layer, Linear, Model, Normalisation, Polynomial, Step, Term,
};
use halfnet_core::shape::{Convolution, Join, Pool, Shape};

use crate::network::{bitmap, integers};

/// Bits that every activation opens.
const OPENED_BITS: u8 = 10;

/// A residual network for CIFAR's pictures.
#[derive(Clone, Copy, Debug)]
pub struct Residual {
    /// b of every layer.
    pub ring_bits: u8,
    /// ReLUs of a layer among its elements, the rest are polynomials; all of them if `None`.
    pub relus: Option<fn(usize) -> usize>,
}

fn zeros(count: usize) -> Integers<'static> {
    Integers { bits: 8, bytes: Box::leak(vec![0; count].into_boxed_slice()) }
}

fn convolution(source: u16, input: Shape, out_channels: u16, kernel: u16, stride: u16) -> Term<'static> {
    let (kernel_height, kernel_width, padding) = (kernel, kernel, kernel / 2);
    let geometry =
        Convolution { input, out_channels, kernel_height, kernel_width, stride, padding, groups: 1 };
    Term { source, linear: Linear::Convolution { geometry, weights: zeros(geometry.weights()) } }
}

impl Residual {
    fn activation(&self, shape: Shape, pool: Option<Pool>) -> Step<'static> {
        let (elements, channels) = (shape.elements(), usize::from(shape.channels));
        let relus = self.relus.map_or(elements, |relus| relus(elements));
        let relu = match relus {
            0 => Bitmap::None,
            all if all == elements => Bitmap::All,
            // Spread evenly.
            some => bitmap(elements, |i| i * some / elements != (i + 1) * some / elements),
        };
        let one = || integers(&vec![1; channels], 8);
        let polynomial = (relu != Bitmap::All).then(|| Polynomial {
            degree: 2,
            frac_bits: 8,
            c2: one(),
            c1: one(),
            c0: one(),
        });
        Step::Activate(Activation {
            ring_bits: self.ring_bits,
            shift: self.ring_bits - OPENED_BITS,
            relu,
            polynomial,
            pool,
        })
    }

    fn layer(terms: &[Term<'static>], step: Step<'static>) -> Layer<'static> {
        let channels = usize::from(terms[0].linear.output().channels);
        let terms = heapless::Vec::from_slice(terms).expect("few terms");
        Layer { terms, bias: zeros(channels), step, output_scale: &[] }
    }

    /// `stages`: (channels, side) of each, with `blocks` blocks of two convolutions. `option_a`: strided
    /// shortcuts with zero channels, and a ReLU behind the stem; otherwise 1×1 projections, and none.
    fn network(&self, stages: &[(u16, u16)], blocks: usize, option_a: bool) -> Model<'static> {
        let header = Header {
            name: "residual",
            data_set: "cifar10",
            input: Shape::new(3, 32, 32),
            normalisation: heapless::Vec::from_slice(&[Normalisation::IDENTITY; 3]).expect("three channels"),
            classes: 10,
            class_names: "",
        };
        let mut layers = heapless::Vec::new();
        let mut shape = Shape::new(stages[0].0, stages[0].1, stages[0].1);
        let stem = convolution(0, header.input, shape.channels, 3, 1);
        let step =
            if option_a { self.activation(shape, None) } else { Step::Rescale { shift: 8, pool: None } };
        layers.push(Self::layer(&[stem], step)).expect("few layers");
        for (stage, &(channels, side)) in stages.iter().enumerate() {
            for block in 0..blocks {
                let (source, output) = (layers.len() as u16, Shape::new(channels, side, side));
                let stride = shape.height / side;
                let first = convolution(source, shape, channels, 3, stride);
                layers.push(Self::layer(&[first], self.activation(output, None))).expect("few layers");
                let second = convolution(source + 1, output, channels, 3, 1);
                let channel_offset = (channels - shape.channels) / 2;
                let skip = if shape == output || option_a {
                    let geometry = Join { input: shape, output, stride, channel_offset };
                    Term { source, linear: Linear::JoinShift { geometry, shift: 2 } }
                } else {
                    convolution(source, shape, channels, 1, stride)
                };
                let last = stage + 1 == stages.len() && block + 1 == blocks;
                let pool = last.then_some(Pool { kernel: side, stride: side, padding: 0 });
                layers.push(Self::layer(&[second, skip], self.activation(output, pool))).expect("few layers");
                shape = output;
            }
        }
        let linear = convolution(layers.len() as u16, Shape::new(shape.channels, 1, 1), 10, 1, 1);
        layers.push(Self::layer(&[linear], Step::Release { ring_bits: self.ring_bits })).expect("few layers");
        Model { header, layers }
    }

    /// ResNet-20 of He et al. for CIFAR.
    pub fn resnet20(&self) -> Model<'static> {
        self.network(&[(16, 32), (32, 16), (64, 8)], 3, true)
    }

    /// ResNet-18 with a 3×3 stem without ReLU: 491,520 activations.
    pub fn resnet18(&self) -> Model<'static> {
        self.network(&[(64, 32), (128, 16), (256, 8), (512, 4)], 2, false)
    }
}
