//! What an inference costs, exactly: bytes, rounds, flights, bundle, memory. Computed from the same functions
//! that the parties walk.

use super::{Client, LayerPlan, Mode, Options, Plan, PlanHeader, Release, Role, Section, Step, StepPlan};
use crate::bits::LANES;
use crate::gate::{polynomial, relu};
use crate::packing::packed_len;
use crate::plan::step::{tournament_round, tournament_rounds};
use crate::wire::{frame, message};

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
        let tile = packed_len(header.input_tile as usize, header.input.bits) + frame::HEADER;
        Self { longest_frame: [control.max(tile as u32), control], ..Self::default() }
    }

    /// Adds a layer's.
    pub fn add(&mut self, layer: &LayerPlan<'_>, options: &Options) {
        let work = layer.work(options);
        let relus = (0..layer.groups()).map(|g| layer.group_relus(g)).max().unwrap_or(0);
        for role in [Role::Seed, Role::Bundle] {
            let r = role.index();
            let blind = role == Role::Seed && options.mode == Mode::Held;
            // A tile of sums; P0 in H holds a tile of C instead.
            let window = layer.tile as usize * if blind { 2 } else { work.word.bytes() };
            self.window_words[r] = self.window_words[r].max(window.div_ceil(8) as u32);
            let mut state = relus.div_ceil(LANES) * work.layout.state_words();
            if blind {
                state += relus.div_ceil(4);
            }
            if matches!((layer.step, options.release), (StepPlan::Release { .. }, Release::Label)) {
                state = tournament_words(layer.elements(), work.layout.state_words());
            } else if matches!(layer.step, StepPlan::Release { .. }) {
                state = layer.elements();
            }
            self.state_words[r] = self.state_words[r].max(state as u32);
            for group in 0..layer.groups() {
                for step in layer.steps(options, group) {
                    for tile in 0..layer.step_tiles(group, step) {
                        let payload = layer.payload(options, &work, group, step, tile, role);
                        self.longest_frame[r] = self.longest_frame[r].max((payload + frame::HEADER) as u32);
                    }
                }
            }
        }
    }
}

/// Words of a tournament's state: values and indices, own and opened differences and index choices,
/// comparisons.
#[must_use]
pub const fn tournament_words(classes: usize, state_words: usize) -> usize {
    let pairs = classes / 2;
    2 * classes + 4 * pairs + pairs.div_ceil(LANES) * state_words
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
    let work = layer.work(options);
    let tiles = |words: usize, bits: u8, count: &dyn Fn(core::ops::Range<usize>) -> usize| -> u64 {
        let mut bytes = 0;
        for group in 0..layer.groups() {
            for tile in 0..layer.group_tiles(group) {
                bytes += chunked_bytes(count(layer.tile_range(group, tile)), words, bits);
            }
        }
        bytes
    };
    let pooled = layer.pool().is_some();
    let relus = |range: core::ops::Range<usize>| layer.relu().count(range);
    let group_words =
        || (0..layer.groups()).map(|g| layer.group_relus(g).div_ceil(LANES) as u64).sum::<u64>();
    let activates = matches!(layer.step, StepPlan::Activate { .. });
    match section {
        Section::Sum if pooled && !activates => 0,
        Section::Sum => tiles(1, work.ring_bits, &|range| range.len()),
        Section::Polynomial if activates => {
            tiles(polynomial::WORDS, work.wire_bits + work.frac_bits, &|range| range.len() - relus(range))
        }
        Section::Relu if activates => {
            tiles(if pooled { relu::WORDS_POOLED } else { relu::WORDS }, work.wire_bits, &relus)
        }
        Section::Leaf => group_words() * 8 * work.layout.leaf_planes() as u64,
        Section::Tree(level) => group_words() * 8 * work.layout.tree_planes(usize::from(level)) as u64,
        Section::Window if pooled => {
            // In chunks of 64 windows, every window at its own width.
            let chunk = |first: usize| first..(first + LANES).min(layer.windows());
            let bits = |w: usize| u64::from(layer.window_bits(&work, w));
            (0..layer.windows())
                .step_by(LANES)
                .map(|first| chunk(first).map(bits).sum::<u64>().div_ceil(8))
                .sum()
        }
        Section::Output
            if matches!(
                (layer.step, options.release),
                (StepPlan::Release { .. }, Release::Logits { .. })
            ) =>
        {
            chunked_bytes(layer.elements(), 1, work.opened_bits)
        }
        Section::TournamentMask(round) => {
            chunked_bytes(tournament_round(layer.elements(), round).0, 1, work.ring_bits)
        }
        Section::TournamentSelect(round) => chunked_bytes(
            tournament_round(layer.elements(), round).0,
            tournament_select_words(round),
            work.ring_bits,
        ),
        Section::TournamentLeaf(round) => {
            tournament_round(layer.elements(), round).0.div_ceil(LANES) as u64
                * 8
                * work.layout.leaf_planes() as u64
        }
        Section::TournamentTree(round, level) => {
            tournament_round(layer.elements(), round).0.div_ceil(LANES) as u64
                * 8
                * work.layout.tree_planes(usize::from(level)) as u64
        }
        _ => 0,
    }
}

