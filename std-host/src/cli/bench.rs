//! `halfnet bench`: what single gates and a whole network cost between two processes, and what this machine
//! could do at best.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::check::bench::gates;
use crate::check::bench::resnet18::{self, Relus};
use crate::check::inspection::{inspect, plan_bytes};
use crate::check::trial::{LayerFigures, Trial, TrialReport};
use crate::network::table::{Table, grouped, seconds};
use crate::party::kernel::{Kernels, limit};
use clap::{Args, Subcommand};
use halfnet_core::model::Model;
use halfnet_core::plan::{Options, Plan, cost};
use serde::Serialize;

use super::demo::exact;
use super::exit::Failure;
use super::launch::Halfnet;
use super::options::{DealFlags, Defaults};
use super::output::Output;

/// First inferences that do not count.
const WARM_UP: usize = 1;
/// How long a process may be silent: packing a network's weights takes a while.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Measure: two processes, one thread each, online only, the median of 20 after a warm-up
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// This machine's u32 multiply-adds a second from registers alone, and PRG bytes a second
    Limit,
    /// One ReLU layer, from opening 1 to selection
    Relu(Relu),
    /// One convolution, 64 to 64 channels, 3×3 over 32×32, and its opening
    Conv(Conv),
    /// A random ResNet-18 of CIFAR's shape
    Resnet18(Resnet18),
}

#[derive(Debug, Args)]
struct Common {
    /// Inferences that count
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    inferences: u32,
    #[command(flatten)]
    deal: DealFlags,
}

