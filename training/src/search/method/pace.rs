//! How hard the count of ReLUs is pressed down.

/// Follows the count on its way to the budget.
#[derive(Debug)]
pub(super) struct Pace {
    all: f32,
    budget: f32,
    steps: f32,
    /// The last pressure.
    pub(super) pressure: Option<f32>,
}

impl Pace {
    pub(super) const fn new(all: usize, budget: usize, steps: u64) -> Self {
        Self { all: all as f32, budget: budget as f32, steps: steps as f32, pressure: None }
    }

    /// The pressure for a step, given the count and the size of the indicators' gradients in the last.
    pub(super) fn at(&mut self, step: u64, count: f32, gradient: f32) -> f32 {
        if gradient == 0.0 {
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
}
