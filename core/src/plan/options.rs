//! What is chosen when dealing, and the two parties' names.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::opening::Exchange;

/// Who holds what; see `docs/PROTOCOL.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// T: two servers, shared weights, mutual openings. Only a third client.
    TwoServers,
    /// S: shared weights, openings by turns.
    Shared,
    /// H: P1 holds the weights, openings by turns, P0 keeps no tensor.
    Held,
}

impl Mode {
    /// How this mode opens.
    #[must_use]
    pub const fn exchange(self) -> Exchange {
        match self {
            Self::TwoServers => Exchange::Mutual,
            Self::Shared | Self::Held => Exchange::ByTurns,
        }
    }
}

/// Who brings the picture and gets the answer. P1 never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Client {
    /// The seed party itself (S, H).
    SeedParty,
    /// Somebody who talks to both parties and colludes with neither.
    Third,
}

/// What the client learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Release {
    /// The index of the largest logit, ties to the lower.
    Label,
    /// Every logit, cut to so many bits: each the model's, divided by 2^(b − bits).
    Logits {
        /// At most min(16, b − 2) of the last layer.
        bits: u8,
    },
}

/// Which party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// P0: everything from 32 bytes.
    Seed,
    /// P1: one bundle an inference.
    Bundle,
}

impl Role {
    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Seed => 0,
            Self::Bundle => 1,
        }
    }

    /// The other party.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Seed => Self::Bundle,
            Self::Bundle => Self::Seed,
        }
    }
}

/// What is chosen when dealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Who holds the weights, and how openings are carried out.
    pub mode: Mode,
    /// Who brings the picture and is answered.
    pub client: Client,
    /// What the answer is: a label, or logits of so many bits.
    pub release: Release,
    /// Bits of a comparison's leaf, 1 to 8.
    pub chunk_bits: u8,
    /// Bytes that each party's arena may take, [P0, P1].
    pub memory: [u64; 2],
}

/// # Errors
/// A mode that a role forbids, or a chunk width that does not exist.
pub(crate) fn check_options(options: &Options) -> Result<(), ModelError> {
    if options.mode == Mode::TwoServers && options.client == Client::SeedParty {
        return Err(ModelError::Role);
    }
    if !(1..=crate::gate::comparison::MAX_CHUNK).contains(&options.chunk_bits) {
        return Err(ModelError::Widths);
    }
    Ok(())
}
