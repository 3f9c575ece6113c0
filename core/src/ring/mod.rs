//! Wrapping arithmetic of Z_b, the only integer operations that secrets meet.
//!
//! Z_b is kept in the narrowest of three words: `u16` for b ≤ 16, `u32` for b ≤ 32, else `u64`. Arithmetic is
//! carried out modulo the word and reduced with [`Word::reduce`] only where a value is compared, shifted
//! right or sent: reduction is a ring homomorphism, so everything between may run over. Every operation is
//! additions, multiplications, shifts and masks of words: constant-time wherever the processor's
//! multiplication is (Cortex-M4, M7 and M33 are; the long multiplication of Cortex-M3, which Z_64 would use,
//! is not).

mod words;

pub use words::{Words, WordsMut};

use core::fmt::Debug;

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
