//! Where entropy enters: the operating system's generator, and nothing else in the project asks for any.
//!
//! A test seed replaces it, for runs that must be repeatable. What is dealt with one says so and works on
//! loopback alone.

use halfnet_core::endpoint::Nonces;
use halfnet_core::prg::Key;
use rand_core::{TryCryptoRng, TryRng};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why no entropy could be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EntropyError {
    /// The operating system has none.
    #[error("the operating system gives no entropy: {0}")]
    System(getrandom::Error),
    /// A test seed that is none.
    #[error("a test seed is 2 to 64 hexadecimal digits, two a byte, but `{0}` is not")]
    TestSeed(String),
}

/// What a test seed's bytes are derived for.
const TEST_BYTES: &str = "halfnet 1 insecure test bytes";

/// A source of seeds and identifiers.
#[derive(Debug)]
pub struct Entropy(Source);

#[derive(Debug)]
enum Source {
    System,
    Test { key: Key, drawn: u64 },
}

impl Entropy {
    /// The operating system's.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// The same bytes every time: insecure, for tests.
    ///
    /// # Errors
    /// `hex` is not 2 to 64 hexadecimal digits.
    pub fn insecure_test_seed(hex: &str) -> Result<Self, EntropyError> {
        let wrong = || EntropyError::TestSeed(hex.to_owned());
        if !hex.is_ascii() || hex.is_empty() || !hex.len().is_multiple_of(2) || hex.len() > 64 {
            return Err(wrong());
        }
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong());
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect::<Result<_, _>>()?;
        Ok(Self(Source::Test {
            key: Key::new([0; 32]).derive("halfnet 1 insecure test seed", &[&bytes]),
            drawn: 0,
        }))
    }

    /// The source that an optional `--insecure-test-seed` asks for.
    ///
    /// # Errors
    /// It is no seed.
    pub fn from_flag(hex: Option<&str>) -> Result<Self, EntropyError> {
        hex.map_or(Ok(Self::system()), Self::insecure_test_seed)
    }

    /// True for a test seed.
    #[must_use]
    pub const fn is_test(&self) -> bool {
        matches!(self.0, Source::Test { .. })
    }

    /// Under a test seed, a source whose bytes differ from those of any other `purpose` or `number`; else the
    /// same source.
    #[must_use]
    pub fn part(&self, purpose: &'static str, number: u64) -> Self {
        match &self.0 {
            Source::System => Self(Source::System),
            Source::Test { key, .. } => {
                Self(Source::Test { key: key.derive(purpose, &[&number.to_le_bytes()]), drawn: 0 })
            }
        }
    }

    /// Fresh bytes, wiped when they are dropped: they may become a key.
    ///
    /// # Errors
    /// The operating system has none.
    pub fn bytes<const N: usize>(&mut self) -> Result<Zeroizing<[u8; N]>, EntropyError> {
        let mut out = Zeroizing::new([0; N]);
        self.try_fill_bytes(&mut out[..])?;
        Ok(out)
    }

    /// A fresh key.
    ///
    /// # Errors
    /// The operating system has no entropy.
    pub fn key(&mut self) -> Result<Key, EntropyError> {
        Key::try_from_rng(self)
    }

    /// Nonces of the handshake: under a fresh key, or under a test seed the same every time, as if each were
    /// drawn here.
    ///
    /// # Errors
    /// The operating system has no entropy.
    pub fn nonces(mut self) -> Result<Nonces, EntropyError> {
        match self.0 {
            Source::System => Ok(Nonces::new(self.key()?, "halfnet 1 nonce")),
            Source::Test { key, .. } => Ok(Nonces::new(key, TEST_BYTES)),
        }
    }
}

impl TryRng for Entropy {
    type Error = EntropyError;

    fn try_next_u32(&mut self) -> Result<u32, EntropyError> {
        self.bytes().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyError> {
        self.bytes().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        match &mut self.0 {
            Source::System => getrandom::fill(out).map_err(EntropyError::System)?,
            Source::Test { key, drawn } => {
                for chunk in out.chunks_mut(32) {
                    *drawn += 1;
                    let block = key.derive(TEST_BYTES, &[&drawn.to_le_bytes()]);
                    chunk.copy_from_slice(&block.expose()[..chunk.len()]);
                }
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_seed_repeats_and_the_system_does_not() {
        let drawn = |hex: &str| Entropy::insecure_test_seed(hex).unwrap().bytes::<40>().unwrap();
        assert_eq!(drawn("00ff"), drawn("00FF"));
        assert_ne!(drawn("00ff"), drawn("00fe"));
        assert_ne!(drawn("00")[..8], drawn("00")[32..]);
        assert_ne!(Entropy::system().bytes::<16>().unwrap(), Entropy::system().bytes::<16>().unwrap());
        let seed = Entropy::insecure_test_seed("01").unwrap();
        let part = |number| seed.part("halfnet test part", number).bytes::<16>().unwrap();
        assert_ne!(part(0), part(1));
    }

    #[test]
    fn nonces_under_a_test_seed_are_its_bytes_and_else_new() {
        let mut seed = Entropy::insecure_test_seed("01").unwrap();
        let mut nonces = Entropy::insecure_test_seed("01").unwrap().nonces().unwrap();
        for _ in 0..3 {
            assert_eq!(nonces.draw(), *seed.bytes().unwrap());
        }
        let [mut first, mut second] = [(); 2].map(|()| Entropy::system().nonces().unwrap());
        assert_ne!(first.draw(), second.draw());
    }

    #[test]
    fn what_is_no_seed_is_refused() {
        for hex in ["", "0", "0g", "zz", "é", &"00".repeat(33)] {
            assert!(Entropy::insecure_test_seed(hex).is_err(), "{hex}");
        }
    }
}
