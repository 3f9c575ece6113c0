//! AutoReP: which ReLUs stay, learned together with the weights; then the masks are projected to the budget, frozen, and the rest of
//! the epochs are fine-tuning.
//!
//! Each element has an auxiliary parameter a; it is a ReLU while a is above the hysteresis' threshold. The gradient of a is that of
//! its indicator times softplus(a), plus a pressure while there are more ReLUs than the budget. What differs from AutoReP by default,
//! all of it options: the pressure follows the pace that the budget needs instead of being a constant λ ([`Pressure::Paced`]); c2
//! starts at a tenth of the fit; polynomials' arguments beyond a limit cost; gradients are clipped; normalisations are measured anew
//! and frozen for the last epochs.

use std::time::Instant;

use burn::tensor::Device;
use halfnet_host::data::DataSet;
use halfnet_layers::activation::RangePenalty;
use serde::Serialize;

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

/// What drives the number of ReLUs down while it is above the budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pressure {
    /// AutoReP's: λ · (count / all ReLUs), a constant gradient of λ / all ReLUs.
    Constant(f32),
    /// As much as keeps the count on a geometric path to the budget: it starts at a tenth of the indicators' own gradients.
    Paced,
}

/// Everything that a search is given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchOptions {
    /// ReLUs that may stay.
    pub budget: usize,
    /// Degree of the polynomials.
    pub degree: Degree,
    /// Epochs in all, fine-tuning included.
    pub epochs: u32,
    /// Pictures of a batch.
    pub batch: usize,
    /// Of everything random.
    pub seed: u64,
    /// Adam's rate for weights and coefficients.
    pub rate: f32,
    /// Adam's rate for auxiliary parameters.
    pub auxiliary_rate: f32,
    /// Hysteresis.
    pub threshold: f32,
    /// What drives the count down.
    pub pressure: Pressure,
    /// Part of the steps after which masks are frozen.
    pub search_part: f32,
    /// Part of the steps, at the end, with normalisations frozen.
    pub frozen_part: f32,
    /// c2 starts at this part of its fit.
    pub shrink: f64,
    /// Passes from which the first fit is made.
    pub fit_batches: usize,
    /// Polynomials' arguments beyond this size cost.
    pub range_limit: f32,
    /// How much.
    pub range_weight: f32,
    /// Gradients are scaled down to this norm.
    pub clip: f32,
    /// Learn from the logits of the network with all ReLUs.
    pub distil: bool,
    /// Pictures of the training set that choices may be looked at with.
    pub validation: usize,
    /// Pictures on which normalisations are measured anew.
    pub remeasure: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            budget: 0,
            degree: Degree::Two,
            epochs: 6,
            batch: 128,
            seed: 1,
            rate: 1e-3,
            auxiliary_rate: 5e-3,
            threshold: 0.003,
            pressure: Pressure::Paced,
            search_part: 0.4,
            frozen_part: 0.35,
            shrink: 0.1,
            fit_batches: 20,
            range_limit: 6.0,
            range_weight: 1.0,
            clip: 1.0,
            distil: true,
            validation: 5000,
            remeasure: 2048,
        }
    }
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean loss of its steps.
    pub loss: f32,
    /// ReLUs at its end.
    pub relus: usize,
    /// Accuracy on the validation pictures, in percent.
    pub validation: f64,
    /// Steps skipped so far, because their gradient was not finite.
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
    /// Accuracy of the network that it came from on the validation pictures, in percent.
    pub teacher_validation: f64,
    /// Epoch by epoch.
    pub epochs: Vec<Epoch>,
}

/// Follows the count on its way to the budget.
struct Pace {
    all: f32,
    budget: f32,
    steps: f32,
    pressure: Option<f32>,
}

impl Pace {
    /// The pressure for a step, given the count and the size of the indicators' gradients in the last.
    fn at(&mut self, step: u64, count: usize, gradient: f32) -> f32 {
        if gradient == 0.0 {
            return 0.0;
        }
        let pressure = self.pressure.unwrap_or(0.1 * gradient);
        // A little below the budget at nine tenths of the way, so that the hysteresis settles.
        let way = (step as f32 / (0.9 * self.steps)).min(1.0);
        let wanted = self.all * (self.budget.max(1.0) / self.all).powf(way);
        let pressure = if count as f32 > wanted { pressure * 1.03 } else { pressure * 0.97 };
        *self.pressure.insert(pressure.clamp(1e-4 * gradient, 1e2 * gradient))
    }
}

