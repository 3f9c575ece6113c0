//! A run between two steps as a file: tensors as safetensors, and everything else as JSON in its metadata.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Parts;
use crate::error::TrainError;
use crate::file;
use crate::network::Network;
use crate::state::{tensor, values};

/// Tensors by their names.
pub(crate) type Tensors = BTreeMap<String, Tensor<1>>;

/// A checkpoint, or a file of weights, to be written.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Draft {
    /// Adds a tensor of floats.
    pub(crate) fn floats(&mut self, name: String, shape: Vec<usize>, values: &[f32]) {
        self.tensors.push((name, Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }

    /// Adds a mask.
    pub(crate) fn mask(&mut self, name: String, shape: Vec<usize>, mask: &[bool]) {
        self.tensors.push((name, Dtype::U8, shape, mask.iter().map(|&m| u8::from(m)).collect()));
    }

    /// Adds tensors, `prefix` before their names.
    pub(crate) fn group(&mut self, prefix: &str, group: &Tensors) {
        for (name, tensor) in group {
            self.floats(format!("{prefix}{name}"), vec![tensor.dims()[0]], &values(tensor));
        }
    }

    /// Writes it, `progress` as the metadata's `entry`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(self, path: &Path, entry: &str, progress: &impl Serialize) -> Result<(), TrainError> {
        let text = serde_json::to_string(progress).map_err(|e| TrainError::malformed(path, e))?;
        self.write_with(path, Some(HashMap::from([(entry.to_owned(), text)])))
    }

    /// Writes the tensors alone.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn write_tensors(self, path: &Path) -> Result<(), TrainError> {
        self.write_with(path, None)
    }

    fn write_with(self, path: &Path, metadata: Option<HashMap<String, String>>) -> Result<(), TrainError> {
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &self.tensors {
            views.push((
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| TrainError::malformed(path, e))?,
            ));
        }
        let bytes = safetensors::serialize(views, metadata).map_err(|e| TrainError::malformed(path, e))?;
        file::replace(path, bytes)
    }
}

/// What a run is of, beside its options.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    network: String,
    data_set: String,
    /// Digest of the weights that it starts from.
    weights: String,
    /// Trained on, and held back.
    pictures: [usize; 2],
}

impl Origin {
    /// Of a network, the digest of its first weights, and the pictures.
    pub(crate) fn new(network: &Network, weights: &str, parts: &Parts) -> Self {
        Self {
            network: network.name.clone(),
            data_set: network.data_set.name().to_owned(),
            weights: weights.to_owned(),
            pictures: [parts.training.len(), parts.validation.len()],
        }
    }
}

/// A checkpoint that was read.
#[derive(Debug)]
pub(crate) struct Saved<'b> {
    path: &'b Path,
    text: String,
    file: SafeTensors<'b>,
}

impl<'b> Saved<'b> {
    /// Of a file's bytes.
    ///
    /// # Errors
    /// They are no checkpoint with this entry.
    pub(crate) fn new(path: &'b Path, bytes: &'b [u8], entry: &str) -> Result<Self, TrainError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| TrainError::malformed(path, e))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(entry)).cloned();
        let text = text.ok_or_else(|| {
            TrainError::malformed(path, format!("no checkpoint of such a run: it has no `{entry}`"))
        })?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| TrainError::malformed(path, e))?;
        Ok(Self { path, text, file })
    }

    /// What is wrong with it.
    pub(crate) fn malformed(&self, reason: impl ToString) -> TrainError {
        TrainError::malformed(self.path, reason)
    }

    /// Is it of the run that is to go on?
    ///
    /// # Errors
    /// It is of another network, data set, pictures, weights or options.
    pub(crate) fn check<O: PartialEq>(
        &self,
        origins: [&Origin; 2],
        options: [&O; 2],
    ) -> Result<(), TrainError> {
        let [found, expected] = origins;
        let same = [
            ("another network", found.network == expected.network),
            ("another data set", found.data_set == expected.data_set),
            ("other pictures", found.pictures == expected.pictures),
            // Of which the seed may be one, that other weights come from.
            ("other options", options[0] == options[1]),
            ("other weights", found.weights == expected.weights),
        ];
        match same.iter().find(|(_, same)| !same) {
            Some((what, _)) => Err(self.malformed(format!(
                "the checkpoint is of a run with {what}; name another --out, or remove it"
            ))),
            None => Ok(()),
        }
    }

    /// What is no tensor.
    ///
    /// # Errors
    /// It does not read back.
    pub(crate) fn progress<T: DeserializeOwned>(&self) -> Result<T, TrainError> {
        serde_json::from_str(&self.text).map_err(|e| self.malformed(e))
    }

    /// A tensor of floats.
    ///
    /// # Errors
    /// There is none of this name and count.
    pub(crate) fn floats(&self, name: &str, count: usize) -> Result<Vec<f32>, TrainError> {
        let view = self.file.tensor(name).map_err(|e| self.malformed(e))?;
        let found = floats(&view);
        if found.len() == count {
            Ok(found)
        } else {
            Err(self.malformed(format!("`{name}` has {} values, not {count}", found.len())))
        }
    }

    /// A mask.
    ///
    /// # Errors
    /// There is none of this name and length.
    pub(crate) fn mask(&self, name: &str, count: usize) -> Result<Vec<bool>, TrainError> {
        let view = self.file.tensor(name).map_err(|e| self.malformed(e))?;
        let found = view.data();
        if found.len() != count {
            return Err(self.malformed(format!("`{name}` has {} elements, not {count}", found.len())));
        }
        Ok(found.iter().map(|&m| m != 0).collect())
    }

    /// All tensors with a prefix to their names, which fall into the place of `group`; each that it has must
    /// be there.
    ///
    /// # Errors
    /// One is missing or of another size.
    pub(crate) fn group(&self, prefix: &str, group: &mut Tensors, device: &Device) -> Result<(), TrainError> {
        let named =
            self.file.iter().filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_owned(), view)));
        let found: Tensors = named.map(|(name, view)| (name, tensor(floats(&view), device))).collect();
        let same =
            |(name, old): (&String, &Tensor<1>)| found.get(name).is_some_and(|new| new.dims() == old.dims());
        // An optimiser has no moments yet.
        if !group.iter().all(same) || !(group.is_empty() || group.len() == found.len()) {
            return Err(self.malformed(format!("tensors of `{prefix}` are missing or of another size")));
        }
        *group = found;
        Ok(())
    }
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
