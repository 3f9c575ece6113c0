//! Compares what the parties answered with every reference there is.

use halfnet_core::model::{Model, Step};
use halfnet_core::plan::{Plan, Release};
use rayon::prelude::*;

use super::{Difference, LayerFigures, Trial, TrialError, TrialReport};
use crate::check::inspection::{Inspection, inspect};
use crate::check::pair::PairReport;
use crate::check::predict::Predictor;
use crate::network::float::forward::label;
use crate::network::simulate::Nearest;

/// What is known of one picture.
struct Verdict {
    exact: bool,
    label: usize,
    deterministic: Vec<i64>,
}

pub(super) fn judge(
    trial: &Trial<'_>,
    model: &Model<'_>,
    plan: &Plan<'_>,
    predictor: &Predictor,
    pair: &PairReport,
) -> Result<TrialReport, TrialError> {
    let inspection = inspect(model, trial.model.len(), &trial.options, None)?;
    let bar = trial.progress.bar(trial.pictures.len() as u64, "checking");
    let verdict =
        |(inference, pixels): (&crate::check::pair::PairInference, &Vec<u8>)| -> Result<Verdict, TrialError> {
            let expected = predictor.answer(inference.counter, pixels, None)?;
            let reference = predictor.reference();
            let deterministic = reference.run(&reference.input(pixels), &mut Nearest, None).logits;
            bar.inc(1);
            let label = match plan.header.options.release {
                Release::Label => inference.values.first().map_or(usize::MAX, |&l| l as usize),
                Release::Logits { .. } => label(&inference.values),
            };
            Ok(Verdict { exact: expected.values == inference.values, label, deterministic })
        };
    let verdicts: Vec<Verdict> =
        pair.inferences.par_iter().zip(&trial.pictures).map(verdict).collect::<Result<_, _>>()?;
    bar.finish_and_clear();

    let count = |matches: &dyn Fn(usize, &Verdict) -> bool| {
        verdicts.iter().enumerate().filter(|(i, v)| matches(*i, v)).count()
    };
    let float_label = |i: usize| trial.float.as_ref().and_then(|f| f.get(i)).map(|logits| label(logits));
    let truth = |i: usize| trial.labels.get(i).copied().flatten().map(usize::from).or_else(|| float_label(i));
    let differences = verdicts.iter().enumerate().filter(|(_, v)| v.label != label(&v.deterministic));
    let errors = errors(trial, model, plan, pair, &verdicts);
    let counted = &pair.inferences[trial.warm_up..];
    let first = &counted[0];
    Ok(TrialReport {
        model: model.header.name.to_owned(),
        mode: inspection.mode,
        client: inspection.client,
        release: inspection.release.clone(),
        insecure_test_seed: trial.test_seed.is_some(),
        activations: inspection.activations,
        relus: inspection.relus,
        images: verdicts.len(),
        correct: truth(0).map(|_| count(&|i, v| truth(i) == Some(v.label))),
        agree_with_reference: count(&|_, v| v.exact),
        agree_with_deterministic: count(&|_, v| v.label == label(&v.deterministic)),
        agree_with_float: trial.float.as_ref().map(|_| count(&|i, v| float_label(i) == Some(v.label))),
        differences: differences.map(|(picture, v)| difference(picture, v)).collect(),
        bytes_sent: first.bytes_sent,
        rounds: first.rounds,
        flights: first.flights,
        wall_s: median(counted.iter().map(|i| i.wall_s)),
        cpu_s: [0, 1].map(|party| median(counted.iter().map(|i| i.cpu_s[party]))),
        peak_rss_bytes: pair.peak_rss_bytes,
        arena_bytes: pair.arena_bytes,
        weight_bytes: pair.weight_bytes,
        bundle_bytes: pair.bundle_bytes,
        max_abs_error: errors.map(|e| e.largest),
        relative_rms_error: errors.and_then(|e| e.relative),
        relative_rms_error_within_classes: errors.and_then(|e| e.relative_within),
        error_against: if trial.float.is_some() { "float" } else { "integers" },
        layers: layers(&inspection, pair, trial.warm_up),
    })
}

fn difference(picture: usize, verdict: &Verdict) -> Difference {
    let (logits, deterministic) = (&verdict.deterministic, label(&verdict.deterministic));
    let (low, high) = logits.iter().fold((i64::MAX, i64::MIN), |(low, high), &z| (low.min(z), high.max(z)));
    let margin =
        logits.get(verdict.label).map_or(f64::NAN, |&z| (high - z) as f64 / (high - low).max(1) as f64);
    Difference { picture, label: verdict.label, deterministic, margin }
}

