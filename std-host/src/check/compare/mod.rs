//! Why a private answer differs: one picture, layer by layer, in floats, in integers, and between two
//! parties.
//!
//! Three differences are kept apart. Between the float network and the deterministic integers lies what the
//! importer rounded; between those and the stochastic integers lies what the dealt coins rounded; between the
//! stochastic integers and two parties with the same coins lies nothing, or a fault. [`compare`] deals for
//! looking into it and reconstructs every wire of the parties as E + A.

mod report;

use halfnet_core::model::{Model, Step};
use halfnet_core::plan::{Options, Plan, Release, StepPlan};
use halfnet_core::ring::{low_mask, signed};

pub use report::{Comparison, Differences, LayerComparison};

use crate::check::inspection::{client_name, inspect, mode_name, release_name};
use crate::check::rehearsal::{Rehearsal, Run, Wire};
use crate::check::trial::TrialError;
use crate::network::float::forward::label;
use crate::network::float::{FloatNetwork, Trace};
use crate::network::simulate::{LayerTrace, Nearest, Observer};

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The model's blob.
    pub model: &'a [u8],
    /// What is fixed when dealing.
    pub options: Options,
    /// The picture, bytes in (channel, row, column) order.
    pub pixels: &'a [u8],
    /// The float network that the model was imported from, where it is known.
    pub float: Option<&'a FloatNetwork>,
    /// Deal the same coins again.
    pub test_seed: Option<&'a str>,
}

/// Keeps what every layer writes.
#[derive(Default)]
struct Kept(Vec<Vec<i64>>);

impl Observer for Kept {
    fn layer(&mut self, _layer: usize, trace: LayerTrace<'_>) {
        self.0.push(trace.output.to_vec());
    }
}

/// Compares; the parties' frames travel over `wire`, [`Plain`](crate::check::rehearsal::Plain) for most.
///
/// # Errors
/// The options do not fit the model, the picture has another size, or a session ended early.
pub fn compare(request: &Request<'_>, wire: &mut dyn Wire) -> Result<Comparison, TrialError> {
    let model = Model::decode(request.model)?;
    let mut rehearsal = Rehearsal::new(request.model, request.options, 1, request.test_seed)?;
    let run = rehearsal.run(request.pixels, wire)?;
    let predictor = rehearsal.predictor();
    let reference = predictor.reference();
    let (mut nearest, mut stochastic) = (Kept::default(), Kept::default());
    let deterministic = reference.run(&reference.input(request.pixels), &mut Nearest, Some(&mut nearest));
    let predicted = predictor.answer(run.counter, request.pixels, Some(&mut stochastic))?;
    let float = request.float.map(|network| network.run(request.pixels));

    let plan = Plan::decode(rehearsal.plan_bytes())?;
    let masks = predictor.wire_masks(run.counter)?;
    let wires =
        Wires { run: &run, masks: &masks, input: reference.input(request.pixels), stochastic: &stochastic.0 };
    let inspection = inspect(&model, request.model.len(), &request.options, None)?;
    let mut layers = Vec::with_capacity(model.layers.len());
    for (index, (layer, figures)) in plan.layers().zip(inspection.layers).enumerate() {
        let units = Units::of(&model, index);
        let parties = match layer.step {
            StepPlan::Release { ring_bits } => released(&run, &predicted.values, &request.options, ring_bits),
            _ => wires.differences(index + 1, layer.output.bits),
        };
        let range = reference.layers()[index].range();
        let seen = predicted.outcome.ranges.get(index).copied().unwrap_or_default();
        let exact = |v: &i64| *v as f64;
        layers.push(LayerComparison {
            index,
            name: request
                .float
                .map_or_else(|| figures.linear.clone(), |network| network.layers[index].name.clone()),
            linear: figures.linear,
            elements: figures.elements,
            outputs: nearest.0[index].len(),
            low: seen.low,
            high: seen.high,
            range,
            used: range.map(|range| seen.used(range)),
            range_violations: seen.violations,
            in_real_units: units.is_known(),
            float_error: float
                .as_ref()
                .filter(|_| units.is_known())
                .map(|trace| from_float(trace, index, &nearest.0[index], &units)),
            coin_error: Differences::of(
                &units,
                nearest.0[index].iter().map(exact),
                stochastic.0[index].iter().map(exact),
            ),
            parties_off: parties.as_ref().map(|p| p.iter().filter(|d| **d != 0).count()),
            party_error: parties
                .filter(|_| {
                    !(matches!(layer.step, StepPlan::Release { .. })
                        && request.options.release == Release::Label)
                })
                .map(|p| Differences::of(&units, p.iter().map(|_| 0.0), p.iter().map(exact))),
        });
    }
    let references = Labels {
        float: float.as_ref().and_then(|trace| trace.wires.last()).map(|logits| label(logits)),
        deterministic: deterministic.label(),
        stochastic: predicted.outcome.label(),
    };
    let input = wires.differences(0, plan.header.input.bits);
    Ok(finish(request, model.header.name, &run, &references, input, layers))
}

