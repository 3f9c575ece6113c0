//! `halfnet party` and `halfnet infer`: the processes of the library, mounted.

use crate::cli::args::{InferArgs, Inferred, PartyArgs};
use crate::network::table::{Table, grouped};
use clap::Args;

use super::exit::Failure;
use super::output::Output;
use super::signals::SHUTDOWN;

/// Run one party until it is stopped
#[derive(Debug, Args)]
pub(crate) struct PartyArguments {
    #[command(flatten)]
    inner: PartyArgs,
}

/// Classify pictures privately: as party 0, or as a third client of both parties
#[derive(Debug, Args)]
pub(crate) struct InferArguments {
    #[command(flatten)]
    inner: InferArgs,
}

pub(crate) fn party(arguments: &PartyArguments, output: &Output) -> Result<(), Failure> {
    let served = arguments.inner.run(&SHUTDOWN)?;
    // With this flag standard output is the parent's, a line an event.
    if arguments.inner.link.report_json {
        return Ok(());
    }
    output.print(&served, |s| {
        let (arena, peak) = (grouped(s.stats.arena_bytes), grouped(s.stats.peak_rss_bytes));
        format!(
            "{} inferences, {} failed; arena {arena} bytes, at most {peak} bytes resident\n",
            s.inferences, s.failed
        )
    })
}

pub(crate) fn infer(arguments: &InferArguments, output: &Output) -> Result<(), Failure> {
    let answers = arguments.inner.run(&SHUTDOWN)?;
    // With this flag standard output is the parent's, a line an event.
    if arguments.inner.link.report_json {
        return Ok(());
    }
    output.print(&Answers { answers }, table)
}

#[derive(Debug, serde::Serialize)]
struct Answers {
    answers: Vec<Inferred>,
}

fn table(result: &Answers) -> String {
    let mut table = Table::new(["picture", "answer", "right"]);
    for answer in &result.answers {
        let values: Vec<String> = answer.values.iter().map(ToString::to_string).collect();
        table.row([
            answer.picture.clone(),
            values.join(" "),
            answer.truth.map_or(String::new(), |t| t.to_string()),
        ]);
    }
    table.render()
}
