//! The real value of one unit, for every channel of every wire and every sum.
//!
//! A sum z of Z_b must keep within 2^(b−2) (the release within 2^(b−3)) with headroom, so a unit of channel c
//! of the sum is at least `headroom · max|z_c| / 2^(b−2)`; one of y is 2^f1 times that. Every channel has a
//! scale of its own: scales are secret and cost nothing, because they are folded into weights. Where a
//! residual input joins, its own unit must be a whole number κ of the sum's units: the sum's unit is made a
//! little larger until it is, so that a join has no error at all.

use halfnet_core::fixed_point::I16F16;
use halfnet_core::model::Normalisation;

use super::ImportError;
use super::calibrate::LayerStatistics;
use super::widths::LayerWidths;
use crate::network::float::{FloatLayer, FloatLinear, FloatNetwork, FloatStep};

/// Channels that hardly move are treated as if they reached this part of the layer's largest.
const SMALLEST_RANGE: f64 = 1.0 / 256.0;
/// A residual input's unit is at least this many units of the sum, so that making κ whole costs little range.
const SMALLEST_FACTOR: f64 = 4.0;

/// Scales of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerScales {
    /// Real value of one unit of the sum, one a channel.
    pub(crate) sum: Vec<f64>,
    /// Real value of one unit of the output wire, one a channel.
    pub(crate) output: Vec<f64>,
    /// κ of each channel of each join, term by term; empty for convolutions.
    pub(crate) joins: Vec<Vec<i64>>,
}

/// How pixels become integers, one a channel, and the real value of one unit of the input, one a channel.
///
/// A pixel's steps are kept: the gain is 1, so nothing of the 8 bits is lost, and only the mean is taken off.
#[must_use]
pub(crate) fn input(network: &FloatNetwork) -> (Vec<Normalisation>, Vec<f64>) {
    let channel = |n: &crate::network::float::ChannelNormalisation| {
        let offset = -(f64::from(n.mean) * 255.0 * f64::from(1 << 16)).round() as i32;
        let offset = I16F16::from_bits(offset);
        (Normalisation { gain: I16F16::ONE, offset }, 1.0 / (255.0 * f64::from(n.deviation)))
    };
    network.normalisation.iter().map(channel).unzip()
}

/// Least real value of one unit of every layer's sum, channel by channel: what its own range needs, and what
/// the layers that it is joined to need to find a κ of at least `SMALLEST_FACTOR`.
#[must_use]
pub(crate) fn bounds(
    network: &FloatNetwork,
    ranges: &[LayerStatistics],
    widths: &[LayerWidths],
    headroom: f64,
) -> Vec<Vec<f64>> {
    let own = |((layer, statistics), widths): ((&FloatLayer, &LayerStatistics), &LayerWidths)| -> Vec<f64> {
        let channels = layer.bias.len();
        let largest = (0..channels).map(|c| statistics.largest(c)).fold(f64::MIN_POSITIVE, f64::max);
        let release = matches!(layer.step, FloatStep::Release);
        let room = 2_f64.powi(i32::from(widths.ring_bits) - if release { 3 } else { 2 });
        // Logits are compared with each other: they share a unit.
        let of_channel =
            |c: usize| if release { largest } else { statistics.largest(c).max(largest * SMALLEST_RANGE) };
        (0..channels).map(|c| headroom * of_channel(c) / room).collect()
    };
    let mut bounds: Vec<Vec<f64>> = network.layers.iter().zip(ranges).zip(widths).map(own).collect();
    for index in (0..network.layers.len()).rev() {
        for term in &network.layers[index].terms {
            let (FloatLinear::Join(join), Some(source)) = (&term.linear, term.source.checked_sub(1)) else {
                continue;
            };
            let (before, after) = bounds.split_at_mut(index);
            let cut = 2_f64.powi(i32::from(cut(&network.layers[source], widths[source])));
            let joined = &after[0][usize::from(join.channel_offset)..];
            before[source]
                .iter_mut()
                .zip(joined)
                .for_each(|(unit, sum)| *unit = unit.max(SMALLEST_FACTOR * sum / cut));
        }
    }
    bounds
}

/// Bits that a layer cuts off its sum.
fn cut(layer: &FloatLayer, widths: LayerWidths) -> u8 {
    if matches!(layer.step, FloatStep::Release) { 0 } else { widths.shift() }
}

/// Scales of a layer, given its bounds and the units of the wires before it.
///
/// # Errors
/// A join's unit is smaller than the sum's: the ring is too narrow.
pub(crate) fn layer(
    layer: &FloatLayer,
    bounds: &[f64],
    widths: LayerWidths,
    wires: &[Vec<f64>],
) -> Result<LayerScales, ImportError> {
    let mut sum = bounds.to_vec();
    let mut joins = Vec::new();
    for term in &layer.terms {
        let mut factors = Vec::new();
        if let FloatLinear::Join(join) = &term.linear {
            for (&unit, unit_of_sum) in
                wires[term.source].iter().zip(&mut sum[usize::from(join.channel_offset)..])
            {
                let factor = (unit / *unit_of_sum).floor();
                if factor < 1.0 {
                    let reason = format!(
                        "a residual input's unit is only {:.2} units of the sum",
                        unit / *unit_of_sum
                    );
                    return Err(ImportError::Widths { layer: layer.name.clone(), reason });
                }
                *unit_of_sum = unit / factor;
                factors.push(factor as i64);
            }
        }
        joins.push(factors);
    }
    let cut = 2_f64.powi(i32::from(cut(layer, widths)));
    let output = sum.iter().map(|s| s * cut).collect();
    Ok(LayerScales { sum, output, joins })
}
