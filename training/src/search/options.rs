//! What a search is given: every option, and the sets of them that have names.
//!
//! They are written to and read from TOML as they stand here, so fields that are tables come last.

use serde::{Deserialize, Serialize};

use crate::dapa::{Degree, Polynomial, fit, published};
use crate::trainer::OUTLIER;

/// What drives the number of ReLUs down while it is above the budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pressure {
    /// λ · (count / all ReLUs), a constant gradient of λ / all ReLUs, as AutoReP and SNL.
    Constant(f32),
    /// As much as keeps the count on a geometric path to the budget: it starts at a tenth of the indicators'
    /// own gradients.
    Paced,
}

/// Everything that a search is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchOptions {
    /// ReLUs that may stay.
    pub budget: usize,
    /// Epochs in all, fine-tuning included.
    pub epochs: u32,
    /// Pictures of a batch.
    pub batch: usize,
    /// Of everything random.
    pub seed: u64,
    /// Learn from the logits of the network with all ReLUs.
    pub distil: bool,
    /// Pictures of the training set that are not trained on, and that choices may be looked at with.
    pub validation: usize,
    /// How the ReLUs that stay are found.
    pub method: MethodOptions,
    /// What takes the place of the others.
    pub polynomials: PolynomialOptions,
    /// What keeps the polynomials' arguments small.
    pub range: RangeOptions,
    /// How fast weights and coefficients move.
    pub rates: RateOptions,
    /// Where normalisations take their moments from.
    pub normalisation: NormalisationOptions,
}

/// How the ReLUs that stay are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum MethodOptions {
    /// AutoReP: a hard mask of an auxiliary parameter per element, its gradient straight through, with
    /// hysteresis.
    Autorep {
        /// Part of the steps after which masks are frozen.
        search_part: f32,
        /// Adam's rate for auxiliary parameters.
        rate: f32,
        /// Hysteresis.
        threshold: f32,
        /// What drives the count down.
        pressure: Pressure,
    },
    /// SNL: each element a · ReLU + (1 − a) · polynomial, the size of a penalised.
    Snl {
        /// Part of the steps after which masks are frozen.
        search_part: f32,
        /// Adam's rate for the parts a.
        rate: f32,
        /// Elements with a beyond this are counted.
        threshold: f32,
        /// What drives the sum of the parts down.
        pressure: Pressure,
    },
    /// Whole layers, as DELPHI: those stay whose replacement alone would move the logits most.
    Layerwise {
        /// Training pictures that this is measured on.
        pictures: usize,
    },
    /// DeepReDuce: whole stages culled, thinned, reshaped; becomes [`MethodOptions::Layers`] of another
    /// network before it is trained.
    Deepreduce {
        /// Training pictures that stages' criticality is measured on.
        pictures: usize,
        /// Stages from 1, the most critical first, instead of a measurement; empty to measure.
        order: Vec<usize>,
    },
    /// Channels with small filters are left out of the whole network, and every activation stays; becomes
    /// [`MethodOptions::Layers`].
    Filters,
    /// All of some layers.
    Layers {
        /// Their names.
        names: Vec<String>,
    },
    /// Elements drawn at random: what every method has to be better than.
    Random,
}

/// What polynomials start as.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Start {
    /// DaPa's fit to the channel, its c2 multiplied by `shrink` and c1, c0 fitted to what that leaves.
    Fit {
        /// Of c2.
        shrink: f64,
    },
    /// As AutoReP's published code has it: see [`published`].
    Published {
        /// Its `scale_x2`.
        scale: f64,
    },
    /// The same for every channel.
    Fixed {
        /// Of z².
        c2: f64,
        /// Of z.
        c1: f64,
        /// Constant.
        c0: f64,
    },
}

/// What takes the place of ReLUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolynomialOptions {
    /// Degree.
    pub degree: Degree,
    /// Passes over the trained network from which the first fit is made.
    pub fit_batches: usize,
    /// Steps in which coefficients are overwritten from running statistics, every tenth.
    pub refit_steps: u64,
    /// A channel's variance counts as at least this part of its layer's mean variance.
    pub floor: f64,
    /// Are coefficients trained?
    pub trained: bool,
    /// Most that |c2| may be, in parts of the whole fit; 0 for no bound.
    pub bound: f64,
    /// What they start as.
    pub start: Start,
}

