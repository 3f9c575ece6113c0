//! AutoReP: which ReLUs stay, learned together with the weights; then the masks are projected to the budget, frozen, and the rest of
//! the epochs are fine-tuning.
//!
//! A run is a sequence of steps that depends on its options alone: [`Search::advance`] takes one, [`checkpoint`] keeps everything
//! between two of them, so that a run that was cut off goes on to the same result.
//!
//! Each element has an auxiliary parameter a; it is a ReLU while a is above the hysteresis' threshold. The gradient of a is that of
//! its indicator times softplus(a), plus a pressure while there are more ReLUs than the budget. What differs from AutoReP by default,
//! all of it options: the pressure follows the pace that the budget needs instead of being a constant λ ([`Pressure::Paced`]); c2
//! starts at a tenth of the fit, and coefficients are trained slowly while masks change; polynomials' arguments beyond a limit cost;
//! gradients are clipped; normalisations are measured anew and frozen for the last epochs.

pub mod checkpoint;
mod options;
mod pace;

use std::time::Instant;

use burn::tensor::Device;
use halfnet_host::data::DataSet;
use halfnet_layers::activation::RangePenalty;
use serde::{Deserialize, Serialize};

use crate::dapa::Degree;
use crate::data::{Augmentation, Parts, batch};
use crate::error::TrainError;
use crate::evaluate::Evaluator;
use crate::export;
use crate::forward::PassOptions;
use crate::moments::remeasure;
use crate::network::Network;
use crate::optimiser::{Method, cosine};
use crate::state::State;
use crate::trainer::{Rates, Trainer};
use crate::weights::Weights;
pub use options::{Pressure, SearchOptions};
use pace::Pace;

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean loss of the steps that were not skipped.
    pub loss: f32,
    /// ReLUs at its end.
    pub relus: usize,
    /// Accuracy on the validation pictures, in percent.
    pub validation: f64,
    /// Steps skipped so far: the gradient was not finite, or the loss many times the usual one.
    pub skipped: u64,
    /// Seconds since the start.
    pub seconds: f64,
}

/// A finished search.
#[derive(Debug)]
pub struct Found {
    /// The network, folded and ready to run.
    pub evaluator: Evaluator,
    /// Its trained state.
    pub state: State,
    /// Number of ReLUs.
    pub relus: usize,
    /// Epoch by epoch.
    pub epochs: Vec<Epoch>,
}

/// A search between two steps.
#[derive(Debug)]
pub struct Search<'a> {
    network: &'a Network,
    set: &'a DataSet,
    options: SearchOptions,
    parts: Parts,
    trainer: Trainer<'a>,
    pace: Pace,
    /// Steps taken.
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

/// Which pictures a search trains on, and which it is looked at with.
#[must_use]
pub fn parts(set: &DataSet, options: &SearchOptions) -> Parts {
    Parts::new(set.len(), options.validation.min(set.len() / 4), options.seed)
}

impl<'a> Search<'a> {
    /// A search that has taken no step. Only training pictures are seen; `teacher` is the network that `weights` are of.
    ///
    /// # Errors
    /// The options do not fit the network or the pictures.
    pub fn new(
        network: &'a Network,
        weights: &Weights,
        teacher: &'a Evaluator,
        set: &'a DataSet,
        options: SearchOptions,
    ) -> Result<Self, TrainError> {
        let all = network.relus();
        let usage = |text: String| Err(TrainError::Usage(text));
        if options.budget > all {
            return usage(format!("a budget of {} ReLUs, but {} has only {all}", options.budget, network.name));
        }
        if options.batch == 0 || !options.batch.is_multiple_of(halfnet_layers::LANES) {
            return usage(format!("a batch of {}: must be a multiple of {}", options.batch, halfnet_layers::LANES));
        }
        let parts = parts(set, &options);
        if parts.batches(options.batch) == 0 || options.epochs == 0 {
            return usage(format!("{} training pictures fill no batch of {}", parts.training.len(), options.batch));
        }
        let device = Device::flex();
        let mut trainer = Trainer::new(network, State::new(network, weights, &device), Method::Adam, device.clone());
        trainer.clip = Some(options.clip);
        trainer.teacher = options.distil.then_some(teacher);
        trainer.state.replace_all(network, options.seed, &device);
        let pace = Pace { all: all as f32, budget: options.budget as f32, steps: 0.0, pressure: None };
        let mut search = Self {
            network,
            set,
            options,
            parts,
            trainer,
            pace,
            step: 0,
            losses: (0.0, 0),
            epochs: Vec::new(),
            started: Instant::now(),
            before: 0.0,
            order: None,
        };
        search.pace.steps = search.search_steps() as f32;
        first_fit(&mut search.trainer, set, &search.parts, &search.options);
        Ok(search)
    }

    /// Steps of an epoch.
    fn batches(&self) -> u64 {
        self.parts.batches(self.options.batch) as u64
    }

