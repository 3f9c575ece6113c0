//! n-bit elements <-> bytes: element i occupies bits i·n .. (i + 1)·n, the lowest bit of the lowest byte
//! first.

use crate::error::Internal;
use crate::ring::{Word, low_mask};

/// Bytes that `count` elements of `bits` bits occupy.
#[must_use]
#[inline]
pub const fn packed_len(count: usize, bits: u8) -> usize {
    ((count as u64 * bits as u64).div_ceil(8)) as usize
}

/// Writes elements of any widths one after another; the caller sizes the buffer with [`packed_len`].
pub struct Packer<'a> {
    out: &'a mut [u8],
    len: usize,
    pending: u64,
    fill: u32,
}

// Neither prints what passes through: it may be a share.
impl core::fmt::Debug for Packer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Packer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Unpacker<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unpacker").field("left", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl<'a> Packer<'a> {
    /// Writes to the front of `out`.
    #[must_use]
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, pending: 0, fill: 0 }
    }

    #[inline(always)]
    fn push(&mut self, value: u64, bits: u32) {
        // At most 31 bits are pending and at most 32 are added.
        self.pending |= (value & low_mask(bits as u8)) << self.fill;
        self.fill += bits;
        if self.fill >= 32 {
            if let Some(chunk) = self.out.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<4>()) {
                *chunk = (self.pending as u32).to_le_bytes();
            } else {
                self.spill(4);
            }
            self.len += 4;
            self.pending >>= 32;
            self.fill -= 32;
        }
    }

    /// Writes up to `count` pending bytes where fewer than four are left in the buffer.
    #[cold]
    fn spill(&mut self, count: usize) {
        let bytes = self.pending.to_le_bytes();
        for (slot, byte) in self.out.iter_mut().skip(self.len).zip(bytes.iter().take(count)) {
            *slot = *byte;
        }
    }

    /// Appends the low `bits` bits of every value.
    #[inline]
    pub fn extend<W: Word>(&mut self, values: &[W], bits: u8) {
        if bits <= 32 {
            for value in values {
                self.push(value.to_u64(), u32::from(bits));
            }
        } else {
            for value in values {
                self.push(value.to_u64(), 32);
                self.push(value.to_u64() >> 32, u32::from(bits) - 32);
            }
        }
    }

    /// Ends the last byte with zeros and returns the number of bytes that the elements take: more than the
    /// buffer has where they did not fit.
    #[must_use = "the length is what is to be sent"]
    pub fn finish(mut self) -> usize {
        let rest = self.fill.div_ceil(8) as usize;
        self.spill(rest);
        self.len + rest
    }

    /// Ends the last byte with zeros, where the buffer is to be filled to its end.
    ///
    /// # Errors
    /// The elements take another number of bytes: some did not fit, or old bytes would be sent behind them.
    pub fn fill(self) -> Result<(), Internal> {
        let planned = self.out.len();
        if self.finish() == planned { Ok(()) } else { Err(Internal) }
    }
}

/// Reads elements of any widths one after another, never beyond the end.
#[derive(Clone)]
pub struct Unpacker<'a> {
    bytes: &'a [u8],
    pending: u64,
    fill: u32,
}

impl<'a> Unpacker<'a> {
    /// Reads from the front of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pending: 0, fill: 0 }
    }

    #[inline(always)]
    fn pull(&mut self, bits: u32) -> u64 {
        if self.fill < bits {
            if let Some((chunk, rest)) = self.bytes.split_first_chunk::<4>() {
                self.pending |= u64::from(u32::from_le_bytes(*chunk)) << self.fill;
                self.bytes = rest;
                self.fill += 32;
            } else {
                for (i, &byte) in self.bytes.iter().enumerate() {
                    self.pending |= u64::from(byte) << (self.fill + 8 * i as u32);
                }
                self.fill += 8 * self.bytes.len() as u32;
                self.bytes = &[];
            }
        }
        let value = self.pending & low_mask(bits as u8);
        self.pending >>= bits;
        self.fill -= bits;
        value
    }

    /// Fills `out` with the next elements of `bits` bits.
    ///
    /// # Errors
    /// Fewer are left; nothing is read then.
    #[inline]
    pub fn take<W: Word>(&mut self, bits: u8, out: &mut [W]) -> Result<(), Internal> {
        if out.len() as u64 * u64::from(bits) > 8 * self.bytes.len() as u64 + u64::from(self.fill) {
            return Err(Internal);
        }
        if bits <= 32 {
            for slot in out {
                *slot = W::from_u64(self.pull(u32::from(bits)));
            }
        } else {
            for slot in out {
                let low = self.pull(32);
                *slot = W::from_u64(low | self.pull(u32::from(bits) - 32) << 32);
            }
        }
        Ok(())
    }

    /// The next element of `bits` bits.
    ///
    /// # Errors
    /// None is left.
    #[inline]
    pub fn next(&mut self, bits: u8) -> Result<u64, Internal> {
        let mut element = [0_u64];
        self.take(bits, &mut element)?;
        Ok(element[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_layout(values in proptest::collection::vec(any::<u64>(), 0..90), bits in 1_u8..=64) {
            let mut bytes = std::vec![0xaa; packed_len(values.len(), bits)];
            let mut packer = Packer::new(&mut bytes);
            let (head, tail) = values.split_at(values.len() / 3);
            packer.extend(head, bits);
            packer.extend(tail, bits);
            prop_assert_eq!(packer.finish(), bytes.len());
            for (i, value) in values.iter().enumerate() {
                for bit in 0..usize::from(bits) {
                    let at = i * usize::from(bits) + bit;
                    prop_assert_eq!(u64::from(bytes[at / 8] >> (at % 8) & 1), value >> bit & 1);
                }
            }
            let mut back = std::vec![0_u64; values.len()];
            let mut unpacker = Unpacker::new(&bytes);
            let (head, tail) = back.split_at_mut(values.len() / 2);
            unpacker.take(bits, head).unwrap();
            unpacker.take(bits, tail).unwrap();
            // What is left is less than a byte.
            prop_assert_eq!(unpacker.take(8, &mut [0_u64]), Err(Internal));
            for (a, b) in values.iter().zip(&back) {
                prop_assert_eq!(a & low_mask(bits), *b);
            }
        }
    }
    #[test]
    fn nothing_is_cut_or_left_over_in_silence() {
        let filled = |length: usize, values: &[u64]| {
            let mut bytes = [0x55; 8];
            let mut packer = Packer::new(&mut bytes[..length]);
            packer.extend(values, 10);
            packer.fill()
        };
        assert_eq!(filled(3, &[1, 2]), Ok(()));
        assert_eq!(filled(2, &[1, 2]), Err(Internal), "the second does not fit");
        assert_eq!(filled(4, &[1, 2]), Err(Internal), "the fourth byte would be sent as it was");
        let bytes = [0xff; 5];
        let mut unpacker = Unpacker::new(&bytes);
        let mut out = [7_u16; 5];
        assert_eq!(unpacker.take(10, &mut out), Err(Internal), "five of ten bits do not lie in five bytes");
        assert_eq!(out, [7; 5], "nothing was read");
        assert_eq!(unpacker.take(10, &mut out[..4]), Ok(()));
        assert_eq!(unpacker.next(1), Err(Internal));
    }
}
