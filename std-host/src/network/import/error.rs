//! What can go wrong in an import.

use halfnet_core::model::InvalidModel;
use halfnet_core::shape::Shape;
use thiserror::Error;

use crate::network::data::DataError;
use crate::network::float::FloatError;

/// Why a network could not be imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The weights.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Pictures that the network does not take.
    #[error(
        "{count} training pictures of shape {found:?} given, the network needs some of shape {expected:?}"
    )]
    Pictures {
        /// Shape of the pictures given.
        found: Shape,
        /// Their number.
        count: usize,
        /// Shape of the network's input.
        expected: Shape,
    },
    /// The widths asked for leave a layer no room.
    #[error("layer `{layer}`: {reason}; give it more bits")]
    Widths {
        /// The layer.
        layer: String,
        /// What does not fit.
        reason: String,
    },
    /// A layer of a kind that the integer model has no place for.
    #[error("layer `{layer}`: {reason}")]
    Unsupported {
        /// The layer.
        layer: String,
        /// What is not supported.
        reason: &'static str,
    },
    /// The model made is not well-formed.
    #[error("the model made is not well-formed: {0}")]
    Invalid(#[from] InvalidModel),
    /// The model made does not read back.
    #[error("the model made does not read back: {0}")]
    Decode(#[from] halfnet_core::model::blob::DecodeError),
}
