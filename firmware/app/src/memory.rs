//! What a board must lend, and the lending.

use halfnet_core::endpoint::longest_between_parties;
use halfnet_core::plan::{LinearPlan, Mode, Plan, Role};

use crate::kernel::memory_words;

/// Sizes of the memory that a plan asks of P0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Needs {
    /// 64-bit words of the arena.
    pub arena: usize,
    /// 64-bit words for the weights of a few output channels and the inputs under them; 0 where P1 holds the
    /// weights.
    pub channel: usize,
    /// Bytes of the longest frame that P0 sends.
    pub outgoing: usize,
    /// Bytes of the longest frame that P1 sends.
    pub incoming: usize,
}

impl Needs {
    /// Of a plan.
    #[must_use]
    pub fn of(plan: &Plan<'_>) -> Self {
        let options = plan.header.options;
        let words = plan.layers().flat_map(|layer| {
            let word = layer.work(&options).word;
            layer.terms.into_iter().map(move |term| match term.linear {
                LinearPlan::Convolution(geometry) => memory_words(&geometry, word),
                LinearPlan::JoinShift { .. } | LinearPlan::JoinScaled { .. } => 1,
            })
        });
        let channel = if options.mode == Mode::Held { 0 } else { words.max().unwrap_or(0) };
        Self {
            arena: plan.arena_words(Role::Seed),
            channel,
            outgoing: longest_between_parties(plan, Role::Seed),
            incoming: longest_between_parties(plan, Role::Bundle),
        }
    }
}

/// Memory that the board lends; [`Needs`] says how much.
#[derive(Debug)]
pub struct Memory<'a> {
    /// The session's wires, window and comparison state.
    pub arena: &'a mut [u64],
    /// The weights of a few output channels and the inputs under them.
    pub channel: &'a mut [u64],
    /// One frame to P1.
    pub outgoing: &'a mut [u8],
    /// One frame from P1.
    pub incoming: &'a mut [u8],
}
