//! One training step, and the evaluation of what it came to.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Draft, Saved};
use crate::dapa::Degree;
use crate::data::Batch;
use crate::error::TrainError;
use crate::evaluate::{Evaluator, Teacher};
use crate::export;
use crate::forward::{self, PassOptions};
use crate::loss;
use crate::network::Network;
use crate::optimiser::{Method, Move, Optimiser, Outcome, squares_of};
use crate::state::{State, values};

/// Steps in a row without a finite gradient that end a run.
const MOST_LOST: u32 = 20;
/// A loss so many times the usual one is a picture that ran out of the polynomials' range: its gradient says
/// nothing.
pub const OUTLIER: f32 = 10.0;
/// Outliers in a row after which the usual loss is taken to be another.
const MOST_OUTLIERS: u32 = 5;

/// Everything that changes in training.
#[derive(Debug)]
pub struct Trainer<'a> {
    /// The network.
    pub network: &'a Network,
    /// Its parameters.
    pub state: State,
    /// Of weights and coefficients.
    pub optimiser: Optimiser,
    /// Of auxiliary parameters.
    pub auxiliary: Optimiser,
    /// Whose logits are learned from.
    pub teacher: Option<&'a Teacher<'a>>,
    /// Where tensors lie.
    pub device: Device,
    /// Gradients of weights are scaled down to this norm.
    pub clip: Option<f32>,
    /// A step with a loss so many times the usual one is skipped; infinite for never.
    pub outlier: f32,
    /// Steps skipped since the last that was not.
    lost: u32,
    /// Outliers among them.
    outliers: u32,
    /// The usual loss: an average that fades.
    usual: Option<f32>,
    /// Steps that were skipped in all.
    pub skipped: u64,
    /// Root mean square of the auxiliary parameters' last gradient.
    pub auxiliary_gradient: f32,
}

/// What a checkpoint keeps of a trainer that is no tensor. Floats that a result depends on are kept as their
/// bits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    usual: Option<u32>,
    optimiser_steps: u64,
    lost: u32,
    outliers: u32,
    skipped: u64,
}

/// Rates of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of weights.
    pub weights: f32,
    /// Of polynomials' c1 and c0.
    pub coefficients: f32,
    /// Of polynomials' c2.
    pub squares: f32,
    /// Of auxiliary parameters; 0 freezes the masks.
    pub auxiliary: f32,
    /// Of convolutions' weights, AdamW's.
    pub decay: f32,
    /// Gradients of coefficients are clipped apart from those of weights.
    pub clip_apart: bool,
}

impl Rates {
    /// One for weights and coefficients, masks frozen.
    #[must_use]
    pub const fn all(rate: f32) -> Self {
        Self {
            weights: rate,
            coefficients: rate,
            squares: rate,
            auxiliary: 0.0,
            decay: 0.0,
            clip_apart: false,
        }
    }
}

impl<'a> Trainer<'a> {
    /// A trainer that has done nothing yet.
    #[must_use]
    pub fn new(network: &'a Network, state: State, method: Method, device: Device) -> Self {
        Self {
            network,
            state,
            optimiser: Optimiser::new(method),
            auxiliary: Optimiser::new(Method::Adam),
            teacher: None,
            device,
            clip: None,
            outlier: OUTLIER,
            lost: 0,
            outliers: 0,
            usual: None,
            skipped: 0,
            auxiliary_gradient: 0.0,
        }
    }

    /// Adds weights, running moments and the optimiser to a checkpoint.
    pub(crate) fn keep(&self, draft: &mut Draft) -> Kept {
        draft.group("trained/", &self.state.trained);
        draft.group("running/", &self.state.running);
        draft.group("first/", &self.optimiser.first);
        draft.group("second/", &self.optimiser.second);
        let usual = self.usual.map(f32::to_bits);
        Kept {
            usual,
            optimiser_steps: self.optimiser.steps,
            lost: self.lost,
            outliers: self.outliers,
            skipped: self.skipped,
        }
    }

