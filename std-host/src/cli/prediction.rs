//! `halfnet simulate --coins`: what two parties will answer, bit for bit.

use std::path::{Path, PathBuf};

use crate::check::inspection::{client_name, mode_name, release_name};
use crate::check::predict::{PredictError, Predictor};
use crate::network::float::forward::label;
use crate::network::pictures::{self, Labelled};
use crate::network::table::{Table, grouped};
use crate::party::material::DealerState;
use halfnet_core::plan::Release;
use rayon::prelude::*;
use serde::Serialize;

use super::exit::Failure;
use super::output::Output;
use super::source::ModelSource;

/// What is to be predicted.
pub(super) struct Request<'a> {
    pub(super) state: &'a Path,
    /// Of the first picture.
    pub(super) counter: u64,
    pub(super) model: Option<&'a Path>,
    pub(super) data: Option<&'a PathBuf>,
    pub(super) limit: Option<usize>,
    /// By name; the test set's if there is none.
    pub(super) pictures: &'a [String],
}

#[derive(Debug, Serialize)]
struct Prediction {
    model: String,
    mode: &'static str,
    client: &'static str,
    release: String,
    images: usize,
    /// Labels that the data set says too; `null` where it says none.
    correct: Option<usize>,
    /// In percent of the images.
    accuracy: Option<f64>,
    /// Sums out of range: where there is any, parties answer garbage that nothing predicts.
    range_violations: u64,
    answers: Vec<Answer>,
}

#[derive(Debug, Serialize)]
struct Answer {
    picture: String,
    counter: u64,
    /// The label alone, or the logits as they are released.
    values: Vec<i64>,
    label: usize,
    truth: Option<u16>,
    range_violations: u64,
}

pub(super) fn run(request: &Request<'_>, output: &Output) -> Result<(), Failure> {
    let state = DealerState::read(request.state).map_err(PredictError::from)?;
    let source = ModelSource::dealt(request.model, &state)?;
    let model = source.model()?;
    let predictor = Predictor::open(request.state, source.bytes(), &model)?;
    let options = predictor.options()?;
    let (names, pictures) = if request.pictures.is_empty() {
        let left = usize::try_from(predictor.next().saturating_sub(request.counter)).unwrap_or(usize::MAX);
        // A counter that was never dealt has its own error below.
        let set = source.pictures(&model, request.data, Some(request.limit.unwrap_or(left.max(1))))?;
        let picture = |i: usize| (format!("idx:{i}"), (set.picture(i).to_vec(), Some(set.labels[i])));
        (0..set.len()).map(picture).unzip()
    } else {
        let read = pictures::read(request.pictures, &model.header, request.data.map(PathBuf::as_path))?;
        (request.pictures.to_vec(), read)
    };
    let pictures: Vec<(String, Labelled)> = names.into_iter().zip::<Vec<Labelled>>(pictures).collect();

    let bar = output.progress().bar(pictures.len() as u64, "predicting");
    let answer =
        |(index, (picture, (pixels, truth))): (usize, &(String, Labelled))| -> Result<Answer, PredictError> {
            let counter = request.counter.saturating_add(index as u64);
            let found = predictor.answer(counter, pixels, None)?;
            bar.inc(1);
            let label = match options.release {
                Release::Label => found.outcome.label(),
                Release::Logits { .. } => label(&found.values),
            };
            let range_violations = found.outcome.range_violations();
            Ok(Answer {
                picture: picture.clone(),
                counter,
                values: found.values,
                label,
                truth: *truth,
                range_violations,
            })
        };
    let answers: Vec<Answer> = pictures.par_iter().enumerate().map(answer).collect::<Result<_, _>>()?;
    bar.finish_and_clear();

    let known: Vec<bool> =
        answers.iter().filter_map(|a| a.truth.map(|t| usize::from(t) == a.label)).collect();
    let correct = (!known.is_empty()).then(|| known.iter().filter(|right| **right).count());
    let prediction = Prediction {
        model: model.header.name.to_owned(),
        mode: mode_name(options.mode),
        client: client_name(options.client),
        release: release_name(options.release),
        images: answers.len(),
        correct,
        accuracy: correct.map(|n| 100.0 * n as f64 / known.len() as f64),
        range_violations: answers.iter().map(|a| a.range_violations).sum(),
        answers,
    };
    output.print(&prediction, table)
}

fn table(prediction: &Prediction) -> String {
    let mut table = Table::new(["counter", "picture", "answer", "right"]);
    for answer in &prediction.answers {
        let values: Vec<String> = answer.values.iter().map(ToString::to_string).collect();
        let truth = answer.truth.map_or(String::new(), |t| t.to_string());
        table.row([answer.counter.to_string(), answer.picture.clone(), values.join(" "), truth]);
    }
    let warning = match prediction.range_violations {
        0 => String::new(),
        count => format!(
            "{} sums are out of range: two parties garble them, so their answers may differ\n",
            grouped(count)
        ),
    };
    let Prediction { model, mode, client, release, .. } = prediction;
    format!(
        "what two parties answer: {model}, mode {mode}, client {client}, release {release}\n\n{}{warning}",
        table.render()
    )
}
