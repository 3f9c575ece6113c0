//! Models around a single gate, large enough to be timed.
//!
//! The gate is a layer of its own; what is before and after it only brings it an input and gives its output a
//! reader.

use halfnet_core::model::blob::{self, Kind};
use halfnet_core::model::{
    Activation, Bitmap, Header, Integers, InvalidModel, Layer, Linear, Model, Normalisation, Step, Term,
};
use halfnet_core::shape::{Convolution, Shape};
use heapless::Vec as List;
use thiserror::Error;

use super::random::Random;

/// Bits that a pixel takes, less its mean, with its sign.
const PIXEL_BITS: u8 = 8;
/// Ring bits of the ReLU's layer beyond those it opens.
const RELU_SHIFT: u8 = 6;
/// Bits that the convolution opens.
const CONVOLUTION_OPENED: u8 = 10;

/// Why no model could be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GateError {
    /// No shape has so many elements.
    #[error("no tensor has {0} elements: give a product of two numbers from 1 to 65535 of at most 16777216")]
    Elements(usize),
    /// A width that no opening has.
    #[error("{0} opened bits: give 3 to 16")]
    Width(u8),
    /// A ring that the convolution is not measured in.
    #[error("a ring of {0} bits: give 16 or 32")]
    Ring(u8),
    /// The model is not well-formed.
    #[error("the model made is not well-formed: {0}")]
    Invalid(#[from] InvalidModel),
    /// The model does not fit its buffer.
    #[error("the model made is larger than foreseen")]
    TooLong,
}

/// A model with one ReLU layer of `elements` elements that opens `width` bits; the gate is layer 0.
///
/// # Errors
/// There is no such shape or width.
pub fn relu(elements: usize, width: u8) -> Result<Vec<u8>, GateError> {
    if !(3..=16).contains(&width) {
        return Err(GateError::Width(width));
    }
    let input = shape(elements)?;
    let ring_bits = width + RELU_SHIFT;
    // The largest pixel uses all of the range, which is 2^(b − 2) on either side.
    let factor = (1_i64 << (ring_bits - 2 - (PIXEL_BITS - 1))) - 1;
    let gate = conv(input, 1, (1, 1), 0);
    let gate_weights = factor.max(1).to_le_bytes();
    let bias = [0; 8];
    let step = Step::Activate(Activation {
        ring_bits,
        shift: RELU_SHIFT,
        relu: Bitmap::All,
        polynomial: None,
        pool: None,
    });
    let reader = Reader::new(input, width + 4);
    let layers = [layer(0, gate, Integers { bits: 64, bytes: &gate_weights }, &bias, step), reader.layer(1)];
    encode("relu", input, &layers)
}

/// A model with one convolution of 64 to 64 channels, 3×3 over 32×32, in a ring of 16 or 32 bits, and its
/// opening; the gate is layer 1.
///
/// # Errors
/// Another ring is asked for.
pub fn convolution(ring_bits: u8) -> Result<Vec<u8>, GateError> {
    if !matches!(ring_bits, 16 | 32) {
        return Err(GateError::Ring(ring_bits));
    }
    let input = Shape::new(1, 32, 32);
    let inner = Shape::new(64, 32, 32);
    let mut random = Random::new(0, 1);
    let mut spread = || random.below(3) as i64 - 1;
    let before = conv(input, 64, (1, 1), 0);
    let before_weights: Vec<u8> = (0..64).map(|_| if spread() < 0 { 0xff } else { 1 }).collect();
    // Sums of 576 products with -1, 0 and 1 are below 2^13; the shift takes what else the ring holds.
    let gate = conv(inner, 64, (3, 3), 1);
    let shift = ring_bits - CONVOLUTION_OPENED;
    let scale = 1_i64 << (ring_bits - 16);
    let gate_weights: Vec<u8> =
        (0..gate.weights()).flat_map(|_| ((spread() * scale) as i32).to_le_bytes()).collect();
    let bias = [0; 8 * 64];
    let reader = Reader::new(inner, CONVOLUTION_OPENED);
    let layers = [
        layer(
            0,
            before,
            Integers { bits: 8, bytes: &before_weights },
            &bias,
            Step::Rescale { shift: 0, pool: None },
        ),
        layer(
            1,
            gate,
            Integers { bits: 32, bytes: &gate_weights },
            &bias,
            Step::Rescale { shift, pool: None },
        ),
        reader.layer(2),
    ];
    encode("convolution", input, &layers)
}

/// Pictures of random pixels for a model.
///
/// # Shapes
/// `count` times `elements` bytes.
#[must_use]
pub fn pictures(elements: usize, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(0, 2);
    (0..count).map(|_| random.words(elements).into_iter().map(|word| word as u8).collect()).collect()
}

