//! `halfnet-train train`: from nothing to the network with all its ReLUs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use halfnet_host::network::data::{DataFolder, Split};
use halfnet_host::network::table::grouped;
use halfnet_training::device;
use halfnet_training::error::TrainError;
use halfnet_training::evaluate;
use halfnet_training::network;
use halfnet_training::pretrain::{Descent, Epoch, PretrainOptions, Pretraining};
use halfnet_training::state::State;
use serde::Serialize;

use super::folder::RunFolder;
use super::steps::Checkpoints;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimiser {
    /// Gradient descent with momentum and weight decay
    Sgd,
    /// Adam with decoupled weight decay
    Adam,
}

/// Train the network with all its ReLUs, where there are no weights yet
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(long, value_name = "NAME|FILE.toml", help = super::network_help())]
    model: String,
    #[arg(long, value_name = "NAME", help = super::data_set_help())]
    data_set: Option<String>,
    /// Folder with the data sets [default: the environment variable HALFNET_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training pictures
    #[arg(long, value_name = "N", default_value_t = PretrainOptions::default().epochs)]
    epochs: u32,
    /// Pictures of a batch, a multiple of 16
    #[arg(long, value_name = "N", default_value_t = PretrainOptions::default().batch)]
    batch: usize,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = PretrainOptions::default().seed)]
    seed: u64,
    /// Which steps are taken
    #[arg(long, value_enum, default_value_t = Optimiser::Sgd)]
    optimiser: Optimiser,
    /// The highest rate [default: 0.1, or 0.001 with Adam]
    #[arg(long, value_name = "RATE")]
    rate: Option<f32>,
    /// Part of the steps in which the rate rises; then it falls as half a cosine
    #[arg(long, value_name = "PART", default_value_t = PretrainOptions::default().warm_up)]
    warm_up: f32,
    /// Of the velocity
    #[arg(long, value_name = "PART", default_value_t = PretrainOptions::default().momentum)]
    momentum: f32,
    /// Decay of the weights
    #[arg(long, value_name = "RATE", default_value_t = PretrainOptions::default().decay)]
    decay: f32,
    /// Training pictures held back, at most a quarter: the epoch that is best on them is kept
    #[arg(long, value_name = "N", default_value_t = PretrainOptions::default().validation)]
    validation: usize,
    /// Only the first N training pictures
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    checkpoints: Checkpoints,
    /// Folder for weights.safetensors, metrics.jsonl and result.json
    #[arg(long, value_name = "DIR", default_value = "trained")]
    out: PathBuf,
}

/// What training came to, as `result.json` holds it.
#[derive(Debug, Serialize)]
struct Outcome {
    model: String,
    data_set: String,
    device: &'static str,
    method: &'static str,
    options: PretrainOptions,
    relus: usize,
    training_pictures: usize,
    validation_pictures: usize,
    /// The epoch whose weights are kept.
    epoch: u32,
    /// Of that epoch, in percent.
    validation: f64,
    /// On the whole test set, which is read once, at the end; in percent.
    test: f64,
    test_pictures: usize,
    seconds: f64,
    epochs: Vec<Epoch>,
}

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<(), TrainError> {
    let network =
        network::select(&arguments.model, arguments.data_set.as_deref().map(str::parse).transpose()?)?;
    let data_set = network.data_set;
    let folder = DataFolder::from_flag(arguments.data.as_deref())?;
    let training = folder.load(data_set, Split::Train, arguments.limit)?;
    let out = RunFolder::create(&arguments.out)?;
    let options = options(arguments);
    let mut run = Pretraining::new(&network, &training, options.clone())?;
    let [trained, held] = run.pictures();
    let relus = grouped(network.relus() as u64);
    eprintln!(
        "{} on {}: {relus} ReLUs; {trained} pictures to train on, {held} to choose on",
        network.name,
        device::name()
    );
    arguments.checkpoints.take_all(&mut run, &out, |epoch, left| tell(epoch, options.epochs, left))?;
    let best = run.best();
    let weights = out.file("weights.safetensors");
    best.weights.write(&network, &weights)?;
    // The test set is read for the first time here.
    let test = folder.load(data_set, Split::Test, None)?;
    let all: Vec<usize> = (0..test.len()).collect();
    let place = device::current();
    let state = State::new(&network, &best.weights, &place);
    let outcome = Outcome {
        model: network.name.clone(),
        data_set: data_set.name().to_owned(),
        device: device::name(),
        method: "all-relu",
        relus: network.relus(),
        training_pictures: trained,
        validation_pictures: held,
        epoch: best.epoch,
        validation: best.validation,
        test: evaluate::accuracy(&network, &state, &test, &all, &place),
        test_pictures: test.len(),
        seconds: run.epochs().last().map_or(0.0, |e| e.seconds),
        epochs: run.epochs().to_vec(),
        options,
    };
    out.write_result(&outcome)?;
    super::print(json, &outcome, |o| {
        format!(
            "{} with {} ReLUs: test {:.2} % of {} pictures, validation {:.2} % of {} (epoch {} of {}), {:.0} s\n{}\n",
            o.model,
            grouped(o.relus as u64),
            o.test,
            grouped(o.test_pictures as u64),
            o.validation,
            grouped(o.validation_pictures as u64),
            o.epoch,
            o.options.epochs,
            o.seconds,
            weights.display()
        )
    });
    Ok(())
}

fn options(arguments: &Arguments) -> PretrainOptions {
    let (descent, rate) = match arguments.optimiser {
        Optimiser::Sgd => (Descent::Sgd, 0.1),
        Optimiser::Adam => (Descent::Adam, 1e-3),
    };
    PretrainOptions {
        epochs: arguments.epochs,
        batch: arguments.batch,
        seed: arguments.seed,
        descent,
        rate: arguments.rate.unwrap_or(rate),
        warm_up: arguments.warm_up,
        momentum: arguments.momentum,
        decay: arguments.decay,
        validation: arguments.validation,
    }
}

fn tell(epoch: &Epoch, epochs: u32, left: f64) {
    let Epoch { epoch, loss, validation, skipped, seconds } = epoch;
    eprintln!(
        "epoch {epoch}/{epochs}: loss {loss:.4}, validation {validation:.2} %, {skipped} steps skipped, {seconds:.0} s, {left:.0} s left"
    );
}
