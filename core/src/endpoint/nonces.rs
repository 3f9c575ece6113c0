//! Nonces of the handshake.
//!
//! A nonce is public and need not be unpredictable, only never repeat: it makes the session's identifier new,
//! so that an acknowledgement of an earlier session is worth nothing.

use crate::prg::Key;
use crate::wire::message::Identifier;

/// A source of nonces: a key, and a count of what was drawn under it. The key must be new whenever the count
/// begins anew.
#[derive(Debug)]
pub struct Nonces {
    key: Key,
    purpose: &'static str,
    drawn: u64,
}

impl Nonces {
    /// Nonces under a key that nothing else has ever drawn from for this purpose.
    ///
    /// `purpose`: a context string of BLAKE3's key derivation; any text that names the program and the use.
    #[must_use]
    pub const fn new(key: Key, purpose: &'static str) -> Self {
        Self { key, purpose, drawn: 0 }
    }

    /// The next.
    pub fn draw(&mut self) -> Identifier {
        self.drawn += 1;
        let block = self.key.derive(self.purpose, &[&self.drawn.to_le_bytes()]);
        core::array::from_fn(|i| block.expose()[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_repeat() {
        let mut nonces = Nonces::new(Key::new([3; 32]), "halfnet 1 nonce");
        let mut other = Nonces::new(Key::new([4; 32]), "halfnet 1 nonce");
        let drawn = [nonces.draw(), nonces.draw(), other.draw(), other.draw()];
        for (index, nonce) in drawn.iter().enumerate() {
            assert!(!drawn[..index].contains(nonce));
        }
    }
}
