//! `halfnet deal`: a model to the two parties' files and to one-time bundles.

use std::path::PathBuf;

use crate::network::table::grouped;
use crate::party::process::{DealReport, DealRequest, MoreRequest, deal, deal_more};
use clap::Args;

use super::exit::Failure;
use super::options::{DealFlags, Defaults, TestSeed};
use super::output::Output;
use super::source::ModelSource;

/// Split a model into the two parties' files and make one-time bundles, each good for one inference
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model [default: with --state, the one dealt before]
    #[arg(long, value_name = "FILE", required_unless_present = "state")]
    model: Option<PathBuf>,
    /// Folder for everything that is made
    #[arg(long, value_name = "DIR", default_value = "dealt", conflicts_with = "state")]
    out: PathBuf,
    /// Bundles to make
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "more", value_parser = clap::value_parser!(u64).range(1..))]
    bundles: u64,
    /// More bundles for a pairing that exists; party 0 need not know
    #[arg(long, value_name = "N", requires = "state", value_parser = clap::value_parser!(u64).range(1..))]
    more: Option<u64>,
    /// The dealer's state of that pairing
    #[arg(long, value_name = "FILE", requires = "more", conflicts_with_all = ["mode", "client", "release", "p0_memory", "p1_memory", "chunk"])]
    state: Option<PathBuf>,
    #[command(flatten)]
    test_seed: TestSeed,
    #[command(flatten)]
    flags: DealFlags,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let test_seed = arguments.test_seed.warned();
    let bar = output.progress().bar(arguments.more.unwrap_or(arguments.bundles), "dealing");
    let progress = |done| bar.set_position(done);
    let report = match (&arguments.state, arguments.more) {
        (Some(state), Some(count)) => {
            let request = MoreRequest {
                state: state.clone(),
                model: arguments.model.clone(),
                bundles: None,
                count,
                test_seed,
            };
            deal_more(&request, &progress)
        }
        _ => {
            let source = ModelSource::read(arguments.model.as_deref())?;
            let options = arguments.flags.resolve(&source.model()?, Defaults::Private);
            let model = arguments.model.clone().unwrap_or_default();
            deal(
                &DealRequest {
                    model,
                    out: arguments.out.clone(),
                    options,
                    count: arguments.bundles,
                    test_seed,
                },
                &progress,
            )
        }
    };
    bar.finish_and_clear();
    output.print(&report?, table)
}

fn table(report: &DealReport) -> String {
    let [p0, p1] = report.bytes_sent.map(grouped);
    let [arena0, arena1] = report.arena_bytes.map(grouped);
    let warning = if report.insecure_test_seed {
        "dealt under a test seed: insecure, for loopback alone\n"
    } else {
        ""
    };
    format!(
        "{} bundles of {} bytes, counters {} to {}\n\
         an inference: P0 sends {p0} bytes, P1 {p1}; {} rounds, {} flights; arena {arena0} and {arena1} bytes\n{}\n{warning}",
        grouped(report.count),
        grouped(report.bundle_bytes),
        report.first,
        report.first + report.count - 1,
        report.rounds,
        report.flights,
        report.note,
    )
}
