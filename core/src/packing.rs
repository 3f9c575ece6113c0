//! n-bit elements <-> bytes: element i occupies bits i·n .. (i + 1)·n, the lowest bit of the lowest byte
//! first.

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

    /// Ends the last byte with zeros and returns the number of bytes written.
    #[must_use = "the length is what is to be sent"]
    pub fn finish(mut self) -> usize {
        let rest = self.fill.div_ceil(8) as usize;
        self.spill(rest);
        (self.len + rest).min(self.out.len())
    }
}

/// Reads elements of any widths one after another; beyond the end it gives zeros, lengths are checked by who
/// frames the bytes.
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
            } else {
                for (i, &byte) in self.bytes.iter().enumerate() {
                    self.pending |= u64::from(byte) << (self.fill + 8 * i as u32);
                }
                self.bytes = &[];
            }
            self.fill += 32;
        }
        let value = self.pending & low_mask(bits as u8);
        self.pending >>= bits;
        self.fill -= bits;
        value
    }

    /// Fills `out` with the next elements of `bits` bits.
    #[inline]
    pub fn take<W: Word>(&mut self, bits: u8, out: &mut [W]) {
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
            unpacker.take(bits, head);
            unpacker.take(bits, tail);
            for (a, b) in values.iter().zip(&back) {
                prop_assert_eq!(a & low_mask(bits), *b);
            }
        }
    }
}
