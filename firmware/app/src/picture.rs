//! A picture in flash, as the integers of the input wire.

use halfnet_core::model::{MAX_INPUT_CHANNELS, Normalisation};
use halfnet_core::party::session::Input;
use halfnet_core::plan::Plan;

/// A picture of another size than the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("a picture of {found} bytes where the network takes {expected}")]
pub struct PictureSize {
    /// Of the plan.
    pub expected: u32,
    /// Of the picture.
    pub found: u32,
}

/// A picture lent as bytes in (channel, row, column) order; each is normalised when it is read, so no copy of it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pixels: &'a [u8],
    plane: usize,
    normalisation: [Normalisation; MAX_INPUT_CHANNELS],
}

impl<'a> Picture<'a> {
    /// A picture for the network of `plan`.
    ///
    /// # Errors
    /// It has another size.
    pub fn new(plan: &Plan<'_>, pixels: &'a [u8]) -> Result<Self, PictureSize> {
        let shape = plan.header.model.input;
        if pixels.len() != shape.elements() {
            return Err(PictureSize { expected: shape.elements() as u32, found: pixels.len() as u32 });
        }
        let mut normalisation = [Normalisation { gain: 0, offset: 0 }; MAX_INPUT_CHANNELS];
        for (slot, channel) in normalisation.iter_mut().zip(&plan.header.model.normalisation) {
            *slot = *channel;
        }
        Ok(Self { pixels, plane: shape.plane().max(1), normalisation })
    }
}

impl Input for Picture<'_> {
    fn read(&mut self, first: usize, out: &mut [i32]) {
        for ((slot, index), &pixel) in out.iter_mut().zip(first..).zip(self.pixels.get(first..).unwrap_or(&[])) {
            *slot = self.normalisation.get(index / self.plane).map_or(0, |n| n.apply(pixel));
        }
    }
}
