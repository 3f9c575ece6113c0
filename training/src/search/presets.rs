//! Sets of options that have names: methods as they are compared here, and AutoReP as it was published.

use super::options::{MethodOptions, Pressure, SearchOptions, Start};
use crate::dapa::Degree;

/// The methods' names.
pub const METHODS: &[&str] =
    &["autorep", "snl", "deepreduce", "layerwise", "filters", "random", "identity", "square"];

/// The presets' names.
pub const PRESETS: &[&str] = &["best", "paper", "reference-code"];

/// The identity, untrained: SNL's replacement.
const IDENTITY: Start = Start::Fixed { c2: 0.0, c1: 1.0, c0: 0.0 };

/// The square, untrained.
const SQUARE: Start = Start::Fixed { c2: 1.0, c1: 0.0, c0: 0.0 };

/// A method's own options, as compared here; `None` for an unknown name.
///
/// `identity` and `square` are AutoReP's selection with one fixed function in the place of DaPa's polynomials
/// (AutoReP, Fig. 6).
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
            options.method = MethodOptions::Snl {
                search_part: 0.5,
                rate: 5e-3,
                threshold: 0.01,
                pressure: Pressure::Paced,
            };
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
        "square" => fixed(SQUARE),
        _ => return None,
    }
    Some(options)
}

/// The method's name, as [`METHODS`] has it; `layers` for what methods that reshape come to.
#[must_use]
pub fn name_of(options: &SearchOptions) -> &'static str {
    let polynomials = &options.polynomials;
    match options.method {
        MethodOptions::Autorep { .. } if polynomials.start == IDENTITY && !polynomials.trained => "identity",
        MethodOptions::Autorep { .. } if polynomials.start == SQUARE && !polynomials.trained => "square",
        MethodOptions::Autorep { .. } => "autorep",
        MethodOptions::Snl { .. } => "snl",
        MethodOptions::Layerwise { .. } => "layerwise",
        MethodOptions::Deepreduce { .. } => "deepreduce",
        MethodOptions::Filters => "filters",
        MethodOptions::Layers { .. } => "layers",
        MethodOptions::Random => "random",
    }
}

/// AutoReP's options by a preset's name; `None` for an unknown one. The number of ReLUs at the end is exactly
/// the budget in each, and the last epoch is taken, where the published code takes the epoch that is best on
/// the test set among those near the budget.
///
/// `best` is what is compared here. `paper` is the paper's text: coefficients that stay tied to running
/// statistics, rates of 1e-4 and 1e-3. `reference-code` is the published trainer for CIFAR: deviation fed the
/// variance, shrunk coefficients that are overwritten for 500 passes and then trained, c2 with a tenth of the
/// rate since it is multiplied by a scale of a tenth, one rate for all. The λ of both is that of 9,000 ReLUs
/// of a ResNet-18 (`--lambda` for another budget's).
#[must_use]
pub fn preset(name: &str) -> Option<SearchOptions> {
    let mut options = SearchOptions::default();
    if name == "best" {
        return Some(options);
    }
    options.method = MethodOptions::Autorep {
        search_part: 1.0,
        rate: 1e-3,
        threshold: 0.003,
        pressure: Pressure::Constant(140.0),
    };
    options.polynomials.floor = 0.0;
    options.range.tangents = false;
    options.range.weight = 0.0;
    options.normalisation.frozen_part = 0.0;
    options.rates.clip = 0.0;
    options.rates.warm_part = 0.0;
    options.rates.coefficient_part = 1.0;
    options.rates.outlier = 0.0;
    options.normalisation.pictures = 0;
    // Both rates fall to 1e-5.
    options.rates.auxiliary_last = 1e-2;
    match name {
        "paper" => {
            options.epochs = 150;
            options.rates.weights = 1e-4;
            options.rates.last = 1e-1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_their_names() {
        for name in METHODS {
            assert_eq!(name_of(&method(name).unwrap()), *name);
        }
        assert!(method("autorap").is_none() && preset("worst").is_none());
    }

    /// What AutoReP's text and its trainer for CIFAR say (Section 4.1; `scripts/cifar100.sh`).
    #[test]
    fn presets_are_what_was_published() {
        let [paper, code] = ["paper", "reference-code"].map(|name| preset(name).unwrap());
        for options in [&paper, &code] {
            let MethodOptions::Autorep { search_part, rate, threshold, pressure } = options.method else {
                unreachable!()
            };
            assert_eq!(
                (search_part, rate, threshold, pressure),
                (1.0, 1e-3, 0.003, Pressure::Constant(140.0))
            );
            let (rates, normalisation) = (&options.rates, &options.normalisation);
            let ends = [rates.weights * rates.last, rate * rates.auxiliary_last];
            assert!(ends.iter().all(|end| (end / 1e-5 - 1.0).abs() < 1e-5), "{ends:?}");
            assert_eq!((rates.clip, rates.outlier, rates.warm_part, rates.decay), (0.0, 0.0, 0.0, 0.0));
            assert_eq!((normalisation.pictures, normalisation.frozen_part, options.batch), (0, 0.0, 128));
            assert_eq!((options.range.weight, options.range.tangents, options.distil), (0.0, false, true));
        }
        assert_eq!((paper.epochs, paper.rates.weights, paper.polynomials.trained), (150, 1e-4, false));
        assert_eq!((code.epochs, code.rates.weights, code.polynomials.trained), (200, 1e-3, true));
        assert_eq!(
            (code.polynomials.start, code.polynomials.refit_steps),
            (Start::Published { scale: 0.1 }, 500)
        );
        assert_eq!((code.rates.square_part, code.rates.coefficient_part), (0.1, 1.0));
    }
}
