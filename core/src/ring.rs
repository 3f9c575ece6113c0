//! Wrapping arithmetic of Z_b, the only integer operations that secrets meet.
//!
//! Z_b is kept in the narrowest of three words: `u16` for b ≤ 16, `u32` for b ≤ 32, else `u64`. Arithmetic is
//! carried out modulo the word and reduced with [`Word::reduce`] only where a value is compared, shifted
//! right or sent: reduction is a ring homomorphism, so everything between may run over. Every operation is
//! additions, multiplications, shifts and masks of words: constant-time wherever the processor's
//! multiplication is (Cortex-M4, M7 and M33 are; the long multiplication of Cortex-M3, which Z_64 would use,
//! is not).

use core::fmt::Debug;
use core::ops::Range;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A machine word that holds elements of a ring Z_b, b ≤ [`Word::BITS`].
pub trait Word:
    sealed::Sealed + Copy + Default + Eq + Debug + Send + Sync + bytemuck::Pod + zeroize::Zeroize + 'static
{
    /// Bits of the word.
    const BITS: u8;
    /// Bytes of the word.
    const BYTES: usize;

    /// The value modulo 2^BITS.
    fn from_u64(value: u64) -> Self;
    /// The value modulo 2^BITS, two's complement.
    fn from_i64(value: i64) -> Self {
        Self::from_u64(value as u64)
    }
    /// The unsigned representative.
    fn to_u64(self) -> u64;
    /// Sum modulo 2^BITS.
    fn add(self, other: Self) -> Self;
    /// Difference modulo 2^BITS.
    fn sub(self, other: Self) -> Self;
    /// Product modulo 2^BITS.
    fn mul(self, other: Self) -> Self;
    /// Left shift; zero when `bits` ≥ BITS.
    fn shl(self, bits: u8) -> Self;
    /// Right shift of the unsigned representative; zero when `bits` ≥ BITS.
    fn shr(self, bits: u8) -> Self;
    /// The low `bits` bits: the map onto Z_bits.
    fn reduce(self, bits: u8) -> Self;
    /// All ones for bit 1, zero for bit 0; other values are a caller's fault and give garbage, not a panic.
    fn mask_from_bit(bit: u64) -> Self;
    /// Bitwise and.
    fn and(self, other: Self) -> Self;
}

macro_rules! impl_word {
    ($word:ty) => {
        impl Word for $word {
            const BITS: u8 = <$word>::BITS as u8;
            const BYTES: usize = size_of::<$word>();

            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as $word
            }
            #[inline(always)]
            #[allow(clippy::unnecessary_cast)]
            fn to_u64(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn shl(self, bits: u8) -> Self {
                self.checked_shl(u32::from(bits)).unwrap_or(0)
            }
            #[inline(always)]
            fn shr(self, bits: u8) -> Self {
                self.checked_shr(u32::from(bits)).unwrap_or(0)
            }
            #[inline(always)]
            fn reduce(self, bits: u8) -> Self {
                self & low_mask(bits) as $word
            }
            #[inline(always)]
            fn mask_from_bit(bit: u64) -> Self {
                (bit as $word).wrapping_neg()
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
        }
    };
}

impl_word!(u16);
impl_word!(u32);
impl_word!(u64);

/// 2^bits − 1, for bits up to 64.
#[inline(always)]
#[must_use]
pub const fn low_mask(bits: u8) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The signed representative of an element of Z_bits, in −2^(bits−1) .. 2^(bits−1).
#[inline(always)]
#[must_use]
pub const fn signed(value: u64, bits: u8) -> i64 {
    let shift = 64 - (if bits > 64 { 64 } else { bits }) as u32;
    if shift >= 64 { 0 } else { ((value << shift) as i64) >> shift }
}

/// Bits of the widest ring that this build computes in. Without the feature `wide-rings` it has no code for
/// words of 64 bits: few plans ask for them, and flash is dear. Plans that do are refused when they are
/// decoded.
pub const WIDEST: u8 = if cfg!(feature = "wide-rings") { 64 } else { WIDEST_NARROW };

/// [`WIDEST`] without the feature `wide-rings`.
pub const WIDEST_NARROW: u8 = 32;

/// Which word keeps a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WordKind {
    /// b ≤ 16.
    U16,
    /// b ≤ 32.
    U32,
    /// b ≤ 64.
    #[cfg(feature = "wide-rings")]
    U64,
}

