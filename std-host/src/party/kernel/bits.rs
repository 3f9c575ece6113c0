//! Bit-packing, vectorised: element i occupies bits i·b .. (i + 1)·b of a byte string, lowest first, as
//! [`halfnet_core::packing`] does.
//!
//! Eight elements fill b bytes exactly, so that groups begin at whole bytes, and within a group every element
//! has a fixed byte and a fixed shift below 8.
//! * *AVX-512 VBMI* fetches or places the bytes of all lanes with one permutation (`vpermb`) and shifts lanes
//!   by those amounts.
//! * *BMI2* opens or closes the gaps between the words of a 64-bit register (`pdep`, `pext`).
//! * Elsewhere, and for what is left at the end, core's packer works.
//!
//! Which instructions run depends on lengths and widths alone, which are public.

use halfnet_core::packing::{Packer, Unpacker, packed_len};
use halfnet_core::ring::{Word, low_mask};

use super::KernelError;
use super::choice::operands;

/// The bit-packing of one instruction set. A value in hand is one that this machine can run.
#[derive(Clone, Copy)]
pub struct BitPacking {
    pub(super) name: &'static str,
    pub(super) supported: fn() -> bool,
    /// Packs groups of eight elements from the front and returns how many elements; none where the width does
    /// not suit it. Takes the words' bytes and the bytes of a word. Needs the instruction set, 1 ≤ bits ≤ the
    /// word's, and room for all bits.
    pub(super) pack: unsafe fn(&[u8], usize, u8, &mut [u8]) -> usize,
    /// Unpacks groups of eight likewise, from bytes that hold all elements' bits, into words' bytes.
    pub(super) unpack: unsafe fn(&[u8], usize, u8, &mut [u8]) -> usize,
}

/// The packings of this build, fastest first.
const ALL: &[BitPacking] = &[
    #[cfg(target_arch = "x86_64")]
    super::bits_x86::VBMI,
    #[cfg(target_arch = "x86_64")]
    super::bits_x86::BMI2,
    PORTABLE,
];

const PORTABLE: BitPacking =
    BitPacking { name: "portable", supported: || true, pack: |_, _, _, _| 0, unpack: |_, _, _, _| 0 };

impl core::fmt::Debug for BitPacking {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "BitPacking({})", self.name)
    }
}

impl BitPacking {
    /// The fastest that this machine has and that gives known answers.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(PORTABLE)
    }

    /// Every one that this machine can run and that gives known answers, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        ALL.iter().copied().filter(|packing| (packing.supported)() && packing.known_answers())
    }

    /// Its name, as `bmi2`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Packs the low `bits` bits of every value and returns the number of bytes written; the last byte ends
    /// with zeros.
    ///
    /// # Errors
    /// `out` is shorter than [`packed_len`] says, or `bits` is not in 1 ..= the word's.
    pub fn pack<W: Word>(&self, values: &[W], bits: u8, out: &mut [u8]) -> Result<usize, KernelError> {
        let expected = checked_len::<W>(values.len(), bits)?;
        let found = out.len();
        let out = out.get_mut(..expected).ok_or(KernelError::Length {
            what: "bytes to pack into",
            expected,
            found,
        })?;
        // SAFETY: a packing in hand is one whose instructions this machine has; lengths and width are checked
        // above.
        let done = unsafe { (self.pack)(bytemuck::cast_slice(values), W::BYTES, bits, out) };
        let mut packer = Packer::new(&mut out[packed_len(done, bits)..]);
        packer.extend(&values[done..], bits);
        let rest = packer.finish();
        Ok(packed_len(done, bits) + rest)
    }

    /// Unpacks elements of `bits` bits until `out` is full.
    ///
    /// # Errors
    /// `bytes` is shorter than [`packed_len`] says, or `bits` is not in 1 ..= the word's.
    pub fn unpack<W: Word>(&self, bytes: &[u8], bits: u8, out: &mut [W]) -> Result<(), KernelError> {
        let expected = checked_len::<W>(out.len(), bits)?;
        let bytes = bytes.get(..expected).ok_or(KernelError::Length {
            what: "packed bytes",
            expected,
            found: bytes.len(),
        })?;
        // SAFETY: as in `pack`.
        let done = unsafe { (self.unpack)(bytes, W::BYTES, bits, bytemuck::cast_slice_mut(out)) };
        Unpacker::new(&bytes[packed_len(done, bits)..])
            .take(bits, &mut out[done..])
            .map_err(|_| KernelError::Length { what: "packed bytes", expected, found: bytes.len() })
    }

    /// Every width of every word, there and back, against core's packer.
    fn known_answers(&self) -> bool {
        (1..=16).all(|bits| self.agrees::<u16>(bits))
            && (1..=32).all(|bits| self.agrees::<u32>(bits))
            && (1..=64).all(|bits| self.agrees::<u64>(bits))
    }

    fn agrees<W: Word>(&self, bits: u8) -> bool {
        let values: Vec<W> = operands(u64::from(bits), 83);
        let length = packed_len(values.len(), bits);
        let (mut expected, mut packed, mut back) = (vec![0; length], vec![0xff; length], values.clone());
        let mut packer = Packer::new(&mut expected);
        packer.extend(&values, bits);
        let written = packer.finish();
        self.pack(&values, bits, &mut packed) == Ok(written)
            && packed == expected
            && self.unpack(&packed, bits, &mut back).is_ok()
            && back.iter().zip(&values).all(|(back, value)| back.to_u64() == value.to_u64() & low_mask(bits))
    }
}

