//! `halfnet-train search`: from trained weights and a budget of ReLUs to a model that two parties run.

use std::path::PathBuf;

use clap::Args;
use halfnet_host::network::data::{DataFolder, Split};
use halfnet_host::network::import::{ImportOptions, Report};
use halfnet_host::network::progress::Progress;
use halfnet_host::network::table::grouped;
use halfnet_training::dapa::Degree;
use halfnet_training::device;
use halfnet_training::error::TrainError;
use halfnet_training::evaluate::{Evaluator, Teacher};
use halfnet_training::export;
use halfnet_training::network::{self, families};
use halfnet_training::search::configuration::{self, Configuration};
use halfnet_training::search::reduce::{self, Form, Prepared};
use halfnet_training::search::{self, Epoch, MethodOptions, Pressure, Search, SearchOptions, presets};
use halfnet_training::weights::Weights;
use serde::Serialize;

use super::folder::RunFolder;
use super::steps::Checkpoints;

/// Find which ReLUs stay, fine-tune, and export a model for the two parties
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(long, value_name = "NAME|FILE.toml", help = super::network_help())]
    model: Option<String>,
    #[arg(long, value_name = "NAME", help = super::data_set_help())]
    data_set: Option<String>,
    /// Its trained weights, as safetensors or PyTorch's state dictionary; every search needs them
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Folder with the data sets [default: the environment variable HALFNET_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Every option, as --print-config writes it; other flags override it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "preset"])]
    config: Option<PathBuf>,
    /// Print every option as TOML and do nothing else
    #[arg(long)]
    print_config: bool,
    /// How the ReLUs that stay are found [default: autorep]
    #[arg(long, value_name = "METHOD", value_parser = clap::builder::PossibleValuesParser::new(presets::METHODS))]
    method: Option<String>,
    /// AutoReP as it is compared here, as its paper has it, or as its published code
    #[arg(long, value_name = "NAME", conflicts_with = "method", value_parser = clap::builder::PossibleValuesParser::new(presets::PRESETS))]
    preset: Option<String>,
    /// ReLUs that may stay, at most; needed without --config
    #[arg(long, value_name = "N")]
    budget: Option<usize>,
    /// Degree of the polynomials that replace the others [default: the method's, 2 for AutoReP]
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    degree: Option<u8>,
    /// Epochs in all, fine-tuning included [default: 6, a preset's own]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Seed of everything random [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A constant weight of the part of ReLUs that stay in the loss, instead of as much as the budget needs:
    /// AutoReP's λ; SNL's, a weight of their number, times all ReLUs
    #[arg(long, value_name = "WEIGHT")]
    lambda: Option<f32>,
    /// Any other option by its place in the configuration, as `range.weight=100`; may be repeated
    #[arg(long = "set", value_name = "OPTION=VALUE")]
    assignments: Vec<String>,
    /// Only the first N training pictures
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    checkpoints: Checkpoints,
    /// Stop at the trained weights: export no model
    #[arg(long)]
    no_export: bool,
    /// Folder for model.postcard, weights.safetensors, metrics.jsonl and result.json
    #[arg(long, value_name = "DIR", default_value = "run")]
    out: PathBuf,
}

