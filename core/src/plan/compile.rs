//! From a model and the choices made when dealing to a plan: wires, widths, regions, tiles.
//!
//! Regions are given out first-fit over the wires that are still to be read. A residual sum of the same shape
//! is written over its skip wire: element i of the join is read before element i of the sum is written, so a
//! residual block needs two buffers, not three.

use heapless::Vec;

use super::{
    Client, LayerPlan, LinearPlan, Mode, Options, Plan, PlanHeader, Region, Release, Role, StepPlan,
    TermPlan, check_options, cost,
};
use crate::error::ModelError;
use crate::model::{Activation, Layer, Linear, MAX_LAYERS, Model, Step};
use crate::packing::packed_len;
use crate::ring::{WIDEST, WordKind};
use crate::shape::Shape;
use crate::wire::frame::MAX_PAYLOAD;
use crate::wire::message::MASK;

/// Elements of a tile where memory allows.
pub const TILE: usize = 1 << 14;
/// Elements of a tile, at least (or the whole layer): below this a party cannot stream.
pub const SMALLEST_TILE: usize = 64;

/// 64-bit words of an arena, at most: a GiB.
pub const MAX_ARENA_WORDS: usize = 1 << 27;
/// Weights of a network, at most.
pub const MAX_WEIGHTS: u64 = 1 << 28;

/// Makes a plan; returns its length in `out`.
///
/// # Errors
/// The options forbid each other, the release asks for too much, the memory budgets are too small, or `out`
/// is (a [`ModelError::TooLarge`]).
pub fn compile(model: &Model<'_>, options: &Options, out: &mut [u8]) -> Result<usize, ModelError> {
    check_options(options)?;
    // Logits lie in −2^(b−3) .. 2^(b−3), which n = 1 would not hold: its range ends at 0.
    if let (Release::Logits { bits }, Some(Step::Release { ring_bits })) =
        (options.release, model.layers.last().map(|l| l.step))
        && !(2..=16.min(ring_bits.saturating_sub(2))).contains(&bits)
    {
        return Err(ModelError::ReleaseBits);
    }
    if let (Release::Label, Some(layer)) = (options.release, model.layers.last())
        && let Step::Release { ring_bits } = layer.step
        && !super::layer::label_fits(layer.sum_shape().elements(), ring_bits)
    {
        return Err(ModelError::TooLarge);
    }
    let bits = model.wire_bits().map_err(|e| e.reason)?;
    let wires = Wires::allocate(model, &bits, options)?;
    // The largest window and the largest state may be of different layers, and both stand in the arena: where
    // their sum is too much, state is held to what the window leaves, and the window to ever less.
    for share in [Share::EachLayer, Share::Window(2), Share::Window(4), Share::Window(8), Share::Window(16)] {
        match compile_with(model, options, &wires, share, out) {
            Err(ModelError::Memory) => {}
            done => return done,
        }
    }
    Err(ModelError::Memory)
}

/// How what the wires leave of a budget is shared between the tile window and the comparison state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Each layer as it likes.
    EachLayer,
    /// One part in so many for the window, the rest for the state, in every layer.
    Window(u64),
}

fn compile_with(
    model: &Model<'_>,
    options: &Options,
    wires: &Wires,
    share: Share,
    out: &mut [u8],
) -> Result<usize, ModelError> {
    let mut header = PlanHeader {
        options: *options,
        model: model.header.clone(),
        layers: u16::try_from(model.layers.len()).map_err(|_| ModelError::TooLarge)?,
        input: wires.wire(0)?,
        input_tile: input_tile(model.header.input.elements(), wires, options) as u32,
        wire_words: wires.words,
        window_words: [0; 2],
        state_words: [0; 2],
        longest_frame: [0; 2],
    };
    // Twice: the header stands first but sums up the records.
    let mut len = 0;
    for pass in 0..2 {
        len = postcard::to_slice(&header, out).map_err(|_| ModelError::TooLarge)?.len();
        let mut needs = cost::Needs::input(&header);
        for (index, layer) in model.layers.iter().enumerate() {
            let record = wires.record(index, layer, &header, options, share)?;
            needs.add(&record, options);
            let rest = out.get_mut(len..).ok_or(ModelError::TooLarge)?;
            len += postcard::to_slice(&record, rest).map_err(|_| ModelError::TooLarge)?.len();
        }
        if pass == 0 {
            header.window_words = needs.window_words;
            header.state_words = needs.state_words;
            header.longest_frame = needs.longest_frame;
            check_client_frames(&header)?;
            check_budgets(&header)?;
        }
    }
    Ok(len)
}