/// Words an element of a round's selection: ρ, R_0, R_1, ρ·R_0, ρ·R_1 and, from the second round, a and ρ·a.
#[must_use]
pub const fn tournament_select_words(round: u8) -> usize {
    if round == 0 { 5 } else { 7 }
}

/// Bytes of `count` elements' words in chunks of 64 elements, each chunk packed by itself.
#[must_use]
pub const fn chunked_bytes(count: usize, words: usize, bits: u8) -> u64 {
    (count / LANES * packed_len(LANES * words, bits) + packed_len(count % LANES * words, bits)) as u64
}

/// The sections of a layer, in the bundle's order.
pub fn sections<'l>(
    layer: &'l LayerPlan<'_>,
    options: &'l Options,
) -> impl Iterator<Item = (Section, u64)> + 'l {
    let layout = layer.work(options).layout;
    let levels = layout.levels() as u8;
    let label = matches!((layer.step, options.release), (StepPlan::Release { .. }, Release::Label));
    let rounds = if label { tournament_rounds(layer.elements()) } else { 0 };
    let relus = matches!(layer.step, StepPlan::Activate { .. });
    let tree = (0..if relus { levels } else { 0 }).map(Section::Tree);
    let leaf = relus.then_some(Section::Leaf);
    let tournament = (0..rounds).flat_map(move |round| {
        [Section::TournamentMask(round), Section::TournamentLeaf(round)]
            .into_iter()
            .chain((0..levels).map(move |level| Section::TournamentTree(round, level)))
            .chain([Section::TournamentSelect(round)])
    });
    [Section::Sum, Section::Polynomial]
        .into_iter()
        .chain(leaf)
        .chain(tree)
        .chain([Section::Relu, Section::Window, Section::Output])
        .chain(tournament)
        .map(move |section| (section, section_bytes(layer, options, section)))
}

/// Bundle bytes that stand before the first layer's: P1's share of the input's mask, for a third client.
#[must_use]
pub fn input_section_bytes(header: &PlanHeader<'_>) -> u64 {
    match header.options.client {
        Client::Third => chunked_bytes(header.input.elements as usize, 1, header.input.bits),
        Client::SeedParty => 0,
    }
}

/// Bytes that each party sends in one step of a layer, headers included, [P0, P1].
#[must_use]
pub fn step_bytes(layer: &LayerPlan<'_>, options: &Options, step: Step) -> [u64; 2] {
    let work = layer.work(options);
    [Role::Seed, Role::Bundle].map(|role| {
        let group = |group: usize| {
            let payloads = (0..layer.step_tiles(group, step))
                .map(|tile| layer.payload(options, &work, group, step, tile, role));
            payloads
                .filter(|&payload| payload > 0)
                .map(|payload| (payload + frame::HEADER) as u64)
                .sum::<u64>()
        };
        (0..layer.groups()).map(group).sum()
    })
}

/// What one layer costs, between the parties and in the bundle.
#[must_use]
pub fn layer_cost(layer: &LayerPlan<'_>, options: &Options) -> Cost {
    let mut cost =
        Cost { bundle_bytes: sections(layer, options).map(|(_, bytes)| bytes).sum(), ..Cost::default() };
    let work = layer.work(options);
    for group in 0..layer.groups() {
        let relus = layer.group_relus(group) > 0;
        for step in layer.steps(options, group) {
            let mut sent = [0_u64; 2];
            for role in [Role::Seed, Role::Bundle] {
                for tile in 0..layer.step_tiles(group, step) {
                    let payload = layer.payload(options, &work, group, step, tile, role);
                    if payload > 0 {
                        sent[role.index()] += (payload + frame::HEADER) as u64;
                    }
                }
                cost.bytes_sent[role.index()] += sent[role.index()];
            }
            if sent == [0, 0] {
                continue;
            }
            // Beside the comparisons of the same group, polynomials open for free.
            if step == Step::OpenPolynomial && relus {
                continue;
            }
            cost.rounds += 1;
        }
    }
    cost
}

/// The longest chain of dependent messages, followed step by step.
///
/// A message is delivered in some flight; what depends on it is delivered in the next, and a direction keeps
/// its order.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Flight after which each party can begin the next group.
    base: [u32; 2],
    /// Flight of each party's last message.
    sent: [u32; 2],
    /// Flight in which each party took the last message.
    taken: [u32; 2],
}