/// What a search came to, as `result.json` holds it.
#[derive(Debug, Serialize)]
struct Outcome {
    model: String,
    data_set: String,
    device: &'static str,
    /// As it was asked for.
    method: &'static str,
    /// What was asked for.
    options: SearchOptions,
    /// What a method that reshapes made of the network.
    form: Option<Form>,
    /// Digest of the weights that it started from (BLAKE3 of their names and values).
    weights: String,
    training_pictures: usize,
    validation_pictures: usize,
    all_relus: usize,
    relus: usize,
    /// Of the network that it came from, in percent.
    teacher_test: f64,
    /// In percent; weights given on the command line may have been trained on these pictures.
    validation: f64,
    /// The same with polynomials that go on as their tangents beyond their layer's limit, as they do while
    /// training.
    validation_with_tangents: f64,
    /// Of the float network that is exported, on the whole test set, in percent.
    test: f64,
    test_pictures: usize,
    seconds: f64,
    skipped_steps: u64,
    epochs: Vec<Epoch>,
    /// Of the model, once it is exported.
    export: Option<Report>,
}

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<(), TrainError> {
    let configuration = configuration(arguments)?;
    if arguments.print_config {
        print!("{}", configuration::text(&configuration)?);
        return Ok(());
    }
    let Configuration { model, data_set, options: asked } = configuration;
    let network = network::select(&model, data_set.as_deref().map(str::parse).transpose()?)?;
    let data_set = network.data_set;
    let Some(weights) = &arguments.weights else {
        return Err(TrainError::Usage(
            "a search starts from trained weights: name them with --weights FILE.safetensors".to_owned(),
        ));
    };
    let folder = DataFolder::from_flag(arguments.data.as_deref())?;
    let weights = Weights::read(&network, weights)?;
    let training = folder.load(data_set, Split::Train, arguments.limit)?;
    let out = RunFolder::create(&arguments.out)?;
    eprintln!(
        "{} on {}: {} ReLUs, budget {}; the last epoch is taken, since the weights given may have seen the validation pictures",
        network.name,
        device::name(),
        grouped(network.relus() as u64),
        grouped(asked.budget as u64)
    );
    let teacher = Teacher::new(&network, &weights, &device::current());
    let origin = weights.digest();
    let Prepared { network: formed, weights, options, form } =
        reduce::prepare(&network, &weights, &training, &asked)?;
    if formed != network {
        eprintln!(
            "reshaped to {} ReLUs, of which {} stay",
            grouped(formed.relus() as u64),
            grouped(options.budget as u64)
        );
    }
    if !arguments.no_export {
        // What the parties cannot run is known before the first step.
        Evaluator::of(&formed, &weights)
            .inspect_err(|_| eprintln!("--no-export searches this network all the same"))?;
    }
    let mut search = Search::new(&formed, &weights, &teacher, &training, options.clone())?;
    arguments.checkpoints.take_all(&mut search, &out, |epoch, left| tell(epoch, options.epochs, left))?;
    let found = search.finish();
    let (replaced, degree) = (export::replaced(&formed, &found.state), options.polynomials.degree);
    found.state.weights(&formed).write_replaced(
        &formed,
        &replaced,
        degree,
        &out.file("weights.safetensors"),
    )?;
    // The test set is read for the first time here.
    let test = folder.load(data_set, Split::Test, None)?;
    let all: Vec<usize> = (0..test.len()).collect();
    let parts = search::parts(&training, &options);
    let last = found.epochs.last();
    let mut outcome = Outcome {
        model: network.name.clone(),
        data_set: data_set.name().to_owned(),
        device: device::name(),
        method: presets::name_of(&asked),
        options: asked,
        form,
        weights: origin,
        training_pictures: parts.training.len(),
        validation_pictures: parts.validation.len(),
        all_relus: network.relus(),
        relus: found.relus,
        teacher_test: teacher.accuracy(&test, &all),
        validation: last.map_or(0.0, |e| e.validation),
        validation_with_tangents: found.with_tangents,
        test: found.accuracy(&formed, &test, &all),
        test_pictures: test.len(),
        seconds: last.map_or(0.0, |e| e.seconds),
        skipped_steps: last.map_or(0, |e| e.skipped),
        epochs: found.epochs,
        export: None,
    };
    // Before the export, so that one that fails loses nothing.
    out.write_result(&outcome)?;
    let model = out.file("model.postcard");
    if let (false, Some(evaluator)) = (arguments.no_export, &found.evaluator) {
        let import =
            ImportOptions { seed: options.seed, progress: Progress::Shown, ..ImportOptions::default() };
        let exported =
            export::write_model(evaluator.network(), &folder, &training, found.relus, &import, &model)?;
        if let Some(warning) = exported.report.warning() {
            eprintln!("{warning}");
        }
        outcome.export = Some(exported.report);
        out.write_result(&outcome)?;
    }
    super::print(json, &outcome, |o| {
        let export =
            o.export.as_ref().map_or(String::new(), |report| format!("{report}{}\n", model.display()));
        format!(
            "{} of {} ReLUs: test {:.2} % (from {:.2} %), validation {:.2} % ({:.2} % with tangents), on {} test pictures\n{export}",
            grouped(o.relus as u64),
            grouped(o.all_relus as u64),
            o.test,
            o.teacher_test,
            o.validation,
            o.validation_with_tangents,
            o.test_pictures,
        )
    });
    Ok(())
}

fn tell(epoch: &Epoch, epochs: u32, left: f64) {
    let range = epoch.beyond.zip(epoch.far).map_or(String::new(), |(beyond, far)| {
        let [beyond, far] = [beyond, far].map(|part| 100.0 * part);
        format!(" ({beyond:.2} % of the pictures beyond polynomials' limit, {far:.2} % beyond twice that)")
    });
    eprintln!(
        "epoch {}/{epochs}: loss {:.4}, {} ReLUs, validation {:.2} %{range}, {} steps skipped, {:.0} s, {left:.0} s left",
        epoch.epoch,
        epoch.loss,
        grouped(epoch.relus as u64),
        epoch.validation,
        epoch.skipped,
        epoch.seconds,
    );
}

/// The options that the flags say: a method's or a file's, then `--set`, then flags of their own.
fn configuration(arguments: &Arguments) -> Result<Configuration, TrainError> {
    let usage = |text: String| Err(TrainError::Usage(text));
    let options = match (&arguments.preset, &arguments.method) {
        (Some(preset), _) => presets::preset(preset),
        (None, method) => presets::method(method.as_deref().unwrap_or("autorep")),
    };
    let mut found = match &arguments.config {
        Some(path) => configuration::read(path)?,
        None => Configuration { model: String::new(), data_set: None, options: options.unwrap_or_default() },
    };
    for assignment in &arguments.assignments {
        found = configuration::assign(&found, assignment)?;
    }
    let Configuration { model, data_set, options } = &mut found;
    if let Some(name) = &arguments.model {
        model.clone_from(name);
    }
    if arguments.data_set.is_some() {
        data_set.clone_from(&arguments.data_set);
    }
    if model.is_empty() {
        return usage(format!("name the network with --model: {}", families::NAMES.join(", ")));
    }
    options.budget = arguments.budget.unwrap_or(options.budget);
    options.epochs = arguments.epochs.unwrap_or(options.epochs);
    options.seed = arguments.seed.unwrap_or(options.seed);
    if let Some(degree) = arguments.degree {
        options.polynomials.degree = if degree == 1 { Degree::One } else { Degree::Two };
    }
    let name = presets::name_of(options);
    if name == "square" && options.polynomials.degree == Degree::One {
        return usage("a square is no polynomial of degree 1: leave out --degree".to_owned());
    }
    match (arguments.lambda, &mut options.method) {
        (None, _) => {}
        (Some(lambda), MethodOptions::Autorep { pressure, .. } | MethodOptions::Snl { pressure, .. }) => {
            *pressure = Pressure::Constant(lambda);
        }
        _ => {
            return usage(format!(
                "--lambda: {name} has no penalty on the count that it could be the weight of"
            ));
        }
    }
    if arguments.budget.is_none() && arguments.config.is_none() && !arguments.print_config {
        return usage("say how many ReLUs may stay: --budget N".to_owned());
    }
    Ok(found)
}
