//! `halfnet demo`: dealer, two parties and a client on one machine, every answer checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::check::trial::{Trial, TrialReport};
use crate::cli::args::MAX_TIMEOUT_S;
use crate::network::data::DataSet;
use crate::network::float::FloatNetwork;
use clap::Args;

use super::exit::Failure;
use super::launch::Halfnet;
use super::options::{DealFlags, Defaults, TestSeed};
use super::output::Output;
use super::source::ModelSource;

/// Pictures of a named model where no number is given.
const IMAGES: usize = 20;

/// Deal, start both parties as processes, classify pictures over TCP, and compare with every reference
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model [default: the bundled one]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder with the data sets [default: HALFNET_DATA; for the bundled model, the 32 bundled digits]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The first N test pictures [default: 20, or all that are bundled]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// The float weights that the model was imported from, to compare with [default: the bundled model's own]
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// How long a process may be silent
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TIMEOUT_S)))]
    timeout: u32,
    #[command(flatten)]
    test_seed: TestSeed,
    #[command(flatten)]
    deal: DealFlags,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let source = ModelSource::read(arguments.model.as_deref())?;
    let model = source.model()?;
    let options = arguments.deal.resolve(&model, Defaults::Private);
    let wanted = arguments.images.map(|n| n as usize);
    let pictures = source.pictures(
        &model,
        arguments.data.as_ref(),
        wanted.or((!source.is_bundled()).then_some(IMAGES)),
    )?;
    let network = source.network(&model, arguments.weights.as_deref())?;
    let trial = Trial {
        launcher: &Halfnet::CURRENT,
        model: source.bytes(),
        options,
        labels: pictures.labels.iter().map(|&l| Some(l)).collect(),
        pictures: (0..pictures.len()).map(|i| pictures.picture(i).to_vec()).collect(),
        float: network.map(|n| float_logits(&n, &pictures, output)),
        warm_up: 0,
        test_seed: arguments.test_seed.warned(),
        timeout: Duration::from_secs(arguments.timeout.into()),
        progress: output.progress(),
    };
    let report = trial.run()?;
    output.print(&report, TrialReport::table)?;
    exact(&report)
}

fn float_logits(network: &FloatNetwork, pictures: &DataSet, output: &Output) -> Vec<Vec<f32>> {
    let bar = output.progress().bar(pictures.len() as u64, "in floats");
    let logits = network.logits(pictures, || bar.inc(1));
    bar.finish_and_clear();
    logits
}

/// An answer that differs from the reference under the same coins is a fault, whatever its label.
pub(super) fn exact(report: &TrialReport) -> Result<(), Failure> {
    if report.is_exact() {
        return Ok(());
    }
    let wrong = report.images - report.agree_with_reference;
    Err(Failure::Check(format!(
        "{wrong} of {} answers differ from the reference with the same coins: please report this",
        report.images
    )))
}
