//! From a model and the choices made when dealing to a plan: widths, regions, tiles.

use super::wires::Wires;
use super::{
    Client, LayerPlan, Mode, Options, Plan, PlanHeader, Region, Release, Role, StepPlan, check_options, cost,
};
use crate::error::ModelError;
use crate::exchange::input;
use crate::model::{Model, Step};
use crate::ring::WIDEST;
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
/// The options forbid each other, the release asks for too much, or the memory budgets are too small. Where `out`
/// is too short this is [`ModelError::TooLarge`]: try a larger one.
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
            let mut record = wires.record(index, layer)?;
            fit(&mut record, &header, options, share)?;
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
    let frame = MASK + input::whole(header);
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
