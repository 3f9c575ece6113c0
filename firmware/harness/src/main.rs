//! Emulated boards beside the host's party.
//!
//! ```text
//! halfnet-harness emulate ELF [--machine M]        run a program of a board, an instruction a nanosecond; print its log, end with its exit code
//! halfnet-harness compare [OPTIONS]                P0 on the board and P0 on the host, byte by byte
//!     --link LINK         uart or ethernet                [default: ethernet]
//!     --halfnet FILE      the host's program              [default: ../target/release/halfnet, else debug]
//!     --model FILE        the network                     [default: ../std-host/assets/mnist_cnn_500.postcard]
//!     --data DIR          the data folder                 [default: HALFNET_DATA; the digits of ../std-host/assets need none]
//!     --pictures FILE     pixels in a row                 [default: the first of the network's test set]
//!     --skip BYTES        header before them              [default: 0]
//!     --count N           pictures                        [default: 20]
//!     --modes MODES       h, s or hs                      [default: hs]
//!     --p0-memory BYTES   the arena that is dealt for     [default: as many as it likes]
//!     --machine M         mps2-an500 or mps2-an386        [default: mps2-an500]
//!     --work DIR          where the files lie             [default: target/compare]
//! halfnet-harness demo [OPTIONS]                   MNIST's CNN and, where HALFNET_DATA names its weights and pictures, ResNet-20, in one table
//!     --count N, --machine M, --halfnet FILE              as above
//! halfnet-harness figures                          measures, and writes the tables of ../BENCHMARKS.md
//! halfnet-harness fuzz [OPTIONS]                   a hostile P1, again and again
//!     --sessions N        how many                        [default: 200]
//!     --seed S            the same ones again             [default: 0]
//!     --link LINK         uart or ethernet                [default: one of twenty over the UART]
//!     --machine M, --halfnet FILE, --work DIR             as above
//! ```

mod compare;
mod demo;
mod emulator;
mod figures;
mod fuzz;
mod proxy;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::compare::{Comparison, Pictures};
use crate::emulator::{Emulator, MACHINE};
use crate::work::{Halfnet, Link};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("emulate") => {
            let elf = PathBuf::from(arguments.next().context("which program? emulate ELF")?);
            let machine = match (arguments.next().as_deref(), arguments.next()) {
                (None, _) => MACHINE.to_owned(),
                (Some("--machine"), Some(machine)) => machine,
                _ => bail!("emulate ELF [--machine M]"),
            };
            Ok(exit(Emulator::count(&elf, &machine, true)?.success))
        }
        Some("compare") => Ok(exit(compare::print(&comparison(arguments)?.run()?))),
        Some("demo") => {
            let mut demo = demo::Demo::default();
            options(arguments, |option, value| {
                match option {
                    "--count" => demo.count = value.parse().context("--count")?,
                    "--machine" => demo.machine = value,
                    "--halfnet" => demo.halfnet = Halfnet(value.into()),
                    _ => bail!("{option} is no option of demo"),
                }
                Ok(())
            })?;
            Ok(exit(demo.run()?))
        }
        Some("figures") => {
            let data = std::env::var_os("HALFNET_DATA").map(PathBuf::from);
            figures::run(data.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }
        Some("fuzz") => {
            let mut fuzz = fuzz::Fuzz::default();
            options(arguments, |option, value| {
                match option {
                    "--sessions" => fuzz.sessions = value.parse().context("--sessions")?,
                    "--seed" => fuzz.seed = value.parse().context("--seed")?,
                    "--link" => fuzz.link = Some(Link::parse(&value)?),
                    "--machine" => fuzz.machine = value,
                    "--halfnet" => fuzz.halfnet = Halfnet(value.into()),
                    "--work" => fuzz.work = value.into(),
                    _ => bail!("{option} is no option of fuzz"),
                }
                Ok(())
            })?;
            fuzz.run()?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("halfnet-harness emulate ELF, compare, demo, figures or fuzz"),
    }
}

fn exit(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Gives every option and its value to `take`.
fn options(
    mut arguments: impl Iterator<Item = String>,
    mut take: impl FnMut(&str, String) -> Result<()>,
) -> Result<()> {
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
        take(&option, value)?;
    }
    Ok(())
}

fn comparison(arguments: impl Iterator<Item = String>) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    let (mut pictures, mut skip) = (None, 0);
    options(arguments, |option, value| {
        match option {
            "--link" => comparison.link = Link::parse(&value)?,
            "--halfnet" => comparison.halfnet = Halfnet(value.into()),
            "--model" => comparison.model = value.into(),
            "--data" => comparison.data = Some(value.into()),
            "--pictures" => pictures = Some(value.into()),
            "--skip" => skip = value.parse().context("--skip")?,
            "--count" => comparison.count = value.parse().context("--count")?,
            "--modes" => comparison.modes = value,
            "--p0-memory" => comparison.p0_memory = Some(value),
            "--machine" => comparison.machine = value,
            "--work" => comparison.work = value.into(),
            _ => bail!("{option} is no option of compare"),
        }
        Ok(())
    })?;
    if let Some(file) = pictures {
        comparison.pictures = Pictures::Raw(file, skip);
    }
    Ok(comparison)
}
