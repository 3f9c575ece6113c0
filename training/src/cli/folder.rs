//! The folder that a run leaves what it comes to in.

use std::path::{Path, PathBuf};

use halfnet_training::error::TrainError;
use halfnet_training::file;
use serde::Serialize;

/// The folder.
#[derive(Debug)]
pub(super) struct RunFolder<'a> {
    path: &'a Path,
}

impl<'a> RunFolder<'a> {
    /// Makes it, if it is not there.
    pub(super) fn create(path: &'a Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(|e| TrainError::write(path, e))?;
        Ok(Self { path })
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The checkpoint.
    pub(super) fn checkpoint(&self) -> PathBuf {
        self.file("checkpoint.safetensors")
    }

    /// Writes `metrics.jsonl`, an epoch a line.
    pub(super) fn write_metrics(&self, epochs: &[impl Serialize]) -> Result<(), TrainError> {
        let lines: String =
            epochs.iter().map(|epoch| serde_json::to_string(epoch).unwrap_or_default() + "\n").collect();
        file::replace(&self.file("metrics.jsonl"), lines)
    }

    /// Writes `result.json`.
    pub(super) fn write_result(&self, outcome: &impl Serialize) -> Result<(), TrainError> {
        file::replace(&self.file("result.json"), serde_json::to_string_pretty(outcome).unwrap_or_default())
    }
}