impl WordKind {
    /// The narrowest word for Z_bits, bits ≤ [`WIDEST`].
    #[must_use]
    pub const fn for_bits(bits: u8) -> Self {
        match bits {
            0..=16 => Self::U16,
            #[cfg(not(feature = "wide-rings"))]
            _ => Self::U32,
            #[cfg(feature = "wide-rings")]
            17..=32 => Self::U32,
            #[cfg(feature = "wide-rings")]
            _ => Self::U64,
        }
    }

    /// Bytes an element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
            #[cfg(feature = "wide-rings")]
            Self::U64 => 8,
        }
    }
}

/// Elements of a ring in whichever word keeps them, borrowed.
#[derive(Clone, Copy)]
pub enum Words<'a> {
    /// Elements in 16-bit words.
    U16(&'a [u16]),
    /// Elements in 32-bit words.
    U32(&'a [u32]),
    /// Elements in 64-bit words.
    #[cfg(feature = "wide-rings")]
    U64(&'a [u64]),
}

/// Elements of a ring in whichever word keeps them, borrowed mutably.
pub enum WordsMut<'a> {
    /// Elements in 16-bit words.
    U16(&'a mut [u16]),
    /// Elements in 32-bit words.
    U32(&'a mut [u32]),
    /// Elements in 64-bit words.
    #[cfg(feature = "wide-rings")]
    U64(&'a mut [u64]),
}

/// Runs the same generic code on whichever slice a [`Words`] or [`WordsMut`] holds.
#[cfg(feature = "wide-rings")]
#[macro_export]
macro_rules! with_words {
    ($kind:ident, $words:expr, $slice:ident => $body:expr) => {
        match $words {
            $crate::ring::$kind::U16($slice) => $body,
            $crate::ring::$kind::U32($slice) => $body,
            $crate::ring::$kind::U64($slice) => $body,
        }
    };
}

/// Runs code with a type bound to the word of a [`WordKind`].
#[cfg(feature = "wide-rings")]
#[macro_export]
macro_rules! with_kind {
    ($kind:expr, $word:ident => $body:expr) => {
        match $kind {
            $crate::ring::WordKind::U16 => {
                type $word = u16;
                $body
            }
            $crate::ring::WordKind::U32 => {
                type $word = u32;
                $body
            }
            $crate::ring::WordKind::U64 => {
                type $word = u64;
                $body
            }
        }
    };
}

/// Runs the same generic code on whichever slice a [`Words`] or [`WordsMut`] holds.
#[cfg(not(feature = "wide-rings"))]
#[macro_export]
macro_rules! with_words {
    ($kind:ident, $words:expr, $slice:ident => $body:expr) => {
        match $words {
            $crate::ring::$kind::U16($slice) => $body,
            $crate::ring::$kind::U32($slice) => $body,
        }
    };
}

/// Runs code with a type bound to the word of a [`WordKind`].
#[cfg(not(feature = "wide-rings"))]
#[macro_export]
macro_rules! with_kind {
    ($kind:expr, $word:ident => $body:expr) => {
        match $kind {
            $crate::ring::WordKind::U16 => {
                type $word = u16;
                $body
            }
            $crate::ring::WordKind::U32 => {
                type $word = u32;
                $body
            }
        }
    };
}

impl<'a> Words<'a> {
    /// The elements of `words`.
    #[must_use]
    pub fn new<W: Word>(words: &'a [W]) -> Self {
        let bytes = bytemuck::cast_slice::<W, u8>(words);
        match W::BITS {
            16 => Self::U16(bytemuck::cast_slice(bytes)),
            32 => Self::U32(bytemuck::cast_slice(bytes)),
            // No session of a build without `wide-rings` comes here.
            #[cfg(not(feature = "wide-rings"))]
            _ => Self::U32(&[]),
            #[cfg(feature = "wide-rings")]
            _ => Self::U64(bytemuck::cast_slice(bytes)),
        }
    }

    /// As many elements in words of `kind` as `memory` has room for.
    #[must_use]
    pub fn of(kind: WordKind, memory: &'a [u64]) -> Self {
        match kind {
            WordKind::U16 => Self::U16(bytemuck::cast_slice(memory)),
            WordKind::U32 => Self::U32(bytemuck::cast_slice(memory)),
            #[cfg(feature = "wide-rings")]
            WordKind::U64 => Self::U64(memory),
        }
    }

    /// Elements `range`, unless it reaches beyond the end.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Option<Self> {
        Some(match self {
            Self::U16(s) => Self::U16(s.get(range)?),
            Self::U32(s) => Self::U32(s.get(range)?),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => Self::U64(s.get(range)?),
        })
    }

    /// Which words they are.
    #[must_use]
    pub const fn kind(&self) -> WordKind {
        match self {
            Self::U16(_) => WordKind::U16,
            Self::U32(_) => WordKind::U32,
            #[cfg(feature = "wide-rings")]
            Self::U64(_) => WordKind::U64,
        }
    }

    /// The elements' bytes, as they lie in memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        with_words!(Words, *self, s => bytemuck::cast_slice(s))
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        with_words!(Words, self, s => s.len())
    }

    /// True when there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `index`, zero beyond the end.
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        with_words!(Words, self, s => s.get(index).map_or(0, |v| v.to_u64()))
    }
}

impl<'a> WordsMut<'a> {
    /// The elements of `words`.
    #[must_use]
    pub fn new<W: Word>(words: &'a mut [W]) -> Self {
        let bytes = bytemuck::cast_slice_mut::<W, u8>(words);
        match W::BITS {
            16 => Self::U16(bytemuck::cast_slice_mut(bytes)),
            32 => Self::U32(bytemuck::cast_slice_mut(bytes)),
            // No session of a build without `wide-rings` comes here.
            #[cfg(not(feature = "wide-rings"))]
            _ => Self::U32(&mut []),
            #[cfg(feature = "wide-rings")]
            _ => Self::U64(bytemuck::cast_slice_mut(bytes)),
        }
    }

    /// As many elements in words of `kind` as `memory` has room for.
    #[must_use]
    pub fn of(kind: WordKind, memory: &'a mut [u64]) -> Self {
        match kind {
            WordKind::U16 => Self::U16(bytemuck::cast_slice_mut(memory)),
            WordKind::U32 => Self::U32(bytemuck::cast_slice_mut(memory)),
            #[cfg(feature = "wide-rings")]
            WordKind::U64 => Self::U64(memory),
        }
    }

    /// The same elements for a while.
    #[must_use]
    pub fn reborrow(&mut self) -> WordsMut<'_> {
        match self {
            Self::U16(s) => WordsMut::U16(s),
            Self::U32(s) => WordsMut::U32(s),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => WordsMut::U64(s),
        }
    }

    /// Elements `range`, unless it reaches beyond the end.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Option<Self> {
        Some(match self {
            Self::U16(s) => Self::U16(s.get_mut(range)?),
            Self::U32(s) => Self::U32(s.get_mut(range)?),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => Self::U64(s.get_mut(range)?),
        })
    }

    /// Which words they are.
    #[must_use]
    pub const fn kind(&self) -> WordKind {
        match self {
            Self::U16(_) => WordKind::U16,
            Self::U32(_) => WordKind::U32,
            #[cfg(feature = "wide-rings")]
            Self::U64(_) => WordKind::U64,
        }
    }

    /// The elements' bytes, as they lie in memory.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        with_words!(WordsMut, self, s => bytemuck::cast_slice_mut(s))
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        with_words!(WordsMut, self, s => s.len())
    }

    /// True when there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores element `index` modulo the word; nothing beyond the end.
    pub fn set(&mut self, index: usize, value: u64) {
        with_words!(WordsMut, self, s => {
            if let Some(slot) = s.get_mut(index) {
                *slot = Word::from_u64(value);
            }
        });
    }

    /// The same elements, read-only.
    #[must_use]
    pub fn as_words(&self) -> Words<'_> {
        match self {
            Self::U16(s) => Words::U16(s),
            Self::U32(s) => Words::U32(s),
            #[cfg(feature = "wide-rings")]
            Self::U64(s) => Words::U64(s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_representatives_at_the_edges() {
        assert_eq!(signed(0x8000, 16), -32768);
        assert_eq!(signed(0x7fff, 16), 32767);
        assert_eq!(signed(u64::MAX, 64), -1);
        assert_eq!(signed(1, 1), -1);
        assert_eq!(signed(5, 0), 0);
    }

    #[test]
    fn shifts_beyond_the_word_give_zero() {
        assert_eq!(Word::shr(0xffff_u16, 16), 0);
        assert_eq!(Word::shl(1_u32, 40), 0);
        assert_eq!(Word::reduce(u64::MAX, 64), u64::MAX);
    }
}