/// Searches and fine-tunes. `report` is called after each epoch. Only training pictures are seen.
///
/// # Errors
/// The options do not fit the network or the pictures, or training diverges.
pub fn run(
    network: &Network,
    weights: &Weights,
    set: &DataSet,
    options: &SearchOptions,
    mut report: impl FnMut(&Epoch),
) -> Result<Found, TrainError> {
    let all = network.relus();
    let usage = |text: String| Err(TrainError::Usage(text));
    if options.budget > all {
        return usage(format!("a budget of {} ReLUs, but {} has only {all}", options.budget, network.name));
    }
    if options.batch == 0 || !options.batch.is_multiple_of(halfnet_layers::LANES) {
        return usage(format!("a batch of {}: must be a multiple of {}", options.batch, halfnet_layers::LANES));
    }
    let parts = Parts::new(set.len(), options.validation.min(set.len() / 4), options.seed);
    let batches = parts.batches(options.batch);
    if batches == 0 || options.epochs == 0 {
        return usage(format!("{} training pictures fill no batch of {}", parts.training.len(), options.batch));
    }
    let device = Device::flex();
    let teacher = Evaluator::new(export::fold(network, weights, &[], options.degree))?;
    let teacher_validation = teacher.accuracy(set, &parts.validation);

    let mut trainer = Trainer::new(network, State::new(network, weights, &device), Method::Adam, device.clone());
    trainer.clip = Some(options.clip);
    trainer.teacher = options.distil.then_some(&teacher);
    trainer.state.replace_all(network, options.seed, &device);
    first_fit(&mut trainer, set, &parts, options);

    let total = u64::from(options.epochs) * batches as u64;
    let part = |part: f32| (total as f64 * f64::from(part.clamp(0.0, 1.0))) as u64;
    let search_steps = if options.budget == all || options.budget == 0 { 0 } else { part(options.search_part) };
    let frozen_from = total - part(options.frozen_part).min(total - search_steps);
    let mut pace = Pace { all: all as f32, budget: options.budget as f32, steps: search_steps as f32, pressure: None };
    let range = RangePenalty { limit: options.range_limit, weight: options.range_weight };
    let augmentation = Augmentation::of(network.data_set);
    let (started, mut epochs) = (Instant::now(), Vec::new());
    let mut step = 0;
    for epoch in 0..u64::from(options.epochs) {
        let order = parts.epoch(options.seed, epoch);
        let mut losses = 0.0_f64;
        for pictures in order.chunks_exact(options.batch) {
            let searching = step < search_steps;
            if step == search_steps {
                trainer.state.project(network, options.budget);
            }
            if step == frozen_from && step > 0 {
                remeasure(network, &mut trainer.state, set, &parts.training[..options.remeasure.min(parts.training.len())], &device);
            }
            let mut count_gradient = 0.0;
            if searching {
                trainer.state.update_masks(network, options.threshold);
                let count = trainer.state.relus(network);
                let pressure = match options.pressure {
                    Pressure::Constant(lambda) => lambda / all as f32,
                    Pressure::Paced => pace.at(step, count, trainer.auxiliary_gradient),
                };
                count_gradient = if count > options.budget { pressure } else { 0.0 };
            }
            let pass = PassOptions { frozen_moments: step >= frozen_from && step > 0, measure_arguments: false, range, count_gradient };
            let progress = step as f32 / total as f32;
            let warm = (0.1 + 0.9 * progress / 0.05).min(1.0);
            let rates = Rates {
                weights: options.rate * warm * cosine(progress, 0.01),
                auxiliary: if searching { options.auxiliary_rate } else { 0.0 },
            };
            let pictures = batch(set, &network.normalisation, pictures, augmentation, (options.seed, epoch));
            losses += f64::from(trainer.step(pictures, &pass, rates)?);
            step += 1;
        }
        if step == total && frozen_from == total {
            remeasure(network, &mut trainer.state, set, &parts.training[..options.remeasure.min(parts.training.len())], &device);
        }
        let validation = trainer.evaluator(options.degree)?.accuracy(set, &parts.validation);
        let relus = trainer.state.relus(network);
        let (loss, skipped) = ((losses / batches as f64) as f32, trainer.skipped);
        let found = Epoch { epoch: epoch as u32 + 1, loss, relus, validation, skipped, seconds: started.elapsed().as_secs_f64() };
        report(&found);
        epochs.push(found);
    }
    let evaluator = trainer.evaluator(options.degree)?;
    let relus = trainer.state.relus(network);
    Ok(Found { evaluator, state: trainer.state, relus, teacher_validation, epochs })
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
