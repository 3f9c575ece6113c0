//! The command line. Standard output carries the result alone (a table, or JSON with `--json`), standard
//! error the rest.

mod bench;
mod folder;
mod plot;
mod search;
mod steps;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use halfnet_host::network::data::DataSetKind;
use halfnet_training::device;
use halfnet_training::error::TrainError;
use halfnet_training::network::families;

const HELP: &str = "\
Exit codes:
  0  success
  1  the machine failed: a file could not be written
  2  the command line is wrong
  3  bad input: weights or a data set are missing, damaged or do not fit
  7  training diverged, or the exported model is not the one that was trained";

/// Trains networks for two-party inference: which ReLUs stay, and which polynomials take the place of the
/// others.
#[derive(Debug, Parser)]
#[command(name = "halfnet-train", version, after_help = HELP)]
struct Arguments {
    /// Print one JSON object on standard output instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Where tensors lie: cuda on an NVIDIA GPU, flex on the CPU, auto on a GPU if there is one
    #[arg(long, global = true, value_name = "auto|flex|cuda", default_value = "auto")]
    device: device::Choice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::Arguments>),
    Search(Box<search::Arguments>),
    Plot(plot::Arguments),
    Bench(bench::Arguments),
}

/// Parses, runs, and turns whatever happened into an exit code.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed terminal leaves nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let result = device::choose(arguments.device).and_then(|()| match arguments.command {
        Command::Train(train) => train::run(&train, arguments.json),
        Command::Search(search) => search::run(&search, arguments.json),
        Command::Plot(plot) => plot::run(&plot, arguments.json),
        Command::Bench(bench) => bench::run(&bench, arguments.json),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("halfnet-train: {error}");
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &TrainError) -> u8 {
    match error {
        TrainError::File { verb: "write", .. } => 1,
        TrainError::Usage(_) => 2,
        TrainError::Diverged { .. } | TrainError::Exported(_) => 7,
        _ => 3,
    }
}

/// Prints the one result of a command.
fn print<T: serde::Serialize>(json: bool, result: &T, table: impl FnOnce(&T) -> String) {
    if json {
        println!("{}", serde_json::to_string(result).unwrap_or_default());
    } else {
        print!("{}", table(result));
    }
}

fn network_help() -> String {
    format!("The network: one of {}; or a file with its layers", families::NAMES.join(", "))
}

fn data_set_help() -> String {
    let names: Vec<&str> = DataSetKind::ALL.iter().map(|set| set.name()).collect();
    format!("The data set: one of {} [default: the network's]", names.join(", "))
}