impl Clock {
    /// One step: who sends, and the flight that each sender's message depends on, `None` where it answers the
    /// other's.
    fn step(&mut self, sends: [bool; 2], depends: [Option<u32>; 2]) -> [u32; 2] {
        let mut arrives = [0; 2];
        // An answer comes second.
        let order = if depends[0].is_none() { [1, 0] } else { [0, 1] };
        for r in order {
            if sends[r] {
                let after = depends[r].unwrap_or(arrives[r]);
                self.sent[r] = self.sent[r].max(after + 1);
                arrives[1 - r] = self.sent[r];
            }
        }
        for r in 0..2 {
            if sends[1 - r] {
                // A party takes a message of a mutual step after it has sent its own.
                let own = if sends[r] && depends[r].is_some() { self.sent[r] - 1 } else { 0 };
                self.taken[r] = self.taken[r].max(arrives[r]).max(own);
                arrives[r] = self.taken[r];
            }
        }
        arrives
    }

    fn group(&mut self, layer: &LayerPlan<'_>, options: &Options, work: &super::Work, group: usize) {
        let shared = options.mode == Mode::Shared;
        let answers = |flight: u32| if shared { None } else { Some(flight) };
        // Flights after which each party knows C, the level before, t.
        let (mut opened, mut level, mut signed) = (self.base, self.base, self.base);
        for step in layer.steps(options, group) {
            let sends = [Role::Seed, Role::Bundle].map(|role| {
                (0..layer.step_tiles(group, step))
                    .any(|tile| layer.payload(options, work, group, step, tile, role) > 0)
            });
            if sends == [false, false] {
                continue;
            }
            let depends = match step {
                Step::Open | Step::OpenLinear | Step::Release => [Some(self.base[0]), answers(self.base[1])],
                Step::OpenPolynomial => [Some(opened[0]), answers(opened[1])],
                Step::Tree(_)
                | Step::Sign
                | Step::TournamentTree(..)
                | Step::TournamentSign(_)
                | Step::TournamentOpen(_)
                | Step::Output => [Some(level[0]), Some(level[1])],
                Step::OpenRelu | Step::OpenPool => [Some(signed[0]), answers(signed[1])],
            };
            let arrives = self.step(sends, depends);
            for r in 0..2 {
                if !sends[1 - r] {
                    continue;
                }
                match step {
                    Step::Open => (opened[r], level[r], signed[r]) = (arrives[r], arrives[r], arrives[r]),
                    Step::Tree(_)
                    | Step::TournamentOpen(_)
                    | Step::TournamentTree(..)
                    | Step::TournamentSign(_)
                    | Step::Release => {
                        level[r] = arrives[r];
                    }
                    Step::Sign => signed[r] = arrives[r],
                    _ => {}
                }
            }
        }
        for r in 0..2 {
            self.base[r] = self.base[r].max(self.taken[r]).max(self.sent[r].saturating_sub(1));
        }
    }
}

/// The longest chain of dependent messages of an inference, the acknowledgements and the client's messages
/// included.
#[must_use]
pub fn flights(plan: &Plan<'_>) -> u32 {
    let options = &plan.header.options;
    let mut clock = Clock { base: [1; 2], sent: [1; 2], taken: [1; 2] };
    match options.client {
        // P0 goes on while its input travels.
        Client::SeedParty => {
            let arrives = clock.step([true, false], [Some(1), Some(1)]);
            clock.base = [1, arrives[1]];
        }
        // Shares of A to the client, E from it.
        Client::Third => {
            clock = Clock { base: [3; 2], sent: [3; 2], taken: [3; 2] };
            if options.mode == Mode::Held {
                clock.base[0] = 2;
            } else {
                clock.step([true, true], [Some(3), Some(3)]);
                clock.base = clock.taken;
            }
        }
    }
    for layer in plan.layers() {
        let work = layer.work(options);
        for group in 0..layer.groups() {
            clock.group(&layer, options, &work, group);
        }
    }
    let last = clock.taken[0].max(clock.taken[1]).max(clock.base[0]).max(clock.base[1]);
    last + u32::from(options.client == Client::Third)
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
            let tile = (header.input_tile as usize).max(1);
            let elements = header.input.elements as usize;
            let mut bytes = 0;
            for first in (0..elements).step_by(tile) {
                bytes += (frame::HEADER + packed_len((elements - first).min(tile), header.input.bits)) as u64;
            }
            cost.add(&Cost { bytes_sent: [bytes, 0], rounds: 1, ..Cost::default() });
        }
        Client::Third => {
            // Each party's acknowledgement with its share of A, and its words of the output, to the client.
            let mask = (frame::HEADER
                + message::MASK
                + packed_len(header.input.elements as usize, header.input.bits))
                as u64;
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
