//! What a run trains: parameters and running moments as tensors, and the replacement of each activation.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::dapa::{Degree, Polynomial, fit};
use crate::network::{Network, Role};
use crate::ops::ReluMask;
use crate::random::Random;
use crate::weights::Weights;

/// How much of the running moments a batch replaces (PyTorch's default).
pub const MOMENTUM: f32 = 0.1;

/// A tensor of host values.
#[must_use]
pub fn tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// A tensor's values.
#[must_use]
pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_into_vec::<f32>().unwrap_or_default()
}

/// The trained tensors, by name, and what is measured.
#[derive(Clone, Debug)]
pub struct State {
    /// Trained tensors: the network's, and for each replaced layer `NAME.auxiliary`, `NAME.c2`, `NAME.c1` and
    /// `NAME.c0`.
    pub trained: BTreeMap<String, Tensor<1>>,
    /// Running moments of each normalisation: all means, then all variances.
    pub running: BTreeMap<String, Tensor<1>>,
    /// Each activation's replacement, by layer; empty for a network that stays as it is.
    pub replacements: BTreeMap<usize, Replacement>,
}

/// A layer's replacement, but for its trained tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// Which elements are ReLUs now.
    pub relu: ReluMask,
    /// Running mean and variance of each channel's argument, and how often they were measured.
    pub moments: Vec<(f32, f32)>,
    /// Batches that `moments` come from.
    pub measured: u64,
    /// Size that polynomials' arguments should not exceed; infinite while none is known.
    pub limit: f32,
}

impl Replacement {
    /// Mean and variance of each channel, the latter at least `floor` times the mean of all.
    fn floored(&self, floor: f64) -> impl Iterator<Item = (f64, f64)> + '_ {
        let least = floor * self.moments.iter().map(|m| f64::from(m.1)).sum::<f64>()
            / self.moments.len().max(1) as f64;
        self.moments
            .iter()
            .map(move |&(mean, variance)| (f64::from(mean), f64::from(variance).max(least).max(1e-6)))
    }

    /// Number of ReLUs.
    #[must_use]
    pub fn relus(&self) -> usize {
        self.relu.iter().filter(|&&r| r).count()
    }
}

/// Names of a replaced layer's trained tensors: auxiliary, c2, c1, c0.
#[must_use]
pub fn part_names(layer: &str) -> [String; 4] {
    ["auxiliary", "c2", "c1", "c0"].map(|part| format!("{layer}.{part}"))
}

impl State {
    /// A network's weights.
    #[must_use]
    pub fn new(network: &Network, weights: &Weights, device: &Device) -> Self {
        let mut state =
            Self { trained: BTreeMap::new(), running: BTreeMap::new(), replacements: BTreeMap::new() };
        for parameter in network.parameters() {
            match parameter.role {
                Role::Mean => {
                    let norm = parameter.name.trim_end_matches(".running_mean");
                    let moments =
                        [weights.get(&parameter.name), weights.get(&format!("{norm}.running_var"))].concat();
                    state.running.insert(norm.to_owned(), tensor(moments, device));
                }
                Role::Variance => {}
                _ => {
                    state.trained.insert(
                        parameter.name.clone(),
                        tensor(weights.get(&parameter.name).to_vec(), device),
                    );
                }
            }
        }
        state
    }

    /// Gives every activation a replacement: all ReLU, auxiliary parameters uniform from 0 to 1, coefficients
    /// of the identity's half until [`State::fit_polynomials`] sets them.
    pub fn replace_all(&mut self, network: &Network, seed: u64, device: &Device) {
        for (index, (layer, sum)) in network.layers.iter().zip(network.sums()).enumerate() {
            if !layer.is_activation() {
                continue;
            }
            let mut random = Random::new(&[seed, 0xa0c5, index as u64]);
            let auxiliary = (0..sum.elements()).map(|_| random.uniform()).collect();
            let channels = usize::from(sum.channels);
            let starts = [auxiliary, vec![0.0; channels], vec![0.5; channels], vec![0.0; channels]];
            for (name, values) in part_names(&layer.name).into_iter().zip(starts) {
                self.trained.insert(name, tensor(values, device));
            }
            let relu = vec![true; sum.elements()].into();
            self.replacements.insert(
                index,
                Replacement { relu, moments: vec![(0.0, 1.0); channels], measured: 0, limit: f32::INFINITY },
            );
        }
    }

