//! A whole data set through the reference, on all cores.

use rayon::prelude::*;
use serde::Serialize;

use super::{Coins, LayerRange, Outcome, Reference};
use crate::network::data::DataSet;
use crate::network::progress::Progress;

/// What a run over a data set found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestRun {
    /// Pictures run.
    pub images: usize,
    /// Pictures whose label is right.
    pub correct: usize,
    /// `correct` in percent of `images`.
    pub accuracy: f64,
    /// Sums outside their layer's range.
    pub range_violations: u64,
    /// Extremes of each layer's sums.
    pub layers: Vec<LayerRange>,
    /// The label of each picture.
    #[serde(skip)]
    pub labels: Vec<u16>,
    /// The logits of each picture.
    #[serde(skip)]
    pub logits: Vec<Vec<i64>>,
}

/// Runs every picture with the coins that `coins` gives for its index.
///
/// # Panics
/// The pictures' shape is not the model's.
#[must_use]
pub fn run<'c>(
    reference: &Reference,
    data: &DataSet,
    coins: impl Fn(usize) -> Box<dyn Coins + 'c> + Sync,
    progress: &Progress,
) -> TestRun {
    let bar = progress.bar(data.len() as u64, "simulating");
    let one = |index: usize| {
        let outcome = reference.run(&reference.input(data.picture(index)), &mut *coins(index), None);
        bar.inc(1);
        outcome
    };
    let outcomes: Vec<Outcome> = (0..data.len()).into_par_iter().map(one).collect();
    bar.finish_and_clear();
    let mut layers = vec![LayerRange::default(); reference.layers().len()];
    for outcome in &outcomes {
        layers.iter_mut().zip(&outcome.ranges).for_each(|(all, one)| *all = all.merge(*one));
    }
    let labels: Vec<u16> = outcomes.iter().map(|o| o.label() as u16).collect();
    let correct = labels.iter().zip(&data.labels).filter(|(a, b)| a == b).count();
    TestRun {
        images: data.len(),
        correct,
        accuracy: 100.0 * correct as f64 / data.len().max(1) as f64,
        range_violations: layers.iter().map(|l| l.violations).sum(),
        layers,
        labels,
        logits: outcomes.into_iter().map(|o| o.logits).collect(),
    }
}
