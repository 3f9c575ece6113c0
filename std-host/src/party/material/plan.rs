//! What is public of a pairing: identifiers and plan.

use std::path::Path;

use halfnet_core::model::blob::Kind;
use halfnet_core::plan::Plan;
use halfnet_core::wire::message::{Agreement, Identifier};
use serde::{Deserialize, Serialize};

use super::FileError;
use super::file::{read_sealed, write_sealed};

/// Identifiers and plan, in every file of a pairing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Public {
    /// Drawn when the two party files were made.
    pub pairing: Identifier,
    /// Drawn when the weights were split.
    pub provisioning: Identifier,
    /// The plan's bytes.
    pub plan: Vec<u8>,
    /// Dealt under a test seed: for loopback alone.
    pub test: bool,
}

impl Public {
    /// The plan, decoded and checked. `path` is named in the error.
    ///
    /// # Errors
    /// It is not well-formed.
    pub fn plan(&self, path: &Path) -> Result<Plan<'_>, FileError> {
        Plan::decode(&self.plan).map_err(|source| FileError::Plan { path: path.to_owned(), source })
    }

    /// What both parties must have in common.
    #[must_use]
    pub fn agreement(&self, plan: &Plan<'_>) -> Agreement {
        Agreement { pairing: self.pairing, plan: *plan.hash(), provisioning: self.provisioning }
    }

    /// Writes `plan.postcard`.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        write_sealed(path, Kind::Plan, self)
    }

    /// Reads `plan.postcard`.
    ///
    /// # Errors
    /// It cannot be read, is damaged or of another kind.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let public: Self = read_sealed(path, Kind::Plan)?;
        public.plan(path)?;
        Ok(public)
    }
}
