//! What lies in flash: by pairing, the next counter and the number of boots.

/// Names a pairing; the material's.
pub type Pairing = [u8; 16];

/// Bytes of an encoded record. With its pairing it fits a 32-byte flash word.
pub(crate) const BYTES: usize = 12;

/// Where a pairing stands. Neither number ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Record {
    /// The next counter that may be accepted; all below are burned.
    pub next: u64,
    /// Boots so far.
    pub boots: u32,
}

impl Record {
    /// The larger of each number.
    #[must_use]
    pub fn highest(self, other: Self) -> Self {
        Self { next: self.next.max(other.next), boots: self.boots.max(other.boots) }
    }

    pub(crate) fn encode(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        bytes[8..].copy_from_slice(&self.boots.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self { next: u64::from_le_bytes([a, b, c, d, e, f, g, h]), boots: u32::from_le_bytes([i, j, k, l]) }
    }
}
