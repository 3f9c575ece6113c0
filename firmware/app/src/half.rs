//! A board's half of the correlations: the seed party's, and never one of two servers, so that mode T takes no flash.

use halfnet_core::party::half::{Half, MaterialError, Position};
use halfnet_core::party::seed::SeedHalf;
use halfnet_core::plan::{Role, Section};
use halfnet_core::prg::Key;
use halfnet_core::ring::Word;

use crate::generator::Generator;

/// Streams of an inference's key.
#[derive(Debug)]
pub struct BoardHalf(SeedHalf<Generator>);

impl BoardHalf {
    /// The half of one inference.
    #[must_use]
    pub fn new(inference: Key) -> Self {
        Self(SeedHalf::with_keystream(inference))
    }
}

impl Half for BoardHalf {
    const ROLE: Role = Role::Seed;
    const TWO_SERVERS: bool = false;

    fn begin_layer(&mut self, layer: u16, sections: &mut dyn Iterator<Item = (Section, u64)>) {
        self.0.begin_layer(layer, sections);
    }

    fn words<W: Word>(&mut self, section: Section, position: Position, bits: u8, out: &mut [W]) -> Result<(), MaterialError> {
        self.0.words(section, position, bits, out)
    }

    fn mixed_words(&mut self, section: Section, position: Position, bits: &[u8], out: &mut [u64]) -> Result<(), MaterialError> {
        self.0.mixed_words(section, position, bits, out)
    }
}
