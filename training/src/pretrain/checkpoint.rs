//! Everything of a run between two steps, in one file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::{Best, Epoch, PretrainOptions, Pretraining};
use crate::error::TrainError;
use crate::state::{tensor, values};
use crate::weights::Weights;

/// Name of the metadata entry.
const PROGRESS: &str = "pretraining";

/// What is no tensor. Floats that training depends on are kept as their bits.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    network: String,
    options: PretrainOptions,
    pictures: [usize; 2],
    step: u64,
    losses: (u64, u64),
    usual: Option<u32>,
    optimiser_steps: u64,
    lost: u32,
    skipped: u64,
    best: (u32, u64),
    epochs: Vec<Epoch>,
    seconds: f64,
}

impl Pretraining<'_> {
    /// Writes a checkpoint: first beside `path`, then in its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let trainer = &self.trainer;
        let mut all: Vec<(String, Vec<f32>)> = Vec::new();
        let groups = [
            ("trained/", &trainer.state.trained),
            ("running/", &trainer.state.running),
            ("first/", &trainer.optimiser.first),
            ("second/", &trainer.optimiser.second),
        ];
        for (prefix, group) in groups {
            all.extend(group.iter().map(|(name, tensor)| (format!("{prefix}{name}"), values(tensor))));
        }
        for parameter in self.network.parameters() {
            all.push((format!("best/{}", parameter.name), self.best.weights.get(&parameter.name).to_vec()));
        }
        let progress = Progress {
            network: self.network.name.clone(),
            options: self.options.clone(),
            pictures: self.pictures(),
            step: self.step,
            losses: (self.losses.0.to_bits(), self.losses.1),
            usual: trainer.usual.map(f32::to_bits),
            optimiser_steps: trainer.optimiser.steps,
            lost: trainer.lost,
            skipped: trainer.skipped,
            best: (self.best.epoch, self.best.validation.to_bits()),
            epochs: self.epochs.clone(),
            seconds: self.before + self.started.elapsed().as_secs_f64(),
        };
        let text = serde_json::to_string(&progress).map_err(|e| malformed(path, e))?;
        let bytes: Vec<(String, usize, Vec<u8>)> =
            all.into_iter().map(|(name, values)| (name, values.len(), values.iter().flat_map(|v| v.to_le_bytes()).collect())).collect();
        let mut views = Vec::new();
        for (name, count, bytes) in &bytes {
            views.push((name.as_str(), TensorView::new(Dtype::F32, vec![*count], bytes).map_err(|e| malformed(path, e))?));
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
    /// It cannot be read, or is of another network, other options or other pictures.
    pub fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        let bytes = std::fs::read(path).map_err(|e| TrainError::read(path, e))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| malformed(path, e))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(PROGRESS));
        let text = text.ok_or_else(|| malformed(path, "no checkpoint of training from the start"))?;
        let progress: Progress = serde_json::from_str(text).map_err(|e| malformed(path, e))?;
        let same = (&progress.network, &progress.options, progress.pictures) == (&self.network.name, &self.options, self.pictures());
        if !same {
            return Err(malformed(path, "the checkpoint is of another network, other options or other pictures: name another --out"));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|e| malformed(path, e))?;
        let group = |prefix: &str| -> BTreeMap<String, Vec<f32>> {
            let of = file.iter().filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_owned(), floats(view.data()))));
            of.collect()
        };
        let trainer = &mut self.trainer;
        let device = trainer.device.clone();
        // What was there before must be there again, of the same size.
        let fits = |old: &BTreeMap<String, Tensor<1>>, new: &BTreeMap<String, Vec<f32>>| {
            old.len() == new.len() && old.iter().all(|(name, t)| new.get(name).is_some_and(|n| n.len() == t.dims()[0]))
        };
        let (trained, running, best) = (group("trained/"), group("running/"), group("best/"));
        let expected = self.network.parameters();
        let best_fits = expected.iter().all(|p| best.get(&p.name).is_some_and(|b| b.len() == p.shape.iter().product::<usize>()));
        if !(fits(&trainer.state.trained, &trained) && fits(&trainer.state.running, &running) && best_fits) {
            return Err(malformed(path, "tensors are missing or of another size"));
        }
        trainer.state.trained = tensors(trained, &device);
        trainer.state.running = tensors(running, &device);
        trainer.optimiser.first = tensors(group("first/"), &device);
        trainer.optimiser.second = tensors(group("second/"), &device);
        trainer.optimiser.steps = progress.optimiser_steps;
        (trainer.lost, trainer.skipped) = (progress.lost, progress.skipped);
        trainer.usual = progress.usual.map(f32::from_bits);
        let mut weights = Weights::default();
        best.into_iter().for_each(|(name, values)| weights.set(name, values));
        self.best = Best { epoch: progress.best.0, validation: f64::from_bits(progress.best.1), weights };
        (self.step, self.losses) = (progress.step, (f64::from_bits(progress.losses.0), progress.losses.1));
        (self.epochs, self.before) = (progress.epochs, progress.seconds);
        self.started = std::time::Instant::now();
        self.order = None;
        Ok(())
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn tensors(values: BTreeMap<String, Vec<f32>>, device: &Device) -> BTreeMap<String, Tensor<1>> {
    values.into_iter().map(|(name, values)| (name, tensor(values, device))).collect()
}

fn malformed(path: &Path, reason: impl ToString) -> TrainError {
    TrainError::Malformed { path: path.to_owned(), reason: reason.to_string() }
}
