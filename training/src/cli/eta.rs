//! How far a run is, told now and then.

use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(30);

/// Tells steps and the time that is left, at the pace of this process's steps.
#[derive(Debug)]
pub(super) struct Eta {
    started: Instant,
    told: Instant,
    from: u64,
    total: u64,
}

impl Eta {
    /// From a step on.
    pub(super) fn new(from: u64, total: u64) -> Self {
        let now = Instant::now();
        Self { started: now, told: now, from, total }
    }

    /// Seconds that are left after so many steps.
    pub(super) fn left(&self, taken: u64) -> f64 {
        let each = self.started.elapsed().as_secs_f64() / taken.saturating_sub(self.from).max(1) as f64;
        each * self.total.saturating_sub(taken) as f64
    }

    /// A line, where the last is some time ago.
    pub(super) fn tell(&mut self, taken: u64) {
        if self.told.elapsed() >= EVERY {
            eprintln!("step {taken} of {}, {:.0} s left", self.total, self.left(taken));
            self.told = Instant::now();
        }
    }
}
