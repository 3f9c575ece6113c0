//! How the ReLUs that stay are found: one interface, a file a method.
//!
//! A method has some steps at the start of a run in which it looks at the network and changes masks; then it
//! settles on exactly the budget, and what is left of the run is fine-tuning with masks frozen.

mod autorep;
mod layers;
pub(super) mod layerwise;
mod pace;
mod random;
mod snl;

use std::fmt::Debug;

use halfnet_host::network::data::DataSet;

use super::options::{MethodOptions, SearchOptions};
use crate::error::TrainError;
use crate::network::Network;
use crate::ops::Indicator;
use crate::state::State;
use crate::trainer::Trainer;
use pace::Penalty;

/// How a method's step is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Press {
    /// How auxiliary parameters become indicators.
    pub(super) indicator: Indicator,
    /// Gradient of the penalty on each.
    pub(super) count_gradient: f32,
    /// Adam's rate for them.
    pub(super) rate: f32,
}

/// What a method may look at when it settles.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) set: &'a DataSet,
    /// Pictures that are trained on.
    pub(super) training: &'a [usize],
    pub(super) options: &'a SearchOptions,
}

/// A way to find which ReLUs stay.
pub(super) trait Method: Debug {
    /// Steps of choosing in a run of `total`.
    fn steps(&self, total: u64) -> u64;

    /// Before the first step: auxiliary parameters are uniform from 0 to 1, everything is a ReLU.
    fn start(&self, _network: &Network, _state: &mut State) {}

    /// Before each step of choosing: brings masks up to date and says how the step is taken.
    fn press(&mut self, step: u64, trainer: &mut Trainer<'_>) -> Press;

    /// Leaves exactly the budget.
    ///
    /// # Errors
    /// A network cannot be evaluated.
    fn settle(&mut self, trainer: &mut Trainer<'_>, view: View<'_>) -> Result<(), TrainError> {
        trainer.state.project(trainer.network, view.options.budget);
        Ok(())
    }

    /// The penalty on ReLUs, where there is one.
    fn penalty(&mut self) -> Option<&mut Penalty> {
        None
    }
}

/// The method of a search, for a run of `total` steps; none for methods that are another before the search.
pub(super) fn of(options: &SearchOptions, network: &Network, total: u64) -> Option<Box<dyn Method>> {
    let penalty =
        |pressure, part| Penalty::new(pressure, network.relus(), options.budget, super::part(total, part));
    Some(match options.method {
        MethodOptions::Autorep { search_part, rate, threshold, pressure } => Box::new(autorep::Autorep {
            search_part,
            rate,
            threshold,
            penalty: penalty(pressure, search_part),
        }),
        MethodOptions::Snl { search_part, rate, threshold, pressure } => {
            Box::new(snl::Snl { search_part, rate, threshold, penalty: penalty(pressure, search_part) })
        }
        MethodOptions::Layerwise { pictures } => Box::new(layerwise::Layerwise { pictures }),
        MethodOptions::Layers { ref names } => Box::new(layers::Layers { names: names.clone() }),
        MethodOptions::Deepreduce { .. } | MethodOptions::Filters => return None,
        MethodOptions::Random => Box::new(random::Uniform),
    })
}

/// No press at all, for methods without steps.
pub(super) const NONE: Press = Press { indicator: Indicator::Threshold, count_gradient: 0.0, rate: 0.0 };
