//! Everything of a run between two steps, in one file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Best, Epoch, PretrainOptions, Pretraining};
use crate::checkpoint::{Draft, Origin, Saved};
use crate::course::Place;
use crate::error::TrainError;
use crate::trainer::Kept;
use crate::weights::Weights;

/// Name of the metadata entry.
const ENTRY: &str = "pretraining";

/// What is no tensor. Floats that training depends on are kept as their bits.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    origin: Origin,
    options: PretrainOptions,
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
            origin: self.origin(),
            options: self.options.clone(),
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
    /// It cannot be read, or is of another network, data set, pictures, first weights or options.
    pub fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        let bytes = std::fs::read(path).map_err(|e| TrainError::read(path, e))?;
        let saved = Saved::new(path, &bytes, ENTRY)?;
        let progress: Progress = saved.progress()?;
        saved.check([&progress.origin, &self.origin()], [&progress.options, &self.options])?;
        let mut weights = Weights::default();
        for parameter in self.network.parameters() {
            let values =
                saved.floats(&format!("best/{}", parameter.name), parameter.shape.iter().product())?;
            weights.set(parameter.name, values);
        }
        self.trainer.restore(&saved, &progress.trainer)?;
        self.best = Best { epoch: progress.best.0, validation: f64::from_bits(progress.best.1), weights };
        self.course.set_place(&progress.place);
        self.epochs = progress.epochs;
        Ok(())
    }

    fn origin(&self) -> Origin {
        Origin::new(self.network, &self.origin, &self.course.parts)
    }
}
