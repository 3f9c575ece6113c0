//! A network's tensors on the host: read, made anew, written.

use std::collections::BTreeMap;
use std::path::Path;

use halfnet_host::float::Tensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::TrainError;
use crate::network::{Network, Role};
use crate::pytorch;
use crate::random::Random;

/// Tensors by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, Vec<f32>>,
}

impl Weights {
    /// First weights: normal with variance 2 / fan-in (He), gains one, biases zero.
    #[must_use]
    pub fn initial(network: &Network, seed: u64) -> Self {
        let tensor = |(index, p): (usize, crate::network::Parameter)| {
            let count = p.shape.iter().product();
            let mut random = Random::new(&[seed, 0x1417, index as u64]);
            let deviation = (2.0 / p.fan_in as f32).sqrt();
            let values = match p.role {
                Role::Weights => (0..count).map(|_| random.normal() * deviation).collect(),
                Role::Gain | Role::Variance => vec![1.0; count],
                Role::Bias | Role::Mean => vec![0.0; count],
            };
            (p.name, values)
        };
        Self { tensors: network.parameters().into_iter().enumerate().map(tensor).collect() }
    }

    /// Reads a safetensors file, or a state dictionary of PyTorch, that has exactly the network's tensors.
    ///
    /// # Errors
    /// It cannot be read, or a tensor is missing, left over or of another shape.
    pub fn read(network: &Network, path: &Path) -> Result<Self, TrainError> {
        let mut file =
            if pytorch::is_named(path) { Tensors::from_bytes(&pytorch::to_safetensors(path)?, path)? } else { Tensors::read(path)? };
        let mut tensors = BTreeMap::new();
        for parameter in network.parameters() {
            tensors.insert(parameter.name.clone(), file.take(&parameter.name, &parameter.shape)?);
        }
        file.finish()?;
        Ok(Self { tensors })
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    /// It cannot be written, or a tensor of the network is not there.
    pub fn write(&self, network: &Network, path: &Path) -> Result<(), TrainError> {
        let shapes = network.parameters().into_iter().map(|p| (p.name, p.shape));
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
            .map(|(name, shape)| {
                let bytes = self.get(&name).iter().flat_map(|v| v.to_le_bytes()).collect();
                (name, shape, bytes)
            })
            .collect();
        let malformed = |e: safetensors::SafeTensorError| TrainError::Malformed { path: path.to_owned(), reason: e.to_string() };
        let mut views = Vec::new();
        for (name, shape, bytes) in &bytes {
            views.push((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(malformed)?));
        }
        let file = safetensors::serialize(views, None).map_err(malformed)?;
        std::fs::write(path, file).map_err(|e| TrainError::write(path, e))
    }

    /// A tensor's values; none where there is no such tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], Vec::as_slice)
    }

    /// Sets a tensor.
    pub fn set(&mut self, name: impl Into<String>, values: Vec<f32>) {
        self.tensors.insert(name.into(), values);
    }
}
