//! `cargo xtask test`: every check of the repository, each with its name and its time, and one closing line.
//!
//! [`steps`] says what is checked, [`setup`] fetches what a step needs and this machine lacks, [`run`] runs a
//! command while reading the test runner's own counts out of its output ([`count`]). A step whose needs
//! cannot be met is skipped, with a line that names the command to type; a skipped step is no failure, but it
//! is listed as skipped.

#[cfg(test)]
mod closed;
mod count;
#[cfg(test)]
mod documents;
mod firmware;
mod fuzz;
mod packages;
mod run;
mod setup;
mod steps;
mod training;
#[cfg(test)]
mod workflow;

use std::process::ExitCode;
use std::time::Instant;

use count::Counts;
use setup::Setup;
use steps::Step;

const USAGE: &str = "\
Usage: cargo xtask test [--only STEP]... | --list   every check, or the named ones
       cargo xtask firmware VERB [OPTION]...            the microcontroller: test, build, demo, compare, fuzz or figures

HALFNET_DATA=DIR lets the tests that want a data set run; without it they say that they were left out.";

/// How one step ended.
enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

struct Report {
    name: &'static str,
    outcome: Outcome,
    seconds: f64,
    counts: Counts,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test", "--list"] => {
            for step in steps::ALL {
                println!("{:<10} {}", step.name, step.what);
            }
            ExitCode::SUCCESS
        }
        ["test", rest @ ..] => match select(rest) {
            Ok(chosen) => test(&chosen, &[]),
            Err(message) => fail(&message),
        },
        ["firmware", verb, rest @ ..] => match firmware::VERBS.iter().find(|step| step.name == *verb) {
            Some(step) => test(&[step], rest),
            None => fail(USAGE),
        },
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => fail(USAGE),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}

/// The steps that the arguments after `test` name, in the order of [`steps::ALL`]; all of them when there is
/// none.
fn select(arguments: &[&str]) -> Result<Vec<&'static Step>, String> {
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        let name = match argument.strip_prefix("--only") {
            Some("") => {
                *rest.next().ok_or("--only needs the name of a step: see `cargo xtask test --list`")?
            }
            Some(value) if value.starts_with('=') => &value[1..],
            _ => return Err(format!("unknown argument `{argument}`\n{USAGE}")),
        };
        if !steps::ALL.iter().any(|step| step.name == name) {
            return Err(format!("no step is called `{name}`: see `cargo xtask test --list`"));
        }
        names.push(name);
    }
    Ok(steps::ALL.iter().filter(|step| names.is_empty() || names.contains(&step.name)).collect())
}

/// `arguments`: for the last command of each step.
fn test(chosen: &[&'static Step], arguments: &[&str]) -> ExitCode {
    let start = Instant::now();
    let mut setup = Setup::default();
    let mut reports = Vec::new();
    for step in chosen {
        println!("\n==> {}: {}", step.name, step.what);
        let began = Instant::now();
        let (outcome, counts) = perform(step, arguments, &mut setup);
        let seconds = began.elapsed().as_secs_f64();
        if let Outcome::Skipped(reason) = &outcome {
            println!("skipped: {reason}");
        }
        println!("<== {}: {} in {seconds:.1} s", step.name, word(&outcome));
        reports.push(Report { name: step.name, outcome, seconds, counts });
    }
    close(&reports, start.elapsed().as_secs_f64())
}

/// Meets the step's needs and runs its commands, the first and then the others, until one fails.
fn perform(step: &Step, arguments: &[&str], setup: &mut Setup) -> (Outcome, Counts) {
    let mut counts = Counts::default();
    for need in step.needs {
        if let Err(reason) = setup.meet(need) {
            return (Outcome::Skipped(reason), counts);
        }
    }
    let mut commands = (step.commands)();
    if let Some(last) = commands.last_mut() {
        last.args(arguments);
    }
    let others = commands.split_off(commands.len().min(1));
    for (commands, at_a_time) in [(commands, 1), (others, step.at_a_time)] {
        let (succeeded, found) = run::side_by_side(commands, at_a_time);
        counts += found;
        if !succeeded {
            return (Outcome::Failed, counts);
        }
    }
    if step.runs_tests && counts.passed == 0 {
        println!("no test ran");
        return (Outcome::Failed, counts);
    }
    (Outcome::Passed, counts)
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "ok",
        Outcome::Failed => "FAILED",
        Outcome::Skipped(_) => "skipped",
    }
}

/// Prints the table and the closing line.
///
/// The line sums the test runner's counts. A step that failed without a failed test (a lint, a build, a
/// runner that broke off) counts as one failure, so that the line and the exit code agree.
fn close(reports: &[Report], seconds: f64) -> ExitCode {
    println!("\n{:<10} {:<8} {:>9} {:>8} {:>8}", "step", "result", "seconds", "passed", "failed");
    let mut total = Counts::default();
    for Report { name, outcome, seconds, counts } in reports {
        let counts =
            Counts { failed: counts.failed.max(u64::from(matches!(outcome, Outcome::Failed))), ..*counts };
        let number = |n: u64| if n == 0 { "-".to_owned() } else { n.to_string() };
        println!(
            "{name:<10} {:<8} {seconds:>9.1} {:>8} {:>8}",
            word(outcome),
            number(counts.passed),
            number(counts.failed)
        );
        total += counts;
    }
    println!("{:<10} {:<8} {seconds:>9.1}", "all", "");
    for Report { name, outcome, .. } in reports {
        if let Outcome::Skipped(reason) = outcome {
            println!("{name} was skipped: {reason}");
        }
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    ExitCode::from(u8::from(total.failed > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_selected_by_name() {
        assert_eq!(select(&[]).unwrap().len(), steps::ALL.len());
        let names =
            |arguments: &[&str]| select(arguments).unwrap().iter().map(|step| step.name).collect::<Vec<_>>();
        assert_eq!(names(&["--only", "doc", "--only=fmt"]), ["fmt", "doc"]);
        assert!(select(&["--only"]).is_err());
        assert!(select(&["--only", "nothing"]).is_err());
        assert!(select(&["--fast"]).is_err());
    }
}