    /// Takes them from it.
    ///
    /// # Errors
    /// Tensors are missing or of another size.
    pub(crate) fn restore(&mut self, saved: &Saved<'_>, kept: &Kept) -> Result<(), TrainError> {
        saved.group("trained/", &mut self.state.trained, &self.device)?;
        saved.group("running/", &mut self.state.running, &self.device)?;
        saved.group("first/", &mut self.optimiser.first, &self.device)?;
        saved.group("second/", &mut self.optimiser.second, &self.device)?;
        (self.optimiser.steps, self.lost, self.skipped) = (kept.optimiser_steps, kept.lost, kept.skipped);
        self.outliers = kept.outliers;
        self.usual = kept.usual.map(f32::from_bits);
        Ok(())
    }

    /// One step; returns the loss, or nothing where the step was skipped: its gradient is not finite, or its
    /// loss many times the usual one.
    ///
    /// # Errors
    /// Many steps in a row had no finite gradient.
    pub fn step(
        &mut self,
        batch: Batch,
        options: &PassOptions,
        rates: Rates,
    ) -> Result<Option<f32>, TrainError> {
        let teacher = self.teacher.map(|teacher| teacher.logits(&batch));
        let leaves = forward::leaves(&self.state);
        let input = forward::pictures(self.network, &batch, &self.device);
        let pass = forward::run(self.network, &self.state, &leaves, input, options);
        let loss = loss::loss(pass.logits.clone(), &batch.labels, teacher, &self.device);
        let value = loss.clone().inner().into_scalar::<f32>();
        let mut gradients = match pass.penalty.clone() {
            Some(penalty) => (loss + penalty).backward(),
            None => loss.backward(),
        };
        let is_auxiliary = |name: &str| name.ends_with(".auxiliary");
        let apart = usize::from(rates.clip_apart);
        let weights = |name: &str| match name {
            name if is_auxiliary(name) => Move::NONE,
            name if name.ends_with(".c2") => Move { group: apart, ..Move::at(rates.squares) },
            name if name.ends_with(".c1") || name.ends_with(".c0") => {
                Move { group: apart, ..Move::at(rates.coefficients) }
            }
            _ => Move { decay: rates.decay, ..Move::at(rates.weights) },
        };
        let outlier = self.outliers < MOST_OUTLIERS
            && self.usual.is_some_and(|usual| value > self.outlier * usual.max(1.0));
        let outcome = if value.is_finite() && !outlier {
            self.optimiser.step(&mut self.state, &leaves, &mut gradients, self.clip, weights)
        } else {
            Outcome::NotFinite
        };
        if outcome == Outcome::NotFinite {
            self.lost += 1;
            self.outliers += u32::from(outlier && value.is_finite());
            self.skipped += 1;
            if self.lost >= MOST_LOST {
                let step = self.optimiser.steps + self.skipped;
                return Err(TrainError::Diverged {
                    step,
                    steps: self.lost,
                    loss: value,
                    place: self.overflow(&batch, options),
                });
            }
            return Ok(None);
        }
        // After so many outliers their loss is the usual one.
        let fades = if self.outliers < MOST_OUTLIERS { 0.02 } else { 1.0 };
        (self.lost, self.outliers) = (0, 0);
        self.usual = Some(self.usual.map_or(value, |usual| usual + fades * (value - usual)));
        let auxiliary = |name: &str| if is_auxiliary(name) { Move::at(rates.auxiliary) } else { Move::NONE };
        if rates.auxiliary > 0.0 {
            // Of a step that was not skipped alone: the pressure on the count follows it.
            let size = auxiliary_size(&leaves, &gradients);
            self.auxiliary_gradient = if size.is_finite() { size } else { self.auxiliary_gradient };
            self.auxiliary.step(&mut self.state, &leaves, &mut gradients, None, auxiliary);
        }
        pass.update_running(&mut self.state);
        self.state.measure(&pass.arguments);
        Ok(Some(value))
    }

    /// Where values first are no numbers in a pass over a batch.
    fn overflow(&self, batch: &Batch, options: &PassOptions) -> String {
        let input = forward::pictures(self.network, batch, &self.device);
        let pass = PassOptions { measure_arguments: true, ..*options };
        let pass = forward::run(self.network, &self.state, &forward::constants(&self.state), input, &pass);
        let normalised = pass.moments.iter().map(|(name, moments)| (name.as_str(), moments));
        let activated = pass
            .arguments
            .iter()
            .map(|(index, moments)| (self.network.layers[*index].name.as_str(), moments));
        let lost = |(_, moments): &(&str, &Tensor<1>)| values(moments).iter().any(|v| !v.is_finite());
        match activated.chain(normalised).find(lost) {
            Some((name, _)) => format!("values overflow at `{name}`"),
            None => "normalisations and activations are finite, what follows them is not".to_owned(),
        }
    }

