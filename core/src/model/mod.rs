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
mod interval;
mod validate;

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
    #[serde(with = "serde_bytes_borrowed")]
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

/// Signed little-endian integers of a stated width, borrowed from the blob.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integers<'a> {
    /// 8, 16, 32 or 64.
    pub bits: u8,
    /// The bytes.
    #[serde(with = "serde_bytes_borrowed")]
    pub bytes: &'a [u8],
}

impl core::fmt::Debug for Integers<'_> {
    // Weights are the model owner's secret: only their number and width are shown.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Integers({} of {} bits)", self.len(), self.bits)
    }
}

impl<'a> Integers<'a> {
    /// No integer.
    pub const EMPTY: Self = Self { bits: 8, bytes: &[] };

    /// Number of integers.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.bits {
            8 => self.bytes.len(),
            16 => self.bytes.len() / 2,
            32 => self.bytes.len() / 4,
            _ => self.bytes.len() / 8,
        }
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Integer `index`; zero beyond the end.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> i64 {
        fn at<const N: usize>(bytes: &[u8], index: usize) -> Option<[u8; N]> {
            bytes.get(index.checked_mul(N)?..)?.first_chunk::<N>().copied()
        }
        match self.bits {
            8 => at::<1>(self.bytes, index).map_or(0, |b| i64::from(i8::from_le_bytes(b))),
            16 => at::<2>(self.bytes, index).map_or(0, |b| i64::from(i16::from_le_bytes(b))),
            32 => at::<4>(self.bytes, index).map_or(0, |b| i64::from(i32::from_le_bytes(b))),
            _ => at::<8>(self.bytes, index).map_or(0, i64::from_le_bytes),
        }
    }

    /// All integers in order.
    pub fn iter(&self) -> impl Iterator<Item = i64> + 'a {
        let this = *self;
        (0..this.len()).map(move |i| this.get(i))
    }
}

/// One bit an element: 1 = ReLU, 0 = polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bitmap<'a> {
    /// Every element.
    All,
    /// No element.
    None,
    /// Bit i of byte i / 8, lowest first; bits beyond the end are zero.
    Bits(#[serde(with = "serde_bytes_borrowed")] &'a [u8]),
}

impl Bitmap<'_> {
    /// Is element `index` a ReLU?
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Bits(bytes) => bytes.get(index / 8).is_some_and(|b| b >> (index % 8) & 1 == 1),
        }
    }

    /// Number of ReLUs among elements `range`.
    #[must_use]
    pub fn count(&self, range: core::ops::Range<usize>) -> usize {
        match self {
            Self::All => range.len(),
            Self::None => 0,
            Self::Bits(_) => {
                let words = range.start / 64..range.end.div_ceil(64);
                words.map(|word| (self.word(word) & mask_of(word, &range)).count_ones() as usize).sum()
            }
        }
    }

    /// The bits of elements 64·`word` to 64·`word` + 63, the first lowest; zeros beyond a bitmap's end.
    #[must_use]
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::None => 0,
            Self::Bits(bytes) => {
                let bytes = bytes.get(8 * word..).unwrap_or(&[]);
                bytes.first_chunk().map_or_else(
                    || bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
                    |bytes| u64::from_le_bytes(*bytes),
                )
            }
        }
    }
}

/// Which of the elements 64·`word` to 64·`word` + 63 lie in `range`, as bits.
#[must_use]
#[inline]
pub(crate) fn mask_of(word: usize, range: &core::ops::Range<usize>) -> u64 {
    let first = 64 * word;
    let below = |end: usize| match end.saturating_sub(first) {
        0 => 0,
        bits if bits < 64 => (1 << bits) - 1,
        _ => u64::MAX,
    };
    below(range.end) & !below(range.start)
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

/// Borrowed bytes for serde without another dependency: postcard writes a length and the bytes.
mod serde_bytes_borrowed {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'a [u8], D::Error> {
        <&'a [u8]>::deserialize(deserializer)
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
