//! The envelope around every blob: what it is, how long, and that no bit of it changed.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `HALFNET\0` |
//! | 1 | [`Kind`] |
//! | 2 | format version, little-endian |
//! | 8 | length of the body, little-endian |
//! | 32 | BLAKE3 of kind, version and body |
//! | length | body, in postcard |
//!
//! The hash guards against accidents (a cut download, a flipped bit, the wrong file); it is no signature.
//! Nothing here panics, whatever the bytes are.

use thiserror::Error;

use super::Model;
use super::validate::InvalidModel;

/// First bytes of every blob.
pub const MAGIC: [u8; 8] = *b"HALFNET\0";
/// The one format version that this build reads and writes.
pub const VERSION: u16 = 1;
/// Bytes before the body.
pub const ENVELOPE_BYTES: usize = HASH + 32;

const KIND: usize = MAGIC.len();
const FORMAT: usize = KIND + 1;
const LENGTH: usize = FORMAT + 2;
const HASH: usize = LENGTH + 8;

/// What a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// A [`Model`], weights included.
    Model = 1,
    /// A public plan.
    Plan = 2,
    /// The seed party's material.
    PartyZero = 3,
    /// The bundle party's material.
    PartyOne = 4,
    /// Corrections for one inference.
    Bundle = 5,
    /// The dealer's state.
    State = 6,
    /// What a board is flashed with: [`crate::board`].
    Board = 7,
}

/// Why an envelope was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BlobError {
    /// Fewer bytes than an envelope has.
    #[error(
        "{found} bytes are too few for a blob, whose envelope alone has {ENVELOPE_BYTES}: the file is cut or of another kind"
    )]
    TooShort {
        /// Bytes that there are.
        found: usize,
    },
    /// The first bytes are not [`MAGIC`].
    #[error("not a Halfnet blob: the first 8 bytes are not its magic")]
    Magic,
    /// Another format version.
    #[error(
        "blob of format version {found}, but this build reads version {VERSION}: make it again with this build"
    )]
    Version {
        /// The version that the blob states.
        found: u16,
    },
    /// A blob of another kind.
    #[error("a blob of kind {found} where one of kind {} ({expected:?}) is needed: is this the right file?", *expected as u8)]
    Kind {
        /// What was asked for.
        expected: Kind,
        /// The kind byte found.
        found: u8,
    },
    /// Fewer bytes than the envelope states.
    #[error("blob is cut: its envelope states a body of {stated} bytes, {present} are there")]
    Cut {
        /// Bytes that the envelope states.
        stated: u64,
        /// Bytes that there are.
        present: u64,
    },
    /// More bytes than the envelope states.
    #[error("blob has {extra} bytes after its end")]
    Trailing {
        /// Bytes beyond the body.
        extra: u64,
    },
    /// The body or the envelope changed since it was written.
    #[error("blob is damaged: its hash does not match its content")]
    Hash,
}

/// Why a model could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DecodeError {
    /// The envelope.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The body is not an encoding of what the envelope says.
    #[error(
        "the body is no encoding of a model of this format version (or has more layers, terms or channels than this build supports)"
    )]
    Encoding,
    /// The body goes on after what it encodes.
    #[error("the body has {extra} bytes after the end of the model")]
    TrailingBody {
        /// Bytes too many.
        extra: usize,
    },
    /// The model is well-encoded but not well-formed.
    #[error(transparent)]
    Model(#[from] InvalidModel),
}

/// A lent buffer was too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("the buffer lent for a blob is too short")]
pub struct BufferTooShort;

fn hash(kind: u8, version: u16, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&version.to_le_bytes());
    hasher.update(body);
    *hasher.finalize().as_bytes()
}

/// The envelope for `body`, to be written before it.
#[must_use]
pub fn envelope(kind: Kind, body: &[u8]) -> [u8; ENVELOPE_BYTES] {
    let mut out = [0; ENVELOPE_BYTES];
    let (head, digest) = out.split_at_mut(HASH);
    head[..KIND].copy_from_slice(&MAGIC);
    head[KIND] = kind as u8;
    head[FORMAT..LENGTH].copy_from_slice(&VERSION.to_le_bytes());
    head[LENGTH..].copy_from_slice(&(body.len() as u64).to_le_bytes());
    digest.copy_from_slice(&hash(kind as u8, VERSION, body));
    out
}

/// Writes envelope and body into `out` and returns the bytes written.
///
/// # Errors
/// `out` is shorter than [`ENVELOPE_BYTES`] and the body together.
pub fn seal<'o>(kind: Kind, body: &[u8], out: &'o mut [u8]) -> Result<&'o [u8], BufferTooShort> {
    let total = ENVELOPE_BYTES.checked_add(body.len()).ok_or(BufferTooShort)?;
    let out = out.get_mut(..total).ok_or(BufferTooShort)?;
    let (head, rest) = out.split_at_mut(ENVELOPE_BYTES);
    head.copy_from_slice(&envelope(kind, body));
    rest.copy_from_slice(body);
    Ok(out)
}

