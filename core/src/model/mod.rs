//! The plaintext integer model: what a trained network has become once every scale is folded in.
//!
//! A model is a list of [`Layer`]s over *wires*. Wire 0 is the input; layer i writes wire i + 1. A layer is a
//! sum of linear [`Term`]s and a bias, then one [`Step`]: an activation, a bare rescaling (a linear layer
//! follows directly), or the release. All values are integers; a real number is `scale · integer`, and scales
//! are secret: they exist only as folded into weights, biases and coefficients (and, for reports of the
//! model's owner, in [`Layer::output_scale`]).
//!
//! Everything is borrowed from the blob's bytes; see [`blob`] for the envelope and [`Model::validate`] for
//! what is checked.

pub mod blob;
mod borrowed;
mod interval;
mod validate;

pub(crate) use borrowed::mask_of;
pub use borrowed::{Bitmap, Integers};
pub use validate::{InvalidModel, MAX_WIRES, Read, SumRing, wire_bits_of};

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::fixed_point::{self, I16F16, affine};
use crate::shape::{Convolution, Join, Pool, Shape};

/// Layers of one model, at most.
pub const MAX_LAYERS: usize = 128;
/// Linear terms of one layer, at most: a convolution, a projection, a residual join.
pub const MAX_TERMS: usize = 3;
/// Input channels, at most.
pub const MAX_INPUT_CHANNELS: usize = 4;

/// A whole model. Public: the header and every shape, width, shift and bitmap. Secret: weights, biases,
/// coefficients, scales.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model<'a> {
    /// What the model is for and how its input is made.
    #[serde(borrow)]
    pub header: Header<'a>,
    /// The layers in order.
    #[serde(borrow)]
    pub layers: Vec<Layer<'a>, MAX_LAYERS>,
}

/// The public header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// Name of the network, as `resnet20`.
    pub name: &'a str,
    /// Name of the data set, as `cifar10`.
    pub data_set: &'a str,
    /// Shape of a picture.
    pub input: Shape,
    /// How a pixel becomes an integer, channel by channel.
    pub normalisation: Vec<Normalisation, MAX_INPUT_CHANNELS>,
    /// Number of classes.
    pub classes: u16,
    /// Names of the classes, separated by newlines; empty when they have none.
    pub class_names: &'a str,
}

/// A pixel 0..=255 becomes the integer round(gain · pixel + offset).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Gain.
    #[serde(with = "fixed_point::bits")]
    pub gain: I16F16,
    /// Offset.
    #[serde(with = "fixed_point::bits")]
    pub offset: I16F16,
}

impl Normalisation {
    /// The pixel itself.
    pub const IDENTITY: Self = Self::shifted(0);

    /// The pixel and a whole number.
    #[must_use]
    pub const fn shifted(offset: i16) -> Self {
        Self { gain: I16F16::ONE, offset: I16F16::from_bits((offset as i32) << 16) }
    }

    /// round(gain · pixel + offset), halves up.
    #[must_use]
    #[inline]
    pub fn apply(&self, pixel: u8) -> i32 {
        affine(self.gain, self.offset, pixel)
    }
}

/// Sum of linear terms and bias, then a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer<'a> {
    /// Linear terms; the first is a convolution and fixes the output's shape.
    #[serde(borrow)]
    pub terms: Vec<Term<'a>, MAX_TERMS>,
    /// One bias an output channel, at the accumulator's scale.
    pub bias: Integers<'a>,
    /// What happens to the sum.
    pub step: Step<'a>,
    /// Real value of one unit of the output wire (of a logit, for the last layer), `f32` little-endian, one a
    /// channel or one for all; empty when unknown. Secret; for reports only.
    #[serde(with = "borrowed::bytes")]
    pub output_scale: &'a [u8],
}

/// One linear term of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term<'a> {
    /// The wire it reads.
    pub source: u16,
    /// What it does.
    #[serde(borrow)]
    pub linear: Linear<'a>,
}

/// A linear map with its secret weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Linear<'a> {
    /// Convolution, depthwise, grouped, 1×1 projection or fully connected.
    Convolution {
        /// Its geometry.
        geometry: Convolution,
        /// (O, C / groups, kernel_height, kernel_width), row-major.
        #[serde(borrow)]
        weights: Integers<'a>,
    },
    /// A residual input, times 2^shift, public and one for all channels.
    JoinShift {
        /// Where it lies.
        geometry: Join,
        /// κ = 2^shift.
        shift: u8,
    },
    /// A residual input, times a secret integer a channel of that input.
    JoinScaled {
        /// Where it lies.
        geometry: Join,
        /// κ, one for each channel of the residual input.
        #[serde(borrow)]
        factors: Integers<'a>,
    },
}

