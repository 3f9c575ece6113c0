//! `halfnet provision`: P0's material as a board is flashed with it.

use std::path::PathBuf;

use crate::network::pictures;
use crate::network::table::grouped;
use crate::party::material::PartyZero;
use crate::party::process::{ProvisionReport, ProvisionRequest, provision, read_raw};
use clap::Args;

use super::exit::Failure;
use super::output::Output;

/// Write what a board is flashed with to be party 0: the public plan, the identifiers and the seed, never the
/// model
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// party0.postcard, dealt with --mode s or h
    #[arg(long, value_name = "FILE")]
    material: PathBuf,
    /// The blob for the board
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Pictures that the board classifies, where it is the client: PNG files, idx:N, or idx:A..B for A to B −
    /// 1 of the test set
    #[arg(long, value_name = "FILE.png|FILE.wav|idx:A..B", num_args = 1..)]
    pictures: Vec<String>,
    /// Pictures in a row, as bytes
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "pictures")]
    raw_pictures: Option<PathBuf>,
    /// The data folder of idx:N
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let public = PartyZero::read(&arguments.material).map_err(|e| Failure::Material(Box::new(e)))?.public;
    let plan = public.plan(&arguments.material).map_err(|e| Failure::Material(Box::new(e)))?;
    let header = &plan.header.model;
    let pictures = match &arguments.raw_pictures {
        Some(raw) => read_raw(raw, header)?,
        None => {
            let read =
                pictures::read(&pictures::expand(&arguments.pictures)?, header, arguments.data.as_deref())?;
            read.into_iter().map(|(pixels, _)| pixels).collect()
        }
    };
    let request =
        ProvisionRequest { material: arguments.material.clone(), out: arguments.out.clone(), pictures };
    output.print(&provision(&request)?, table)
}

fn table(report: &ProvisionReport) -> String {
    let warning = if report.insecure_test_seed {
        "\ndealt under a test seed: what the board computes is no secret"
    } else {
        ""
    };
    let [sent, received] = report.longest_frames.map(|n| grouped(n.into()));
    let rest = report.bytes - report.plan_bytes - report.picture_bytes;
    format!(
        "{} bytes: plan {}, {} pictures {}, envelope, identifiers and seed {rest}\n\
         mode {}; the board {}; from counter {} on\n\
         on the board: an arena of {} bytes, frames of at most {sent} bytes out and {received} in{warning}\n\
         from now on the board is party 0: run this party0.postcard nowhere else, and flash no second board with it\n",
        grouped(report.bytes),
        grouped(report.plan_bytes),
        report.pictures,
        grouped(report.picture_bytes),
        report.mode,
        if report.is_client { "is the client" } else { "serves a third client" },
        report.next,
        grouped(report.arena_bytes),
    )
}