fn layers(inspection: &Inspection, pair: &PairReport, warm_up: usize) -> Vec<LayerFigures> {
    let counted = &pair.inferences[warm_up..];
    let figures = |(index, layer): (usize, &crate::check::inspection::LayerInspection)| {
        let traces = || counted.iter().filter_map(|i| i.layers.get(index));
        LayerFigures {
            linear: layer.linear.clone(),
            elements: layer.elements,
            relus: layer.relus,
            bytes_sent: traces().next().map_or([0; 2], |t| [t[0].sent, t[1].sent]),
            rounds: layer.rounds,
            seconds: [0, 1].map(|party| median(traces().map(|t| t[party].seconds))),
            cpu_s: [0, 1].map(|party| median(traces().map(|t| t[party].cpu_s))),
        }
    };
    inspection.layers.iter().enumerate().map(figures).collect()
}

/// The median, of an even number the lower.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[derive(Clone, Copy)]
struct Errors {
    largest: f64,
    relative: Option<f64>,
    relative_within: Option<f64>,
}

/// Errors of released logits, in real units.
fn errors(
    trial: &Trial<'_>,
    model: &Model<'_>,
    plan: &Plan<'_>,
    pair: &PairReport,
    verdicts: &[Verdict],
) -> Option<Errors> {
    let Release::Logits { bits } = plan.header.options.release else { return None };
    let last = model.layers.last()?;
    let Step::Release { ring_bits } = last.step else { return None };
    let scales: Vec<f64> =
        last.output_scale.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
    let unit = |class: usize| scales.get(class).or_else(|| scales.first()).copied().unwrap_or(1.0);
    let cut = 2_f64.powi(i32::from(ring_bits.saturating_sub(bits)));
    let expected = |picture: usize, class: usize| match &trial.float {
        Some(float) => f64::from(float[picture][class]),
        None => verdicts[picture].deterministic[class] as f64 * unit(class),
    };
    let found =
        |picture: usize, class: usize| pair.inferences[picture].values[class] as f64 * cut * unit(class);
    let classes = last.sum_shape().elements();
    let pairs = (0..verdicts.len())
        .map(|p| (0..classes).map(|c| (expected(p, c), found(p, c))).collect())
        .collect::<Vec<Vec<_>>>();
    Some(Errors::of(&pairs))
}

impl Errors {
    /// Of (expected, found), a list of classes for every picture.
    fn of(pairs: &[Vec<(f64, f64)>]) -> Self {
        let classes = pairs.first().map_or(0, Vec::len);
        let (pictures, count) = (pairs.len() as f64, (pairs.len() * classes) as f64);
        let all = pairs.iter().flatten().map(|(expected, _)| expected).sum::<f64>() / count;
        let means: Vec<f64> =
            (0..classes).map(|c| pairs.iter().map(|p| p[c].0).sum::<f64>() / pictures).collect();
        let (mut largest, mut squares, mut variance, mut within) = (0.0_f64, 0.0, 0.0, 0.0);
        for picture in pairs {
            for ((expected, found), mean) in picture.iter().zip(&means) {
                let error = found - expected;
                largest = largest.max(error.abs());
                squares += error * error;
                variance += (expected - all).powi(2);
                within += (expected - mean).powi(2);
            }
        }
        let relative = |variance: f64| (variance > 0.0).then(|| (squares / variance).sqrt());
        Self { largest, relative: relative(variance), relative_within: relative(within) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_outliers() {
        assert_eq!(median([3.0, 1.0, 100.0].into_iter()), 3.0);
        assert_eq!(median([4.0, 2.0].into_iter()), 2.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn errors_are_taken_against_both_deviations() {
        // About the mean of all, 0: 9 + 9 + 1 + 1; about the classes' own means, 2 and -2: four times 1.
        let pairs = [vec![(3.0, 3.5), (-3.0, -3.0)], vec![(1.0, 1.0), (-1.0, -1.5)]];
        let errors = Errors::of(&pairs);
        assert_eq!(errors.largest, 0.5);
        assert!((errors.relative.unwrap() - (0.5_f64 / 20.0).sqrt()).abs() < 1e-12);
        assert!((errors.relative_within.unwrap() - (0.5_f64 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(Errors::of(&[vec![(2.0, 1.0)]]).relative, None);
    }

    #[test]
    fn a_margin_is_a_part_of_the_range() {
        let verdict = Verdict { exact: true, label: 2, deterministic: vec![-10, 30, 28] };
        let d = difference(7, &verdict);
        assert_eq!((d.picture, d.label, d.deterministic), (7, 2, 1));
        assert!((d.margin - 0.05).abs() < 1e-12);
    }
}
