//! Labelled, seekable pseudorandom streams: (key, kind, position) -> words.
//!
//! A [`Key`] is derived with BLAKE3 from everything that must tell two streams apart; a [`Stream`] is
//! ChaCha12 under that key with the kind of value as nonce, so any tile of any share can be regenerated in
//! any order.

use chacha20::ChaCha12;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ring::Word;

/// The stream has no more bytes (256 GiB a kind): unreachable with the sizes that a model may have, never
/// ignored all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("a pseudorandom stream is exhausted")]
pub struct Exhausted;

/// A 32-byte secret. Opaque when printed, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Key {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Key(..)");
    }
}

impl Key {
    /// A key from secret bytes, as read from a file or an entropy source.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh key from a source of entropy: the operating system's, or a board's generator.
    ///
    /// # Errors
    /// The source's own.
    pub fn try_from_rng<R: rand_core::TryCryptoRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut key = Self([0; 32]);
        rng.try_fill_bytes(&mut key.0)?;
        Ok(key)
    }

    /// The bytes, to be written into party material and nowhere else.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose under this one. Every part is prefixed with its length: no two lists of parts
    /// collide.
    #[must_use]
    pub fn derive(&self, purpose: &'static str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut hash = hasher.finalize();
        let key = Self(*hash.as_bytes());
        hash.zeroize();
        hasher.zeroize();
        key
    }
}

/// What gives the bytes of a [`Stream`], in this or in a faster way: a board may have its own.
pub trait Keystream {
    /// The stream of values of `kind` under `key`.
    fn open(key: &Key, kind: u64) -> Self;

    /// Fills `out` with the bytes from byte `position` on.
    ///
    /// # Errors
    /// The stream ends before.
    fn fill_bytes(&mut self, position: u64, out: &mut [u8]) -> Result<(), Exhausted>;

    /// Fills `out` with words number `first` and following; a word is as many bytes as its type,
    /// little-endian.
    ///
    /// # Errors
    /// The stream ends before.
    fn fill_words<W: Word>(&mut self, first: u64, out: &mut [W]) -> Result<(), Exhausted> {
        self.fill_bytes(first.wrapping_mul(W::BYTES as u64), bytemuck::cast_slice_mut(out))?;
        if cfg!(target_endian = "big") {
            for word in out {
                let mut value = 0;
                for (i, &byte) in bytemuck::bytes_of(word).iter().enumerate() {
                    value |= u64::from(byte) << (8 * i);
                }
                *word = W::from_u64(value);
            }
        }
        Ok(())
    }
}

/// One stream of a key.
pub struct Stream {
    cipher: ChaCha12,
    position: u64,
}

impl core::fmt::Debug for Stream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Stream(..)")
    }
}

impl Stream {
    /// The stream of values of `kind` under `key`.
    #[must_use]
    pub fn new(key: &Key, kind: u64) -> Self {
        let mut nonce = [0; 12];
        for (byte, value) in nonce.iter_mut().zip(kind.to_le_bytes()) {
            *byte = value;
        }
        Self { cipher: ChaCha12::new(&key.0.into(), &nonce.into()), position: 0 }
    }

    /// Fills `out` with the bytes from byte `position` on.
    ///
    /// # Errors
    /// The stream ends before.
    pub fn fill_bytes(&mut self, position: u64, out: &mut [u8]) -> Result<(), Exhausted> {
        if position != self.position {
            self.cipher.try_seek(position).map_err(|_| Exhausted)?;
        }
        self.cipher.try_write_keystream(out).map_err(|_| Exhausted)?;
        self.position = position.wrapping_add(out.len() as u64);
        Ok(())
    }

    /// Fills `out` with words number `first` and following; a word is as many bytes as its type,
    /// little-endian.
    ///
    /// # Errors
    /// The stream ends before.
    pub fn fill_words<W: Word>(&mut self, first: u64, out: &mut [W]) -> Result<(), Exhausted> {
        Keystream::fill_words(self, first, out)
    }
}

impl Keystream for Stream {
    fn open(key: &Key, kind: u64) -> Self {
        Self::new(key, kind)
    }

    fn fill_bytes(&mut self, position: u64, out: &mut [u8]) -> Result<(), Exhausted> {
        Self::fill_bytes(self, position, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_same_words() {
        let key = Key::new([7; 32]).derive("halfnet test", &[b"a", b"bc"]);
        assert_ne!(key.expose(), Key::new([7; 32]).derive("halfnet test", &[b"ab", b"c"]).expose());
        let mut whole = [0_u32; 100];
        Stream::new(&key, 3).fill_words(0, &mut whole).unwrap();
        let mut stream = Stream::new(&key, 3);
        for first in [90, 13, 0, 55] {
            let mut part = [0_u32; 10];
            stream.fill_words(first, &mut part).unwrap();
            assert_eq!(part[..], whole[first as usize..first as usize + 10]);
        }
        let mut other = [0_u32; 100];
        Stream::new(&key, 4).fill_words(0, &mut other).unwrap();
        assert_ne!(whole, other);
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(std::format!("{:?}", Key::new([9; 32])), "Key(..)");
    }
}
