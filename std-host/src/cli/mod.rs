//! The command line: raw arguments, then a resolved configuration, then a run.
//!
//! One file a command. Standard output carries the result alone (a table, or one JSON object with `--json`);
//! progress, warnings and errors go to standard error. `exit` is the one place that decides exit codes.

mod advice;
mod args;
mod bench;
mod compare;
mod deal;
mod demo;
mod exit;
mod import;
mod inspect;
pub mod launch;
mod options;
mod output;
mod party;
mod prediction;
mod provision;
mod signals;
mod simulate;
mod source;
mod transcript;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Failure;
use output::Output;

/// Two-party private inference: two computers classify a picture together, and it stays with whoever brings it.
#[derive(Debug, Parser)]
#[command(name = "halfnet", version, after_help = exit::HELP)]
struct Arguments {
    /// Print one JSON object on standard output instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Import(import::Arguments),
    Inspect(inspect::Arguments),
    Simulate(simulate::Arguments),
    Deal(deal::Arguments),
    Provision(provision::Arguments),
    Party(party::PartyArguments),
    Infer(party::InferArguments),
    Demo(demo::Arguments),
    Compare(compare::Arguments),
    Transcript(transcript::Arguments),
    Bench(bench::Arguments),
}

/// Parses, runs, and turns whatever happened into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let output = Output::new(arguments.json);
    let patient = matches!(arguments.command, Command::Party(_) | Command::Infer(_));
    let result = signals::listen(patient)
        .map_err(|e| Failure::Machine(Box::new(e)))
        .and_then(|()| run(arguments.command, &output));
    signals::give_way();
    exit::report(result)
}

fn run(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Import(arguments) => import::run(&arguments, output),
        Command::Inspect(arguments) => inspect::run(&arguments, output),
        Command::Simulate(arguments) => simulate::run(&arguments, output),
        Command::Deal(arguments) => deal::run(&arguments, output),
        Command::Provision(arguments) => provision::run(&arguments, output),
        Command::Party(arguments) => party::party(&arguments, output),
        Command::Infer(arguments) => party::infer(&arguments, output),
        Command::Demo(arguments) => demo::run(&arguments, output),
        Command::Compare(arguments) => compare::run(&arguments, output),
        Command::Transcript(arguments) => transcript::run(&arguments, output),
        Command::Bench(arguments) => bench::run(&arguments, output),
    }
}
