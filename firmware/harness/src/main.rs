//! Emulated boards beside the host's party.
//!
//! ```text
//! halfnet-harness emulate ELF [--machine M]        run a program of a board, an instruction a nanosecond; print its log, end with its exit code
//! halfnet-harness compare [OPTIONS]                P0 on the board and P0 on the host, byte by byte
//!     --halfnet FILE      the host's program              [default: ../target/release/halfnet, else debug]
//!     --model FILE        the network                     [default: ../assets/mnist_cnn.postcard]
//!     --pictures FILE     pictures in a row               [default: the 32 digits of ../assets]
//!     --skip BYTES        header before them              [default: 16 for the digits, else 0]
//!     --count N           of them                         [default: 20]
//!     --modes MODES       h, s or hs                      [default: hs]
//!     --p0-memory BYTES   the arena that is dealt for     [default: as many as it likes]
//!     --machine M         QEMU's machine                  [default: mps2-an500]
//!     --work DIR          where the files lie             [default: target/compare]
//! ```

mod compare;
mod emulator;
mod proxy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::compare::Comparison;
use crate::emulator::{Emulator, MACHINE};

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
            let folder = elf.parent().context("the program lies in no folder")?.to_owned();
            let run = Emulator::start(&elf, &machine, &folder, &["-serial", "null", "-icount", "shift=0"], true)?.finish()?;
            Ok(if run.success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Some("compare") => {
            let mut comparison = Comparison::default();
            while let Some(option) = arguments.next() {
                let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
                match option.as_str() {
                    "--halfnet" => comparison.halfnet = value.into(),
                    "--model" => comparison.model = value.into(),
                    "--pictures" => (comparison.pictures, comparison.skip) = (value.into(), 0),
                    "--skip" => comparison.skip = value.parse().context("--skip")?,
                    "--count" => comparison.count = value.parse().context("--count")?,
                    "--modes" => comparison.modes = value,
                    "--p0-memory" => comparison.p0_memory = Some(value),
                    "--machine" => comparison.machine = value,
                    "--work" => comparison.work = value.into(),
                    _ => bail!("{option} is no option of compare"),
                }
            }
            Ok(if comparison.run()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => bail!("halfnet-harness emulate ELF, or halfnet-harness compare"),
    }
}
