//! Adam and stochastic gradient descent with momentum, and schedules of their rates.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Tensor};

use crate::state::{State, values};

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

/// How one tensor moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// The rate; zero leaves the tensor and its gradient where they are.
    pub rate: f32,
    /// Decay that is no part of the gradient (AdamW's): the tensor shrinks by this times the rate.
    pub decay: f32,
    /// Tensors of one group are clipped together; 0 or 1.
    pub group: usize,
}

impl Move {
    /// Not at all.
    pub const NONE: Self = Self { rate: 0.0, decay: 0.0, group: 0 };

    /// With a rate alone.
    #[must_use]
    pub const fn at(rate: f32) -> Self {
        Self { rate, decay: 0.0, group: 0 }
    }
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

    /// One step. `of` says how each tensor moves; the gradients of a group are scaled down to the norm
    /// `clip`.
    pub fn step(
        &mut self,
        state: &mut State,
        leaves: &BTreeMap<String, Tensor<1>>,
        gradients: &mut Gradients,
        clip: Option<f32>,
        of: impl Fn(&str) -> Move,
    ) -> Outcome {
        let mut found = Vec::new();
        for (name, leaf) in leaves {
            let how = of(name);
            if how.rate == 0.0 {
                continue;
            }
            let Some(gradient) = leaf.grad_remove(gradients) else { continue };
            found.push((name, gradient, how));
        }
        let sizes = squares_of(found.iter().map(|(_, gradient, _)| gradient));
        let mut squares = [0.0_f64; 2];
        for ((_, _, how), size) in found.iter().zip(sizes) {
            squares[how.group.min(1)] += size;
        }
        let norm = squares.iter().sum::<f64>().sqrt() as f32;
        if !norm.is_finite() {
            return Outcome::NotFinite;
        }
        let scales = squares
            .map(|s| clip.map_or(1.0, |clip| (clip / (s.sqrt() as f32).max(f32::MIN_POSITIVE)).min(1.0)));
        self.steps += 1;
        for (name, gradient, Move { rate, decay: shrink, group }) in found {
            let scale = scales[group.min(1)];
            let gradient = if scale < 1.0 { gradient * scale } else { gradient };
            let Some(value) = state.trained.remove(name) else { continue };
            let value = if shrink > 0.0 { value * (1.0 - rate * shrink) } else { value };
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

/// Sum of each tensor's squares: one transfer from a GPU for all.
pub(crate) fn squares_of<'t>(tensors: impl Iterator<Item = &'t Tensor<1>>) -> Vec<f64> {
    let sums: Vec<Tensor<1>> = tensors.map(|tensor| (tensor.clone() * tensor.clone()).sum()).collect();
    if sums.is_empty() {
        Vec::new()
    } else {
        values(&Tensor::cat(sums, 0)).into_iter().map(f64::from).collect()
    }
}

/// Half a cosine from 1 to `last`, over `progress` from 0 to 1.
#[must_use]
pub fn cosine(progress: f32, last: f32) -> f32 {
    last + (1.0 - last) * 0.5 * (1.0 + (std::f32::consts::PI * progress.clamp(0.0, 1.0)).cos())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::state::tensor;

    /// A step down a gradient of this size, from 1 on; the value after it.
    fn stepped(size: f32, clip: Option<f32>) -> (Outcome, Vec<f32>) {
        let device = Device::flex();
        let mut state =
            State { trained: BTreeMap::new(), running: BTreeMap::new(), replacements: BTreeMap::new() };
        state.trained.insert("w".to_owned(), tensor(vec![1.0; 4], &device));
        let leaves = BTreeMap::from([("w".to_owned(), state.trained["w"].clone().autodiff().require_grad())]);
        let loss = (leaves["w"].clone() * size).sum();
        let mut gradients = loss.backward();
        let mut optimiser = Optimiser::new(Method::Sgd { momentum: 0.0, decay: 0.0 });
        let outcome = optimiser.step(&mut state, &leaves, &mut gradients, clip, |_| Move::at(0.25));
        (outcome, values(&state.trained["w"]))
    }

    #[test]
    fn a_gradient_that_is_not_finite_moves_nothing_with_and_without_a_clip() {
        for clip in [None, Some(1.0)] {
            let (outcome, after) = stepped(f32::INFINITY, clip);
            assert_eq!((outcome, after), (Outcome::NotFinite, vec![1.0; 4]), "{clip:?}");
        }
        assert_eq!(stepped(1.0, None), (Outcome::Moved(2.0), vec![0.75; 4]));
        assert_eq!(stepped(1.0, Some(1.0)), (Outcome::Moved(2.0), vec![0.875; 4]));
        assert_eq!(stepped(1.0, Some(9.0)), (Outcome::Moved(2.0), vec![0.75; 4]));
    }
}
