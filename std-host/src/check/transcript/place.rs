//! What a frame is, and which element a byte of it belongs to.

use halfnet_core::bits::LANES;
use halfnet_core::plan::step::tournament_round;
use halfnet_core::plan::{GroupPlan, LayerPlan, Mode, Options, Plan, Role, Step, Work};
use halfnet_core::wire::frame::Header;
use halfnet_core::wire::message::Code;

/// A frame's step in words.
pub(super) fn name(plan: &Plan<'_>, header: &Header) -> String {
    let Some(layer) = plan.layers().nth(usize::from(header.layer)) else {
        let messages = [
            (Code::Input, "masked input"),
            (Code::InputHash, "hash of the masked input"),
            (Code::Masked, "masked input of the client"),
            (Code::Output, "words of the output for the client"),
        ];
        let known = messages.into_iter().find(|(code, _)| *code as u8 == header.step);
        return known.map_or_else(|| format!("message {}", header.step), |(_, name)| name.to_owned());
    };
    step(&layer, &plan.header.options, header.step).map_or_else(|| format!("step {}", header.step), in_words)
}

/// The step that a code names in a layer.
pub(super) fn step(layer: &LayerPlan<'_>, options: &Options, code: u8) -> Option<Step> {
    let work = layer.work(options);
    let mut steps = layer.group_plans(options, &work).flat_map(|(group, _)| group.steps());
    steps.find(|step| step.code() == code)
}

fn in_words(step: Step) -> String {
    match step {
        Step::Open => "opening 1".to_owned(),
        Step::OpenPolynomial => "opening 2 of polynomials".to_owned(),
        Step::Tree(level) => format!("comparison, tree level {level}"),
        Step::Sign => "comparison, sign".to_owned(),
        Step::OpenRelu => "opening 2 of ReLUs".to_owned(),
        Step::OpenPool => "opening 2 of pooled windows".to_owned(),
        Step::OpenLinear => "opening 2 of a linear layer".to_owned(),
        Step::Release => "release of the logits".to_owned(),
        Step::TournamentOpen(round) => format!("argmax, round {round}, differences"),
        Step::TournamentTree(round, level) => format!("argmax, round {round}, tree level {level}"),
        Step::TournamentSign(round) => format!("argmax, round {round}, sign"),
        Step::Output => "words of the output".to_owned(),
    }
}

/// A frame among all that a party sends in a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) role: Role,
    pub(super) step: Step,
    /// Its number, as in the frame's header.
    pub(super) tile: u16,
}

/// The element of the layer's output (of its sum, before a pool) that bit `bit` of a payload belongs to; of a
/// comparison, the element compared. `None` where a frame is not of elements.
pub(super) fn element(layer: &LayerPlan<'_>, options: &Options, place: &Place, bit: usize) -> Option<usize> {
    let work = layer.work(options);
    let Place { role, step, tile } = *place;
    let (group, tile) = layer.tile_of_frame(step, tile);
    let frames = GroupPlan::new(layer, options, &work, group);
    let has = frames.steps().contains(&step) && tile < frames.frames(step);
    if !has || frames.payload(step, tile, role) == 0 {
        return None;
    }
    let range = layer.tile_range(group, tile);
    match step {
        Step::Open | Step::OpenLinear => range.clone().nth(bit / width(options, &work, step, role)?),
        Step::OpenPolynomial => {
            range.clone().filter(|&i| !layer.relu().get(i)).nth(bit / width(options, &work, step, role)?)
        }
        Step::OpenRelu => {
            range.clone().filter(|&i| layer.relu().get(i)).nth(bit / width(options, &work, step, role)?)
        }
        Step::OpenPool => {
            let whole = options.mode != Mode::TwoServers && role == Role::Seed;
            let mut before = 0;
            layer.window_range(tile).find(|&window| {
                before += usize::from(if whole { layer.window_bits(&work, window) } else { work.wire_bits });
                bit < before
            })
        }
        Step::Release => Some(bit / usize::from(work.ring_bits)),
        Step::Output if layer.output_words(options) > 1 => Some(bit / usize::from(work.opened_bits)),
        Step::Tree(level) => compared(layer, group, tile, work.layout.opened_planes(usize::from(level)), bit),
        Step::Sign => compared(layer, group, tile, 1, bit),
        // The pair's first class, of the first round.
        Step::TournamentOpen(0) => {
            let pair = bit / usize::from(work.ring_bits);
            (pair < tournament_round(layer.elements(), 0).0).then_some(2 * pair)
        }
        _ => None,
    }
}

/// Bits of an element in an opening.
fn width(options: &Options, work: &Work, step: Step, role: Role) -> Option<usize> {
    let (all, high) = match step {
        Step::Open => (work.ring_bits, work.opened_bits),
        Step::OpenPolynomial => (work.wire_bits + work.frac_bits, work.wire_bits),
        Step::OpenRelu => (work.wire_bits, work.wire_bits),
        Step::OpenLinear => (work.ring_bits, work.wire_bits),
        _ => return None,
    };
    let bits = if options.mode != Mode::TwoServers && role == Role::Seed { all } else { high };
    (bits > 0).then_some(usize::from(bits))
}

/// The ReLU whose comparison a bit belongs to: planes of up to 64 comparisons, word by word.
fn compared(layer: &LayerPlan<'_>, group: usize, tile: usize, planes: usize, bit: usize) -> Option<usize> {
    let first = tile * layer.words_a_frame() * LANES;
    let lanes = layer.group_relus(group).checked_sub(first)?.min(layer.words_a_frame() * LANES);
    let word = bit / (planes.max(1) * LANES);
    let left = lanes.checked_sub(word * LANES)?.min(LANES);
    let lane = (bit - word * planes * LANES) % (8 * left.div_ceil(8)).max(1);
    layer.group_range(group).filter(|&i| layer.relu().get(i)).nth(first + word * LANES + lane)
}