/// What the limit of polynomials' arguments is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// In itself.
    One,
    /// In the root mean square of the layer's arguments in the trained network.
    Layer,
}

/// What keeps polynomials' arguments small. A limit is known for each layer; other sizes are in parts of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeOptions {
    /// The limit.
    pub limit: f32,
    /// What it is measured in.
    pub unit: Unit,
    /// Beyond the limit polynomials go on as their tangents while training.
    pub tangents: bool,
    /// Part of the steps, at the end, in which they do not.
    pub exact_part: f32,
    /// Arguments cost from here.
    pub margin: f32,
    /// Excess from which the cost grows no faster than linearly; 0 for a square.
    pub knee: f32,
    /// Weight of the cost, the mean over each layer's elements, in the loss.
    pub weight: f32,
}

/// How fast weights and coefficients move: Adam, warmed up, then half a cosine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateOptions {
    /// The highest rate of weights.
    pub weights: f32,
    /// Part of that rate that c1 and c0 get while masks change.
    pub coefficient_part: f32,
    /// Part of the coefficients' rate that c2 gets.
    pub square_part: f32,
    /// Part of the steps in which the rate rises.
    pub warm_part: f32,
    /// Part of the highest rate that is left at the end.
    pub last: f32,
    /// Part of the auxiliary parameters' rate that would be left at the end, were they trained so long: half
    /// a cosine as well.
    pub auxiliary_last: f32,
    /// A step with a loss so many times the usual one, which counts as at least 1, is skipped; 0 for never.
    pub outlier: f32,
    /// Weight decay (AdamW's) of weights.
    pub decay: f32,
    /// Gradients are scaled down to this norm; 0 for never.
    pub clip: f32,
    /// Gradients of coefficients are clipped apart from those of weights.
    pub clip_apart: bool,
}

/// Where normalisations take their moments from: the batch, until they are frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalisationOptions {
    /// Part of the steps, at the end, with normalisations frozen.
    pub frozen_part: f32,
    /// How often they are measured anew in that part, at the start of as many equal parts of it.
    pub times: u64,
    /// Training pictures that they are measured on, layer by layer; 0 for the running moments instead.
    pub pictures: usize,
}

impl Start {
    /// Coefficients for a channel's mean and variance.
    #[must_use]
    pub fn coefficients(&self, degree: Degree, mean: f64, variance: f64) -> Polynomial {
        match *self {
            Self::Fit { shrink } => fit(degree, mean, variance.sqrt(), shrink),
            Self::Published { scale } => published(degree, mean, variance, scale),
            Self::Fixed { c2, c1, c0 } => {
                Polynomial { c2: if degree == Degree::Two { c2 } else { 0.0 }, c1, c0 }
            }
        }
    }
}

impl PolynomialOptions {
    /// Can there be squares?
    #[must_use]
    pub fn squares(&self) -> bool {
        let fixed = matches!(self.start, Start::Fixed { c2: 0.0, .. }) && !self.trained;
        self.degree == Degree::Two && !fixed
    }
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            budget: 0,
            epochs: 6,
            batch: 128,
            seed: 1,
            distil: true,
            validation: 2000,
            method: MethodOptions::Autorep {
                search_part: 0.15,
                rate: 5e-3,
                threshold: 0.003,
                pressure: Pressure::Paced,
            },
            polynomials: PolynomialOptions {
                degree: Degree::Two,
                fit_batches: 20,
                refit_steps: 0,
                floor: 0.25,
                trained: true,
                bound: 0.0,
                start: Start::Fit { shrink: 0.1 },
            },
            range: RangeOptions {
                limit: 6.0,
                unit: Unit::Layer,
                tangents: true,
                exact_part: 0.0,
                margin: 1.0,
                knee: 0.0,
                weight: 1e5,
            },
            rates: RateOptions {
                weights: 1e-3,
                coefficient_part: 0.1,
                square_part: 1.0,
                warm_part: 0.05,
                last: 0.01,
                auxiliary_last: 1.0,
                outlier: OUTLIER,
                decay: 0.0,
                clip: 1.0,
                clip_apart: false,
            },
            normalisation: NormalisationOptions { frozen_part: 0.35, times: 1, pictures: 2048 },
        }
    }
}
