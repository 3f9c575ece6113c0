//! `halfnet compare`: why a private answer differs, one picture, layer by layer.

use std::path::PathBuf;
use std::time::Duration;

use crate::check::compare::{Comparison, Request, compare};
use crate::check::rehearsal::Plain;
use crate::network::pictures;
use clap::Args;

use super::exit::Failure;
use super::options::{DealFlags, Defaults, TestSeed};
use super::output::Output;
use super::source::ModelSource;

/// Between two looks of a bar that says no more than that time passes.
const TICK: Duration = Duration::from_millis(200);

/// Compare one picture layer by layer: float network, integers, two parties (dealt for looking into it)
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model [default: the bundled one]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder with the data sets [default: HALFNET_DATA, or the bundled digits]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The float weights that the model was imported from [default: the bundled model's own; without any,
    /// integers and parties alone]
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// The picture
    #[arg(long, value_name = "FILE.png|FILE.wav|idx:N", default_value = "idx:0")]
    picture: String,
    #[command(flatten)]
    test_seed: TestSeed,
    #[command(flatten)]
    deal: DealFlags,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let source = ModelSource::read(arguments.model.as_deref())?;
    let model = source.model()?;
    let float = source.network(&model, arguments.weights.as_deref())?;
    let (pixels, _) =
        pictures::read(std::slice::from_ref(&arguments.picture), &model.header, arguments.data.as_deref())?
            .remove(0);
    let test_seed = arguments.test_seed.warned();
    let options = arguments.deal.resolve(&model, Defaults::Looked);
    let request = Request {
        model: source.bytes(),
        options,
        pixels: &pixels,
        float: float.as_ref(),
        test_seed: test_seed.as_deref(),
    };
    let bar = output.progress().bar(1, "comparing");
    bar.enable_steady_tick(TICK);
    let comparison = compare(&request, &mut Plain)?;
    bar.finish_and_clear();
    output.print(&comparison, Comparison::table)?;
    if comparison.is_exact() {
        Ok(())
    } else {
        Err(Failure::Check(comparison.verdict().trim_end().to_owned()))
    }
}
