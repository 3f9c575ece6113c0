//! What an import chose, and how good the result is on training pictures.

use std::fmt;

use halfnet_core::model::{Model, Step};
use serde::Serialize;

use super::quantise::Quantised;
use super::widths::{Widths, comparison_bits};
use super::{ImportError, ImportOptions};
use crate::network::data::DataSet;
use crate::network::float::{FloatNetwork, forward};
use crate::network::simulate::{IntegerLinear, IntegerStep, LayerRange, Reference, SeededCoins, test_set};
use crate::network::table::{Table, grouped};

/// The report of one import.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The architecture's name.
    pub name: String,
    /// The data set's name.
    pub data_set: String,
    /// Bytes of the model blob.
    pub model_bytes: usize,
    /// Ranges are this many times what training pictures use.
    pub headroom: f64,
    /// Training pictures that the figures below are taken on.
    pub pictures: usize,
    /// Accuracy of the float network on them, in percent.
    pub float_accuracy: f64,
    /// Accuracy of the integer network on them, with stochastic coins, in percent.
    pub accuracy: f64,
    /// Pictures on which both give the same label, in percent.
    pub agreement: f64,
    /// Root mean square of the logits' error, in parts of the float logits' deviation.
    pub logit_error: f64,
    /// Sums outside their range on them.
    pub range_violations: u64,
    /// Does the model keep on them what the import was asked for: ranges, the logits' error, the accuracy?
    pub good: bool,
    /// Bytes each way that one picture takes between two servers (mode T), by widths alone.
    pub bytes_each_way: f64,
    /// Layer by layer.
    pub layers: Vec<LayerReport>,
}

impl fmt::Display for Report {
    /// Layer by layer, then what the whole came to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["layer", "elements", "n", "b", "W", "range used", "error", "bytes each way"]);
        let optional = |bits: Option<u8>| bits.map_or(String::new(), |b| b.to_string());
        for layer in &self.layers {
            table.row([
                layer.name.clone(),
                grouped(layer.elements as u64),
                optional(layer.opened_bits),
                layer.ring_bits.to_string(),
                optional(layer.wire_bits),
                format!("{:.0} %", 100.0 * layer.range_used),
                format!("{:.4}", layer.error),
                grouped(layer.bytes_each_way as u64),
            ]);
        }
        write!(
            f,
            "{}\n{} for {}, on {} training pictures: float {:.2} %, integers {:.2} %, labels equal {:.2} %\n\
             logits' error {:.4} of their deviation; {} sums out of range; about {} bytes each way in mode t; model {} bytes\n",
            table.render(),
            self.name,
            self.data_set,
            self.pictures,
            self.float_accuracy,
            self.accuracy,
            self.agreement,
            self.logit_error,
            self.range_violations,
            grouped(self.bytes_each_way as u64),
            grouped(self.model_bytes as u64),
        )
    }
}

impl Report {
    /// Does the model keep what the options ask for?
    fn keeps(&self, options: &ImportOptions) -> bool {
        self.range_violations == 0
            && self.logit_error <= options.logit_error
            // A percentage is no exact number: what is lost may be all that may be lost.
            && self.accuracy >= self.float_accuracy - options.accuracy_loss - 1e-9
    }

    /// What to tell about a model that is not [`good`](Self::good).
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        let text = "no widths that were tried keep the accuracy, the logits' error and all ranges: this is the best of them";
        (!self.good).then_some(text)
    }

    /// Is it nearer to the float network than another?
    pub(super) fn errs_less_than(&self, other: &Self) -> bool {
        (self.range_violations, self.logit_error) < (other.range_violations, other.logit_error)
    }
}

/// What was chosen for one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Its name in the original file.
    pub name: String,
    /// Elements of its sum.
    pub elements: usize,
    /// b.
    pub ring_bits: u8,
    /// n, of an activation.
    pub opened_bits: Option<u8>,
    /// W of the wire it writes.
    pub wire_bits: Option<u8>,
    /// Part of its range that training pictures use: 1 / headroom where the float range was the only thing
    /// that counted.
    pub range_used: f64,
    /// Root mean square of (sum − float sum) in parts of the float sum's deviation, on the pictures rounded
    /// on.
    pub error: f64,
    /// Root mean square of its weights as integers: how fine they are.
    pub weight_rms: f64,
    /// Largest scale of a channel over the smallest: what one scale for all channels would lose.
    pub scale_spread: f64,
    /// Bytes each way that it takes between two servers.
    pub bytes_each_way: f64,
}

