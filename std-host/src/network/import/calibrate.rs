//! What ranges a float network's sums have on training pictures, layer by layer and channel by channel.

use rayon::prelude::*;
use serde::Serialize;

use crate::network::data::DataSet;
use crate::network::float::FloatNetwork;
use crate::network::progress::Progress;

/// Statistics of one layer's sum z, one of each a channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LayerStatistics {
    /// Smallest value.
    pub(crate) low: Vec<f32>,
    /// Largest value.
    pub(crate) high: Vec<f32>,
    /// Mean, over pictures and positions.
    pub(crate) mean: Vec<f64>,
    /// Deviation, over pictures and positions.
    pub(crate) deviation: Vec<f64>,
}

impl LayerStatistics {
    /// Largest size of channel `channel`'s sums.
    #[must_use]
    pub(crate) fn largest(&self, channel: usize) -> f64 {
        f64::from(self.high[channel]).max(-f64::from(self.low[channel]))
    }
}

#[derive(Clone, Copy)]
struct Running {
    low: f32,
    high: f32,
    count: f64,
    sum: f64,
    squares: f64,
}

impl Running {
    const EMPTY: Self =
        Self { low: f32::INFINITY, high: f32::NEG_INFINITY, count: 0.0, sum: 0.0, squares: 0.0 };

    fn of(values: &[f32]) -> Self {
        values.iter().fold(Self::EMPTY, |r, &v| Self {
            low: r.low.min(v),
            high: r.high.max(v),
            count: r.count + 1.0,
            sum: r.sum + f64::from(v),
            squares: r.squares + f64::from(v) * f64::from(v),
        })
    }

    fn merge(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            count: self.count + other.count,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1.0) - self.mean() * self.mean()).max(0.0).sqrt()
    }
}

/// Runs every picture and gathers statistics of every layer's sum.
#[must_use]
pub(crate) fn ranges(
    network: &FloatNetwork,
    pictures: &DataSet,
    progress: &Progress,
) -> Vec<LayerStatistics> {
    let bar = progress.bar(pictures.len() as u64, "calibrating");
    let empty = || -> Vec<Vec<Running>> {
        network.layers.iter().map(|l| vec![Running::EMPTY; l.bias.len()]).collect()
    };
    let merge = |mut all: Vec<Vec<Running>>, one: Vec<Vec<Running>>| {
        all.iter_mut().flatten().zip(one.into_iter().flatten()).for_each(|(a, b)| *a = a.merge(b));
        all
    };
    let all = (0..pictures.len())
        .into_par_iter()
        .fold(empty, |all, index| {
            let trace = network.run(pictures.picture(index));
            bar.inc(1);
            let planes = network.layers.iter().map(|l| l.sum_shape().plane());
            merge(
                all,
                trace
                    .sums
                    .iter()
                    .zip(planes)
                    .map(|(sum, plane)| sum.chunks_exact(plane).map(Running::of).collect())
                    .collect(),
            )
        })
        .reduce(empty, merge);
    bar.finish_and_clear();
    let statistics = |channels: Vec<Running>| LayerStatistics {
        low: channels.iter().map(|c| c.low).collect(),
        high: channels.iter().map(|c| c.high).collect(),
        mean: channels.iter().map(Running::mean).collect(),
        deviation: channels.iter().map(Running::deviation).collect(),
    };
    all.into_iter().map(statistics).collect()
}
