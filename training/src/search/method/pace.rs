//! How hard the count of ReLUs is pressed down.

use crate::search::options::Pressure;

/// The penalty on ReLUs while there are more than the budget.
#[derive(Debug)]
pub(in crate::search) struct Penalty {
    pressure: Pressure,
    all: usize,
    budget: usize,
    pace: Pace,
}

impl Penalty {
    /// For `all` ReLUs that fall to the budget within some steps.
    pub(super) fn new(pressure: Pressure, all: usize, budget: usize, steps: u64) -> Self {
        Self { pressure, all, budget, pace: Pace::new(all, budget, steps) }
    }

    /// Its gradient on each indicator: `relus` are counted, `size` is what follows the pace, `gradient` the
    /// size of the indicators' own gradients in the last step.
    pub(super) fn gradient(&mut self, step: u64, relus: usize, size: f32, gradient: f32) -> f32 {
        let pressure = match self.pressure {
            Pressure::Constant(lambda) => lambda / self.all as f32,
            Pressure::Paced => self.pace.at(step, size, gradient),
        };
        if relus > self.budget { pressure } else { 0.0 }
    }

    /// What it has to remember between two steps.
    pub(in crate::search) const fn memory(&mut self) -> &mut Option<f32> {
        &mut self.pace.pressure
    }
}

/// Follows the count on its way to the budget.
#[derive(Debug)]
struct Pace {
    all: f32,
    budget: f32,
    steps: f32,
    /// The last pressure.
    pressure: Option<f32>,
}

impl Pace {
    const fn new(all: usize, budget: usize, steps: u64) -> Self {
        Self { all: all as f32, budget: budget as f32, steps: steps as f32, pressure: None }
    }

    /// The pressure for a step, given the count and the size of the indicators' gradients in the last.
    fn at(&mut self, step: u64, count: f32, gradient: f32) -> f32 {
        // None yet, or none that says anything.
        if !(gradient > 0.0 && gradient.is_finite()) {
            return 0.0;
        }
        let pressure = self.pressure.unwrap_or(0.1 * gradient);
        // At the budget after nine tenths of the way, so that the hysteresis settles.
        let way = (step as f32 / (0.9 * self.steps)).min(1.0);
        let wanted = self.all * (self.budget.max(1.0) / self.all).powf(way);
        let pressure = if count > wanted { pressure * 1.03 } else { pressure * 0.97 };
        *self.pressure.insert(pressure.clamp(1e-4 * gradient, 1e2 * gradient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_while_there_are_too_many_and_falls_while_too_few() {
        let mut pace = Pace::new(1000, 10, 100);
        assert_eq!(pace.at(0, 1000.0, 0.0), 0.0);
        let first = pace.at(1, 1000.0, 1.0);
        assert!(first > 0.1 && pace.at(2, 1000.0, 1.0) > first);
        let last = pace.at(50, 20.0, 1.0);
        assert!(last < pace.at(51, 900.0, 1.0) && last > pace.at(52, 5.0, 1.0) * 0.9);
        (0..1000).for_each(|_| assert!(pace.at(95, 500.0, 1.0) <= 100.0));
    }

    #[test]
    fn only_a_count_above_the_budget_is_penalised() {
        let mut constant = Penalty::new(Pressure::Constant(140.0), 1000, 10, 100);
        assert_eq!(
            [1000, 11, 10, 0].map(|relus| constant.gradient(5, relus, 0.0, 1.0)),
            [0.14, 0.14, 0.0, 0.0]
        );
        let mut paced = Penalty::new(Pressure::Paced, 1000, 10, 100);
        assert!(paced.gradient(5, 1000, 1000.0, 1.0) > 0.0);
        assert_eq!(paced.gradient(6, 10, 10.0, 1.0), 0.0);
    }

    #[test]
    fn a_gradient_that_is_no_number_is_passed_over() {
        let mut pace = Pace::new(1000, 10, 100);
        let before = pace.at(1, 1000.0, 1.0);
        for gradient in [f32::NAN, f32::INFINITY] {
            assert_eq!(pace.at(2, 1000.0, gradient), 0.0);
        }
        assert_eq!(pace.at(2, 1000.0, 1.0), before * 1.03);
    }
}
