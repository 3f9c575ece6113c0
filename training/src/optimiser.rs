//! Adam and stochastic gradient descent with momentum, and schedules of their rates.

use std::collections::BTreeMap;

use burn::tensor::Gradients;
use burn::tensor::Tensor;

use crate::state::State;

/// Which steps are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Adam (β 0.9 and 0.999, ε 1e-8), no decay.
    Adam,
    /// Momentum and weight decay, as PyTorch.
    Sgd {
        /// Of the velocity.
        momentum: f32,
        /// Of the parameter, added to its gradient.
        decay: f32,
    },
}

/// An optimiser and its moments.
#[derive(Clone, Debug)]
pub struct Optimiser {
    /// The method.
    pub method: Method,
    /// First moment (velocity) of each tensor.
    pub first: BTreeMap<String, Tensor<1>>,
    /// Second moment of each tensor.
    pub second: BTreeMap<String, Tensor<1>>,
    /// Steps taken.
    pub steps: u64,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Parameters moved; the gradient's norm before clipping.
    Moved(f32),
    /// The gradient was not finite: nothing happened.
    NotFinite,
}

impl Optimiser {
    /// One that has not moved yet.
    #[must_use]
    pub const fn new(method: Method) -> Self {
        Self { method, first: BTreeMap::new(), second: BTreeMap::new(), steps: 0 }
    }

    /// One step. `rate` gives each tensor's, zero leaving it and its gradient where they are; gradients are scaled down to the norm
    /// `clip`.
    pub fn step(
        &mut self,
        state: &mut State,
        leaves: &BTreeMap<String, Tensor<1>>,
        gradients: &mut Gradients,
        clip: Option<f32>,
        rate: impl Fn(&str) -> f32,
    ) -> Outcome {
        let mut found = Vec::new();
        let mut squares = 0.0_f64;
        for (name, leaf) in leaves {
            let rate = rate(name);
            if rate == 0.0 {
                continue;
            }
            let Some(gradient) = leaf.grad_remove(gradients) else { continue };
            if clip.is_some() {
                squares += f64::from((gradient.clone() * gradient.clone()).sum().into_scalar::<f32>());
            }
            found.push((name, gradient, rate));
        }
        let norm = squares.sqrt() as f32;
        if !norm.is_finite() {
            return Outcome::NotFinite;
        }
        let scale = clip.map_or(1.0, |clip| (clip / norm.max(f32::MIN_POSITIVE)).min(1.0));
        self.steps += 1;
        for (name, gradient, rate) in found {
            let gradient = if scale < 1.0 { gradient * scale } else { gradient };
            let Some(value) = state.trained.remove(name) else { continue };
            let value = match self.method {
                Method::Sgd { momentum, decay } => {
                    let gradient = if decay > 0.0 { gradient + value.clone() * decay } else { gradient };
                    let velocity = match self.first.remove(name) {
                        Some(velocity) => velocity * momentum + gradient,
                        None => gradient,
                    };
                    self.first.insert(name.clone(), velocity.clone());
                    value - velocity * rate
                }
                Method::Adam => self.adam(name, value, gradient, rate),
            };
            state.trained.insert(name.clone(), value);
        }
        Outcome::Moved(norm)
    }

    fn adam(&mut self, name: &str, value: Tensor<1>, gradient: Tensor<1>, rate: f32) -> Tensor<1> {
        const BETA: (f32, f32) = (0.9, 0.999);
        let square = gradient.clone() * gradient.clone();
        let first = match self.first.remove(name) {
            Some(first) => first * BETA.0 + gradient * (1.0 - BETA.0),
            None => gradient * (1.0 - BETA.0),
        };
        let second = match self.second.remove(name) {
            Some(second) => second * BETA.1 + square * (1.0 - BETA.1),
            None => square * (1.0 - BETA.1),
        };
        self.first.insert(name.to_owned(), first.clone());
        self.second.insert(name.to_owned(), second.clone());
        let steps = self.steps as i32;
        let (bias, root) = (1.0 - BETA.0.powi(steps), (1.0 - BETA.1.powi(steps)).sqrt());
        value - first / (second.sqrt() / root + 1e-8) * (rate / bias)
    }
}

/// Half a cosine from 1 to `last`, over `progress` from 0 to 1.
#[must_use]
pub fn cosine(progress: f32, last: f32) -> f32 {
    last + (1.0 - last) * 0.5 * (1.0 + (std::f32::consts::PI * progress.clamp(0.0, 1.0)).cos())
}
