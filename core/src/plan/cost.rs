//! What an inference costs, exactly: bytes, rounds, flights, bundle, memory. Computed from the same functions
//! that the parties walk.

use super::{Client, GroupPlan, LayerPlan, Mode, Options, Plan, PlanHeader, Role, Section, Step, StepPlan};
use crate::exchange::opening::Turn;
use crate::exchange::{self, input};
use crate::packing::packed_len;
use crate::wire::{frame, message};

pub use super::flights::flights;

/// Sizes of the header that the records need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// See [`PlanHeader::window_words`].
    pub window_words: [u32; 2],
    /// See [`PlanHeader::state_words`].
    pub state_words: [u32; 2],
    /// See [`PlanHeader::longest_frame`].
    pub longest_frame: [u32; 2],
}

impl Needs {
    /// What handshake and input need.
    #[must_use]
    pub fn input(header: &PlanHeader<'_>) -> Self {
        let control = (frame::HEADER + message::LONGEST) as u32;
        let tile = input::payload(header, 0) + frame::HEADER;
        Self { longest_frame: [control.max(tile as u32), control], ..Self::default() }
    }

    /// Adds a layer's.
    pub fn add(&mut self, layer: &LayerPlan<'_>, options: &Options) {
        let work = layer.work(options);
        let most = layer.group_plans(options, &work).map(|(group, _)| group.relus).fold(0, usize::max);
        for role in [Role::Seed, Role::Bundle] {
            let (r, turn) = (role.index(), Turn::of(options.mode, role));
            let window = exchange::window_words(layer, &work, turn);
            let state = exchange::state_words(layer, options, &work, most, turn);
            self.window_words[r] = self.window_words[r].max(window as u32);
            self.state_words[r] = self.state_words[r].max(state as u32);
            for (group, _) in layer.group_plans(options, &work) {
                for step in group.steps() {
                    let longest = group.payloads(step, role).map(|(payload, _)| payload).fold(0, usize::max);
                    self.longest_frame[r] = self.longest_frame[r].max((longest + frame::HEADER) as u32);
                }
            }
        }
    }
}

/// What an inference costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes that each party writes to any link after the burn, headers included, [P0, P1].
    pub bytes_sent: [u64; 2],
    /// Exchanges between P0 and P1 after the burn, acknowledgements and hash of E included.
    pub rounds: u32,
    /// Longest chain of dependent messages after the burn, the client's included; of a whole plan only.
    pub flights: u32,
    /// Bytes of P1's bundle, without its header.
    pub bundle_bytes: u64,
}

impl Cost {
    fn add(&mut self, other: &Self) {
        for (sum, more) in self.bytes_sent.iter_mut().zip(other.bytes_sent) {
            *sum += more;
        }
        self.rounds += other.rounds;
        self.flights += other.flights;
        self.bundle_bytes += other.bundle_bytes;
    }
}

/// Bytes of a section of a layer's part of the bundle.
#[must_use]
pub fn section_bytes(layer: &LayerPlan<'_>, options: &Options, section: Section) -> u64 {
    exchange::section_bytes(layer, options, section)
}

/// The sections of a layer, in the bundle's order.
pub fn sections<'l>(
    layer: &'l LayerPlan<'_>,
    options: &'l Options,
) -> impl Iterator<Item = (Section, u64)> + 'l {
    exchange::sections(layer, options).map(move |section| (section, section_bytes(layer, options, section)))
}

/// Bundle bytes that stand before the first layer's: P1's share of the input's mask, for a third client.
#[must_use]
pub fn input_section_bytes(header: &PlanHeader<'_>) -> u64 {
    input::section_bytes(header)
}

/// Bytes that a party sends in one step of a group, headers included.
fn group_bytes(group: &GroupPlan<'_, '_>, step: Step, role: Role) -> u64 {
    let frames = group.payloads(step, role).filter(|&(payload, _)| payload > 0);
    frames.map(|(payload, count)| ((payload + frame::HEADER) * count) as u64).sum()
}

/// Bytes that each party sends in one step of a layer, headers included, [P0, P1].
#[must_use]
pub fn step_bytes(layer: &LayerPlan<'_>, options: &Options, step: Step) -> [u64; 2] {
    let work = layer.work(options);
    [Role::Seed, Role::Bundle].map(|role| {
        let groups = layer.group_plans(options, &work);
        groups.map(|(group, count)| group_bytes(&group, step, role) * count as u64).sum()
    })
}

/// What one layer costs, between the parties and in the bundle.
#[must_use]
pub fn layer_cost(layer: &LayerPlan<'_>, options: &Options) -> Cost {
    let mut cost =
        Cost { bundle_bytes: sections(layer, options).map(|(_, bytes)| bytes).sum(), ..Cost::default() };
    let work = layer.work(options);
    for (group, count) in layer.group_plans(options, &work) {
        for step in group.steps() {
            let sent = [Role::Seed, Role::Bundle].map(|role| group_bytes(&group, step, role));
            for (sum, sent) in cost.bytes_sent.iter_mut().zip(sent) {
                *sum += sent * count as u64;
            }
            // Beside the comparisons of the same group, polynomials open for free.
            let is_free = step.is_beside_comparisons() && group.relus > 0;
            if sent != [0, 0] && !is_free {
                cost.rounds += count as u32;
            }
        }
    }
    cost
}

/// What comes before the first layer and after the last: acknowledgements, the input, the hash of E, the
/// client's words.
#[must_use]
pub fn frame_cost(header: &PlanHeader<'_>, output_words: usize, opened_bits: u8) -> Cost {
    let options = &header.options;
    let mut cost = Cost { bundle_bytes: input_section_bytes(header), ..Cost::default() };
    let ack = (frame::HEADER + message::ACKNOWLEDGE) as u64;
    cost.add(&Cost { bytes_sent: [ack, ack], rounds: 1, ..Cost::default() });
    match options.client {
        Client::SeedParty => {
            let tiles = (0..).take_while(|&tile| !input::range(header, tile).is_empty());
            let bytes = tiles.map(|tile| (frame::HEADER + input::payload(header, tile)) as u64).sum();
            cost.add(&Cost { bytes_sent: [bytes, 0], rounds: 1, ..Cost::default() });
        }
        Client::Third => {
            // Each party's acknowledgement with its share of A, and its words of the output, to the client.
            let mask = (frame::HEADER + message::MASK + input::whole(header)) as u64;
            let output = (frame::HEADER + packed_len(output_words, opened_bits)) as u64;
            cost.add(&Cost { bytes_sent: [mask + output, mask + output], ..Cost::default() });
            if options.mode != Mode::Held {
                let hash = (frame::HEADER + message::INPUT_HASH) as u64;
                cost.add(&Cost { bytes_sent: [hash, hash], rounds: 1, ..Cost::default() });
            }
        }
    }
    cost
}

/// What a whole inference costs.
#[must_use]
pub fn plan_cost(plan: &Plan<'_>) -> Cost {
    let options = &plan.header.options;
    let mut cost = Cost::default();
    let mut output = (0, 1);
    for layer in plan.layers() {
        cost.add(&layer_cost(&layer, options));
        if matches!(layer.step, StepPlan::Release { .. }) {
            output = (layer.output_words(options), layer.work(options).opened_bits);
        }
    }
    cost.add(&frame_cost(&plan.header, output.0, output.1));
    cost.flights = flights(plan);
    cost
}
