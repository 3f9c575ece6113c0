//! SNL (selective network linearisation): each element is a · ReLU(z) + (1 − a) · polynomial, in SNL itself
//! the identity; a starts at 1, is trained with the weights, and its size costs. At the end the largest stay
//! as whole ReLUs.
//!
//! SNL multiplies λ by 1.1 after each epoch in which the count did not fall, for up to 2,000 epochs. Here λ
//! follows the path that the budget needs within the run, of the sum of all |a| (the count itself falls late
//! and at once).

use super::{Method, Penalty, Press};
use crate::network::Network;
use crate::ops::Indicator;
use crate::state::{State, part_names, tensor};
use crate::trainer::Trainer;

#[derive(Debug)]
pub(super) struct Snl {
    pub(super) search_part: f32,
    pub(super) rate: f32,
    pub(super) threshold: f32,
    pub(super) penalty: Penalty,
}

impl Method for Snl {
    fn steps(&self, total: u64) -> u64 {
        crate::search::part(total, self.search_part)
    }

    fn start(&self, network: &Network, state: &mut State) {
        for (&index, replacement) in &state.replacements {
            let [auxiliary, ..] = part_names(&network.layers[index].name);
            if let Some(parts) = state.trained.get_mut(&auxiliary) {
                *parts = tensor(vec![1.0; replacement.relu.len()], &parts.device());
            }
        }
    }

    fn press(&mut self, step: u64, trainer: &mut Trainer<'_>) -> Press {
        let network = trainer.network;
        let layers: Vec<usize> = trainer.state.replacements.keys().copied().collect();
        let mut sum = 0.0;
        for index in layers {
            let parts = trainer.state.auxiliary(network, index);
            sum += parts.iter().map(|a| f64::from(a.abs())).sum::<f64>();
            if let Some(replacement) = trainer.state.replacements.get_mut(&index) {
                replacement.relu = parts.iter().map(|&a| a > self.threshold).collect();
            }
        }
        let count_gradient =
            self.penalty.gradient(step, trainer.state.relus(network), sum as f32, trainer.auxiliary_gradient);
        Press { indicator: Indicator::Part, count_gradient, rate: self.rate }
    }

    fn penalty(&mut self) -> Option<&mut Penalty> {
        Some(&mut self.penalty)
    }
}
