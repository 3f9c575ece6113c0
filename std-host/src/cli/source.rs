//! Which model and which pictures: named ones, or those that the program carries.

use std::path::{Path, PathBuf};

use crate::network::bundled;
use crate::network::data::{DataFolder, DataSet, DataSetKind, Split};
use crate::network::float::{FloatLayer, FloatNetwork, FloatStep};
use crate::party::material::DealerState;
use halfnet_core::model::{Layer, Model, Step};

use super::exit::Failure;

/// A model's bytes.
#[derive(Debug)]
pub(crate) struct ModelSource {
    bytes: Vec<u8>,
    is_bundled: bool,
}

impl ModelSource {
    /// The model of a file, or the bundled one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        match path {
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|e| Failure::read(path, e))?;
                Ok(Self { bytes, is_bundled: false })
            }
            None => Ok(Self { bytes: bundled::MODEL.to_vec(), is_bundled: true }),
        }
    }

    /// The bytes of the blob.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Is it the bundled one?
    pub(crate) const fn is_bundled(&self) -> bool {
        self.is_bundled
    }

    /// The validated model.
    pub(crate) fn model(&self) -> Result<Model<'_>, Failure> {
        Ok(Model::decode(&self.bytes)?)
    }

    /// The float network that the model was imported from: the one named, or, for the bundled model, the
    /// bundled one.
    pub(crate) fn network(
        &self,
        model: &Model<'_>,
        weights: Option<&Path>,
    ) -> Result<Option<FloatNetwork>, Failure> {
        let network = match weights {
            Some(path) => FloatNetwork::read(path)?,
            None if self.bytes == bundled::MODEL => bundled::network()?,
            None => return Ok(None),
        };
        let shapes = network.layers.iter().map(FloatLayer::sum_shape);
        let same_relus =
            network.layers.iter().zip(&model.layers).all(|(float, layer)| match (&float.step, &layer.step) {
                (FloatStep::Activate { relu, .. }, Step::Activate(activation)) => {
                    (0..layer.sum_shape().elements())
                        .all(|element| relu.get(element) == activation.relu.get(element))
                }
                _ => true,
            });
        let fits = network.input == model.header.input
            && shapes.eq(model.layers.iter().map(Layer::sum_shape))
            && same_relus;
        let other = "the float weights are of another network than the model, or of one with other ReLUs: name those it was imported from";
        if fits { Ok(Some(network)) } else { Err(Failure::Input(other.into())) }
    }

    /// The model of a file, the bundled one, or another that was dealt, as the dealer's state says.
    pub(crate) fn dealt(path: Option<&Path>, state: &DealerState) -> Result<Self, Failure> {
        match path {
            None if *blake3::hash(bundled::MODEL).as_bytes() != state.model_hash => {
                Self::read(Some(&state.model))
            }
            path => Self::read(path),
        }
    }

    /// The first `limit` test pictures: the bundled ones if neither a model nor a folder is named, else those
    /// of the model's data set.
    pub(crate) fn pictures(
        &self,
        model: &Model<'_>,
        data: Option<&PathBuf>,
        limit: Option<usize>,
    ) -> Result<DataSet, Failure> {
        let pictures = if self.is_bundled && data.is_none() {
            let pictures = bundled::pictures()?;
            pictures.first(limit.unwrap_or(usize::MAX))
        } else {
            let set: DataSetKind = model.header.data_set.parse()?;
            DataFolder::from_flag(data.map(PathBuf::as_path))?.load(set, Split::Test, limit)?
        };
        if pictures.shape != model.header.input {
            let (found, expected) = (pictures.shape, model.header.input);
            return Err(Failure::Input(
                format!(
                    "the pictures have shape {found:?}, the model takes {expected:?}: is its data set right?"
                )
                .into(),
            ));
        }
        Ok(pictures)
    }
}
