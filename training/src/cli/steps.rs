//! A run from its first step, or from its checkpoint, to its last.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use halfnet_training::error::TrainError;
use halfnet_training::pretrain::{self, Pretraining};
use halfnet_training::search::{self, Search};
use serde::Serialize;

use super::folder::RunFolder;

/// Between two lines about how far a run is.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// How a run that is cut off goes on.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Checkpoints {
    /// Go on from the checkpoint in the run's folder, if there is one
    #[arg(long)]
    resume: bool,
    /// Seconds between checkpoints; each epoch ends with one
    #[arg(long, value_name = "S", default_value_t = 120)]
    checkpoint_every: u64,
}

/// What is done step by step, and can be kept between two of them.
pub(super) trait Steps {
    /// What an epoch came to.
    type Epoch: Serialize;
    /// Steps taken, and in all.
    fn place(&self) -> [u64; 2];
    /// Epochs that are done.
    fn epochs(&self) -> &[Self::Epoch];
    /// Takes a step.
    fn advance(&mut self) -> Result<Option<Self::Epoch>, TrainError>;
    /// Writes a checkpoint.
    fn save(&mut self, path: &Path) -> Result<(), TrainError>;
    /// Goes on where one was made.
    fn load(&mut self, path: &Path) -> Result<(), TrainError>;
}

impl Steps for Search<'_> {
    type Epoch = search::Epoch;

    fn place(&self) -> [u64; 2] {
        [self.taken(), self.total()]
    }
    fn epochs(&self) -> &[Self::Epoch] {
        Search::epochs(self)
    }
    fn advance(&mut self) -> Result<Option<Self::Epoch>, TrainError> {
        Search::advance(self)
    }
    fn save(&mut self, path: &Path) -> Result<(), TrainError> {
        Search::save(self, path)
    }
    fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        Search::load(self, path)
    }
}

impl Steps for Pretraining<'_> {
    type Epoch = pretrain::Epoch;

    fn place(&self) -> [u64; 2] {
        [self.taken(), self.total()]
    }
    fn epochs(&self) -> &[Self::Epoch] {
        Pretraining::epochs(self)
    }
    fn advance(&mut self) -> Result<Option<Self::Epoch>, TrainError> {
        Pretraining::advance(self)
    }
    fn save(&mut self, path: &Path) -> Result<(), TrainError> {
        Pretraining::save(self, path)
    }
    fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        Pretraining::load(self, path)
    }
}

impl Checkpoints {
    /// Takes all steps. `tell` is given each epoch, and the seconds that are left.
    ///
    /// # Errors
    /// The checkpoint is of another run, a file cannot be written, or training diverges.
    pub(super) fn take_all<R: Steps>(
        self,
        run: &mut R,
        out: &RunFolder<'_>,
        tell: impl Fn(&R::Epoch, f64),
    ) -> Result<(), TrainError> {
        let checkpoint = out.checkpoint();
        if self.resume && checkpoint.is_file() {
            run.load(&checkpoint)?;
            let [taken, total] = run.place();
            eprintln!("resumed at step {taken} of {total}");
        }
        out.write_metrics(run.epochs())?;
        let [from, total] = run.place();
        let started = Instant::now();
        let (mut saved, mut told) = (started, started);
        loop {
            let [taken, _] = run.place();
            if taken >= total {
                return Ok(());
            }
            let epoch = run.advance()?;
            // At the pace of this process's steps.
            let taken = taken + 1;
            let left = started.elapsed().as_secs_f64() / (taken - from) as f64 * (total - taken) as f64;
            if told.elapsed() >= TELL_EVERY {
                eprintln!("step {taken} of {total}, {left:.0} s left");
                told = Instant::now();
            }
            if epoch.is_some() || saved.elapsed().as_secs() >= self.checkpoint_every {
                run.save(&checkpoint)?;
                saved = Instant::now();
            }
            if let Some(epoch) = epoch {
                tell(&epoch, left);
                out.write_metrics(run.epochs())?;
            }
        }
    }
}
