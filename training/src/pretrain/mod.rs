//! Training from the start: the network with all its ReLUs, where there are no weights yet.
//!
//! A part of the training set is held back; of all epochs, the one that is best on it is kept (of equal ones the last). The test set is
//! never seen. Like a search, a run is a sequence of steps that depends on its options alone, and [`checkpoint`] keeps everything
//! between two of them.

pub mod checkpoint;
mod options;

use std::time::Instant;

use burn::tensor::Device;
use halfnet_host::data::DataSet;
use halfnet_layers::{LANES, layout};
use serde::{Deserialize, Serialize};

use crate::data::{Augmentation, Parts, batch};
use crate::error::TrainError;
use crate::forward::{self, PassOptions};
use crate::network::Network;
use crate::optimiser::cosine;
use crate::state::{State, values};
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
    set: &'a DataSet,
    options: PretrainOptions,
    parts: Parts,
    trainer: Trainer<'a>,
    best: Best,
    step: u64,
    /// Sum of the epoch's losses, and how many there were.
    losses: (f64, u64),
    epochs: Vec<Epoch>,
    started: Instant,
    /// Seconds that were spent before a checkpoint was read.
    before: f64,
    /// The epoch whose order this is, and the order.
    order: Option<(u64, Vec<usize>)>,
}

impl<'a> Pretraining<'a> {
    /// A run that has taken no step.
    ///
    /// # Errors
    /// The options do not fit the network or the pictures.
    pub fn new(network: &'a Network, set: &'a DataSet, options: PretrainOptions) -> Result<Self, TrainError> {
        let usage = |text: String| Err(TrainError::Usage(text));
        if options.batch == 0 || !options.batch.is_multiple_of(LANES) {
            return usage(format!("a batch of {}: must be a multiple of {LANES}", options.batch));
        }
        if set.shape != network.input {
            return usage(format!("pictures of {:?}, but {} takes {:?}", set.shape, network.name, network.input));
        }
        let validation = options.validation.min(set.len() / 4);
        if validation == 0 {
            return usage("an epoch is chosen on validation pictures: --validation must not be 0".to_owned());
        }
        let parts = Parts::new(set.len(), validation, options.seed);
        if parts.batches(options.batch) == 0 || options.epochs == 0 {
            return usage(format!("{} training pictures fill no batch of {}", parts.training.len(), options.batch));
        }
        let weights = Weights::initial(network, options.seed);
        let device = crate::device::current();
        let trainer = Trainer::new(network, State::new(network, &weights, &device), options.method(), device);
        let best = Best { epoch: 0, validation: 0.0, weights };
        let started = Instant::now();
        let (epochs, losses) = (Vec::new(), (0.0, 0));
        Ok(Self { network, set, options, parts, trainer, best, step: 0, losses, epochs, started, before: 0.0, order: None })
    }

    /// Steps in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::from(self.options.epochs) * self.parts.batches(self.options.batch) as u64
    }

    /// Steps taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.step
    }

    /// Epochs that are done.
    #[must_use]
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Pictures that are trained on, and held back.
    #[must_use]
    pub fn pictures(&self) -> [usize; 2] {
        [self.parts.training.len(), self.parts.validation.len()]
    }

    /// Takes a step; after an epoch's last it says what the epoch came to. Nothing happens when all steps are taken.
    ///
    /// # Errors
    /// Training diverges.
    pub fn advance(&mut self) -> Result<Option<Epoch>, TrainError> {
        let (total, batches) = (self.total(), self.parts.batches(self.options.batch) as u64);
        if self.step >= total {
            return Ok(None);
        }
        let (epoch, index) = (self.step / batches, (self.step % batches) as usize);
        let (progress, warm_up) = (self.step as f32 / total as f32, self.options.warm_up.max(f32::EPSILON));
        let rate = if progress < warm_up {
            0.1 + 0.9 * progress / warm_up
        } else {
            cosine((progress - warm_up) / (1.0 - warm_up).max(f32::EPSILON), 0.001)
        };
        let rates = Rates { decay: self.options.decoupled_decay(), ..Rates::all(self.options.rate * rate) };
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => self.parts.epoch(self.options.seed, epoch),
        };
        let size = self.options.batch;
        let augmentation = Augmentation::of(self.network.data_set);
        let keys = (self.options.seed, epoch);
        let pictures = batch(self.set, &self.network.normalisation, &order[index * size..(index + 1) * size], augmentation, keys);
        self.order = Some((epoch, order));
        if let Some(loss) = self.trainer.step(pictures, &PassOptions::PLAIN, rates)? {
            self.losses.0 += f64::from(loss);
            self.losses.1 += 1;
        }
        self.step += 1;
        if !self.step.is_multiple_of(batches) {
            return Ok(None);
        }
        let validation = accuracy(self.network, &self.trainer.state, self.set, &self.parts.validation, &self.trainer.device);
        if validation >= self.best.validation {
            let weights = self.trainer.state.weights(self.network);
            self.best = Best { epoch: epoch as u32 + 1, validation, weights };
        }
        let found = Epoch {
            epoch: epoch as u32 + 1,
            loss: (self.losses.0 / self.losses.1.max(1) as f64) as f32,
            validation,
            skipped: self.trainer.skipped,
            seconds: self.before + self.started.elapsed().as_secs_f64(),
        };
        self.losses = (0.0, 0);
        self.epochs.push(found.clone());
        Ok(Some(found))
    }

    /// The weights of the epoch that was best so far.
    #[must_use]
    pub const fn best(&self) -> &Best {
        &self.best
    }
}

/// Pictures that are run together.
const CHUNK: usize = 256;

/// Accuracy of a network in training, with its running moments, in percent. Unlike an [`Evaluator`](crate::evaluate::Evaluator) it
/// runs every network that can be trained.
#[must_use]
pub fn accuracy(network: &Network, state: &State, set: &DataSet, pictures: &[usize], device: &Device) -> f64 {
    let pass = PassOptions { frozen_moments: true, ..PassOptions::PLAIN };
    // Leaves without gradients: nothing is recorded.
    let leaves = state.trained.iter().map(|(name, tensor)| (name.clone(), tensor.clone().autodiff())).collect();
    let classes = network.classes();
    let mut correct = 0;
    for chunk in pictures.chunks(CHUNK) {
        let found = batch(set, &network.normalisation, chunk, Augmentation::NONE, (0, 0));
        let input = forward::pictures(network, &found, device);
        let logits = values(&forward::run(network, state, &leaves, input, &pass).logits.inner());
        let logits = layout::from_blocks(&logits, classes, chunk.len());
        let right = |(logits, label): &(&[f32], &u16)| halfnet_host::float::forward::label(logits) == usize::from(**label);
        correct += logits.chunks_exact(classes).zip(&found.labels).filter(right).count();
    }
    100.0 * correct as f64 / pictures.len().max(1) as f64
}