/// Elements of a tile of the input: what the tightest budget has for 8 bytes an element beside its wires, so
/// that a small party's frames are small too.
fn input_tile(elements: usize, wires: &Wires, options: &Options) -> usize {
    let room = |r: usize| options.memory[r].saturating_sub(8 * u64::from(wires.words[r])) / 16;
    let room = room(0).min(room(1)).min(TILE as u64) as usize;
    // Not so small that a frame's number would not hold them.
    room.max(SMALLEST_TILE).max(elements.div_ceil(usize::from(u16::MAX))).min(elements)
}

/// A third client's E and its shares of A are a frame each.
fn check_client_frames(header: &PlanHeader<'_>) -> Result<(), ModelError> {
    let frame = MASK + packed_len(header.input.elements as usize, header.input.bits);
    if header.options.client == Client::Third && frame > MAX_PAYLOAD {
        Err(ModelError::TooLarge)
    } else {
        Ok(())
    }
}

/// The arenas that a header states lie within the budgets that it states.
fn check_budgets(header: &PlanHeader<'_>) -> Result<(), ModelError> {
    let fits = |r: usize| {
        let words = [header.wire_words[r], header.window_words[r], header.state_words[r]];
        8 * words.iter().map(|&w| u64::from(w)).sum::<u64>() <= header.options.memory[r]
    };
    if fits(0) && fits(1) { Ok(()) } else { Err(ModelError::Memory) }
}

/// The header's sizes are those that the records need.
pub(super) fn check_sizes(plan: &Plan<'_>) -> Result<(), ModelError> {
    let header = &plan.header;
    check_client_frames(header)?;
    check_budgets(header)?;
    let mut needs = cost::Needs::input(header);
    for layer in plan.layers() {
        needs.add(&layer, &header.options);
    }
    let enough = |have: &[u32; 2], need: &[u32; 2]| have == need;
    // Exactly the arena that the regions reach, and frames that a header can name.
    let (mut reach, mut pooled, mut all) = ([0; 2], 0, 0);
    let mut weights = 0_u64;
    let mut note = |region: &Region, seed: bool| {
        all += region.range().len();
        let end = region.range().end;
        reach[1] = end.max(reach[1]);
        reach[0] = if seed { end.max(reach[0]) } else { reach[0] };
    };
    let kept = plan.keeps_wires(Role::Seed);
    note(&header.input, kept);
    for layer in plan.layers() {
        weights += layer.terms.iter().map(|t| t.linear.weights() as u64).sum::<u64>();
        if !matches!(layer.step, StepPlan::Release { .. }) {
            note(&layer.output, kept);
            note(&layer.opened, kept);
        }
        if layer.pool().is_some() {
            note(&layer.pooled[1], false);
            pooled = pooled.max(layer.pooled[0].range().end);
        }
    }
    reach[0] = reach[0].max(pooled);
    let longest = MAX_PAYLOAD as u32;
    if reach != header.wire_words.map(|w| w as usize) || header.longest_frame.iter().any(|&f| f > longest) {
        return Err(ModelError::Memory);
    }
    // First fit never reaches beyond the sum of all regions; a plan that does would have a party reserve
    // memory for nothing.
    let large = [Role::Seed, Role::Bundle].iter().any(|&role| plan.arena_words(role) > MAX_ARENA_WORDS);
    if large || reach.iter().any(|&words| words > all) || weights > MAX_WEIGHTS {
        return Err(ModelError::TooLarge);
    }
    let sizes = enough(&header.window_words, &needs.window_words)
        && enough(&header.state_words, &needs.state_words)
        && enough(&header.longest_frame, &needs.longest_frame);
    let input = header.input.range().end <= header.wire_words[1] as usize
        && (!plan.keeps_wires(Role::Seed) || header.input.range().end <= header.wire_words[0] as usize);
    if sizes && input { Ok(()) } else { Err(ModelError::Memory) }
}

/// Where every wire lies.
struct Wires {
    regions: Vec<Region, { MAX_LAYERS + 1 }>,
    opened: Vec<Region, MAX_LAYERS>,
    pooled: Vec<[Region; 2], MAX_LAYERS>,
    words: [u32; 2],
}

impl Wires {
    fn wire(&self, index: usize) -> Result<Region, ModelError> {
        self.regions.get(index).copied().ok_or(ModelError::Wiring)
    }