/// Checks the envelope and returns the body.
///
/// # Errors
/// One [`BlobError`] for each thing that can be wrong, the first in the envelope's order.
pub fn open(bytes: &[u8], kind: Kind) -> Result<&[u8], BlobError> {
    let Some((head, body)) = bytes.split_first_chunk::<ENVELOPE_BYTES>() else {
        return Err(BlobError::TooShort { found: bytes.len() });
    };
    if head[..KIND] != MAGIC {
        return Err(BlobError::Magic);
    }
    let version = u16::from_le_bytes([head[FORMAT], head[FORMAT + 1]]);
    if version != VERSION {
        return Err(BlobError::Version { found: version });
    }
    if head[KIND] != kind as u8 {
        return Err(BlobError::Kind { expected: kind, found: head[KIND] });
    }
    let mut length = [0; 8];
    length.copy_from_slice(&head[LENGTH..HASH]);
    let (stated, present) = (u64::from_le_bytes(length), body.len() as u64);
    if stated > present {
        return Err(BlobError::Cut { stated, present });
    }
    if stated < present {
        return Err(BlobError::Trailing { extra: present - stated });
    }
    if head[HASH..] != hash(kind as u8, version, body) {
        return Err(BlobError::Hash);
    }
    Ok(body)
}

/// The value that a whole body encodes.
///
/// # Errors
/// The body does not decode, or goes on after the value.
pub fn decode_body<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(body).map_err(|_| DecodeError::Encoding)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::TrailingBody { extra: rest.len() }) }
}

/// Encodes any body into `out` and returns the bytes written.
///
/// # Errors
/// `out` is too short.
pub fn encode_body<'o, T: serde::Serialize>(
    value: &T,
    out: &'o mut [u8],
) -> Result<&'o [u8], BufferTooShort> {
    match postcard::to_slice(value, out) {
        Ok(written) => Ok(written),
        Err(_) => Err(BufferTooShort),
    }
}

impl<'a> Model<'a> {
    /// Opens the envelope, decodes and validates a model; weights stay in `bytes`.
    ///
    /// # Errors
    /// The blob is damaged or of another kind, or the model is not well-formed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let model: Self = decode_body(open(bytes, Kind::Model)?)?;
        model.validate()?;
        Ok(model)
    }

    /// Encodes the model, without an envelope, into `out` and returns the bytes written.
    ///
    /// # Errors
    /// `out` is too short.
    pub fn encode_body<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], BufferTooShort> {
        encode_body(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut buffer = [0; 80];
        let sealed = seal(Kind::Plan, b"body", &mut buffer).unwrap();
        assert_eq!(sealed.len(), ENVELOPE_BYTES + 4);
        assert_eq!(open(sealed, Kind::Plan), Ok(&b"body"[..]));
        assert_eq!(seal(Kind::Plan, b"body", &mut [0; ENVELOPE_BYTES + 3]), Err(BufferTooShort));
    }

    #[test]
    fn every_fault_has_its_own_error() {
        let mut buffer = [0; 80];
        let length = seal(Kind::Model, b"weights", &mut buffer).unwrap().len();
        let good = &buffer[..length];
        let changed = |at: usize, to: u8| {
            let mut bytes = std::vec::Vec::from(good);
            bytes[at] = to;
            open(&bytes, Kind::Model).unwrap_err()
        };
        assert_eq!(open(&good[..50], Kind::Model), Err(BlobError::TooShort { found: 50 }));
        assert_eq!(changed(0, b'h'), BlobError::Magic);
        assert_eq!(changed(FORMAT, 9), BlobError::Version { found: 9 });
        assert_eq!(open(good, Kind::State), Err(BlobError::Kind { expected: Kind::State, found: 1 }));
        assert_eq!(open(&good[..length - 2], Kind::Model), Err(BlobError::Cut { stated: 7, present: 5 }));
        assert_eq!(open(&buffer[..length + 3], Kind::Model), Err(BlobError::Trailing { extra: 3 }));
        assert_eq!(changed(length - 1, 0), BlobError::Hash);
        assert_eq!(changed(HASH, !good[HASH]), BlobError::Hash);
    }

    #[test]
    fn no_single_bit_can_be_flipped() {
        let mut buffer = [0; 80];
        let length = seal(Kind::Bundle, b"0123456789", &mut buffer).unwrap().len();
        for bit in 0..length * 8 {
            buffer[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&buffer[..length], Kind::Bundle).is_err(), "bit {bit}");
            buffer[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_body_must_end_with_its_value() {
        assert_eq!(decode_body::<u8>(&[7]), Ok(7));
        assert_eq!(decode_body::<u8>(&[7, 0]), Err(DecodeError::TrailingBody { extra: 1 }));
        assert_eq!(decode_body::<u8>(&[]), Err(DecodeError::Encoding));
    }
}
