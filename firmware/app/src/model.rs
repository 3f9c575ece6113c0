//! P0's half of the weights, whichever the plan asks for: one type, so that the session is in flash once and
//! not once a mode.

use core::ops::Range;

use halfnet_core::party::half::{LinearTerm, MaterialError, ModelHalf};
use halfnet_core::party::seed::{quadratic_share, tensor_kind};
use halfnet_core::prg::{Key, Keystream};
use halfnet_core::ring::WordsMut;
use halfnet_core::with_words;
use zeroize::Zeroize;

use crate::generator::Generator;
use crate::kernel::{self, Weights};

/// Shares regenerated from the seed, or, where P1 holds the weights, none.
#[derive(Debug)]
pub struct BoardModel<'m>(pub Option<SharedModel<'m>>);

/// P0's weight shares, regenerated into lent memory a few channels at a time: those of `halfnet-core`'s
/// `SeedModel`, multiplied by [`kernel`].
pub struct SharedModel<'m> {
    key: Key,
    memory: &'m mut [u64],
}

impl core::fmt::Debug for SharedModel<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SharedModel(..)")
    }
}

impl Drop for SharedModel<'_> {
    fn drop(&mut self) {
        self.memory.zeroize();
    }
}

impl<'m> SharedModel<'m> {
    /// `memory`: [`kernel::memory_words`] of every convolution, at the least one channel's weights.
    #[must_use]
    pub const fn new(key: Key, memory: &'m mut [u64]) -> Self {
        Self { key, memory }
    }
}

/// One tensor's stream.
struct Tensor(Generator);

impl Weights for Tensor {
    fn fill(&mut self, first: usize, out: WordsMut<'_>) -> Result<(), MaterialError> {
        Ok(with_words!(WordsMut, out, out => self.0.fill_words(first as u64, out))?)
    }
}

impl ModelHalf for BoardModel<'_> {
    fn prepare(&mut self, _term: LinearTerm<'_>) -> Result<(), MaterialError> {
        Ok(())
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        let Some(SharedModel { key, memory }) = &mut self.0 else { return Ok(()) };
        let LinearTerm { id, geometry, input } = term;
        let mut weights = Tensor(Generator::open(key, tensor_kind(id.layer, id.term)));
        kernel::convolve(geometry, input, &mut weights, tile, out, memory)
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        self.0
            .as_ref()
            .map_or(Ok(0), |SharedModel { key, .. }| quadratic_share::<Generator>(key, layer, channel))
    }
}