    fn allocate(model: &Model<'_>, bits: &[u8], options: &Options) -> Result<Self, ModelError> {
        let held = options.mode == Mode::Held;
        let mut wires = Self { regions: Vec::new(), opened: Vec::new(), pooled: Vec::new(), words: [0; 2] };
        let last_use = |wire: usize| {
            let reads = |layer: &Layer<'_>| layer.terms.iter().any(|t| usize::from(t.source) == wire);
            model.layers.iter().rposition(reads).unwrap_or(0)
        };
        let width = |wire: usize| bits.get(wire).copied().ok_or(ModelError::Wiring);
        let place = |live: &[Region], elements: usize, bits: u8| -> Result<Region, ModelError> {
            let mut region = Region {
                offset: 0,
                elements: u32::try_from(elements).map_err(|_| ModelError::TooLarge)?,
                bits,
            };
            // First fit: try the start and the end of every live region.
            let mut best = u32::MAX;
            for start in core::iter::once(0).chain(live.iter().map(|r| r.range().end as u32)) {
                region.offset = start;
                let range = region.range();
                if start < best
                    && live.iter().all(|r| r.range().end <= range.start || range.end <= r.range().start)
                {
                    best = start;
                }
            }
            region.offset = best;
            Ok(region)
        };
        let first = place(&[], model.header.input.elements(), width(0)?)?;
        wires.regions.push(first).map_err(|_| ModelError::TooLarge)?;
        let mut high = [0_u32; 2];
        let mut note = |region: &Region, seed: bool| {
            let end = region.range().end as u32;
            high[1] = high[1].max(end);
            if seed {
                high[0] = high[0].max(end);
            }
        };
        note(&first, !held);
        for (index, layer) in model.layers.iter().enumerate() {
            let mut live: Vec<Region, { MAX_LAYERS + 4 }> = Vec::new();
            for (wire, region) in wires.regions.iter().enumerate() {
                if last_use(wire) >= index {
                    live.push(*region).map_err(|_| ModelError::TooLarge)?;
                }
            }
            let sum = layer.sum_shape();
            let release = matches!(layer.step, Step::Release { .. });
            let pool = match layer.step {
                Step::Activate(Activation { pool, .. }) | Step::Rescale { pool, .. } => pool,
                Step::Release { .. } => None,
            };
            let out_bits = if release { 1 } else { width(index + 1)? };
            let out_elements = if release { 0 } else { layer.output_shape().elements() };
            let output = match in_place(layer, index, &wires, &last_use, out_bits) {
                Some(source) if !release && pool.is_none() => Region { bits: out_bits, ..source },
                _ => place(&live, out_elements, out_bits)?,
            };
            live.push(output).map_err(|_| ModelError::TooLarge)?;
            note(&output, !held);
            // Before a pool, C waits in a region of its own and the windows' shares add up in another.
            let (mut opened, mut pooled) = (output, [Region { offset: 0, elements: 0, bits: 1 }; 2]);
            if pool.is_some() {
                if let Step::Activate(activation) = &layer.step {
                    let bits = activation.ring_bits.saturating_sub(activation.shift);
                    opened = place(&live, sum.elements(), bits)?;
                    live.push(opened).map_err(|_| ModelError::TooLarge)?;
                    note(&opened, !held);
                }
                let bits = match &layer.step {
                    Step::Activate(activation) => {
                        out_bits + activation.polynomial.as_ref().map_or(0, |p| p.frac_bits)
                    }
                    Step::Rescale { shift, .. } => out_bits + shift,
                    Step::Release { .. } => out_bits,
                };
                let kept = place(&live, out_elements, bits)?;
                note(&kept, !held);
                // P0 in H has nothing else in its arena.
                pooled = [if held { Region { offset: 0, ..kept } } else { kept }, kept];
                if held {
                    high_seed(&mut wires.words, &pooled[0]);
                }
            }
            wires.regions.push(output).map_err(|_| ModelError::TooLarge)?;
            wires.opened.push(opened).map_err(|_| ModelError::TooLarge)?;
            wires.pooled.push(pooled).map_err(|_| ModelError::TooLarge)?;
        }
        wires.words = [wires.words[0].max(high[0]), high[1]];
        Ok(wires)
    }

    fn record<'a>(
        &self,
        index: usize,
        layer: &Layer<'a>,
        header: &PlanHeader<'_>,
        options: &Options,
        share: Share,
    ) -> Result<LayerPlan<'a>, ModelError> {
        let mut terms = Vec::new();
        for term in &layer.terms {
            let linear = match term.linear {
                Linear::Convolution { geometry, .. } => LinearPlan::Convolution(geometry),
                Linear::JoinShift { geometry, shift } => LinearPlan::JoinShift { geometry, shift },
                Linear::JoinScaled { geometry, .. } => LinearPlan::JoinScaled { geometry },
            };
            let source = self.wire(usize::from(term.source))?;
            terms.push(TermPlan { source, linear }).map_err(|_| ModelError::TooLarge)?;
        }
        let step = match &layer.step {
            Step::Activate(a) => StepPlan::Activate {
                ring_bits: a.ring_bits,
                shift: a.shift,
                relu: a.relu,
                frac_bits: a.polynomial.as_ref().map_or(0, |p| p.frac_bits),
                pool: a.pool,
            },
            Step::Rescale { shift, pool } => StepPlan::Rescale { shift: *shift, pool: *pool },
            Step::Release { ring_bits } => StepPlan::Release { ring_bits: *ring_bits },
        };
        let mut record = LayerPlan {
            index: index as u16,
            terms,
            sum: layer.sum_shape(),
            step,
            output: self.wire(index + 1)?,
            opened: self.opened.get(index).copied().ok_or(ModelError::Wiring)?,
            pooled: self.pooled.get(index).copied().ok_or(ModelError::Wiring)?,
            tile: 1,
            group: 1,
        };
        fit(&mut record, header, options, share)?;
        Ok(record)
    }
}

