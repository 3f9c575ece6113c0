//! `halfnet import`: float weights to the integer model.

use std::path::PathBuf;

use crate::network::data::DataFolder;
use crate::network::import::{ImportOptions, Report, import_file};
use crate::party::material::write_secret;
use clap::Args;

use super::exit::Failure;
use super::output::Output;

/// Turn trained float weights into an integer model, calibrated on training pictures
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Weights of a CIFAR ResNet (He et al.) or of a small CNN of MNIST or spoken digits, as safetensors
    weights: PathBuf,
    /// Folder with the data sets [default: the environment variable HALFNET_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the model goes
    #[arg(long, value_name = "FILE", default_value = "model.postcard")]
    out: PathBuf,
    /// Ring bits b of every layer [default: chosen layer by layer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(8..=32))]
    bits: Option<u8>,
    /// Bits n that every activation opens [default: chosen layer by layer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=16))]
    opened_bits: Option<u8>,
    /// Ranges are this many times what training pictures use
    #[arg(long, value_name = "FACTOR", default_value_t = ImportOptions::default().headroom)]
    headroom: f64,
    /// Training pictures that ranges are taken from
    #[arg(long, value_name = "N", default_value_t = ImportOptions::default().range_pictures)]
    pictures: usize,
    /// Seed of the coins that the import rounds with
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    if !(1.0..=64.0).contains(&arguments.headroom) {
        return Err(Failure::Usage(format!("--headroom {}: must be from 1 to 64", arguments.headroom)));
    }
    let data = DataFolder::from_flag(arguments.data.as_deref())?;
    let options = ImportOptions {
        ring_bits: arguments.bits,
        opened_bits: arguments.opened_bits,
        headroom: arguments.headroom,
        range_pictures: arguments.pictures,
        seed: arguments.seed,
        progress: output.progress(),
        ..ImportOptions::default()
    };
    let imported = import_file(&arguments.weights, &data, &options)?;
    // The file is the network itself.
    write_secret(&arguments.out, |out| out.write_all(&imported.bytes))
        .map_err(|e| Failure::Machine(Box::new(e)))?;
    eprintln!("wrote {} ({} bytes)", arguments.out.display(), imported.bytes.len());
    if let Some(warning) = imported.report.warning() {
        eprintln!("{warning}");
    }
    output.print(&imported.report, Report::to_string)
}
