//! Real numbers at the edge: a pixel becomes an integer of the input wire. The only place that knows fraction
//! bits.

use fixed::types::I48F16;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use fixed::types::I16F16;

/// round(gain · pixel + offset), halves up. Exact, whatever gain and offset are.
#[must_use]
#[inline]
pub fn affine(gain: I16F16, offset: I16F16, pixel: u8) -> i32 {
    // At most 2^31 · 255 + 2^31 + 2^15 in units of 2^−16: no overflow, and the result fits 25 bits.
    let product = I48F16::from(gain).wrapping_mul_int(i64::from(pixel));
    let sum = product.wrapping_add(I48F16::from(offset)).wrapping_add(I48F16::from_bits(1 << 15));
    sum.floor().wrapping_to_num()
}

/// An [`I16F16`] in a blob: its bits, as an `i32`.
pub(crate) mod bits {
    use super::{Deserialize, Deserializer, I16F16, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(number: &I16F16, serializer: S) -> Result<S::Ok, S::Error> {
        number.to_bits().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<I16F16, D::Error> {
        i32::deserialize(deserializer).map(I16F16::from_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(gain: i32, offset: i32, pixel: u8) -> i32 {
        affine(I16F16::from_bits(gain), I16F16::from_bits(offset), pixel)
    }

    #[test]
    fn halves_round_up() {
        assert_eq!(at(1 << 16, -(128 << 16), 0), -128);
        assert_eq!(at(1 << 15, 0, 3), 2);
        assert_eq!(at(-(1 << 15), 0, 3), -1);
        assert_eq!(at(1 << 16, -1, 0), 0);
        assert_eq!(at(1 << 16, -(1 << 15) - 1, 0), -1);
        assert_eq!(at(i32::MAX, i32::MAX, 255), 32768 * 256);
        assert_eq!(at(i32::MIN, i32::MIN, 255), -32768 * 256);
    }

    proptest! {
        #[test]
        fn is_the_nearest_integer(gain in any::<i32>(), offset in any::<i32>(), pixel in any::<u8>()) {
            let real = (f64::from(gain) * f64::from(pixel) + f64::from(offset)) / 65536.0;
            prop_assert_eq!(f64::from(at(gain, offset, pixel)), (real + 0.5).floor());
        }
    }
}
