//! `halfnet inspect`: what a model is and what an inference of it will cost.

use std::path::PathBuf;

use crate::check::inspection::{Inspection, Link, inspect};
use clap::Args;

use super::exit::Failure;
use super::options::{DealFlags, Defaults};
use super::output::Output;
use super::source::ModelSource;

/// What a model is: layers, ReLUs, widths, and an inference's exact bytes, rounds and memory
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model [default: the bundled one]
    #[arg(value_name = "FILE")]
    model: Option<PathBuf>,
    /// Bandwidth of the link, each way, for an estimate of latency
    #[arg(long, value_name = "MBIT_PER_S", requires = "rtt", value_parser = positive)]
    bandwidth: Option<f64>,
    /// Round-trip time of the link, for an estimate of latency
    #[arg(long, value_name = "MS", requires = "bandwidth", value_parser = not_negative)]
    rtt: Option<f64>,
    #[command(flatten)]
    deal: DealFlags,
}

fn not_negative(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        .ok_or_else(|| "must be a number, zero or more".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).ok().filter(|n| *n > 0.0).ok_or_else(|| "must be a number above zero".to_owned())
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let source = ModelSource::read(arguments.model.as_deref())?;
    let model = source.model()?;
    let options = arguments.deal.resolve(&model, Defaults::Measured);
    let link = arguments.bandwidth.zip(arguments.rtt);
    let link = link.map(|(megabits, ms)| Link { bits_per_second: megabits * 1e6, round_trip_s: ms / 1e3 });
    let inspection = inspect(&model, source.bytes().len(), &options, link)?;
    output.print(&inspection, Inspection::table)
}