    /// The network as it is, folded.
    ///
    /// # Errors
    /// It has a pool or a gate that cannot be run.
    pub fn evaluator(&self, degree: Degree) -> Result<Evaluator, TrainError> {
        let replaced = export::replaced(self.network, &self.state);
        Evaluator::new(export::fold(self.network, &self.state.weights(self.network), &replaced, degree)?)
    }
}

/// Root mean square of the auxiliary parameters' gradient.
fn auxiliary_size(leaves: &BTreeMap<String, Tensor<1>>, gradients: &Gradients) -> f32 {
    let auxiliary = leaves.iter().filter(|(name, _)| name.ends_with(".auxiliary"));
    let found: Vec<Tensor<1>> = auxiliary.filter_map(|(_, leaf)| leaf.grad(gradients)).collect();
    let count: usize = found.iter().map(|gradient| gradient.dims()[0]).sum();
    (squares_of(found.iter()).iter().sum::<f64>() / count.max(1) as f64).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use halfnet_core::shape::Shape;
    use halfnet_host::network::data::DataSetKind;

    use super::*;
    use crate::network::families::by_name;
    use crate::weights::Weights;

    fn batch_of(network: &Network, pixel: f32) -> Batch {
        let Shape { channels, height, width } = network.input;
        let count = usize::from(channels) * usize::from(height) * usize::from(width) * 16;
        Batch {
            pixels: (0..count).map(|i| pixel * ((i % 7) as f32 - 3.0)).collect(),
            labels: (0..16).map(|i| i % 10).collect(),
        }
    }

    #[test]
    fn a_skipped_step_leaves_everything_as_it_was() {
        let network = by_name("mnist_cnn", DataSetKind::Mnist).unwrap();
        let device = Device::flex();
        let mut state = State::new(&network, &Weights::initial(&network, 1), &device);
        state.replace_all(&network, 1, &device);
        let mut trainer = Trainer::new(&network, state, Method::Adam, device);
        let rates = Rates { auxiliary: 0.1, ..Rates::all(1e-3) };
        // With a batch's own moments its scale would mean nothing.
        let pass = PassOptions { frozen_moments: true, ..PassOptions::PLAIN };
        fn held(trainer: &Trainer<'_>) -> (f32, Vec<Vec<f32>>) {
            let moments = [&trainer.auxiliary, &trainer.optimiser]
                .into_iter()
                .flat_map(|o| o.first.values().chain(o.second.values()));
            let state = trainer.state.trained.values().chain(trainer.state.running.values());
            (trainer.auxiliary_gradient, state.chain(moments).map(values).collect())
        }
        // A batch's own moments, too, are taken into the running ones by a step that is taken alone.
        let plain = PassOptions { measure_arguments: true, ..PassOptions::PLAIN };
        let before = held(&trainer);
        assert!(
            trainer.step(batch_of(&network, f32::NAN), &plain, rates).unwrap().is_none()
                && held(&trainer) == before
        );
        assert!(trainer.state.replacements.values().all(|r| r.measured == 0));
        let mut step = |pixel: f32| {
            trainer.step(batch_of(&network, pixel), &pass, rates).map(|loss| (loss, held(&trainer)))
        };
        let (loss, before) = step(1.0).unwrap();
        assert!(loss.is_some() && before.0 > 0.0);
        // No number, and a picture far out of range.
        for pixel in [f32::NAN, 1e12] {
            let (loss, after) = step(pixel).unwrap();
            assert!(loss.is_none() && after == before, "{pixel}");
        }
        assert_ne!(step(1.0).unwrap().1, before);
        // Outliers alone are another usual loss.
        let skipped = (0..10).take_while(|_| step(1e6).unwrap().0.is_none()).count();
        assert_eq!(skipped, 5);
        assert!(step(1e6).unwrap().0.is_some());

        let error = (0..MOST_LOST).find_map(|_| step(f32::NAN).err()).unwrap().to_string();
        assert!(error.contains("diverged at step 32") && error.contains("overflow at `conv1`"), "{error}");
    }
}
