//! A trained network in floating point, layer for layer as the integer model that is made from it.
//!
//! [`FloatNetwork::read`] recognises the architecture in a safetensors file and folds batch normalisation;
//! [`forward`] runs it and keeps every layer's sum, so that calibration and comparison see what the integers
//! stand for. Pools are sums: a loader folds an average's divisor into the weights that follow.

pub(crate) mod columns;
pub mod fold;
pub mod forward;
mod replacement;
mod resnet;
mod small_cnn;
mod weights;

use std::path::{Path, PathBuf};

use halfnet_core::shape::{Convolution, Join, Pool, Shape};
use thiserror::Error;

use crate::network::data::DataSetKind;
pub use forward::Trace;
pub use weights::Tensors;

/// Why a float network could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FloatError {
    /// Reading failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is no safetensors file.
    #[error("{} is no safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: safetensors::SafeTensorError,
    },
    /// A tensor that the architecture needs is not there.
    #[error("tensor `{0}` is missing")]
    MissingTensor(String),
    /// A tensor has another shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What fits the architecture.
        expected: String,
    },
    /// A tensor is of another type than it should be.
    #[error("tensor `{name}` is of type {found}, expected {expected}: convert the file first")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
        /// The type that it should have.
        expected: &'static str,
    },
    /// A tensor holds an infinity or not-a-number.
    #[error("tensor `{0}` holds values that are not finite")]
    NotFinite(String),
    /// A mask holds something else than 0 and 1.
    #[error("tensor `{0}` is a mask and holds another byte than 0 and 1")]
    Mask(String),
    /// Tensors that the architecture has no place for.
    #[error("tensors that this architecture does not have: {0}")]
    Unused(String),
    /// No architecture known here has these tensors.
    #[error(
        "the tensor names fit neither a CIFAR ResNet (layer1.0.conv1.weight …) nor a small CNN (conv3.weight, linear.weight)"
    )]
    UnknownArchitecture,
}

/// How a pixel becomes a real input: (pixel / 255 − mean) / deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelNormalisation {
    /// Mean of pixel / 255.
    pub mean: f32,
    /// Deviation of pixel / 255.
    pub deviation: f32,
}

/// A network whose layers correspond one to one with those of [`halfnet_core::model::Model`]: wire 0 is the
/// normalised input, layer i writes wire i + 1.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatNetwork {
    /// Name of the architecture, as `resnet20`.
    pub name: String,
    /// The data set it was trained on.
    pub data_set: DataSetKind,
    /// Shape of a picture.
    pub input: Shape,
    /// How pixels are normalised, channel by channel.
    pub normalisation: Vec<ChannelNormalisation>,
    /// The layers in order.
    pub layers: Vec<FloatLayer>,
}

/// Sum of linear terms and a bias, then a step.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatLayer {
    /// Its name in the original file.
    pub name: String,
    /// Linear terms; the first is a convolution.
    pub terms: Vec<FloatTerm>,
    /// One an output channel.
    pub bias: Vec<f32>,
    /// What happens to the sum.
    pub step: FloatStep,
}

/// One linear term.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatTerm {
    /// The wire it reads.
    pub source: usize,
    /// What it does.
    pub linear: FloatLinear,
}

/// A linear map.
#[derive(Clone, Debug, PartialEq)]
pub enum FloatLinear {
    /// Convolution of any kind, or a fully connected layer.
    Convolution {
        /// Its geometry.
        geometry: Convolution,
        /// (O, C / groups, kernel_height, kernel_width), row-major.
        weights: Vec<f32>,
    },
    /// A residual input, unchanged.
    Join(Join),
}

/// What happens to a layer's sum.
#[derive(Clone, Debug, PartialEq)]
pub enum FloatStep {
    /// ReLU or polynomial, element by element, then perhaps a sum-pool.
    Activate {
        /// Which elements are ReLU.
        relu: Mask,
        /// What the others are.
        polynomial: Option<FloatPolynomial>,
        /// Sum over windows.
        pool: Option<Pool>,
    },
    /// Nothing but perhaps a sum-pool: another linear layer follows.
    Rescale {
        /// Sum over windows.
        pool: Option<Pool>,
    },
    /// The sum is the logits.
    Release,
}

/// Which elements of a layer are ReLU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Every element.
    All,
    /// No element.
    None,
    /// Those that are true, in (channel, row, column) order.
    Elements(Vec<bool>),
}

impl Mask {
    /// Is element `index` a ReLU?
    #[must_use]
    pub fn get(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Elements(elements) => elements.get(index).copied().unwrap_or(false),
        }
    }

    /// Number of ReLUs among `elements` elements.
    #[must_use]
    pub fn count(&self, elements: usize) -> usize {
        match self {
            Self::All => elements,
            Self::None => 0,
            Self::Elements(mask) => mask.iter().filter(|&&relu| relu).count(),
        }
    }
}

/// c2·z² + c1·z + c0 in real units, coefficients a channel's own.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatPolynomial {
    /// One a channel; empty when the degree is 1.
    pub c2: Vec<f32>,
    /// One a channel.
    pub c1: Vec<f32>,
    /// One a channel.
    pub c0: Vec<f32>,
}

impl FloatLinear {
    /// Shape of the wire that is read.
    #[must_use]
    pub fn input(&self) -> Shape {
        match self {
            Self::Convolution { geometry, .. } => geometry.input,
            Self::Join(join) => join.input,
        }
    }

    /// Shape of the sum.
    #[must_use]
    pub fn output(&self) -> Shape {
        match self {
            Self::Convolution { geometry, .. } => geometry.output(),
            Self::Join(join) => join.output,
        }
    }
}

impl FloatLayer {
    /// Shape of the sum, before a pool.
    #[must_use]
    pub fn sum_shape(&self) -> Shape {
        self.terms.first().map_or(Shape::default(), |t| t.linear.output())
    }

    /// The pool, if there is one.
    #[must_use]
    pub fn pool(&self) -> Option<Pool> {
        match self.step {
            FloatStep::Activate { pool, .. } | FloatStep::Rescale { pool } => pool,
            FloatStep::Release => None,
        }
    }

    /// Shape of the wire written.
    #[must_use]
    pub fn output_shape(&self) -> Shape {
        let sum = self.sum_shape();
        self.pool().map_or(sum, |p| p.output(sum))
    }
}

impl FloatNetwork {
    /// Reads a safetensors file whose architecture its tensor names tell.
    ///
    /// # Errors
    /// The file cannot be read, or tensors are missing, of another shape or type, or left over.
    pub fn read(path: &Path) -> Result<Self, FloatError> {
        Self::from_tensors(Tensors::read(path)?)
    }

    /// As [`FloatNetwork::read`], from a file's bytes; `origin` is named in errors.
    ///
    /// # Errors
    /// As [`FloatNetwork::read`].
    pub fn from_bytes(bytes: &[u8], origin: &Path) -> Result<Self, FloatError> {
        Self::from_tensors(Tensors::from_bytes(bytes, origin)?)
    }

    fn from_tensors(mut tensors: Tensors) -> Result<Self, FloatError> {
        let mut network = if tensors.has("layer1.0.conv1.weight") {
            resnet::build(&mut tensors)
        } else if tensors.has("conv3.weight") && tensors.has("linear.weight") {
            small_cnn::build(&mut tensors)
        } else {
            Err(FloatError::UnknownArchitecture)
        }?;
        network.layers.iter_mut().try_for_each(|layer| replacement::take(&mut tensors, layer))?;
        tensors.finish()?;
        Ok(network)
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |l| l.sum_shape().elements())
    }
}
