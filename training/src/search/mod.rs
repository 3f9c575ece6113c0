//! Which ReLUs stay: a method finds them while the weights are trained, then the masks are frozen, and the
//! rest of the epochs are fine-tuning.
//!
//! A run is a sequence of steps that depends on its options alone: [`Search::advance`] takes one,
//! [`checkpoint`] keeps everything between two of them, so that a run that was cut off goes on to the same
//! result. [`method`] holds the methods, [`options`] what all of them can be given, [`presets`] the sets of
//! options that have names, [`configuration`] their files.

pub mod checkpoint;
pub mod configuration;
mod method;
pub mod options;
pub mod presets;
pub mod reduce;
pub mod slice;

use std::collections::BTreeMap;

use halfnet_host::network::data::DataSet;
use halfnet_layers::LANES;
use serde::{Deserialize, Serialize};

use crate::course::{Course, Ended};
use crate::data::{Augmentation, Parts, batch};
use crate::error::TrainError;
use crate::evaluate::{self, Evaluator, Judged, Teacher};
use crate::forward::{self, PassOptions, RangeControl};
use crate::moments::remeasure;
use crate::network::Network;
use crate::optimiser::{self, cosine};
use crate::state::State;
use crate::trainer::{Rates, Trainer};
use crate::weights::Weights;
use method::{Method, View};
pub use options::{MethodOptions, Pressure, SearchOptions, Start, Unit};

/// Coefficients that follow running statistics do so every this many steps, as in AutoReP's code.
const REFIT_EVERY: u64 = 10;

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean loss of the steps that were not skipped.
    pub loss: f32,
    /// ReLUs at its end.
    pub relus: usize,
    /// Accuracy on the validation pictures, in percent, with exact polynomials.
    pub validation: f64,
    /// Part of the validation pictures with a polynomial's argument beyond its layer's limit; nothing for a
    /// network that cannot be folded.
    pub beyond: Option<f64>,
    /// Part of them with one beyond twice the limit.
    pub far: Option<f64>,
    /// How far each layer's arguments go, in parts of the limit: in the median picture, the 99th percentile
    /// and the worst.
    pub reach: BTreeMap<String, [f32; 3]>,
    /// Steps skipped so far: the gradient was not finite, or the loss many times the usual one.
    pub skipped: u64,
    /// Seconds since the start.
    pub seconds: f64,
}

/// A finished search.
#[derive(Debug)]
pub struct Found {
    /// The network, folded and ready to run, where the parties can run it.
    pub evaluator: Option<Evaluator>,
    /// Its trained state.
    pub state: State,
    /// Number of ReLUs.
    pub relus: usize,
    /// Accuracy on the validation pictures, in percent, were polynomials to go on as their tangents beyond
    /// the limits, as they do while training: what is above the last epoch's accuracy is lost to pictures out
    /// of range. (That accuracy itself for a network that cannot be folded.)
    pub with_tangents: f64,
    /// Epoch by epoch.
    pub epochs: Vec<Epoch>,
}

impl Found {
    /// Accuracy on some pictures of a set, in percent.
    #[must_use]
    pub fn accuracy(&self, network: &Network, set: &DataSet, pictures: &[usize]) -> f64 {
        match &self.evaluator {
            Some(evaluator) => evaluator.accuracy(set, pictures),
            None => evaluate::accuracy(network, &self.state, set, pictures, &crate::device::current()),
        }
    }
}

/// A search between two steps.
#[derive(Debug)]
pub struct Search<'a> {
    network: &'a Network,
    options: SearchOptions,
    course: Course<'a>,
    trainer: Trainer<'a>,
    method: Box<dyn Method>,
    epochs: Vec<Epoch>,
    /// Digest of the weights that it starts from.
    origin: String,
}

/// Which pictures a search trains on, and which it is looked at with.
#[must_use]
pub fn parts(set: &DataSet, options: &SearchOptions) -> Parts {
    Parts::new(set.len(), options.validation.min(set.len() / 4), options.seed)
}