    /// Sets every coefficient to what `start` makes of its channel's running mean and variance, the latter
    /// counted as at least `floor` times the layer's mean variance: the fit to a channel that is all but
    /// constant has a c2 that explodes as soon as it moves.
    pub fn fit_polynomials(
        &mut self,
        network: &Network,
        floor: f64,
        start: impl Fn(f64, f64) -> Polynomial,
        device: &Device,
    ) {
        for (&index, replacement) in &self.replacements {
            let fits: Vec<_> =
                replacement.floored(floor).map(|(mean, variance)| start(mean, variance)).collect();
            let [_, c2, c1, c0] = part_names(&network.layers[index].name);
            let mut set = |name: String, of: &dyn Fn(&Polynomial) -> f64| {
                self.trained.insert(name, tensor(fits.iter().map(|f| of(f) as f32).collect(), device));
            };
            set(c2, &|f| f.c2);
            set(c1, &|f| f.c1);
            set(c0, &|f| f.c0);
        }
    }

    /// Keeps the size of every c2 within `most` times the whole fit to its channel's running moments, with
    /// the same floor.
    pub fn bound_c2(&mut self, network: &Network, most: f64, floor: f64, device: &Device) {
        for (&index, replacement) in &self.replacements {
            let [_, name, ..] = part_names(&network.layers[index].name);
            let Some(c2) = self.trained.get(&name) else { continue };
            let c2 = values(c2);
            let bounded = c2.iter().zip(replacement.floored(floor)).map(|(&c2, (mean, variance))| {
                let bound = (most * fit(Degree::Two, mean, variance.sqrt(), 1.0).c2) as f32;
                c2.clamp(-bound, bound)
            });
            let bounded = tensor(bounded.collect(), device);
            self.trained.insert(name, bounded);
        }
    }

    /// Takes the moments of a batch's arguments into the running ones.
    pub fn measure(&mut self, arguments: &[(usize, Tensor<1>)]) {
        for (index, moments) in arguments {
            let Some(replacement) = self.replacements.get_mut(index) else { continue };
            let moments = values(moments);
            let (means, variances) = moments.split_at(moments.len() / 2);
            replacement.measured += 1;
            // The first batches count alike.
            let part = MOMENTUM.max(1.0 / replacement.measured as f32);
            for ((mean, variance), (new_mean, new_variance)) in
                replacement.moments.iter_mut().zip(means.iter().zip(variances))
            {
                *mean += part * (new_mean - *mean);
                *variance += part * (new_variance - *variance);
            }
        }
    }

    /// Hysteresis (AutoReP, Eq. 8): a ReLU stays one until its auxiliary parameter is at most −`threshold`, a
    /// polynomial becomes one again above `threshold`.
    pub fn update_masks(&mut self, network: &Network, threshold: f32) {
        for (&index, replacement) in &mut self.replacements {
            let [auxiliary, ..] = part_names(&network.layers[index].name);
            let Some(auxiliary) = self.trained.get(&auxiliary) else { continue };
            let updated: Arc<[bool]> = values(auxiliary)
                .iter()
                .zip(replacement.relu.iter())
                .map(|(&a, &relu)| if relu { a > -threshold } else { a > threshold })
                .collect();
            replacement.relu = updated;
        }
    }

    /// ReLUs of the network as it is.
    #[must_use]
    pub fn relus(&self, network: &Network) -> usize {
        if self.replacements.is_empty() {
            network.relus()
        } else {
            self.replacements.values().map(Replacement::relus).sum()
        }
    }