    /// Steps in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::from(self.options.epochs) * self.batches()
    }

    /// Steps taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.step
    }

    /// Steps until masks are frozen.
    fn search_steps(&self) -> u64 {
        let decided = self.options.budget == 0 || self.options.budget == self.network.relus();
        if decided { 0 } else { part(self.total(), self.options.search_part) }
    }

    /// The first step with normalisations frozen.
    fn frozen_from(&self) -> u64 {
        let total = self.total();
        total - part(total, self.options.frozen_part).min(total - self.search_steps())
    }

    fn remeasure(&mut self) {
        let pictures = &self.parts.training[..self.options.remeasure.min(self.parts.training.len())];
        remeasure(self.network, &mut self.trainer.state, self.set, pictures, &self.trainer.device);
    }

    /// The pressure on the count in the step to come, after its masks were updated.
    fn pressure(&mut self) -> f32 {
        self.trainer.state.update_masks(self.network, self.options.threshold);
        let count = self.trainer.state.relus(self.network);
        let pressure = match self.options.pressure {
            Pressure::Constant(lambda) => lambda / self.network.relus() as f32,
            Pressure::Paced => self.pace.at(self.step, count, self.trainer.auxiliary_gradient),
        };
        if count > self.options.budget { pressure } else { 0.0 }
    }

    /// Takes a step; after an epoch's last it says what the epoch came to. Nothing happens when all steps are taken.
    ///
    /// # Errors
    /// Training diverges.
    pub fn advance(&mut self) -> Result<Option<Epoch>, TrainError> {
        let (total, batches, search_steps, frozen_from) = (self.total(), self.batches(), self.search_steps(), self.frozen_from());
        if self.step >= total {
            return Ok(None);
        }
        let (epoch, index) = (self.step / batches, (self.step % batches) as usize);
        let searching = self.step < search_steps;
        if self.step == search_steps {
            self.trainer.state.project(self.network, self.options.budget);
        }
        let frozen_moments = self.step >= frozen_from && self.step > 0;
        if frozen_moments && self.step == frozen_from {
            self.remeasure();
        }
        let options = &self.options;
        let range = RangePenalty { limit: options.range_limit, weight: options.range_weight };
        let progress = self.step as f32 / total as f32;
        let warm = (0.1 + 0.9 * progress / 0.05).min(1.0);
        let rate = options.rate * warm * cosine(progress, 0.01);
        let rates = Rates {
            weights: rate,
            coefficients: if searching { rate * options.coefficient_part } else { rate },
            auxiliary: if searching { options.auxiliary_rate } else { 0.0 },
        };
        let count_gradient = if searching { self.pressure() } else { 0.0 };
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => self.parts.epoch(self.options.seed, epoch),
        };
        let size = self.options.batch;
        let augmentation = Augmentation::of(self.network.data_set);
        let keys = (self.options.seed, epoch);
        let pictures = batch(self.set, &self.network.normalisation, &order[index * size..(index + 1) * size], augmentation, keys);
        self.order = Some((epoch, order));
        let pass = PassOptions { frozen_moments, measure_arguments: false, range, count_gradient };
        if let Some(loss) = self.trainer.step(pictures, &pass, rates)? {
            self.losses.0 += f64::from(loss);
            self.losses.1 += 1;
        }
        self.step += 1;
        if !self.step.is_multiple_of(batches) {
            return Ok(None);
        }
        if self.step == total && frozen_from == total {
            self.remeasure();
        }
        let validation = self.trainer.evaluator(self.options.degree)?.accuracy(self.set, &self.parts.validation);
        let found = Epoch {
            epoch: epoch as u32 + 1,
            loss: (self.losses.0 / self.losses.1.max(1) as f64) as f32,
            relus: self.trainer.state.relus(self.network),
            validation,
            skipped: self.trainer.skipped,
            seconds: self.before + self.started.elapsed().as_secs_f64(),
        };
        self.losses = (0.0, 0);
        self.epochs.push(found.clone());
        Ok(Some(found))
    }

    /// What was found, when all steps are taken.
    ///
    /// # Errors
    /// The network has a pool that cannot be run.
    pub fn finish(self) -> Result<Found, TrainError> {
        let evaluator = self.trainer.evaluator(self.options.degree)?;
        let relus = self.trainer.state.relus(self.network);
        Ok(Found { evaluator, state: self.trainer.state, relus, epochs: self.epochs })
    }
}

/// A part of the steps.
fn part(total: u64, part: f32) -> u64 {
    (total as f64 * f64::from(part.clamp(0.0, 1.0))) as u64
}

/// The network that a search starts from, folded: its teacher.
///
/// # Errors
/// It has a pool that cannot be run.
pub fn teacher(network: &Network, weights: &Weights) -> Result<Evaluator, TrainError> {
    Evaluator::new(export::fold(network, weights, &[], Degree::Two))
}

/// Takes all steps of a search. `report` is called after each epoch.
///
/// # Errors
/// As [`Search::new`] and [`Search::advance`].
pub fn run(
    network: &Network,
    weights: &Weights,
    set: &DataSet,
    options: &SearchOptions,
    mut report: impl FnMut(&Epoch),
) -> Result<Found, TrainError> {
    let teacher = teacher(network, weights)?;
    let mut search = Search::new(network, weights, &teacher, set, options.clone())?;
    while search.taken() < search.total() {
        if let Some(epoch) = search.advance()? {
            report(&epoch);
        }
    }
    search.finish()
}

/// Measures the arguments of all activations and fits the polynomials to them.
fn first_fit(trainer: &mut Trainer<'_>, set: &DataSet, parts: &Parts, options: &SearchOptions) {
    let network = trainer.network;
    let pass = PassOptions { frozen_moments: true, measure_arguments: true, ..PassOptions::PLAIN };
    for pictures in parts.training.chunks_exact(options.batch).take(options.fit_batches.max(1)) {
        let pictures = batch(set, &network.normalisation, pictures, Augmentation::of(network.data_set), (options.seed, u64::MAX));
        let input = crate::forward::pictures(network, &pictures, &trainer.device);
        // Leaves without gradients: nothing is recorded.
        let leaves = trainer.state.trained.iter().map(|(name, tensor)| (name.clone(), tensor.clone().autodiff())).collect();
        let found = crate::forward::run(network, &trainer.state, &leaves, input, &pass);
        trainer.state.measure(&found.arguments);
    }
    trainer.state.fit_polynomials(network, options.degree, options.shrink, &trainer.device);
}
