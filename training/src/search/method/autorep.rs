//! AutoReP's indicators: each element has an auxiliary parameter a and is a ReLU while a is above the
//! hysteresis' threshold. The gradient of a is that of its indicator times softplus(a), plus a pressure while
//! there are more ReLUs than the budget.

use super::{Method, Penalty, Press};
use crate::ops::Indicator;
use crate::trainer::Trainer;

#[derive(Debug)]
pub(super) struct Autorep {
    pub(super) search_part: f32,
    pub(super) rate: f32,
    pub(super) threshold: f32,
    pub(super) penalty: Penalty,
}

impl Method for Autorep {
    fn steps(&self, total: u64) -> u64 {
        crate::search::part(total, self.search_part)
    }

    fn press(&mut self, step: u64, trainer: &mut Trainer<'_>) -> Press {
        let network = trainer.network;
        trainer.state.update_masks(network, self.threshold);
        let count = trainer.state.relus(network);
        let count_gradient = self.penalty.gradient(step, count, count as f32, trainer.auxiliary_gradient);
        Press { indicator: Indicator::Threshold, count_gradient, rate: self.rate }
    }

    fn penalty(&mut self) -> Option<&mut Penalty> {
        Some(&mut self.penalty)
    }
}
