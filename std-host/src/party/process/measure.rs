//! What an inference takes at one party, from the burn on.

use std::time::Instant;

use halfnet_core::endpoint::Account;
use halfnet_core::plan::Plan;

use super::report::InferenceStats;
use super::usage::thread_seconds;
use crate::party::link::Trace;

/// Clocks that run since the counter was burned, and what has passed between the parties.
pub(super) struct Measure {
    began: Instant,
    processor: f64,
    pub(super) trace: Trace,
}

impl Measure {
    /// Begins.
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        Self { began: Instant::now(), processor: thread_seconds(), trace: Trace::new(plan.header.layers) }
    }

    /// The figures of an inference that has ended.
    pub(super) fn stats(&self, account: &Account) -> InferenceStats {
        InferenceStats {
            counter: account.counter,
            session: hex(&account.session),
            bytes_sent: account.bytes_sent,
            rounds: account.rounds,
            wall_s: self.began.elapsed().as_secs_f64(),
            cpu_s: thread_seconds() - self.processor,
            layers: self.trace.layers().to_vec(),
            outside: self.trace.outside(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
