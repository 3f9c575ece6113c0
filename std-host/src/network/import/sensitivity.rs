//! What each layer's rounding adds to the error of the logits, measured on the float network.
//!
//! Two kinds of error enter a layer: its opened value is rounded to a unit of y by a fair coin, and its
//! weights are rounded to integers. Each is put into the float network alone, and what comes out at the
//! logits is measured. The variances of independent small errors add up, a bit more of n quarters the first
//! kind, and a bit more of b quarters the second, so a measurement at one choice of widths predicts all
//! others.

use rayon::prelude::*;
use serde::Serialize;

use super::ImportOptions;
use super::quantise::Quantised;
use crate::network::data::DataSet;
use crate::network::float::{FloatNetwork, FloatStep};
use crate::network::simulate::{Coins, SeededCoins};
use halfnet_core::gate::truncation::Opening;

/// Variance that a layer adds to the logits, in parts of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LayerNoise {
    /// By rounding its opened value.
    pub(crate) opening: f64,
    /// By rounding its weights.
    pub(crate) weights: f64,
}

/// Measures every layer of a quantised network.
#[must_use]
pub(crate) fn measure(
    network: &FloatNetwork,
    quantised: &Quantised,
    pictures: &DataSet,
    options: &ImportOptions,
) -> Vec<LayerNoise> {
    let bar = options.progress.bar(pictures.len() as u64, "measuring");
    let one = |picture: usize| {
        let noise = of_picture(
            network,
            quantised,
            pictures.picture(picture),
            &SeededCoins::new(options.seed, picture as u64),
        );
        bar.inc(1);
        noise
    };
    let all: Vec<(Vec<f32>, Vec<LayerNoise>)> = (0..pictures.len()).into_par_iter().map(one).collect();
    bar.finish_and_clear();
    let count = all.len() as f64;
    let variance: f64 = (0..network.classes())
        .map(|class| {
            let mean = all.iter().map(|(l, _)| f64::from(l[class])).sum::<f64>() / count;
            all.iter().map(|(l, _)| (f64::from(l[class]) - mean).powi(2)).sum::<f64>()
        })
        .sum();
    (0..network.layers.len())
        .map(|layer| {
            let sum = |part: fn(&LayerNoise) -> f64| {
                all.iter().map(|(_, noise)| part(&noise[layer])).sum::<f64>() / variance
            };
            LayerNoise { opening: sum(|n| n.opening), weights: sum(|n| n.weights) }
        })
        .collect()
}

/// A picture's logits, and the square of what each layer's errors change in them.
fn of_picture(
    network: &FloatNetwork,
    quantised: &Quantised,
    pixels: &[u8],
    coins: &SeededCoins,
) -> (Vec<f32>, Vec<LayerNoise>) {
    let trace = network.run(pixels);
    let logits = trace.wires.last().cloned().unwrap_or_default();
    let mut scratch = Vec::new();
    let mut wires = trace.wires.clone();
    let mut noise = Vec::with_capacity(network.layers.len());
    for (index, layer) in network.layers.iter().enumerate() {
        let sum = &trace.sums[index];
        let mut effect = |changed: Vec<f32>| {
            wires[index + 1] = layer.step(&changed);
            for later in index + 1..network.layers.len() {
                let sum = network.layers[later].sum(&wires, &mut scratch);
                wires[later + 1] = network.layers[later].step(&sum);
            }
            let last = &wires[network.layers.len()];
            last.iter().zip(&logits).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let opening = match layer.step {
            FloatStep::Release => 0.0,
            _ => {
                effect(rounded(sum, &quantised.scales[index].output, layer.sum_shape().plane(), index, coins))
            }
        };
        let change = quantised.changes[index].sum(&trace.wires, &mut Vec::new());
        let weights = effect(sum.iter().zip(change).map(|(z, c)| z + c).collect());
        noise.push(LayerNoise { opening, weights });
        wires[index + 1].clone_from(&trace.wires[index + 1]);
    }
    (logits, noise)
}

/// A sum rounded to units of y by a fair coin.
fn rounded(sum: &[f32], units: &[f64], plane: usize, layer: usize, coins: &SeededCoins) -> Vec<f32> {
    const BITS: u8 = 16;
    let mut drawn = vec![0; sum.len()];
    coins.clone().fill(layer, Opening::First, BITS, 0, &mut drawn);
    let of = |(index, (&z, coin)): (usize, (&f32, u64))| {
        let unit = units[index / plane];
        ((f64::from(z) / unit + coin as f64 / f64::from(1 << BITS)).floor() * unit) as f32
    };
    sum.iter().zip(drawn).enumerate().map(of).collect()
}
