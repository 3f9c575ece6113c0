//! Where core's nonces of the handshake come from, on a board with or without a random generator.
//!
//! They have never to repeat. They follow from the seed, the number of the boot and a count; the number of the
//! boot is burned before the first is drawn. A random generator's bytes are mixed in where there is one: then
//! nonces are new even if the flash with the number of the boot was erased.

use halfnet_core::endpoint::Nonces;
use halfnet_core::prg::Key;

/// Nonces of boot number `boot`, which no earlier boot has had.
#[must_use]
pub fn of_boot(seed: &Key, boot: u64) -> Nonces {
    Nonces::new(seed.derive("halfnet 1 nonces of a board", &[&boot.to_le_bytes()]), "halfnet 1 nonce")
}

/// Nonces of boot number `boot` on a board with a random generator, which gave `entropy` in this boot.
#[must_use]
pub fn with_entropy(seed: &Key, boot: u64, entropy: &[u8; 32]) -> Nonces {
    let key = seed.derive("halfnet 1 nonces of a board", &[&boot.to_le_bytes(), entropy]);
    Nonces::new(key, "halfnet 1 nonce")
}

/// The nonces that a host's P0 draws under a test seed: the same every time. Insecure, for comparing the two
/// byte by byte.
///
/// `test_seed`: what `--insecure-test-seed` gives, as bytes.
#[must_use]
pub fn insecure_test(test_seed: &[u8]) -> Nonces {
    let key = Key::new([0; 32]).derive("halfnet 1 insecure test seed", &[test_seed]);
    let key = key.derive("halfnet 1 nonces of P0", &[&0_u64.to_le_bytes()]);
    Nonces::new(key, "halfnet 1 insecure test bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_repeat_over_draws_and_boots() {
        let seed = Key::new([3; 32]);
        let (mut first, mut second) = (of_boot(&seed, 0), of_boot(&seed, 1));
        let (mut third, mut fourth) = (with_entropy(&seed, 0, &[0; 32]), with_entropy(&seed, 0, &[1; 32]));
        let drawn = [first.draw(), first.draw(), second.draw(), second.draw(), third.draw(), fourth.draw()];
        for (index, nonce) in drawn.iter().enumerate() {
            assert!(!drawn[..index].contains(nonce));
        }
    }
}