fn high_seed(words: &mut [u32; 2], region: &Region) {
    words[0] = words[0].max(region.range().end as u32);
}

/// The skip wire over which a layer's sum may be written.
fn in_place(
    layer: &Layer<'_>,
    index: usize,
    wires: &Wires,
    last_use: &impl Fn(usize) -> usize,
    bits: u8,
) -> Option<Region> {
    let reads = |wire: u16| layer.terms.iter().filter(|t| t.source == wire).count();
    layer.terms.iter().find_map(|term| {
        let geometry = match term.linear {
            Linear::JoinShift { geometry, .. } | Linear::JoinScaled { geometry, .. } => geometry,
            Linear::Convolution { .. } => return None,
        };
        let source = wires.regions.get(usize::from(term.source))?;
        let same_word = source.word() == WordKind::for_bits(bits);
        (geometry.is_in_place()
            && same_word
            && reads(term.source) == 1
            && last_use(usize::from(term.source)) == index)
            .then_some(*source)
    })
}

/// Chooses tile and group: the largest that both parties' budgets hold.
fn fit(
    record: &mut LayerPlan<'_>,
    header: &PlanHeader<'_>,
    options: &Options,
    share: Share,
) -> Result<(), ModelError> {
    if record.widest(&record.work(options)) > WIDEST {
        return Err(ModelError::TooWide);
    }
    let elements = record.elements();
    let free = |role: Role| {
        options.memory[role.index()].saturating_sub(8 * u64::from(header.wire_words[role.index()]))
    };
    let word = record.work(options).word.bytes() as u64;
    // Half of what is free for the tile, or less; P0 in H keeps 2 bytes an element and needs frames of up to
    // 8 beside the arena.
    let part = match share {
        Share::EachLayer => 2,
        Share::Window(part) => part,
    };
    let window = |role: Role| free(role) / part;
    let seed = if options.mode == Mode::Held { window(Role::Seed) / 8 } else { window(Role::Seed) / word };
    let room = seed.min(window(Role::Bundle) / word).min(TILE as u64) as usize;
    if matches!(record.step, StepPlan::Release { .. }) {
        record.tile = elements as u32;
    } else {
        record.tile = aligned(room, record.sum, elements) as u32;
    }
    if (record.tile as usize) < SMALLEST_TILE.min(elements) {
        return Err(ModelError::Memory);
    }
    let tiles = elements.div_ceil((record.tile as usize).max(1));
    record.group = u16::try_from(tiles).map_err(|_| ModelError::Memory)?;
    loop {
        let mut needs = cost::Needs::default();
        needs.add(record, options);
        let fits = |role: Role| {
            let r = role.index();
            let own = 8 * u64::from(needs.window_words[r]);
            let beside = if share == Share::EachLayer { own } else { own.max(window(role)) };
            8 * u64::from(needs.state_words[r]) <= free(role).saturating_sub(beside)
        };
        if fits(Role::Seed) && fits(Role::Bundle) {
            return Ok(());
        }
        if matches!(record.step, StepPlan::Release { .. }) {
            return Err(ModelError::Memory);
        }
        if record.group == 1 {
            // One tile of comparisons is too much: smaller tiles.
            let smaller = record.tile / 2;
            if (smaller as usize) < SMALLEST_TILE {
                return Err(ModelError::Memory);
            }
            record.tile = aligned(smaller as usize, record.sum, elements) as u32;
        } else {
            record.group = record.group.div_ceil(2);
        }
    }
}

/// The largest tile of at most `room` elements that is whole channels, else whole rows, else (where those
/// would be too small) any.
fn aligned(room: usize, shape: Shape, elements: usize) -> usize {
    if room >= elements {
        return elements;
    }
    let whole = |unit: usize| room.checked_div(unit).map_or(0, |units| units * unit);
    [shape.plane(), usize::from(shape.width)]
        .into_iter()
        .map(whole)
        .find(|&tile| tile >= SMALLEST_TILE)
        .unwrap_or(room)
}

/// The default budgets: as much as any layer wants.
#[must_use]
pub const fn ample() -> [u64; 2] {
    [u64::MAX, u64::MAX]
}

/// The default client of a mode.
#[must_use]
pub const fn default_client(mode: Mode) -> Client {
    match mode {
        Mode::TwoServers => Client::Third,
        Mode::Shared | Mode::Held => Client::SeedParty,
    }
}
