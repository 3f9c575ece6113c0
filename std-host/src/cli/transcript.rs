//! `halfnet transcript record` and `halfnet transcript diff`.

use std::path::PathBuf;

use crate::check::transcript::{Transcript, TranscriptDiff, diff, record};
use crate::network::pictures;
use crate::network::table::grouped;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::Failure;
use super::options::{self, DealFlags, Defaults};
use super::output::Output;
use super::source::ModelSource;

/// Record every frame of an inference, or find the first difference of two recordings
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run an inference of both parties under a test seed and write every frame into a file
    Record(Record),
    /// The first differing layer, step, tile, byte and element of two recordings; exit code 7 if there is one
    Diff(Diff),
}

#[derive(Debug, Args)]
struct Record {
    /// The model [default: the bundled one]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder with the data sets [default: HALFNET_DATA, or the bundled digits]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The picture
    #[arg(long, value_name = "FILE.png|FILE.wav|idx:N", default_value = "idx:0")]
    picture: String,
    /// Derive every secret from this: the same seed, model and picture give the same frames. Insecure
    #[arg(long, value_name = "HEX")]
    insecure_test_seed: String,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    deal: DealFlags,
}

#[derive(Debug, Args)]
struct Diff {
    /// A recording
    a: PathBuf,
    /// Another of the same plan
    b: PathBuf,
}

/// What was recorded.
#[derive(Debug, Serialize)]
struct Recorded {
    out: PathBuf,
    model: String,
    mode: String,
    client: String,
    release: String,
    frames: usize,
    payload_bytes: usize,
    answer: Vec<i64>,
    insecure_test_seed: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    match &arguments.what {
        What::Record(arguments) => run_record(arguments, output),
        What::Diff(arguments) => run_diff(arguments, output),
    }
}

fn run_record(arguments: &Record, output: &Output) -> Result<(), Failure> {
    options::warn_of_test_seed();
    let source = ModelSource::read(arguments.model.as_deref())?;
    let model = source.model()?;
    let (pixels, _) =
        pictures::read(std::slice::from_ref(&arguments.picture), &model.header, arguments.data.as_deref())?
            .remove(0);
    let bar = output.progress().bar(1, "recording");
    let options = arguments.deal.resolve(&model, Defaults::Looked);
    let transcript = record(source.bytes(), options, &pixels, &arguments.insecure_test_seed)?;
    transcript.write(&arguments.out)?;
    bar.finish_and_clear();
    let Transcript { head, lines } = transcript;
    let recorded = Recorded {
        out: arguments.out.clone(),
        model: head.model,
        mode: head.mode,
        client: head.client,
        release: head.release,
        frames: lines.len(),
        payload_bytes: lines.iter().map(|l| l.payload.len()).sum(),
        answer: head.answer,
        insecure_test_seed: true,
    };
    output.print(&recorded, |r| {
        let bytes = grouped(r.payload_bytes as u64);
        format!(
            "{} frames of {bytes} bytes in {}; recorded under a test seed: insecure\n",
            r.frames,
            r.out.display()
        )
    })
}

fn run_diff(arguments: &Diff, output: &Output) -> Result<(), Failure> {
    let found = diff(&Transcript::read(&arguments.a)?, &Transcript::read(&arguments.b)?)?;
    output.print(&found, TranscriptDiff::text)?;
    if found.equal { Ok(()) } else { Err(Failure::Check("the transcripts differ".to_owned())) }
}
