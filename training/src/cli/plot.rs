//! `halfnet-train plot`: accuracy against ReLUs.

use std::path::PathBuf;

use clap::Args;
use halfnet_host::network::table::{Table, grouped};
use halfnet_training::error::TrainError;
use halfnet_training::plot;
use serde::Serialize;

/// Draw accuracy against ReLUs of the runs in some folders, with what papers state beside them
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folders with runs, at any depth
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Folder for a picture of each network and data set, MODEL-DATA_SET.svg
    #[arg(long, value_name = "DIR", default_value = "charts")]
    out: PathBuf,
}

#[derive(Debug, Serialize)]
struct Drawn {
    model: String,
    data_set: String,
    series: String,
    published: bool,
    relus: usize,
    accuracy: f64,
}

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<(), TrainError> {
    let runs = plot::runs(&arguments.runs)?;
    if runs.is_empty() {
        return Err(TrainError::Usage(
            "no result.json in these folders: name the --out of a search, or a folder above it".to_owned(),
        ));
    }
    let charts = plot::charts(&runs);
    for path in plot::write(&charts, &arguments.out)? {
        eprintln!("wrote {}", path.display());
    }
    let mut drawn = Vec::new();
    for chart in &charts {
        for series in &chart.series {
            drawn.extend(series.points.iter().map(|point| Drawn {
                model: chart.model.clone(),
                data_set: chart.data_set.clone(),
                series: series.name.clone(),
                published: series.is_published,
                relus: point.relus,
                accuracy: point.accuracy,
            }));
        }
    }
    super::print(json, &drawn, |drawn| {
        let mut table = Table::new(["network", "data set", "method", "from", "ReLUs", "test %"]);
        for d in drawn {
            let from = if d.published { "paper" } else { "run" };
            let figures = [grouped(d.relus as u64), format!("{:.2}", d.accuracy)];
            let [relus, accuracy] = figures;
            table.row([
                d.model.clone(),
                d.data_set.clone(),
                d.series.clone(),
                from.to_owned(),
                relus,
                accuracy,
            ]);
        }
        table.render()
    });
    Ok(())
}
