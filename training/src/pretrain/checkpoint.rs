//! Everything of a run between two steps, in one file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Best, Epoch, PretrainOptions, Pretraining};
use crate::checkpoint::{Draft, Saved};
use crate::course::Place;
use crate::error::TrainError;
use crate::trainer::Kept;
use crate::weights::Weights;

/// Name of the metadata entry.
const ENTRY: &str = "pretraining";

/// What is no tensor. Floats that training depends on are kept as their bits.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    network: String,
    options: PretrainOptions,
    pictures: [usize; 2],
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    trainer: Kept,
    best: (u32, u64),
    epochs: Vec<Epoch>,
}

impl Pretraining<'_> {
    /// Writes a checkpoint: first beside `path`, then in its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut draft = Draft::default();
        let trainer = self.trainer.keep(&mut draft);
        for parameter in self.network.parameters() {
            let values = self.best.weights.get(&parameter.name);
            draft.floats(format!("best/{}", parameter.name), vec![values.len()], values);
        }
        let progress = Progress {
            network: self.network.name.clone(),
            options: self.options.clone(),
            pictures: self.pictures(),
            place: self.course.place(),
            trainer,
            best: (self.best.epoch, self.best.validation.to_bits()),
            epochs: self.epochs.clone(),
        };
        draft.write(path, ENTRY, &progress)
    }

    /// Goes on where a checkpoint was made.
    ///
    /// # Errors
    /// It cannot be read, or is of another network, other options or other pictures.
    pub fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        let bytes = std::fs::read(path).map_err(|e| TrainError::read(path, e))?;
        let saved = Saved::new(path, &bytes, ENTRY)?;
        let progress: Progress = saved.progress()?;
        let same = (&progress.network, &progress.options, progress.pictures) == (&self.network.name, &self.options, self.pictures());
        if !same {
            return Err(saved.malformed("the checkpoint is of another network, other options or other pictures: name another --out"));
        }
        let mut weights = Weights::default();
        for parameter in self.network.parameters() {
            let values = saved.floats(&format!("best/{}", parameter.name), parameter.shape.iter().product())?;
            weights.set(parameter.name, values);
        }
        self.trainer.restore(&saved, &progress.trainer)?;
        self.best = Best { epoch: progress.best.0, validation: f64::from_bits(progress.best.1), weights };
        self.course.set_place(&progress.place);
        self.epochs = progress.epochs;
        Ok(())
    }
}
