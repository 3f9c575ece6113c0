//! All of some layers: what methods that choose whole layers beforehand come to.

use super::{Method, NONE, Press, View};
use crate::error::TrainError;
use crate::trainer::Trainer;

#[derive(Debug)]
pub(super) struct Layers {
    pub(super) names: Vec<String>,
}

impl Method for Layers {
    fn steps(&self, _: u64) -> u64 {
        0
    }

    fn press(&mut self, _: u64, _: &mut Trainer<'_>) -> Press {
        NONE
    }

    fn settle(&mut self, trainer: &mut Trainer<'_>, view: View<'_>) -> Result<(), TrainError> {
        let network = trainer.network;
        let known = |name: &String| network.layers.iter().any(|l| l.is_activation() && l.name == *name);
        if let Some(name) = self.names.iter().find(|name| !known(name)) {
            return Err(TrainError::Usage(format!("{} has no activation after `{name}`", network.name)));
        }
        trainer.state.keep_layers(|index| self.names.contains(&network.layers[index].name));
        let (relus, budget) = (trainer.state.relus(network), view.options.budget);
        if relus > budget {
            return Err(TrainError::Usage(format!(
                "these layers have {relus} ReLUs, the budget is {budget}"
            )));
        }
        Ok(())
    }
}
