//! Sets of options that have names: methods as they are compared here, and AutoReP as it was published.

use super::options::{MethodOptions, Pressure, SearchOptions, Start};
use crate::dapa::Degree;

/// The methods' names.
pub const METHODS: &[&str] = &["autorep", "snl", "deepreduce", "layerwise", "filters", "random", "identity", "square"];

/// The presets' names.
pub const PRESETS: &[&str] = &["best", "paper", "reference-code"];

/// The identity, untrained: SNL's replacement.
const IDENTITY: Start = Start::Fixed { c2: 0.0, c1: 1.0, c0: 0.0 };

/// A method's own options, as compared here; `None` for an unknown name.
///
/// `identity` and `square` are AutoReP's selection with one fixed function in the place of DaPa's polynomials (AutoReP, Fig. 6).
#[must_use]
pub fn method(name: &str) -> Option<SearchOptions> {
    let mut options = SearchOptions::default();
    let mut fixed = |start: Start| {
        options.polynomials.start = start;
        options.polynomials.trained = false;
    };
    match name {
        "autorep" => {}
        "snl" => {
            fixed(IDENTITY);
            options.polynomials.degree = Degree::One;
            options.method = MethodOptions::Snl { search_part: 0.5, rate: 5e-3, threshold: 0.01, pressure: Pressure::Paced };
        }
        "layerwise" => options.method = MethodOptions::Layerwise { pictures: 512 },
        "deepreduce" => {
            fixed(IDENTITY);
            options.polynomials.degree = Degree::One;
            options.method = MethodOptions::Deepreduce { pictures: 512, order: Vec::new() };
        }
        "filters" => options.method = MethodOptions::Filters,
        "random" => options.method = MethodOptions::Random,
        "identity" => {
            fixed(IDENTITY);
            options.polynomials.degree = Degree::One;
        }
        "square" => fixed(Start::Fixed { c2: 1.0, c1: 0.0, c0: 0.0 }),
        _ => return None,
    }
    Some(options)
}

/// AutoReP's options by a preset's name; `None` for an unknown one. The number of ReLUs at the end is exactly the budget in each, and
/// the last epoch is taken, where the published code takes the epoch that is best on the test set among those near the budget.
///
/// `best` is what is compared here. `paper` is the paper's text: coefficients that stay tied to running statistics, rates of 1e-4 and
/// 1e-3. `reference-code` is the published trainer for CIFAR: deviation fed the variance, shrunk coefficients that are overwritten for
/// 500 passes and then trained, c2 with a tenth of the rate since it is multiplied by a scale of a tenth, one rate for all.
#[must_use]
pub fn preset(name: &str) -> Option<SearchOptions> {
    let mut options = SearchOptions::default();
    if name == "best" {
        return Some(options);
    }
    options.method = MethodOptions::Autorep { search_part: 1.0, rate: 1e-3, threshold: 0.003, pressure: Pressure::Constant(140.0) };
    options.polynomials.floor = 0.0;
    options.range.tangents = false;
    options.range.weight = 0.0;
    options.normalisation.frozen_part = 0.0;
    options.rates.clip = 0.0;
    options.rates.warm_part = 0.0;
    options.rates.coefficient_part = 1.0;
    match name {
        "paper" => {
            options.epochs = 150;
            options.rates.weights = 1e-4;
            options.polynomials.start = Start::Fit { shrink: 1.0 };
            options.polynomials.trained = false;
            // All of them.
            options.polynomials.refit_steps = u64::from(u32::MAX);
        }
        "reference-code" => {
            options.epochs = 200;
            options.polynomials.start = Start::Published { scale: 0.1 };
            options.polynomials.refit_steps = 500;
            options.rates.square_part = 0.1;
        }
        _ => return None,
    }
    Some(options)
}
