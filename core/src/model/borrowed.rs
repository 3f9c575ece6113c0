//! What a model borrows from its blob: integers of a stated width, and one bit an element.

use serde::{Deserialize, Serialize};

/// Signed little-endian integers of a stated width, borrowed from the blob.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integers<'a> {
    /// 8, 16, 32 or 64.
    pub bits: u8,
    /// The bytes.
    #[serde(with = "bytes")]
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
    Bits(#[serde(with = "bytes")] &'a [u8]),
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

/// Borrowed bytes for serde without another dependency: postcard writes a length and the bytes.
/// Bytes as postcard has them, borrowed.
pub(super) mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::model) fn serialize<S: Serializer>(
        bytes: &&[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(in crate::model) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'a [u8], D::Error> {
        <&'a [u8]>::deserialize(deserializer)
    }
}
