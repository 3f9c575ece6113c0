//! What training from the start is given.

use serde::{Deserialize, Serialize};

use crate::optimiser::Method;

/// Which steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Descent {
    /// Gradient descent with momentum and weight decay.
    Sgd,
    /// Adam with decoupled weight decay.
    Adam,
}

/// Everything that training from the start is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PretrainOptions {
    /// Passes over the training pictures.
    pub epochs: u32,
    /// Pictures of a batch.
    pub batch: usize,
    /// Of everything random.
    pub seed: u64,
    /// Which steps are taken.
    pub descent: Descent,
    /// The highest rate: reached after `warm_up`, then half a cosine down to a thousandth of it.
    pub rate: f32,
    /// Part of the steps in which the rate rises from a tenth.
    pub warm_up: f32,
    /// Of the velocity ([`Descent::Sgd`]).
    pub momentum: f32,
    /// Of the weights: as PyTorch's `SGD` and `AdamW`.
    pub decay: f32,
    /// Pictures taken out of the training set, on which the epoch that is kept is chosen.
    pub validation: usize,
}

impl Default for PretrainOptions {
    fn default() -> Self {
        Self {
            epochs: 30,
            batch: 128,
            seed: 1,
            descent: Descent::Sgd,
            rate: 0.1,
            warm_up: 0.05,
            momentum: 0.9,
            decay: 5e-4,
            validation: 5000,
        }
    }
}

impl PretrainOptions {
    pub(super) const fn method(&self) -> Method {
        match self.descent {
            Descent::Sgd => Method::Sgd { momentum: self.momentum, decay: self.decay },
            Descent::Adam => Method::Adam,
        }
    }

    /// AdamW's; descent with momentum has its decay in the gradient.
    pub(super) const fn decoupled_decay(&self) -> f32 {
        match self.descent {
            Descent::Sgd => 0.0,
            Descent::Adam => self.decay,
        }
    }
}
