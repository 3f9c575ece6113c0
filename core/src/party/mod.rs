//! The two parties, sans-io: [`seed`] is P0's half, [`bundle`] is P1's, [`session`] the one walk over the
//! plan that both take.
//!
//! A session has no clock, no entropy and no transport. It works in memory that the caller lends and does at
//! most a tile's work a call.

pub mod bundle;
pub mod half;
pub mod input;
pub mod memory;
pub mod seed;
pub mod session;
mod walk;

use crate::error::Internal;
use crate::party::half::MaterialError;
use crate::plan::Step;

/// What went wrong, and in which layer and step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SessionError {
    /// Layer and step, where the session was in one.
    pub at: Option<(u16, Step)>,
    /// What went wrong there.
    pub kind: ErrorKind,
}

/// Whose fault, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The peer's: a frame that is not the next one.
    #[error("the peer sent a frame out of order: layer {layer}, step {step}, tile {tile}")]
    Unexpected {
        /// Layer of the frame.
        layer: u16,
        /// Step of the frame.
        step: u8,
        /// Tile of the frame.
        tile: u16,
    },
    /// The peer's: a payload of the wrong length.
    #[error("the peer sent {found} bytes where the plan states {expected}")]
    Length {
        /// Bytes that the plan states.
        expected: u32,
        /// Bytes that came.
        found: u32,
    },
    /// The peer's: the parties were given different inputs.
    #[error("the parties were given different masked inputs: the client must send the same bytes to both")]
    InputDiffers,
    /// The caller's: the arena or the frame buffer is shorter than the plan states.
    #[error("the memory lent is shorter than the plan states")]
    Memory,
    /// The caller's: called when nothing is to be done.
    #[error("the session was called out of turn")]
    Misuse,
    /// The plan's walk ended early.
    #[error("the plan has fewer layers than its header states")]
    Plan,
    /// The caller's: a half that has no code for the plan's mode.
    #[error("the plan is of mode t, and this party is never one of two servers")]
    Mode,
    /// The material's.
    #[error(transparent)]
    Material(MaterialError),
    /// Nobody's but this crate's.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<MaterialError> for ErrorKind {
    fn from(error: MaterialError) -> Self {
        match error {
            MaterialError::Internal(internal) => Self::Internal(internal),
            error => Self::Material(error),
        }
    }
}

impl core::fmt::Display for SessionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.at {
            Some((layer, step)) => write!(f, "layer {layer}, step {step:?}: {}", self.kind),
            None => write!(f, "before the first layer: {}", self.kind),
        }
    }
}

impl core::error::Error for SessionError {}