#[derive(Debug, Args)]
struct Relu {
    /// Elements
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    n: usize,
    /// Bits that opening 1 opens
    #[arg(long, value_name = "BITS", default_value_t = 10)]
    width: u8,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Conv {
    /// Bits of the ring: 16 or 32 [default: both]
    #[arg(long, value_name = "BITS")]
    bits: Option<u8>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Resnet18 {
    /// Activations that are ReLU; the others are polynomials of degree 2
    #[arg(long, value_name = "all|none|N", default_value = "all", value_parser = relus)]
    relus: Relus,
    /// Seed of weights, pictures and the choice of ReLUs
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Measure nothing: write the network and the pictures there, as model.postcard and, as bytes in a row,
    /// pictures
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn relus(text: &str) -> Result<Relus, String> {
    match text {
        "all" => Ok(Relus::All),
        "none" => Ok(Relus::None),
        number => {
            let count = number.parse().ok().filter(|n| *n <= resnet18::ACTIVATIONS);
            count
                .map(Relus::Some)
                .ok_or_else(|| format!("must be `all`, `none` or a number up to {}", resnet18::ACTIVATIONS))
        }
    }
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    match &arguments.what {
        What::Limit => output.print(&limits()?, limit_table),
        What::Relu(relu) => run_relu(relu, output),
        What::Conv(conv) => run_conv(conv, output),
        What::Resnet18(network) => run_resnet18(network, output),
    }
}

/// What one thread could do at best.
#[derive(Debug, Serialize)]
struct LimitReport {
    kernel: &'static str,
    multiply_adds_per_s: f64,
    prg_bytes_per_s: f64,
}

fn limits() -> Result<LimitReport, Failure> {
    let found = limit();
    Ok(LimitReport {
        kernel: Kernels::detect()?.name(),
        multiply_adds_per_s: found.multiply_adds,
        prg_bytes_per_s: found.prg_bytes,
    })
}

fn limit_table(report: &LimitReport) -> String {
    format!(
        "{:.1} G u32 multiply-adds a second from registers alone, {:.2} GB a second of PRG, one thread; kernels: {}\n",
        report.multiply_adds_per_s / 1e9,
        report.prg_bytes_per_s / 1e9,
        report.kernel
    )
}

fn trial(
    model: &[u8],
    options: Options,
    pictures: Vec<Vec<u8>>,
    float: Option<Vec<Vec<f32>>>,
    output: &Output,
) -> Result<TrialReport, Failure> {
    let trial = Trial {
        launcher: &Halfnet::CURRENT,
        model,
        options,
        labels: vec![None; pictures.len()],
        pictures,
        float,
        warm_up: WARM_UP,
        test_seed: None,
        timeout: TIMEOUT,
        progress: output.progress(),
    };
    Ok(trial.run()?)
}

impl Common {
    fn count(&self) -> usize {
        self.inferences as usize + WARM_UP
    }
}

/// One gate's part of an inference.
#[derive(Clone, Debug, Serialize)]
struct GateReport {
    gate: String,
    elements: usize,
    ring_bits: u8,
    opened_bits: u8,
    images: usize,
    correct: Option<usize>,
    agree_with_reference: usize,
    /// Of the gate alone; so are rounds and times.
    bytes_sent: [u64; 2],
    bytes_per_element: [f64; 2],
    rounds: u32,
    wall_s: f64,
    cpu_s: [f64; 2],
    /// Of the whole inference; so are flights.
    peak_rss_bytes: [u64; 2],
    arena_bytes: [u64; 2],
    flights: u32,
    /// Of the gate's layer.
    bundle_bytes: u64,
    max_abs_error: Option<f64>,
    relative_rms_error: Option<f64>,
    whole: TrialReport,
}

/// Takes one layer out of a trial; `left_out` is sent by the layer, in one round, but is no part of the gate.
fn gate(
    name: &str,
    bytes: &[u8],
    options: &Options,
    index: usize,
    left_out: [u64; 2],
    whole: TrialReport,
) -> Result<GateReport, Failure> {
    let model = Model::decode(bytes)?;
    let layer = inspect(&model, bytes.len(), options, None)?.layers.swap_remove(index);
    let LayerFigures { elements, bytes_sent, rounds, seconds, cpu_s, .. } = whole.layers[index].clone();
    let sent = [0, 1].map(|party| bytes_sent[party] - left_out[party]);
    Ok(GateReport {
        gate: name.to_owned(),
        elements,
        ring_bits: layer.ring_bits,
        opened_bits: layer.opened_bits,
        images: whole.images,
        correct: whole.correct,
        agree_with_reference: whole.agree_with_reference,
        bytes_sent: sent,
        bytes_per_element: sent.map(|bytes| bytes as f64 / elements as f64),
        rounds: rounds - u32::from(left_out != [0, 0]),
        wall_s: seconds[0].max(seconds[1]),
        cpu_s,
        peak_rss_bytes: whole.peak_rss_bytes,
        arena_bytes: whole.arena_bytes,
        flights: whole.flights,
        bundle_bytes: layer.bundle_bytes,
        max_abs_error: whole.max_abs_error,
        relative_rms_error: whole.relative_rms_error,
        whole,
    })
}

fn gate_table(report: &GateReport) -> String {
    let mut table = Table::new(["", "P0", "P1"]);
    table.row(["bytes sent".to_owned(), grouped(report.bytes_sent[0]), grouped(report.bytes_sent[1])]);
    table.row([
        "an element".to_owned(),
        format!("{:.3}", report.bytes_per_element[0]),
        format!("{:.3}", report.bytes_per_element[1]),
    ]);
    table.row(["processor time".to_owned(), seconds(report.cpu_s[0]), seconds(report.cpu_s[1])]);
    format!(
        "{}: {} elements, {}-bit ring, {} bits opened, mode {}\n{}{} rounds, {}; {} bytes of bundle; {} of {} answers equal the reference\n",
        report.gate,
        grouped(report.elements as u64),
        report.ring_bits,
        report.opened_bits,
        report.whole.mode,
        table.render(),
        report.rounds,
        seconds(report.wall_s),
        grouped(report.bundle_bytes),
        report.agree_with_reference,
        report.images,
    )
}

fn run_relu(arguments: &Relu, output: &Output) -> Result<(), Failure> {
    let bytes = gates::relu(arguments.n, arguments.width).map_err(|e| Failure::Usage(e.to_string()))?;
    let model = Model::decode(&bytes)?;
    let options = arguments.common.deal.resolve(&model, Defaults::Measured);
    let pictures = gates::pictures(arguments.n, arguments.common.count());
    let whole = trial(&bytes, options, pictures, None, output)?;
    // Selection is local; opening 2 only brings its result to the next layer.
    let left_out = opening_2(&plan_bytes(&model, &options)?)?;
    let report = gate("ReLU, from opening 1 to selection", &bytes, &options, 0, left_out, whole)?;
    output.print(&report, gate_table)?;
    exact(&report.whole)
}

/// Bytes that each party sends in opening 2 of the first layer's ReLUs.
fn opening_2(plan: &[u8]) -> Result<[u64; 2], Failure> {
    let plan = Plan::decode(plan)?;
    Ok(plan.layers().next().map_or([0; 2], |layer| {
        cost::step_bytes(&layer, &plan.header.options, halfnet_core::plan::Step::OpenRelu)
    }))
}

/// The convolution in each ring asked for.
#[derive(Debug, Serialize)]
struct ConvReport {
    /// u32 multiply-adds a second of this machine, from registers alone, measured in the same run.
    limit_multiply_adds_per_s: f64,
    /// Multiply-adds of the convolution.
    multiply_adds: u64,
    /// The widest ring's figures stand at the top too, as those of every other command.
    #[serde(flatten)]
    widest: Option<GateReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_16: Option<GateReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_32: Option<GateReport>,
}

fn run_conv(arguments: &Conv, output: &Output) -> Result<(), Failure> {
    let mut report = ConvReport {
        limit_multiply_adds_per_s: limit().multiply_adds,
        multiply_adds: 0,
        widest: None,
        ring_16: None,
        ring_32: None,
    };
    for bits in [16, 32].into_iter().filter(|b| arguments.bits.is_none_or(|wanted| wanted == *b)) {
        let bytes = gates::convolution(bits).map_err(|e| Failure::Usage(e.to_string()))?;
        let model = Model::decode(&bytes)?;
        let options = arguments.common.deal.resolve(&model, Defaults::Measured);
        report.multiply_adds = inspect(&model, bytes.len(), &options, None)?.layers[1].multiply_adds;
        let pictures = gates::pictures(model.header.input.elements(), arguments.common.count());
        let whole = trial(&bytes, options, pictures, None, output)?;
        let found = gate("convolution and opening", &bytes, &options, 1, [0; 2], whole)?;
        report.widest = Some(found.clone());
        *(if bits == 16 { &mut report.ring_16 } else { &mut report.ring_32 }) = Some(found);
    }
    if report.multiply_adds == 0 {
        return Err(Failure::Usage(format!(
            "--bits {}: the convolution is measured in rings of 16 and 32 bits",
            arguments.bits.unwrap_or(0)
        )));
    }
    output.print(&report, |report| {
        let rings = [&report.ring_16, &report.ring_32].into_iter().flatten();
        rings.map(|ring| gate_table(ring) + "\n").collect::<String>()
            + &format!(
                "from registers alone its {} multiply-adds would take {}\n",
                grouped(report.multiply_adds),
                seconds(report.multiply_adds as f64 / report.limit_multiply_adds_per_s)
            )
    })?;
    [&report.ring_16, &report.ring_32].into_iter().flatten().try_for_each(|ring| exact(&ring.whole))
}

/// A whole network, and its processor time beside what the machine could do.
#[derive(Debug, Serialize)]
struct NetworkReport {
    multiply_adds: u64,
    limit_multiply_adds_per_s: f64,
    limit_s: f64,
    /// Processor time of each party as a multiple of `limit_s`.
    cpu_over_limit: [f64; 2],
    #[serde(flatten)]
    trial: TrialReport,
}

fn save(folder: &Path, model: &[u8], pictures: &[u8]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::write(folder, e))?;
    for (name, bytes) in [("model.postcard", model), ("pictures", pictures)] {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|e| Failure::write(&path, e))?;
        eprintln!("wrote {} ({} bytes)", path.display(), bytes.len());
    }
    Ok(())
}

fn run_resnet18(arguments: &Resnet18, output: &Output) -> Result<(), Failure> {
    let spinner = output.progress().bar(1, "weights");
    spinner.tick();
    let network = resnet18::network(arguments.relus, arguments.seed);
    spinner.finish_and_clear();
    let imported = resnet18::import(&network, arguments.seed, output.progress())?;
    let model = Model::decode(&imported.bytes)?;
    let options = arguments.common.deal.resolve(&model, Defaults::Measured);
    let multiply_adds = inspect(&model, imported.bytes.len(), &options, None)?.multiply_adds;
    let pictures = resnet18::pictures(arguments.common.count(), arguments.seed.wrapping_add(3));
    if let Some(folder) = &arguments.save {
        return save(folder, &imported.bytes, &pictures.pixels);
    }
    let bar = output.progress().bar(pictures.len() as u64, "in floats");
    let float = network.logits(&pictures, || bar.inc(1));
    bar.finish_and_clear();
    drop(network);
    let limit = limit().multiply_adds;
    let pictures = (0..pictures.len()).map(|i| pictures.picture(i).to_vec()).collect();
    let trial = trial(&imported.bytes, options, pictures, Some(float), output)?;
    let limit_s = multiply_adds as f64 / limit;
    let report = NetworkReport {
        multiply_adds,
        limit_multiply_adds_per_s: limit,
        limit_s,
        cpu_over_limit: trial.cpu_s.map(|s| s / limit_s),
        trial,
    };
    output.print(&report, |report| {
        format!(
            "{}\n{} multiply-adds would take {} from registers alone; P0 takes {:.2} times that, P1 {:.2}\n",
            report.trial.table(),
            grouped(report.multiply_adds),
            seconds(report.limit_s),
            report.cpu_over_limit[0],
            report.cpu_over_limit[1],
        )
    })?;
    exact(&report.trial)
}
