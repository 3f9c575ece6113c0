//! A frame: 8 bytes of header that name (layer, step, tile) and state the payload's length, then the payload.
//!
//! ```text
//! 0..2  layer, little-endian; 0xffff for messages outside the layers
//! 2     step
//! 3..5  tile, little-endian
//! 5..8  payload bytes, little-endian
//! ```

/// Bytes of the header.
pub const HEADER: usize = 8;
/// The layer number of handshake, input and client messages.
pub const NO_LAYER: u16 = u16::MAX;
/// Payload bytes, at most.
pub const MAX_PAYLOAD: usize = (1 << 24) - 1;

/// The name and length of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// Index of the layer that the frame is of, or [`NO_LAYER`].
    pub layer: u16,
    /// [`crate::plan::Step::code`] or a message's code.
    pub step: u8,
    /// Tile.
    pub tile: u16,
    /// Payload bytes.
    pub length: u32,
}

impl Header {
    /// The bytes.
    #[must_use]
    pub const fn encode(&self) -> [u8; HEADER] {
        let (layer, tile, length) =
            (self.layer.to_le_bytes(), self.tile.to_le_bytes(), self.length.to_le_bytes());
        [layer[0], layer[1], self.step, tile[0], tile[1], length[0], length[1], length[2]]
    }

    /// Reads a header.
    #[must_use]
    pub const fn decode(bytes: &[u8; HEADER]) -> Self {
        Self {
            layer: u16::from_le_bytes([bytes[0], bytes[1]]),
            step: bytes[2],
            tile: u16::from_le_bytes([bytes[3], bytes[4]]),
            length: u32::from_le_bytes([bytes[5], bytes[6], bytes[7], 0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let header = Header { layer: 0x1234, step: 9, tile: 0xfedc, length: 0x00ab_cdef };
        assert_eq!(Header::decode(&header.encode()), header);
    }
}