/// One channel of so many elements, as square as they allow.
fn shape(elements: usize) -> Result<Shape, GateError> {
    let most = usize::from(u16::MAX);
    let fits = |height: usize| elements.is_multiple_of(height) && elements / height <= most;
    let side = elements.isqrt().min(most);
    let height = (1..=side).rev().find(|&h| fits(h)).ok_or(GateError::Elements(elements))?;
    let shape = Shape::new(1, height as u16, (elements / height) as u16);
    if shape.validate().is_err() { Err(GateError::Elements(elements)) } else { Ok(shape) }
}

fn conv(
    input: Shape,
    out_channels: u16,
    (kernel_height, kernel_width): (u16, u16),
    padding: u16,
) -> Convolution {
    Convolution { input, out_channels, kernel_height, kernel_width, stride: 1, padding, groups: 1 }
}

fn layer<'a>(
    source: u16,
    geometry: Convolution,
    weights: Integers<'a>,
    bias: &'a [u8],
    step: Step<'a>,
) -> Layer<'a> {
    let mut terms = List::new();
    // A list of three has room for one.
    let _ = terms.push(Term { source, linear: Linear::Convolution { geometry, weights } });
    let bias = &bias[..8 * usize::from(geometry.out_channels)];
    Layer { terms, bias: Integers { bits: 64, bytes: bias }, step, output_scale: &[] }
}

/// The last layer: two logits, each of which reads the first element of a channel. It is no part of a gate
/// and takes next to nothing.
struct Reader {
    geometry: Convolution,
    weights: Vec<u8>,
    ring_bits: u8,
}

impl Reader {
    fn new(input: Shape, ring_bits: u8) -> Self {
        let channels = usize::from(input.channels);
        let mut weights = vec![0; 2 * channels];
        weights[0] = 1;
        weights[2 * channels - 1] = 1;
        let geometry = Convolution { stride: input.height.max(input.width), ..conv(input, 2, (1, 1), 0) };
        Self { geometry, weights, ring_bits }
    }

    fn layer(&self, source: u16) -> Layer<'_> {
        let weights = Integers { bits: 8, bytes: &self.weights };
        layer(source, self.geometry, weights, &[0; 16], Step::Release { ring_bits: self.ring_bits })
    }
}

fn encode(name: &str, input: Shape, layers: &[Layer<'_>]) -> Result<Vec<u8>, GateError> {
    let mut model = Model {
        header: Header {
            name,
            data_set: "random",
            input,
            normalisation: List::new(),
            classes: 2,
            class_names: "",
        },
        layers: List::new(),
    };
    let middle = -(1 << (PIXEL_BITS - 1));
    let room = (0..input.channels)
        .all(|_| model.header.normalisation.push(Normalisation::shifted(middle)).is_ok())
        && layers.iter().all(|layer| model.layers.push(layer.clone()).is_ok());
    if !room {
        return Err(GateError::TooLong);
    }
    model.validate()?;
    let weights: usize = layers
        .iter()
        .flat_map(|l| &l.terms)
        .map(|t| if let Linear::Convolution { weights, .. } = t.linear { weights.bytes.len() } else { 0 })
        .sum();
    let mut body = vec![0; weights + (1 << 14)];
    let length = model.encode_body(&mut body).map_err(|_| GateError::TooLong)?.len();
    body.truncate(length);
    Ok([&blob::envelope(Kind::Model, &body)[..], &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::simulate::{Nearest, Reference};

    fn outcome(bytes: &[u8]) -> crate::network::simulate::Outcome {
        let model = Model::decode(bytes).unwrap();
        let reference = Reference::new(&model);
        let picture = &pictures(model.header.input.elements(), 1)[0];
        reference.run(&reference.input(picture), &mut Nearest, None)
    }

    #[test]
    fn relus_of_any_size_and_width_keep_their_range() {
        for (elements, width) in [(1, 3), (210, 10), (65_536, 16), (65_521 * 3, 9)] {
            let bytes = relu(elements, width).unwrap();
            assert_eq!(Model::decode(&bytes).unwrap().layers[0].sum_shape().elements(), elements);
            let outcome = outcome(&bytes);
            assert_eq!(outcome.range_violations(), 0, "{elements} {width}");
            if elements > 1000 {
                // The range is used, or the comparison would see nothing but small numbers.
                assert!(outcome.ranges[0].high >= 1 << (width + RELU_SHIFT - 3), "{:?}", outcome.ranges[0]);
            }
        }
        assert_eq!(relu(65_537, 10), Err(GateError::Elements(65_537)));
        assert_eq!(relu(100, 17), Err(GateError::Width(17)));
    }

    #[test]
    fn the_convolution_fills_its_ring_in_both_words() {
        for ring_bits in [16, 32] {
            let outcome = outcome(&convolution(ring_bits).unwrap());
            assert_eq!(outcome.range_violations(), 0);
            assert!(outcome.ranges[1].high > 1 << (ring_bits - 5), "{:?}", outcome.ranges[1]);
        }
        assert_eq!(convolution(20), Err(GateError::Ring(20)));
    }
}
