//! What a search is given.

use serde::{Deserialize, Serialize};

use crate::dapa::Degree;

/// What drives the number of ReLUs down while it is above the budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pressure {
    /// AutoReP's: λ · (count / all ReLUs), a constant gradient of λ / all ReLUs.
    Constant(f32),
    /// As much as keeps the count on a geometric path to the budget: it starts at a tenth of the indicators' own gradients.
    Paced,
}

/// Everything that a search is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Part of that rate that coefficients get while masks change.
    pub coefficient_part: f32,
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
            coefficient_part: 0.1,
            auxiliary_rate: 5e-3,
            threshold: 0.003,
            pressure: Pressure::Paced,
            search_part: 0.4,
            frozen_part: 0.35,
            shrink: 0.1,
            fit_batches: 20,
            range_limit: 6.0,
            range_weight: 10.0,
            clip: 1.0,
            distil: true,
            validation: 5000,
            remeasure: 2048,
        }
    }
}
