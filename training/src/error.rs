//! What can go wrong in a run.

use std::path::PathBuf;

use halfnet_core::model::blob::DecodeError;
use halfnet_host::network::data::DataError;
use halfnet_host::network::float::FloatError;
use halfnet_host::network::import::ImportError;
use thiserror::Error;

/// Why a run cannot start or go on.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The weights.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// The export.
    #[error(transparent)]
    Export(#[from] ImportError),
    /// The exported model does not read back.
    #[error("the exported model does not read back: {0}")]
    Decode(#[from] DecodeError),
    /// The exported model is not the one that was trained.
    #[error("the exported model is not the one that was trained: {0}")]
    Exported(String),
    /// A layer that the two parties cannot run.
    #[error("layer `{layer}`: {reason}")]
    Unsupported {
        /// The layer.
        layer: String,
        /// What they cannot run.
        reason: &'static str,
    },
    /// What was asked for does not go together.
    #[error("{0}")]
    Usage(String),
    /// The loss or a gradient is no longer a number.
    #[error(
        "training diverged at step {step}: {steps} steps in a row were lost (loss {loss}; {place}); a lower rate (`train --rate R`, \
         `search --set rates.weights=R`), or with polynomials a higher range.weight, keeps values in range"
    )]
    Diverged {
        /// Where.
        step: u64,
        /// Steps in a row without a finite gradient.
        steps: u32,
        /// The last loss.
        loss: f32,
        /// Which layer's values are no numbers.
        place: String,
    },
    /// A file could not be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A checkpoint or a file of weights is damaged.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl TrainError {
    /// A file that could not be written.
    pub fn write(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { verb: "write", path: path.into(), source }
    }

    /// A file whose contents are not what they should be.
    pub fn malformed(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Malformed { path: path.into(), reason: reason.to_string() }
    }

    /// A file that could not be read.
    pub fn read(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { verb: "read", path: path.into(), source }
    }
}