/// What each reference answers.
struct Labels {
    float: Option<usize>,
    deterministic: usize,
    stochastic: usize,
}

fn finish(
    request: &Request<'_>,
    model: &str,
    run: &Run,
    references: &Labels,
    input: Option<Vec<i64>>,
    layers: Vec<LayerComparison>,
) -> Comparison {
    let Options { mode, client, release, .. } = request.options;
    Comparison {
        model: model.to_owned(),
        mode: mode_name(mode),
        client: client_name(client),
        release: release_name(release),
        insecure_test_seed: request.test_seed.is_some(),
        float_label: references.float,
        deterministic_label: references.deterministic,
        stochastic_label: references.stochastic,
        parties_label: match release {
            Release::Label => run.answer.first().map_or(usize::MAX, |&l| l as usize),
            Release::Logits { .. } => label(&run.answer),
        },
        answer: run.answer.clone(),
        range_violations: layers.iter().map(|l| l.range_violations).sum(),
        input_off: input.map_or(0, |input| input.iter().filter(|d| **d != 0).count()),
        first_layer_off: layers.iter().position(|l| l.parties_off.is_some_and(|off| off > 0)),
        first_layer_far: layers.iter().position(LayerComparison::is_far_from_float),
        layers,
    }
}

/// The parties' wires beside the reference's.
struct Wires<'a> {
    run: &'a Run,
    masks: &'a [Vec<u64>],
    input: Vec<i64>,
    stochastic: &'a [Vec<i64>],
}

impl Wires<'_> {
    /// E + A − X of every element, the representative next to zero modulo 2^`bits`; `None` where no
    /// convolution reads the wire.
    fn differences(&self, wire: usize, bits: u8) -> Option<Vec<i64>> {
        let masked = self.run.masked.get(wire)?.as_ref()?;
        let expected = if wire == 0 { &self.input } else { self.stochastic.get(wire - 1)? };
        let masks = self.masks.get(wire)?;
        let difference = |((e, a), x): ((&u64, &u64), &i64)| {
            signed(e.wrapping_add(*a).wrapping_sub(*x as u64) & low_mask(bits), bits)
        };
        Some(masked.iter().zip(masks).zip(expected).map(difference).collect())
    }
}

/// Differences of the answer in units of the last sum; a wrong label counts as one wrong output.
fn released(run: &Run, expected: &[i64], options: &Options, ring_bits: u8) -> Option<Vec<i64>> {
    let cut = match options.release {
        Release::Label => 0,
        Release::Logits { bits } => ring_bits.saturating_sub(bits),
    };
    Some(run.answer.iter().zip(expected).map(|(found, expected)| (found - expected) << cut).collect())
}

/// What one unit of a layer's output is in the float network.
struct Units {
    scales: Vec<f64>,
    plane: usize,
}

impl Units {
    fn of(model: &Model<'_>, layer: usize) -> Self {
        let layer = &model.layers[layer];
        let scales =
            layer.output_scale.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
        let sum = layer.sum_shape();
        let plane = match layer.step {
            Step::Activate(activation) => activation.pool.map_or(sum, |p| p.output(sum)).plane(),
            Step::Rescale { pool, .. } => pool.map_or(sum, |p| p.output(sum)).plane(),
            Step::Release { .. } => sum.plane(),
        };
        Self { scales, plane: plane.max(1) }
    }

    fn is_known(&self) -> bool {
        !self.scales.is_empty()
    }

    /// 1 where nothing is known: integers are then their own unit.
    fn at(&self, element: usize) -> f64 {
        match self.scales[..] {
            [] => 1.0,
            [scale] => scale,
            _ => self.scales.get(element / self.plane).copied().unwrap_or(1.0),
        }
    }
}

impl Differences {
    /// Of `found` against `expected`, both in integers of `units`.
    fn of(units: &Units, expected: impl Iterator<Item = f64>, found: impl Iterator<Item = f64>) -> Self {
        Self::between(
            expected.enumerate().map(|(i, v)| v * units.at(i)),
            found.enumerate().map(|(i, v)| v * units.at(i)),
        )
    }
}

fn from_float(trace: &Trace, layer: usize, integers: &[i64], units: &Units) -> Differences {
    let real = integers.iter().enumerate().map(|(i, v)| *v as f64 * units.at(i));
    Differences::between(trace.wires[layer + 1].iter().map(|v| f64::from(*v)), real)
}
