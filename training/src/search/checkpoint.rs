//! Everything of a search between two steps, in one file.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;

use burn::tensor::Tensor;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::{Epoch, Search, SearchOptions};
use crate::error::TrainError;
use crate::state::{tensor, values};

/// Name of the metadata entry.
const PROGRESS: &str = "progress";

/// What is no tensor. Floats that training depends on are kept as their bits.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    network: String,
    options: SearchOptions,
    step: u64,
    losses: (u64, u64),
    usual: Option<u32>,
    optimiser_steps: u64,
    auxiliary_steps: u64,
    memory: Option<u32>,
    auxiliary_gradient: u32,
    lost: u32,
    skipped: u64,
    epochs: Vec<Epoch>,
    seconds: f64,
    measured: BTreeMap<usize, u64>,
}

/// A group of tensors by the prefix of their names.
type Group<'a> = (&'static str, &'a mut BTreeMap<String, Tensor<1>>);

impl Search<'_> {
    fn groups(&mut self) -> [Group<'_>; 6] {
        let trainer = &mut self.trainer;
        [
            ("trained/", &mut trainer.state.trained),
            ("running/", &mut trainer.state.running),
            ("first/", &mut trainer.optimiser.first),
            ("second/", &mut trainer.optimiser.second),
            ("auxiliary-first/", &mut trainer.auxiliary.first),
            ("auxiliary-second/", &mut trainer.auxiliary.second),
        ]
    }

    /// Writes a checkpoint: first beside `path`, then in its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&mut self, path: &Path) -> Result<(), TrainError> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        let floats = |values: Vec<f32>| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        for (prefix, group) in self.groups() {
            for (name, tensor) in group.iter() {
                tensors.push((format!("{prefix}{name}"), Dtype::F32, vec![tensor.dims()[0]], floats(values(tensor))));
            }
        }
        let mut measured = BTreeMap::new();
        for (index, replacement) in &self.trainer.state.replacements {
            let mask: Vec<u8> = replacement.relu.iter().map(|&r| u8::from(r)).collect();
            tensors.push((format!("mask/{index}"), Dtype::U8, vec![mask.len()], mask));
            let moments = replacement.moments.iter().flat_map(|&(mean, variance)| [mean, variance]).collect();
            tensors.push((format!("moments/{index}"), Dtype::F32, vec![replacement.moments.len(), 2], floats(moments)));
            measured.insert(*index, replacement.measured);
        }
        let progress = Progress {
            network: self.network.name.clone(),
            options: self.options.clone(),
            step: self.step,
            losses: (self.losses.0.to_bits(), self.losses.1),
            usual: self.trainer.usual.map(f32::to_bits),
            optimiser_steps: self.trainer.optimiser.steps,
            auxiliary_steps: self.trainer.auxiliary.steps,
            memory: self.method.memory().map(f32::to_bits),
            auxiliary_gradient: self.trainer.auxiliary_gradient.to_bits(),
            lost: self.trainer.lost,
            skipped: self.trainer.skipped,
            epochs: self.epochs.clone(),
            seconds: self.before + self.started.elapsed().as_secs_f64(),
            measured,
        };
        let text = serde_json::to_string(&progress).map_err(|e| malformed(path, e))?;
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &tensors {
            views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| malformed(path, e))?));
        }
        let metadata = HashMap::from([(PROGRESS.to_owned(), text)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| malformed(path, e))?;
        let beside = path.with_extension("new");
        std::fs::write(&beside, bytes).map_err(|e| TrainError::write(&beside, e))?;
        std::fs::rename(&beside, path).map_err(|e| TrainError::write(path, e))
    }

    /// Goes on where a checkpoint was made.
    ///
    /// # Errors
    /// It cannot be read, or is of another network or other options.
    pub fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        let bytes = std::fs::read(path).map_err(|e| TrainError::read(path, e))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| malformed(path, e))?;
        let text =
            metadata.metadata().as_ref().and_then(|m| m.get(PROGRESS)).ok_or_else(|| malformed(path, "no checkpoint of a search"))?;
        let progress: Progress = serde_json::from_str(text).map_err(|e| malformed(path, e))?;
        if progress.network != self.network.name || progress.options != self.options {
            return Err(malformed(path, "the checkpoint is of another network or of other options; name another --out, or remove it"));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|e| malformed(path, e))?;
        let device = self.trainer.device.clone();
        for (prefix, group) in self.groups() {
            let loaded = file.iter().filter_map(|(name, view)| {
                let name = name.strip_prefix(prefix)?;
                let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                Some((name.to_owned(), tensor(values, &device)))
            });
            let loaded: BTreeMap<String, Tensor<1>> = loaded.collect();
            // Optimisers have no moments yet; everything else must be all there.
            let same = |(name, old): (&String, &Tensor<1>)| loaded.get(name).is_some_and(|new| new.dims() == old.dims());
            if !group.iter().all(same) {
                return Err(malformed(path, format!("tensors of `{prefix}` are missing or of another size")));
            }
            *group = loaded;
        }
        for (index, replacement) in &mut self.trainer.state.replacements {
            let get = |name: &str| file.tensor(&format!("{name}/{index}")).map_err(|e| malformed(path, e));
            let (mask, moments) = (get("mask")?, get("moments")?);
            let floats: Vec<f32> = moments.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            if mask.data().len() != replacement.relu.len() || floats.len() != 2 * replacement.moments.len() {
                return Err(malformed(path, "a mask is of another size"));
            }
            replacement.relu = mask.data().iter().map(|&r| r != 0).collect();
            replacement.moments = floats.as_chunks::<2>().0.iter().map(|&[mean, variance]| (mean, variance)).collect();
            replacement.measured = progress.measured.get(index).copied().unwrap_or(0);
        }
        let trainer = &mut self.trainer;
        (trainer.optimiser.steps, trainer.auxiliary.steps) = (progress.optimiser_steps, progress.auxiliary_steps);
        trainer.auxiliary_gradient = f32::from_bits(progress.auxiliary_gradient);
        (trainer.lost, trainer.skipped) = (progress.lost, progress.skipped);
        trainer.usual = progress.usual.map(f32::from_bits);
        self.method.remember(progress.memory.map(f32::from_bits));
        (self.step, self.losses) = (progress.step, (f64::from_bits(progress.losses.0), progress.losses.1));
        (self.epochs, self.before) = (progress.epochs, progress.seconds);
        self.started = std::time::Instant::now();
        Ok(())
    }

    /// Epochs that are done.
    #[must_use]
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }
}

fn malformed(path: &Path, reason: impl ToString) -> TrainError {
    TrainError::Malformed { path: path.to_owned(), reason: reason.to_string() }
}
