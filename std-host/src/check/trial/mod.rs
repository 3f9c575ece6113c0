//! A whole trial on one machine: dealer, P0 and P1 as processes of their own, every answer checked.
//!
//! [`Trial::run`] deals for testing, classifies pictures between two processes and compares each released
//! value with the reference under the same coins, bit for bit; then with the deterministic reference, with
//! the float network where there is one, and with the data set's labels. [`TrialReport`] is what `demo` and
//! `bench` print.

mod folder;
mod judge;
mod report;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use halfnet_core::error::ModelError;
use halfnet_core::model::Model;
use halfnet_core::model::blob::DecodeError;
use halfnet_core::plan::{Options, Plan};
use thiserror::Error;

pub use folder::Folder;
pub use report::{Difference, LayerFigures, TrialReport};

use crate::check::inspection::plan_bytes;
use crate::check::interrupt::OwnChild;
use crate::check::pair::{Launcher, PairReport, PairRun, Task};
use crate::check::predict::{PredictError, Predictor};
use crate::network::progress::Progress;
use crate::party::material::{names, write_secret};
use crate::party::process::{DealRequest, ProcessError};

/// Why a trial ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrialError {
    /// The model.
    #[error(transparent)]
    Model(#[from] DecodeError),
    /// The options.
    #[error(transparent)]
    Plan(#[from] ModelError),
    /// A party or its client.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The reference.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// The working folder.
    #[error("cannot write to {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The dealer.
    #[error("the dealer's process failed: {0}")]
    Dealer(String),
    /// Nothing to do.
    #[error("a trial needs a picture at least, beside {warm_up} to warm up")]
    NoPictures {
        /// Inferences that do not count.
        warm_up: usize,
    },
}

/// What is tried.
#[derive(Clone)]
pub struct Trial<'a> {
    /// How to start dealer and parties.
    pub launcher: &'a dyn Launcher,
    /// The model's blob.
    pub model: &'a [u8],
    /// What is fixed when dealing.
    pub options: Options,
    /// Pictures, bytes in (channel, row, column) order.
    pub pictures: Vec<Vec<u8>>,
    /// The class of each picture, where it is known.
    pub labels: Vec<Option<u16>>,
    /// Logits of the float network, one list a picture, where there is such a network.
    pub float: Option<Vec<Vec<f32>>>,
    /// First inferences that are run and checked but left out of times.
    pub warm_up: usize,
    /// Derive every secret and nonce from this: repeatable, insecure.
    pub test_seed: Option<String>,
    /// How long a process may be silent.
    pub timeout: Duration,
    /// Whether progress is shown.
    pub progress: Progress,
}

/// Without the network, the pictures and the seed that all secrets follow from.
impl core::fmt::Debug for Trial<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { options, pictures, warm_up, timeout, .. } = self;
        let mut out = f.debug_struct("Trial");
        out.field("options", options)
            .field("pictures", &pictures.len())
            .field("warm_up", warm_up)
            .field("timeout", timeout);
        out.finish_non_exhaustive()
    }
}

impl Trial<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// The options do not fit the model, a process failed, or what moved is not what the plan states. An
    /// answer that differs from the reference is no error but a count in the report.
    pub fn run(&self) -> Result<TrialReport, TrialError> {
        if self.pictures.len() <= self.warm_up {
            return Err(TrialError::NoPictures { warm_up: self.warm_up });
        }
        let model = Model::decode(self.model)?;
        // Refused here already, with its own error, and not by the dealer's process.
        let plan = plan_bytes(&model, &self.options)?;
        let folder =
            Folder::new().map_err(|source| TrialError::Folder { path: std::env::temp_dir(), source })?;
        let path = folder.path().join("model.postcard");
        write_secret(&path, |out| out.write_all(self.model))?;
        let dealt = folder.path().join("dealt");
        self.deal(&path, &dealt)?;
        let pair = self.classify(&dealt)?;
        let predictor = Predictor::open(&dealt.join(names::DEALER), self.model, &model)?;
        judge::judge(self, &model, &Plan::decode(&plan)?, &predictor, &pair)
    }

    /// The dealer, in a process of its own.
    fn deal(&self, model: &Path, out: &Path) -> Result<(), TrialError> {
        let spinner = self.progress.bar(self.pictures.len() as u64, "dealing");
        spinner.tick();
        let request = DealRequest {
            model: model.to_owned(),
            out: out.to_owned(),
            options: self.options,
            count: self.pictures.len() as u64,
            test_seed: self.test_seed.clone(),
        };
        let mut command = self.launcher.command(&Task::Deal(&request)).map_err(ProcessError::System)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = OwnChild::spawn(&mut command).map_err(ProcessError::System)?;
        let mut said = Vec::new();
        let stderr = child.get().stderr.take();
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut said).map_err(ProcessError::System)?;
        }
        let status = child.wait().map_err(ProcessError::System)?;
        spinner.finish_and_clear();
        if status.success() {
            return Ok(());
        }
        Err(TrialError::Dealer(String::from_utf8_lossy(&said).trim().to_owned()))
    }

    fn classify(&self, dealt: &Path) -> Result<PairReport, TrialError> {
        let run = PairRun {
            launcher: self.launcher,
            dealt: dealt.to_owned(),
            pictures: self.pictures.clone(),
            test_seed: self.test_seed.clone(),
            timeout: self.timeout,
        };
        let bar = self.progress.bar(self.pictures.len() as u64, "classifying");
        let report = run.run(&mut |done| bar.set_position(done));
        bar.finish_and_clear();
        Ok(report?)
    }
}
