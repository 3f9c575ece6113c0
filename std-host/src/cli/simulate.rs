//! `halfnet simulate`: the plaintext integer reference of a whole test set.

use std::path::PathBuf;

use crate::network::simulate::test_set::{self, TestRun};
use crate::network::simulate::{Coins, LayerRange, Nearest, Reference, SeededCoins};
use crate::network::table::{Table, grouped};
use clap::Args;
use serde::Serialize;

use super::exit::Failure;
use super::output::Output;
use super::prediction;
use super::source::ModelSource;

/// Run the plaintext integer reference over a test set, on all cores
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model [default: the bundled one]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder with the data sets [default: HALFNET_DATA; for the bundled model, the 32 bundled digits]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only the first N test pictures
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Seed of the rounding's coins
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "deterministic")]
    seed: u64,
    /// Runs, with seeds that follow one another
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "deterministic", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Round to the nearest instead of by coins
    #[arg(long)]
    deterministic: bool,
    /// Predict what two parties answer, bit for bit, from the dealer's state (without --model, of the model
    /// that it was dealt from)
    #[arg(long, value_name = "dealer.postcard", requires = "counter", conflicts_with_all = ["seed", "seeds", "deterministic"])]
    coins: Option<PathBuf>,
    /// The counter of the first picture's inference; others follow
    #[arg(long, value_name = "K", requires = "coins")]
    counter: Option<u64>,
    /// A picture to predict the answer for; may be repeated [default: the test pictures, as far as counters
    /// were dealt]
    #[arg(long, value_name = "FILE.png|FILE.wav|idx:N", requires = "coins", conflicts_with = "limit")]
    picture: Vec<String>,
}

/// All runs together; the figures of one picture set are means over the seeds where there are several.
#[derive(Debug, Serialize)]
struct Summary {
    model: String,
    data_set: String,
    /// Pictures, summed over the runs.
    images: usize,
    /// Right labels, summed over the runs.
    correct: usize,
    /// In percent, the mean over the runs.
    accuracy: f64,
    /// In percent, run by run.
    accuracies: Vec<f64>,
    /// Summed over the runs.
    range_violations: u64,
    /// The largest part of a layer's range that any picture used.
    fullest_range: f64,
    layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
struct Layer {
    low: i64,
    high: i64,
    range: Option<(i64, i64)>,
    used: Option<f64>,
    violations: u64,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    if let (Some(state), Some(counter)) = (&arguments.coins, arguments.counter) {
        let Arguments { model, data, limit, picture, .. } = arguments;
        let request = prediction::Request {
            state,
            counter,
            model: model.as_deref(),
            data: data.as_ref(),
            limit: *limit,
            pictures: picture,
        };
        return prediction::run(&request, output);
    }
    let source = ModelSource::read(arguments.model.as_deref())?;
    let model = source.model()?;
    let pictures = source.pictures(&model, arguments.data.as_ref(), arguments.limit)?;
    let reference = Reference::new(&model);
    let coins = |seed: u64, picture: usize| -> Box<dyn Coins> {
        if arguments.deterministic {
            Box::new(Nearest)
        } else {
            Box::new(SeededCoins::new(seed, picture as u64))
        }
    };
    let seeds = (0..arguments.seeds).map(|i| arguments.seed.wrapping_add(i));
    let runs: Vec<TestRun> = seeds
        .map(|seed| test_set::run(&reference, &pictures, |picture| coins(seed, picture), &output.progress()))
        .collect();
    output.print(&summarise(&reference, model.header.name, model.header.data_set, &runs), table)
}

fn summarise(reference: &Reference, name: &str, data_set: &str, runs: &[TestRun]) -> Summary {
    let accuracies: Vec<f64> = runs.iter().map(|r| r.accuracy).collect();
    let layer = |index: usize| {
        let seen = runs.iter().map(|r| r.layers[index]).reduce(LayerRange::merge).unwrap_or_default();
        let range = reference.layers()[index].range();
        Layer {
            low: seen.low,
            high: seen.high,
            range,
            used: range.map(|r| seen.used(r)),
            violations: seen.violations,
        }
    };
    let layers: Vec<Layer> = (0..reference.layers().len()).map(layer).collect();
    Summary {
        model: name.to_owned(),
        data_set: data_set.to_owned(),
        images: runs.iter().map(|r| r.images).sum(),
        correct: runs.iter().map(|r| r.correct).sum(),
        accuracy: accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64,
        accuracies,
        range_violations: runs.iter().map(|r| r.range_violations).sum(),
        fullest_range: layers.iter().filter_map(|l| l.used).fold(0.0, f64::max),
        layers,
    }
}

fn table(summary: &Summary) -> String {
    let mut table = Table::new(["layer", "smallest sum", "largest sum", "range used", "out of range"]);
    for (index, layer) in summary.layers.iter().enumerate() {
        let used = layer.used.map_or(String::new(), |u| format!("{:.0} %", 100.0 * u));
        table.row([
            index.to_string(),
            layer.low.to_string(),
            layer.high.to_string(),
            used,
            grouped(layer.violations),
        ]);
    }
    let runs = match summary.accuracies.len() {
        1 => String::new(),
        count => {
            let each: Vec<String> = summary.accuracies.iter().map(|a| format!("{a:.2}")).collect();
            format!(", the mean of {count} coin seeds ({})", each.join(", "))
        }
    };
    format!(
        "{}\n{} on {}: {} of {} pictures right, {:.2} %{runs}; {} sums out of range\n",
        table.render(),
        summary.model,
        summary.data_set,
        grouped(summary.correct as u64),
        grouped(summary.images as u64),
        summary.accuracy,
        grouped(summary.range_violations),
    )
}
