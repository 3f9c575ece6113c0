//! Training from the start: the network with all its ReLUs, where there are no weights yet.
//!
//! A part of the training set is held back; of all epochs, the one that is best on it is kept (of equal ones
//! the last). The test set is never seen. Like a search, a run is a sequence of steps that depends on its
//! options alone, and [`checkpoint`] keeps everything between two of them.

pub mod checkpoint;
mod options;

use halfnet_host::network::data::DataSet;
use serde::{Deserialize, Serialize};

use crate::course::{Course, Ended};
use crate::data::Parts;
use crate::error::TrainError;
use crate::evaluate;
use crate::forward::PassOptions;
use crate::network::Network;
use crate::optimiser::cosine;
use crate::state::State;
use crate::trainer::{Rates, Trainer};
use crate::weights::Weights;
pub use options::{Descent, PretrainOptions};

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean loss of the steps that were not skipped.
    pub loss: f32,
    /// Accuracy on the validation pictures, in percent.
    pub validation: f64,
    /// Steps skipped so far.
    pub skipped: u64,
    /// Seconds since the start.
    pub seconds: f64,
}

/// The weights that are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// After which epoch, from 1; 0 while there is none.
    pub epoch: u32,
    /// In percent.
    pub validation: f64,
    /// The network's tensors.
    pub weights: Weights,
}

/// A run between two steps.
#[derive(Debug)]
pub struct Pretraining<'a> {
    network: &'a Network,
    options: PretrainOptions,
    course: Course<'a>,
    trainer: Trainer<'a>,
    best: Best,
    epochs: Vec<Epoch>,
    /// Digest of the weights that it starts from.
    origin: String,
}

impl<'a> Pretraining<'a> {
    /// A run that has taken no step.
    ///
    /// # Errors
    /// The options do not fit the network or the pictures.
    pub fn new(network: &'a Network, set: &'a DataSet, options: PretrainOptions) -> Result<Self, TrainError> {
        let usage = |text: String| Err(TrainError::Usage(text));
        if set.shape != network.input {
            return usage(format!(
                "pictures of {:?}, but {} takes {:?}",
                set.shape, network.name, network.input
            ));
        }
        let validation = options.validation.min(set.len() / 4);
        if validation == 0 {
            return usage("an epoch is chosen on validation pictures: --validation must not be 0".to_owned());
        }
        let parts = Parts::new(set.len(), validation, options.seed);
        let course = Course::new(network, set, parts, options.batch, options.epochs, options.seed)?;
        let weights = Weights::initial(network, options.seed);
        let device = crate::device::current();
        let trainer = Trainer::new(network, State::new(network, &weights, &device), options.method(), device);
        let origin = weights.digest();
        let best = Best { epoch: 0, validation: 0.0, weights };
        Ok(Self { network, options, course, trainer, best, epochs: Vec::new(), origin })
    }

    /// Steps in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.course.total()
    }

    /// Steps taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.course.step
    }

    /// Epochs that are done.
    #[must_use]
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Pictures that are trained on, and held back.
    #[must_use]
    pub fn pictures(&self) -> [usize; 2] {
        [self.course.parts.training.len(), self.course.parts.validation.len()]
    }

    /// Takes a step; after an epoch's last it says what the epoch came to. Nothing happens when all steps are
    /// taken.
    ///
    /// # Errors
    /// Training diverges.
    pub fn advance(&mut self) -> Result<Option<Epoch>, TrainError> {
        if self.course.step >= self.total() {
            return Ok(None);
        }
        let (progress, warm_up) = (self.course.progress(), self.options.warm_up.max(f32::EPSILON));
        let rate = if progress < warm_up {
            0.1 + 0.9 * progress / warm_up
        } else {
            cosine((progress - warm_up) / (1.0 - warm_up).max(f32::EPSILON), 0.001)
        };
        let rates = Rates { decay: self.options.decoupled_decay(), ..Rates::all(self.options.rate * rate) };
        let pictures = self.course.pictures();
        let loss = self.trainer.step(pictures, &PassOptions::PLAIN, rates)?;
        let Some(Ended { epoch, loss }) = self.course.took(loss) else { return Ok(None) };
        let (set, held) = (self.course.set, &self.course.parts.validation);
        let validation =
            evaluate::accuracy(self.network, &self.trainer.state, set, held, &self.trainer.device);
        if validation >= self.best.validation {
            let weights = self.trainer.state.weights(self.network);
            self.best = Best { epoch, validation, weights };
        }
        let found =
            Epoch { epoch, loss, validation, skipped: self.trainer.skipped, seconds: self.course.seconds() };
        self.epochs.push(found.clone());
        Ok(Some(found))
    }

    /// The weights of the epoch that was best so far.
    #[must_use]
    pub const fn best(&self) -> &Best {
        &self.best
    }
}