    /// Leaves exactly `budget` ReLUs: those with the largest auxiliary parameters, of equal ones the first.
    pub fn project(&mut self, network: &Network, budget: usize) {
        let mut ranked = Vec::new();
        for &index in self.replacements.keys() {
            let [auxiliary, ..] = part_names(&network.layers[index].name);
            let auxiliary = self.trained.get(&auxiliary).map(values).unwrap_or_default();
            ranked.extend(auxiliary.into_iter().enumerate().map(|(element, a)| (a, index, element)));
        }
        ranked.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
        let mut masks: BTreeMap<usize, Vec<bool>> =
            self.replacements.iter().map(|(&i, r)| (i, vec![false; r.relu.len()])).collect();
        for (_, index, element) in ranked.into_iter().take(budget) {
            if let Some(mask) = masks.get_mut(&index) {
                mask[element] = true;
            }
        }
        for (index, mask) in masks {
            if let Some(replacement) = self.replacements.get_mut(&index) {
                replacement.relu = mask.into();
            }
        }
    }

    /// Makes whole layers ReLUs or polynomials.
    pub fn keep_layers(&mut self, keep: impl Fn(usize) -> bool) {
        for (&index, replacement) in &mut self.replacements {
            replacement.relu = vec![keep(index); replacement.relu.len()].into();
        }
    }

    /// Auxiliary parameters of a layer.
    #[must_use]
    pub fn auxiliary(&self, network: &Network, index: usize) -> Vec<f32> {
        let [name, ..] = part_names(&network.layers[index].name);
        self.trained.get(&name).map(values).unwrap_or_default()
    }

    /// The network's tensors on the host.
    #[must_use]
    pub fn weights(&self, network: &Network) -> Weights {
        let mut weights = Weights::default();
        for parameter in network.parameters() {
            match parameter.role {
                Role::Mean => {
                    let norm = parameter.name.trim_end_matches(".running_mean");
                    let moments = self.running.get(norm).map(values).unwrap_or_default();
                    let (means, variances) = moments.split_at(moments.len() / 2);
                    weights.set(format!("{norm}.running_mean"), means.to_vec());
                    weights.set(format!("{norm}.running_var"), variances.to_vec());
                }
                Role::Variance => {}
                _ => weights.set(
                    parameter.name.clone(),
                    self.trained.get(&parameter.name).map(values).unwrap_or_default(),
                ),
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use halfnet_host::network::data::DataSetKind;

    use super::*;
    use crate::network::families::by_name;

    /// A network's state with these auxiliary parameters at the start of its second activation, and −1 for
    /// all others.
    fn with(parameters: &[f32]) -> (Network, State, usize) {
        let (network, device) = (by_name("mnist_cnn", DataSetKind::Mnist).unwrap(), Device::flex());
        let mut state = State::new(&network, &Weights::initial(&network, 1), &device);
        state.replace_all(&network, 1, &device);
        let layers: Vec<usize> = state.replacements.keys().copied().collect();
        for index in &layers {
            let mut all = vec![-1.0; state.replacements[index].relu.len()];
            if *index == layers[1] {
                all[..parameters.len()].copy_from_slice(parameters);
            }
            let [name, ..] = part_names(&network.layers[*index].name);
            state.trained.insert(name, tensor(all, &device));
        }
        (network, state, layers[1])
    }

    #[test]
    fn masks_change_beyond_the_hysteresis_alone() {
        let (network, mut state, layer) = with(&[0.02, 0.005, 0.0, -0.005, -0.01, -0.02]);
        for (relu, expected) in [
            (true, [true, true, true, true, false, false]),
            (false, [true, false, false, false, false, false]),
        ] {
            state.keep_layers(|_| relu);
            state.update_masks(&network, 0.01);
            assert_eq!(state.replacements[&layer].relu[..6], expected);
            assert_eq!(state.relus(&network), expected.iter().filter(|&&e| e).count());
        }
    }

    #[test]
    fn projection_keeps_the_largest_and_of_equal_ones_the_first() {
        let (network, mut state, layer) = with(&[0.1, 0.5, -0.9, 0.5, 0.5]);
        state.project(&network, 3);
        assert_eq!(state.replacements[&layer].relu[..5], [false, true, false, true, true]);
        state.project(&network, 2);
        assert_eq!(state.replacements[&layer].relu[..5], [false, true, false, true, false]);
        // More than the budget needs: all that are larger than the rest, and of the rest the first layer's.
        state.project(&network, 6);
        assert_eq!(state.replacements[&layer].relus(), 5);
        assert!(state.replacements.values().next().is_some_and(|first| first.relu[0] && first.relus() == 1));
    }
}