impl<'a> Search<'a> {
    /// A search that has taken no step. Only training pictures are seen; `teacher` is the network that
    /// `weights` are of.
    ///
    /// # Errors
    /// The options do not fit the network or the pictures.
    pub fn new(
        network: &'a Network,
        weights: &Weights,
        teacher: &'a Teacher<'a>,
        set: &'a DataSet,
        options: SearchOptions,
    ) -> Result<Self, TrainError> {
        let all = network.relus();
        let usage = |text: String| Err(TrainError::Usage(text));
        if options.budget > all {
            return usage(format!(
                "a budget of {} ReLUs, but {} has only {all}",
                options.budget, network.name
            ));
        }
        if (1..LANES).contains(&options.normalisation.pictures) {
            return usage(format!(
                "normalisation.pictures = {}: 0, or at least {LANES}",
                options.normalisation.pictures
            ));
        }
        let course =
            Course::new(network, set, parts(set, &options), options.batch, options.epochs, options.seed)?;
        let device = crate::device::current();
        let mut trainer = Trainer::new(
            network,
            State::new(network, weights, &device),
            optimiser::Method::Adam,
            device.clone(),
        );
        trainer.clip = Some(options.rates.clip).filter(|&clip| clip > 0.0);
        trainer.outlier = if options.rates.outlier > 0.0 { options.rates.outlier } else { f32::INFINITY };
        trainer.teacher = options.distil.then_some(teacher);
        trainer.state.replace_all(network, options.seed, &device);
        let Some(method) = method::of(&options, network, course.total()) else {
            return usage("a method that reshapes the network must be prepared first".to_owned());
        };
        method.start(network, &mut trainer.state);
        first_fit(&mut trainer, &course, &options);
        Ok(Self { network, options, course, trainer, method, epochs: Vec::new(), origin: weights.digest() })
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

    /// Steps until masks are frozen.
    fn search_steps(&self) -> u64 {
        let decided = self.options.budget == 0 || self.options.budget == self.network.relus();
        if decided { 0 } else { self.method.steps(self.total()).min(self.total()) }
    }

    /// The first step with normalisations frozen.
    fn frozen_from(&self) -> u64 {
        let total = self.total();
        total - part(total, self.options.normalisation.frozen_part).min(total - self.search_steps())
    }

    fn range(&self) -> RangeControl {
        let options = &self.options.range;
        let knee = if options.knee > 0.0 { options.knee } else { f32::INFINITY };
        let exact = self.course.step >= self.total() - part(self.total(), options.exact_part);
        RangeControl {
            tangents: options.tangents && !exact,
            margin: options.margin,
            knee,
            weight: options.weight,
        }
    }

    fn remeasure(&mut self) {
        if self.options.normalisation.pictures == 0 {
            return;
        }
        let training = &self.course.parts.training;
        let pictures = &training[..self.options.normalisation.pictures.min(training.len())];
        let range = self.range();
        remeasure(
            self.network,
            &mut self.trainer.state,
            self.course.set,
            pictures,
            &range,
            &self.trainer.device,
        );
    }

    /// How far the logits of the trained network move, squared, when each group of layers alone is replaced;
    /// to be asked before the first step.
    fn moved(&mut self, groups: &[Vec<usize>], pictures: usize) -> Result<Vec<f64>, TrainError> {
        let view =
            View { set: self.course.set, training: &self.course.parts.training, options: &self.options };
        method::layerwise::moved(&mut self.trainer, view, groups, pictures)
    }

    fn settle(&mut self) -> Result<(), TrainError> {
        let view =
            View { set: self.course.set, training: &self.course.parts.training, options: &self.options };
        self.method.settle(&mut self.trainer, view)
    }

    fn rates(&self, searching: bool, auxiliary: f32) -> Rates {
        let (options, progress) = (&self.options.rates, self.course.progress());
        let warm =
            if options.warm_part > 0.0 { (0.1 + 0.9 * progress / options.warm_part).min(1.0) } else { 1.0 };
        let weights = options.weights * warm * cosine(progress, options.last);
        let trained = if self.options.polynomials.trained { weights } else { 0.0 };
        let coefficients = if searching { trained * options.coefficient_part } else { trained };
        // What degree 1 does not export must not be learned.
        let squares =
            if self.options.polynomials.squares() { coefficients * options.square_part } else { 0.0 };
        let auxiliary = auxiliary * cosine(progress, options.auxiliary_last);
        Rates {
            weights,
            coefficients,
            squares,
            auxiliary,
            decay: options.decay,
            clip_apart: options.clip_apart,
        }
    }

    /// Takes a step; after an epoch's last it says what the epoch came to. Nothing happens when all steps are
    /// taken.
    ///
    /// # Errors
    /// Training diverges.
    pub fn advance(&mut self) -> Result<Option<Epoch>, TrainError> {
        let (total, search_steps, frozen_from) = (self.total(), self.search_steps(), self.frozen_from());
        let step = self.course.step;
        if step >= total {
            return Ok(None);
        }
        let searching = step < search_steps;
        if step == search_steps {
            self.settle()?;
        }
        let frozen_moments = step >= frozen_from && step > 0;
        if frozen_moments && (step - frozen_from).is_multiple_of(self.measure_every()) {
            self.remeasure();
        }
        let press = if searching { self.method.press(step, &mut self.trainer) } else { method::NONE };
        let rates = self.rates(searching, press.rate);
        let pictures = self.course.pictures();
        let refit = step < self.options.polynomials.refit_steps;
        let pass = PassOptions {
            frozen_moments,
            measure_arguments: refit,
            range: self.range(),
            indicator: press.indicator,
            count_gradient: press.count_gradient,
        };
        let loss = self.trainer.step(pictures, &pass, rates)?;
        if refit && step.is_multiple_of(REFIT_EVERY) {
            fit_polynomials(&mut self.trainer, &self.options);
        }
        let polynomials = &self.options.polynomials;
        if polynomials.bound > 0.0 {
            self.trainer.state.bound_c2(
                self.network,
                polynomials.bound,
                polynomials.floor,
                &self.trainer.device,
            );
        }
        let Some(Ended { epoch, loss }) = self.course.took(loss) else { return Ok(None) };
        if self.course.step == total && search_steps == total {
            self.settle()?;
        }
        if self.course.step <= frozen_from {
            self.remeasure();
        }
        let (set, held) = (self.course.set, &self.course.parts.validation);
        let Judged { accuracy, beyond, far, reach } = match self.folded() {
            Some(evaluator) => evaluator.judge(set, held, &self.limits()),
            None => Judged::of(evaluate::accuracy(
                self.network,
                &self.trainer.state,
                set,
                held,
                &self.trainer.device,
            )),
        };
        let found = Epoch {
            epoch,
            loss,
            relus: self.trainer.state.relus(self.network),
            validation: accuracy,
            beyond,
            far,
            reach,
            skipped: self.trainer.skipped,
            seconds: self.course.seconds(),
        };
        self.epochs.push(found.clone());
        Ok(Some(found))
    }

    /// Steps between two measurements of frozen normalisations.
    fn measure_every(&self) -> u64 {
        let frozen = self.total() - self.frozen_from();
        frozen.div_ceil(self.options.normalisation.times.max(1)).max(1)
    }

    /// The network as it is, folded, if it can be: the parties run fewer networks than are trained.
    fn folded(&self) -> Option<Evaluator> {
        self.trainer.evaluator(self.options.polynomials.degree).ok()
    }

    /// What was found, when all steps are taken.
    #[must_use]
    pub fn finish(self) -> Found {
        let evaluator = self.folded();
        let (set, held) = (self.course.set, &self.course.parts.validation);
        let with_tangents = match &evaluator {
            Some(evaluator) => evaluator.clone().with_tangents(self.limits()).accuracy(set, held),
            None => self.epochs.last().map_or(0.0, |epoch| epoch.validation),
        };
        let relus = self.trainer.state.relus(self.network);
        Found { evaluator, state: self.trainer.state, relus, with_tangents, epochs: self.epochs }
    }

    fn limits(&self) -> BTreeMap<usize, f32> {
        self.trainer.state.replacements.iter().map(|(&index, r)| (index, r.limit)).collect()
    }
}

/// A part of the steps.
fn part(total: u64, part: f32) -> u64 {
    (total as f64 * f64::from(part.clamp(0.0, 1.0))) as u64
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
    let teacher = Teacher::new(network, weights, &crate::device::current());
    let mut search = Search::new(network, weights, &teacher, set, options.clone())?;
    while search.taken() < search.total() {
        if let Some(epoch) = search.advance()? {
            report(&epoch);
        }
    }
    Ok(search.finish())
}

/// Measures the arguments of all activations, fits the polynomials to them and sets their limits.
fn first_fit(trainer: &mut Trainer<'_>, course: &Course<'_>, options: &SearchOptions) {
    let network = trainer.network;
    let pass = PassOptions { frozen_moments: true, measure_arguments: true, ..PassOptions::PLAIN };
    for pictures in
        course.parts.training.chunks_exact(options.batch).take(options.polynomials.fit_batches.max(1))
    {
        let pictures = batch(
            course.set,
            &network.normalisation,
            pictures,
            Augmentation::of(network.data_set),
            (options.seed, u64::MAX),
        );
        let input = forward::pictures(network, &pictures, &trainer.device);
        let leaves = forward::constants(&trainer.state);
        let found = forward::run(network, &trainer.state, &leaves, input, &pass);
        trainer.state.measure(&found.arguments);
    }
    fit_polynomials(trainer, options);
    for replacement in trainer.state.replacements.values_mut() {
        let squares: f32 = replacement.moments.iter().map(|(mean, variance)| mean * mean + variance).sum();
        let size = (squares / replacement.moments.len().max(1) as f32).sqrt();
        replacement.limit = match (options.polynomials.squares(), options.range.unit) {
            // A polynomial of degree 1 has no range to leave.
            (false, _) => f32::INFINITY,
            (true, Unit::One) => options.range.limit,
            (true, Unit::Layer) => options.range.limit * size.max(1e-3),
        };
    }
}

fn fit_polynomials(trainer: &mut Trainer<'_>, options: &SearchOptions) {
    let polynomials = &options.polynomials;
    let start = |mean, variance| polynomials.start.coefficients(polynomials.degree, mean, variance);
    trainer.state.fit_polynomials(trainer.network, polynomials.floor, start, &trainer.device);
}
