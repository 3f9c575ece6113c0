//! A network's tensors on the host: read, made anew, written.

use std::collections::BTreeMap;
use std::path::Path;

use halfnet_host::network::float::Tensors;

use crate::checkpoint::Draft;
use crate::dapa::Degree;
use crate::error::TrainError;
use crate::export::Replaced;
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
        let mut file = if pytorch::is_named(path) {
            Tensors::from_bytes(&pytorch::to_safetensors(path)?, path)?
        } else {
            Tensors::read(path)?
        };
        if network.layers.iter().any(|layer| file.has(&format!("{}.relu", layer.name))) {
            let reason = "weights of a network whose ReLUs were replaced: name those of the network with all its ReLUs";
            return Err(TrainError::malformed(path, reason));
        }
        let mut tensors = BTreeMap::new();
        for parameter in network.parameters() {
            tensors.insert(parameter.name.clone(), file.take(&parameter.name, &parameter.shape)?);
        }
        file.finish()?;
        Ok(Self { tensors })
    }

    /// Digest of all names and values (BLAKE3, hexadecimal).
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, values) in &self.tensors {
            hasher.update(name.as_bytes()).update(&[0]);
            values.iter().for_each(|v| _ = hasher.update(&v.to_le_bytes()));
        }
        hasher.finalize().to_string()
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    /// It cannot be written, or a tensor of the network is not there.
    pub fn write(&self, network: &Network, path: &Path) -> Result<(), TrainError> {
        self.write_replaced(network, &[], Degree::Two, path)
    }

    /// Writes a safetensors file, with what replaces ReLUs beside the network's own tensors as
    /// [`FloatNetwork::read`](halfnet_host::network::float::FloatNetwork::read) takes it.
    ///
    /// # Errors
    /// It cannot be written, or a tensor of the network is not there.
    pub fn write_replaced(
        &self,
        network: &Network,
        replaced: &[Option<Replaced>],
        degree: Degree,
        path: &Path,
    ) -> Result<(), TrainError> {
        let mut draft = Draft::default();
        for parameter in network.parameters() {
            let values = self.get(&parameter.name);
            draft.floats(parameter.name, parameter.shape, values);
        }
        for ((layer, sum), replaced) in network.layers.iter().zip(network.sums()).zip(replaced) {
            let Some(Replaced { relu, coefficients }) = replaced.as_ref().filter(|r| r.relu.contains(&false))
            else {
                continue;
            };
            draft.mask(
                format!("{}.relu", layer.name),
                [sum.channels, sum.height, sum.width].map(usize::from).to_vec(),
                relu,
            );
            let first = if degree == Degree::Two { 0 } else { 1 };
            for (name, values) in ["c2", "c1", "c0"].iter().zip(coefficients).skip(first) {
                draft.floats(format!("{}.{name}", layer.name), vec![values.len()], values);
            }
        }
        draft.write_tensors(path)
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
