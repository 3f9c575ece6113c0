//! P0's half of the weights, whichever the plan asks for: one type, so that the session is in flash once and not once a mode.

use core::ops::Range;

use halfnet_core::party::half::{MaterialError, ModelHalf, TermId};
use halfnet_core::party::seed::SeedModel;
use halfnet_core::ring::{Words, WordsMut};
use halfnet_core::shape::Convolution;

/// Shares regenerated from the seed, or, where P1 holds the weights, none.
#[derive(Debug)]
pub struct BoardModel<'m>(pub Option<SeedModel<'m>>);

impl ModelHalf for BoardModel<'_> {
    fn prepare(&mut self, id: TermId, geometry: &Convolution, input: Words<'_>) -> Result<(), MaterialError> {
        self.0.as_mut().map_or(Ok(()), |model| model.prepare(id, geometry, input))
    }

    fn convolve(
        &mut self,
        id: TermId,
        geometry: &Convolution,
        input: Words<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        self.0.as_mut().map_or(Ok(()), |model| model.convolve(id, geometry, input, tile, out))
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        self.0.as_mut().map_or(Ok(0), |model| model.quadratic(layer, channel))
    }
}
