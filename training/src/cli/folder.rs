//! The folder that a run leaves what it comes to in.

use std::path::{Path, PathBuf};

use halfnet_training::error::TrainError;
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
        let lines: String = epochs.iter().map(|epoch| serde_json::to_string(epoch).unwrap_or_default() + "\n").collect();
        self.write("metrics.jsonl", lines)
    }

    /// Writes `result.json`.
    pub(super) fn write_result(&self, outcome: &impl Serialize) -> Result<(), TrainError> {
        self.write("result.json", serde_json::to_string_pretty(outcome).unwrap_or_default())
    }

    /// First beside it, then in its place.
    fn write(&self, name: &str, text: String) -> Result<(), TrainError> {
        let (path, beside) = (self.file(name), self.file("written"));
        std::fs::write(&beside, text).map_err(|e| TrainError::write(&beside, e))?;
        std::fs::rename(&beside, &path).map_err(|e| TrainError::write(&path, e))
    }
}