/// Bytes of `count` elements.
fn checked_len<W: Word>(count: usize, bits: u8) -> Result<usize, KernelError> {
    if bits == 0 || bits > W::BITS {
        return Err(KernelError::Bits { bits, word: W::BITS });
    }
    Ok(packed_len(count, bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Neighbours of the slices must stay as they are: whoever writes or reads too far shows there.
    fn check<W: Word>(packing: BitPacking, values: &[u64], bits: u8) {
        let values: Vec<W> = values.iter().map(|&value| W::from_u64(value)).collect();
        let length = packed_len(values.len(), bits);
        let mut expected = vec![0xa5; length + 64];
        let mut packer = Packer::new(&mut expected);
        packer.extend(&values, bits);
        assert_eq!(packer.finish(), length);
        let mut packed = vec![0xa5; length + 64];
        assert_eq!(packing.pack(&values, bits, &mut packed).unwrap(), length);
        assert_eq!(packed, expected, "{packing:?}, {} bits of {}", bits, W::BITS);
        // Exactly the bytes that there are, at the end of an allocation.
        let packed: Box<[u8]> = packed[..length].into();
        let mut back = vec![W::from_u64(0xa5a5); values.len() + 16];
        packing.unpack(&packed, bits, &mut back[..values.len()]).unwrap();
        assert!(
            back[..values.len()]
                .iter()
                .zip(&values)
                .all(|(back, value)| back.to_u64() == value.to_u64() & low_mask(bits))
        );
        assert!(back[values.len()..].iter().all(|&back| back == W::from_u64(0xa5a5)));
    }

    proptest! {
        #[test]
        fn as_core_packs(values in prop::collection::vec(any::<u64>(), 0..300), bits in 1_u8..=64) {
            for packing in BitPacking::available() {
                check::<u16>(packing, &values, 1 + bits % 16);
                check::<u32>(packing, &values, 1 + bits % 32);
                check::<u64>(packing, &values, bits);
            }
        }
    }

    #[test]
    fn every_packing_that_this_machine_supports_is_right() {
        let supported: Vec<&str> =
            ALL.iter().filter(|packing| (packing.supported)()).map(|packing| packing.name).collect();
        let available: Vec<&str> = BitPacking::available().map(|packing| packing.name).collect();
        assert_eq!(available, supported);
    }

    #[test]
    fn wrong_lengths_and_widths_are_refused() {
        let packing = BitPacking::detect();
        assert!(matches!(
            packing.pack(&[0_u16; 9], 7, &mut [0; 7]),
            Err(KernelError::Length { expected: 8, found: 7, .. })
        ));
        assert!(matches!(
            packing.unpack(&[0; 7], 7, &mut [0_u16; 9]),
            Err(KernelError::Length { expected: 8, found: 7, .. })
        ));
        assert!(matches!(
            packing.pack(&[0_u16; 9], 17, &mut [0; 99]),
            Err(KernelError::Bits { bits: 17, word: 16 })
        ));
        assert!(matches!(
            packing.unpack(&[0; 99], 0, &mut [0_u64; 9]),
            Err(KernelError::Bits { bits: 0, word: 64 })
        ));
    }
}
