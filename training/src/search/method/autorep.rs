//! AutoReP's indicators: each element has an auxiliary parameter a and is a ReLU while a is above the hysteresis' threshold. The
//! gradient of a is that of its indicator times softplus(a), plus a pressure while there are more ReLUs than the budget.

use super::{Method, Pace, Press};
use crate::ops::Indicator;
use crate::search::options::Pressure;
use crate::trainer::Trainer;

#[derive(Debug)]
pub(super) struct Autorep {
    pub(super) search_part: f32,
    pub(super) rate: f32,
    pub(super) threshold: f32,
    pub(super) pressure: Pressure,
    pub(super) budget: usize,
    pub(super) pace: Pace,
}

impl Method for Autorep {
    fn steps(&self, total: u64) -> u64 {
        crate::search::part(total, self.search_part)
    }

    fn press(&mut self, step: u64, trainer: &mut Trainer<'_>) -> Press {
        let network = trainer.network;
        trainer.state.update_masks(network, self.threshold);
        let count = trainer.state.relus(network);
        let pressure = match self.pressure {
            Pressure::Constant(lambda) => lambda / network.relus() as f32,
            Pressure::Paced => self.pace.at(step, count as f32, trainer.auxiliary_gradient),
        };
        let count_gradient = if count > self.budget { pressure } else { 0.0 };
        Press { indicator: Indicator::Threshold, count_gradient, rate: self.rate }
    }

    fn memory(&self) -> Option<f32> {
        self.pace.pressure
    }

    fn remember(&mut self, memory: Option<f32>) {
        self.pace.pressure = memory;
    }
}