/// What happens to a layer's sum z.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step<'a> {
    /// Truncation by `shift` to y, then ReLU or polynomial element by element, then perhaps a sum-pool.
    Activate(#[serde(borrow)] Activation<'a>),
    /// Another linear layer follows directly: the wire is floor(z / 2^shift) or one more.
    Rescale {
        /// Bits cut.
        shift: u8,
        /// Sum over windows before the cut.
        pool: Option<Pool>,
    },
    /// The last layer: z are logits in Z_b, to be released as a label or cut to a few bits.
    Release {
        /// b. Logits lie in −2^(b−3) .. 2^(b−3), so that the difference of any two is within opening 1's
        /// range.
        ring_bits: u8,
    },
}

/// An activation layer: opening 1 in Z_b, cut by `shift`; n = b − shift bits are opened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activation<'a> {
    /// b, with −2^(b−2) ≤ z ≤ 2^(b−2) − 2^shift.
    pub ring_bits: u8,
    /// f1, with n = b − f1 ≥ 2.
    pub shift: u8,
    /// Which elements are ReLU.
    #[serde(borrow)]
    pub relu: Bitmap<'a>,
    /// What the other elements are.
    pub polynomial: Option<Polynomial<'a>>,
    /// Sum over windows of activated values.
    pub pool: Option<Pool>,
}

/// p(y) = (c2·y² + c1·y + c0) / 2^frac_bits, floor or one more, in y's own scale; coefficients are a
/// channel's own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Polynomial<'a> {
    /// 1 or 2.
    pub degree: u8,
    /// f_c.
    pub frac_bits: u8,
    /// One a channel; empty when the degree is 1.
    #[serde(borrow)]
    pub c2: Integers<'a>,
    /// One a channel.
    pub c1: Integers<'a>,
    /// One a channel.
    pub c0: Integers<'a>,
}

impl Linear<'_> {
    /// Shape of the wire that the term reads.
    #[must_use]
    pub fn input(&self) -> Shape {
        match self {
            Self::Convolution { geometry, .. } => geometry.input,
            Self::JoinShift { geometry, .. } | Self::JoinScaled { geometry, .. } => geometry.input,
        }
    }

    /// Shape of the sum that the term flows into.
    #[must_use]
    pub fn output(&self) -> Shape {
        match self {
            Self::Convolution { geometry, .. } => geometry.output(),
            Self::JoinShift { geometry, .. } | Self::JoinScaled { geometry, .. } => geometry.output,
        }
    }
}

impl Layer<'_> {
    /// Shape of the sum, before a pool.
    #[must_use]
    pub fn sum_shape(&self) -> Shape {
        self.terms.first().map_or(Shape::default(), |t| t.linear.output())
    }

    /// Shape of the wire that the layer writes.
    #[must_use]
    pub fn output_shape(&self) -> Shape {
        let sum = self.sum_shape();
        let pool = match self.step {
            Step::Activate(Activation { pool, .. }) | Step::Rescale { pool, .. } => pool,
            Step::Release { .. } => None,
        };
        pool.map_or(sum, |p| p.output(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmap_counts_any_range() {
        let bytes = [0b1011_0110, 0b0000_1111, 0xff, 0b1];
        let bitmap = Bitmap::Bits(&bytes);
        for start in 0..25 {
            for end in start..26 {
                assert_eq!(bitmap.count(start..end), (start..end).filter(|&i| bitmap.get(i)).count());
            }
        }
    }

    #[test]
    fn normalisation_in_a_blob_is_two_integers() {
        let (gain, offset) = (98_765, -(128 << 16) - 1);
        let normalisation =
            Normalisation { gain: I16F16::from_bits(gain), offset: I16F16::from_bits(offset) };
        let (mut numbers, mut integers) = ([0; 16], [0; 16]);
        let numbers = postcard::to_slice(&normalisation, &mut numbers).unwrap();
        let integers = postcard::to_slice(&(gain, offset), &mut integers).unwrap();
        assert_eq!(numbers, integers);
        assert_eq!(postcard::from_bytes(numbers), Ok(normalisation));
    }

    #[test]
    fn integers_of_every_width() {
        assert_eq!(Integers { bits: 8, bytes: &[0xff, 2] }.iter().collect::<std::vec::Vec<_>>(), [-1, 2]);
        assert_eq!(Integers { bits: 16, bytes: &[0, 0x80] }.get(0), -32768);
        assert_eq!(Integers { bits: 32, bytes: &[1, 0, 0, 0x80] }.get(0), i64::from(i32::MIN) + 1);
        assert_eq!(Integers { bits: 64, bytes: &[0xff; 8] }.get(0), -1);
        assert_eq!(Integers { bits: 64, bytes: &[0xff; 8] }.get(1), 0);
    }
}