/// Bytes each way of every layer between two servers: opening 1, comparison and opening 2.
#[must_use]
pub fn bytes_each_way(model: &Model<'_>) -> Vec<f64> {
    let wires = model.wire_bits().unwrap_or_default();
    let layer = |(index, layer): (usize, &halfnet_core::model::Layer<'_>)| {
        let wire = f64::from(wires.get(index + 1).copied().unwrap_or(0));
        let (sum, output) = (layer.sum_shape().elements(), layer.output_shape().elements());
        let bits = match &layer.step {
            Step::Activate(a) => {
                let opened = a.ring_bits - a.shift;
                let relus = a.relu.count(0..sum) as f64;
                sum as f64 * f64::from(opened)
                    + relus * f64::from(comparison_bits(opened - 2))
                    + output as f64 * wire
            }
            Step::Rescale { .. } => output as f64 * wire,
            Step::Release { .. } => 0.0,
        };
        bits / 8.0
    };
    model.layers.iter().enumerate().map(layer).collect()
}

/// Runs the finished model and gathers everything.
pub(super) fn measure(
    network: &FloatNetwork,
    widths: &Widths,
    quantised: &Quantised,
    bytes: &[u8],
    pictures: &DataSet,
    options: &ImportOptions,
) -> Result<Report, ImportError> {
    let model = Model::decode(bytes)?;
    let reference = Reference::new(&model);
    // Coins that the rounding has not seen.
    let seed = options.seed.wrapping_add(1);
    let run = test_set::run(
        &reference,
        pictures,
        |i| Box::new(SeededCoins::new(seed, i as u64)),
        &options.progress,
    );
    let bar = options.progress.bar(pictures.len() as u64, "comparing");
    let float = network.logits(pictures, || bar.inc(1));
    bar.finish_and_clear();
    let labels: Vec<usize> = float.iter().map(|l| forward::label(l)).collect();
    let right = labels.iter().zip(&pictures.labels).filter(|(a, b)| **a == usize::from(**b)).count();
    let agree = labels.iter().zip(&run.labels).filter(|(a, b)| **a == usize::from(**b)).count();
    let percent = |count: usize| 100.0 * count as f64 / pictures.len() as f64;
    let per_layer = bytes_each_way(&model);
    let wires = model.wire_bits().unwrap_or_default();
    let layer = |index: usize| {
        let (integer, scales) = (&quantised.layers[index], &quantised.scales[index]);
        let activation = matches!(integer.step, IntegerStep::Activate(_));
        let weights = integer.terms.iter().filter_map(|t| {
            if let IntegerLinear::Convolution(p) = &t.linear { Some(p.weights()) } else { None }
        });
        let (squares, count) =
            weights.flatten().fold((0.0, 0.0), |(s, n), &w| (s + (w as f64).powi(2), n + 1.0));
        let extremes =
            scales.output.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &s| (low.min(s), high.max(s)));
        LayerReport {
            name: network.layers[index].name.clone(),
            elements: network.layers[index].sum_shape().elements(),
            ring_bits: widths[index].ring_bits,
            opened_bits: activation.then_some(widths[index].opened_bits),
            wire_bits: wires.get(index + 1).copied(),
            range_used: integer.range().map_or(0.0, |range| LayerRange::used(&run.layers[index], range)),
            error: quantised.errors[index],
            weight_rms: (squares / f64::max(count, 1.0)).sqrt(),
            scale_spread: extremes.1 / extremes.0,
            bytes_each_way: per_layer[index],
        }
    };
    let report = Report {
        name: network.name.clone(),
        data_set: network.data_set.name().to_owned(),
        model_bytes: bytes.len(),
        headroom: options.headroom,
        pictures: pictures.len(),
        float_accuracy: percent(right),
        accuracy: run.accuracy,
        agreement: percent(agree),
        logit_error: logit_error(&float, &run.logits, quantised),
        range_violations: run.range_violations,
        good: false,
        bytes_each_way: per_layer.iter().sum(),
        layers: (0..network.layers.len()).map(layer).collect(),
    };
    Ok(Report { good: report.keeps(options), ..report })
}

/// Root mean square of the logits' error over the deviation of the float logits, each class about its own
/// mean.
fn logit_error(float: &[Vec<f32>], integer: &[Vec<i64>], quantised: &Quantised) -> f64 {
    let Some(scales) = quantised.scales.last() else { return 0.0 };
    let count = float.len() as f64;
    let class = |class: usize, unit: f64| {
        let mean = float.iter().map(|l| f64::from(l[class])).sum::<f64>() / count;
        let variance: f64 = float.iter().map(|l| (f64::from(l[class]) - mean).powi(2)).sum();
        let error: f64 = float
            .iter()
            .zip(integer)
            .map(|(f, z)| (z[class] as f64 * unit - f64::from(f[class])).powi(2))
            .sum();
        (error, variance)
    };
    let (error, variance) = scales
        .sum
        .iter()
        .enumerate()
        .map(|(c, &u)| class(c, u))
        .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    (error / variance.max(f64::MIN_POSITIVE)).sqrt()
}
