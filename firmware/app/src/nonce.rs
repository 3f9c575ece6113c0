//! Nonces of the handshake, on a board with or without a random generator.
//!
//! A nonce is public and need not be unpredictable, only never repeat: it makes the session's identifier new,
//! so that an acknowledgement of an earlier session is worth nothing. It follows from the seed, the number of
//! the boot and a count. The number of the boot is burned before the first nonce is drawn. A random
//! generator's bytes are mixed in where there is one: then nonces are new even if the flash with the number
//! of the boot was erased.

use halfnet_core::prg::Key;
use halfnet_core::wire::message::Identifier;

/// A source of nonces.
#[derive(Debug)]
pub struct Nonces {
    key: Key,
    purpose: &'static str,
    drawn: u64,
}

impl Nonces {
    /// Nonces of boot number `boot`, which no earlier boot has had.
    #[must_use]
    pub fn new(seed: &Key, boot: u64) -> Self {
        let key = seed.derive("halfnet 1 nonces of a board", &[&boot.to_le_bytes()]);
        Self { key, purpose: "halfnet 1 nonce", drawn: 0 }
    }

    /// Nonces of boot number `boot` on a board with a random generator, which gave `entropy` in this boot.
    #[must_use]
    pub fn with_entropy(seed: &Key, boot: u64, entropy: &[u8; 32]) -> Self {
        let key = seed.derive("halfnet 1 nonces of a board", &[&boot.to_le_bytes(), entropy]);
        Self { key, purpose: "halfnet 1 nonce", drawn: 0 }
    }

    /// The nonces that a host's P0 draws under a test seed: the same every time. Insecure, for comparing the
    /// two byte by byte.
    ///
    /// `test_seed`: what `--insecure-test-seed` gives, as bytes.
    #[must_use]
    pub fn insecure_test(test_seed: &[u8]) -> Self {
        let key = Key::new([0; 32]).derive("halfnet 1 insecure test seed", &[test_seed]);
        let key = key.derive("halfnet 1 nonces of P0", &[&0_u64.to_le_bytes()]);
        Self { key, purpose: "halfnet 1 insecure test bytes", drawn: 0 }
    }

    /// The next.
    pub fn draw(&mut self) -> Identifier {
        self.drawn += 1;
        let block = self.key.derive(self.purpose, &[&self.drawn.to_le_bytes()]);
        let mut nonce = [0; 16];
        nonce.copy_from_slice(block.expose().first_chunk::<16>().unwrap_or(&[0; 16]));
        nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_repeat_over_draws_and_boots() {
        let seed = Key::new([3; 32]);
        let (mut first, mut second) = (Nonces::new(&seed, 0), Nonces::new(&seed, 1));
        let (mut third, mut fourth) =
            (Nonces::with_entropy(&seed, 0, &[0; 32]), Nonces::with_entropy(&seed, 0, &[1; 32]));
        let drawn = [first.draw(), first.draw(), second.draw(), second.draw(), third.draw(), fourth.draw()];
        for (index, nonce) in drawn.iter().enumerate() {
            assert!(!drawn[..index].contains(nonce));
        }
    }
}
