//! The trained network that another learns from.

use burn::tensor::{Device, Tensor, TensorData};
use halfnet_host::network::data::DataSet;
use halfnet_layers::LANES;

use super::{Evaluator, accuracy};
use crate::data::Batch;
use crate::device::has_kernels;
use crate::forward::{self, PassOptions};
use crate::network::Network;
use crate::ops::tensors::Activations;
use crate::state::State;
use crate::weights::Weights;

/// A network with all its ReLUs, its tensors where they are used.
#[derive(Debug)]
pub struct Teacher<'a> {
    network: &'a Network,
    state: State,
    device: Device,
    /// Faster than the pass that training makes, on a CPU, of networks that can be folded.
    folded: Option<Evaluator>,
}

impl<'a> Teacher<'a> {
    /// A network with these weights.
    #[must_use]
    pub fn new(network: &'a Network, weights: &Weights, device: &Device) -> Self {
        let folded = if has_kernels(device.clone()) { Evaluator::of(network, weights).ok() } else { None };
        Self { network, state: State::new(network, weights, device), device: device.clone(), folded }
    }

    /// Logits, (block, class, 1, 1, lane), without gradients.
    #[must_use]
    pub fn logits(&self, batch: &Batch) -> Activations {
        match &self.folded {
            Some(folded) => {
                let logits = folded.logits(batch.pixels.clone());
                let classes = self.network.classes();
                let sizes = [logits.len() / (classes * LANES), classes, 1, 1, LANES];
                Tensor::from_data(TensorData::new(logits, sizes), &self.device)
            }
            None => {
                let input = forward::pictures(self.network, batch, &self.device);
                let pass = PassOptions { frozen_moments: true, ..PassOptions::PLAIN };
                forward::run(self.network, &self.state, &forward::constants(&self.state), input, &pass)
                    .logits
                    .inner()
            }
        }
    }

    /// Accuracy on some pictures of a set, in percent.
    #[must_use]
    pub fn accuracy(&self, set: &DataSet, pictures: &[usize]) -> f64 {
        match &self.folded {
            Some(folded) => folded.accuracy(set, pictures),
            None => accuracy(self.network, &self.state, set, pictures, &self.device),
        }
    }
}
