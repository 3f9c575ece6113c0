//! Everything of a search between two steps, in one file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Epoch, Search, SearchOptions};
use crate::checkpoint::{Draft, Origin, Saved};
use crate::course::Place;
use crate::error::TrainError;
use crate::trainer::Kept;

/// Name of the metadata entry.
const ENTRY: &str = "progress";

/// What is no tensor. Floats that training depends on are kept as their bits.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    origin: Origin,
    options: SearchOptions,
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    trainer: Kept,
    auxiliary_steps: u64,
    memory: Option<u32>,
    auxiliary_gradient: u32,
    epochs: Vec<Epoch>,
    measured: BTreeMap<usize, u64>,
}

impl Search<'_> {
    /// Writes a checkpoint: first beside `path`, then in its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&mut self, path: &Path) -> Result<(), TrainError> {
        let mut draft = Draft::default();
        let trainer = self.trainer.keep(&mut draft);
        draft.group("auxiliary-first/", &self.trainer.auxiliary.first);
        draft.group("auxiliary-second/", &self.trainer.auxiliary.second);
        let mut measured = BTreeMap::new();
        for (index, replacement) in &self.trainer.state.replacements {
            draft.mask(format!("mask/{index}"), vec![replacement.relu.len()], &replacement.relu);
            let moments: Vec<f32> =
                replacement.moments.iter().flat_map(|&(mean, variance)| [mean, variance]).collect();
            draft.floats(format!("moments/{index}"), vec![replacement.moments.len(), 2], &moments);
            measured.insert(*index, replacement.measured);
        }
        let progress = Progress {
            origin: self.origin(),
            options: self.options.clone(),
            place: self.course.place(),
            trainer,
            auxiliary_steps: self.trainer.auxiliary.steps,
            memory: self.method.penalty().and_then(|p| *p.memory()).map(f32::to_bits),
            auxiliary_gradient: self.trainer.auxiliary_gradient.to_bits(),
            epochs: self.epochs.clone(),
            measured,
        };
        draft.write(path, ENTRY, &progress)
    }

    /// Goes on where a checkpoint was made.
    ///
    /// # Errors
    /// It cannot be read, or is of another network, data set, pictures, weights or options.
    pub fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        let bytes = std::fs::read(path).map_err(|e| TrainError::read(path, e))?;
        let saved = Saved::new(path, &bytes, ENTRY)?;
        let progress: Progress = saved.progress()?;
        saved.check([&progress.origin, &self.origin()], [&progress.options, &self.options])?;
        let trainer = &mut self.trainer;
        trainer.restore(&saved, &progress.trainer)?;
        saved.group("auxiliary-first/", &mut trainer.auxiliary.first, &trainer.device)?;
        saved.group("auxiliary-second/", &mut trainer.auxiliary.second, &trainer.device)?;
        for (index, replacement) in &mut trainer.state.replacements {
            replacement.relu = saved.mask(&format!("mask/{index}"), replacement.relu.len())?.into();
            let moments = saved.floats(&format!("moments/{index}"), 2 * replacement.moments.len())?;
            replacement.moments =
                moments.as_chunks::<2>().0.iter().map(|&[mean, variance]| (mean, variance)).collect();
            replacement.measured = progress.measured.get(index).copied().unwrap_or(0);
        }
        trainer.auxiliary.steps = progress.auxiliary_steps;
        trainer.auxiliary_gradient = f32::from_bits(progress.auxiliary_gradient);
        if let Some(penalty) = self.method.penalty() {
            *penalty.memory() = progress.memory.map(f32::from_bits);
        }
        self.course.set_place(&progress.place);
        self.epochs = progress.epochs;
        Ok(())
    }

    fn origin(&self) -> Origin {
        Origin::new(self.network, &self.origin, &self.course.parts)
    }

    /// Epochs that are done.
    #[must_use]
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }
}
