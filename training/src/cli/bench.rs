//! `halfnet-train bench`: training pictures a second.

use clap::Args;
use halfnet_host::network::table::Table;
use halfnet_training::bench::{CASES, Speed, measure};
use halfnet_training::error::TrainError;

/// Measure training steps (forward, backward, descent with momentum) on pictures of noise
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which of the networks [default: all]
    #[arg(value_name = "NETWORK", value_parser = clap::builder::PossibleValuesParser::new(CASES.map(|c| c.0)))]
    networks: Vec<String>,
    /// Pictures of a batch, a multiple of 16 [default: each network's own]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// How long each is measured
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    seconds: f64,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<(), TrainError> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.unwrap_or(0)).build_global();
    threads.map_err(|e| TrainError::Usage(format!("--threads: {e}")))?;
    let wanted = |name: &str| arguments.networks.is_empty() || arguments.networks.iter().any(|n| n == name);
    if arguments.batch.is_some_and(|batch| batch == 0 || !batch.is_multiple_of(halfnet_layers::LANES)) {
        return Err(TrainError::Usage(format!("--batch: must be a multiple of {}", halfnet_layers::LANES)));
    }
    let one =
        |(name, batch): &(&str, usize)| measure(name, arguments.batch.unwrap_or(*batch), arguments.seconds);
    let speeds: Vec<Speed> = CASES.iter().filter(|(name, _)| wanted(name)).map(one).collect();
    super::print(json, &speeds, |speeds| {
        let mut table = Table::new(["network", "batch", "pictures/s", "pictures/CPU s", "GFLOP/s", "steps"]);
        for s in speeds {
            let [pictures, used, gflops] =
                [s.images_per_second, s.images_per_cpu_second, s.gflops].map(|v| format!("{v:.1}"));
            table.row([s.network.clone(), s.batch.to_string(), pictures, used, gflops, s.steps.to_string()]);
        }
        table.render()
    });
    Ok(())
}
