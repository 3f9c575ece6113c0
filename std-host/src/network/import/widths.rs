//! Widths of every layer, and what they cost.

use serde::Serialize;

use super::sensitivity::LayerNoise;
use crate::network::float::{FloatLayer, FloatNetwork, FloatStep};

/// Widths of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LayerWidths {
    /// b.
    pub ring_bits: u8,
    /// n = b − f1; of a release, what a label's comparisons open.
    pub opened_bits: u8,
}

impl LayerWidths {
    /// f1.
    #[must_use]
    pub fn shift(&self) -> u8 {
        self.ring_bits - self.opened_bits
    }
}

/// Widths of every layer, in order.
pub type Widths = Vec<LayerWidths>;

/// Fan-in from which a layer's sums need more ring bits than the usual: each doubling of it leaves half a bit
/// less to a weight.
const WIDE_FAN_IN: usize = 600;

/// Ring bits of an activation of ordinary fan-in, and its opened bits. The first are measured on a CIFAR
/// ResNet-20; the others are for networks that lose too much with them.
pub(crate) const STARTS: [(u8, u8); 4] = [(16, 10), (18, 12), (20, 14), (22, 16)];

/// Ring bits that a release has more than an activation: its range is half as wide, its error is the
/// answer's, and it costs little.
const RELEASE_BITS: u8 = 2;

/// The most that an opening may have.
const MOST_OPENED_BITS: u8 = 16;
/// The widest ring.
const MOST_RING_BITS: u8 = 32;

/// Widths by rule, from those of an activation of ordinary fan-in: more ring bits for a large fan-in, for
/// inputs that were summed over windows, and for the release.
#[must_use]
pub(crate) fn by_rule(network: &FloatNetwork, ring_bits: u8, opened_bits: u8) -> Widths {
    let layer = |layer: &FloatLayer| {
        let fan_in: usize = layer.terms.iter().map(super::quantise::fan_in).sum();
        let wide =
            if fan_in > WIDE_FAN_IN { (fan_in as f64 / WIDE_FAN_IN as f64).log2() / 2.0 + 2.0 } else { 0.0 };
        // A sum over a window is as many bits wider than its summands.
        let window = |source: usize| {
            source
                .checked_sub(1)
                .and_then(|i| network.layers[i].pool())
                .map_or(1, |p| u32::from(p.kernel).pow(2))
        };
        let pooled = f64::from(layer.terms.iter().map(|t| window(t.source)).max().unwrap_or(1)).log2();
        let release = if matches!(layer.step, FloatStep::Release) { RELEASE_BITS } else { 0 };
        let ring_bits =
            ring_bits.saturating_add(wide as u8 + pooled.ceil() as u8 + release).min(MOST_RING_BITS);
        LayerWidths { ring_bits, opened_bits: opened_bits.min(ring_bits) }
    };
    network.layers.iter().map(layer).collect()
}

/// The least n that a search goes down to.
const FEWEST_OPENED_BITS: u8 = 6;
/// The least b − n: below, coefficients of joins would be too coarse.
const FEWEST_SHIFT: u8 = 4;
/// How far above the measured widths a search starts.
const SEARCH_FROM: u8 = 3;

/// What is known of a network for a choice of widths: the noise of every layer at widths that were tried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Search<'n> {
    network: &'n FloatNetwork,
    tried: Widths,
    noise: Vec<LayerNoise>,
}

/// A point of the search: n of every layer, and W of every wire from which b follows.
#[derive(Clone)]
struct Point {
    opened: Vec<u8>,
    wires: Vec<u8>,
}

impl<'n> Search<'n> {
    /// A search that predicts from `noise`, measured at the widths `tried`.
    #[must_use]
    pub(crate) fn new(network: &'n FloatNetwork, tried: Widths, noise: Vec<LayerNoise>) -> Self {
        Self { network, tried, noise }
    }

    /// Variance of the logits' error at `widths`, in parts of the logits' own: a bit of n quarters what an
    /// opening adds, a bit of b what a layer's weights add, and a bit more on the wire that they multiply
    /// takes it back.
    #[must_use]
    pub(crate) fn predict(&self, widths: &Widths) -> f64 {
        let quarter = |bits: i32| 4_f64.powi(-bits);
        let layer = |index: usize| {
            let (now, tried, noise) = (widths[index], self.tried[index], self.noise[index]);
            let more = i32::from(now.opened_bits) - i32::from(tried.opened_bits);
            let finer = i32::from(now.ring_bits) - i32::from(tried.ring_bits);
            let source = self.network.layers[index].terms[0].source.checked_sub(1);
            let input =
                source.map_or(0, |s| i32::from(widths[s].opened_bits) - i32::from(self.tried[s].opened_bits));
            noise.opening * quarter(more) + noise.weights * quarter(finer - input)
        };
        (0..widths.len()).map(layer).sum()
    }

    /// The narrowest widths found whose predicted variance is at most `budget`: from generous ones, always
    /// the bit whose removal adds the least variance for a byte saved.
    #[must_use]
    pub(crate) fn narrowest(&self, budget: f64) -> Widths {
        let mut point = Point {
            opened: self.tried.iter().map(|w| (w.opened_bits + SEARCH_FROM).min(MOST_OPENED_BITS)).collect(),
            // The last wire is what is released: nobody reads it.
            wires: self.tried.iter().map(|w| w.ring_bits + SEARCH_FROM + 1).chain([0]).collect(),
        };
        loop {
            let now = self.widths(&point);
            let (noise, bits) = (self.predict(&now), self.bits(&point));
            let moves = self.moves(&point).into_iter().filter_map(|next| {
                let after = self.predict(&self.widths(&next));
                let price = (after - noise) / (bits - self.bits(&next));
                (after <= budget).then_some((price, next))
            });
            match moves.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((_, next)) => point = next,
                None => return now,
            }
        }
    }

    /// Every point that is one step narrower.
    fn moves(&self, point: &Point) -> Vec<Point> {
        let mut moves = Vec::new();
        for (index, layer) in self.network.layers.iter().enumerate() {
            if !matches!(layer.step, FloatStep::Release) && point.opened[index] > FEWEST_OPENED_BITS {
                let mut next = point.clone();
                next.opened[index] -= 1;
                moves.push(next);
            }
            let mut next = point.clone();
            next.wires[index] = next.wires[index].saturating_sub(1);
            moves.push(next);
        }
        let released = |index: usize| matches!(self.network.layers[index].step, FloatStep::Release);
        let wide = |(index, w): (usize, &LayerWidths)| {
            released(index) || w.ring_bits >= w.opened_bits + FEWEST_SHIFT
        };
        let fits = |next: &Point| self.widths(next).iter().enumerate().all(wide);
        moves.retain(fits);
        moves
    }

    /// b of a layer is what the narrowest wire that it reads has: more would widen a wire, less would save
    /// nothing.
    fn widths(&self, point: &Point) -> Widths {
        let layer = |(index, layer): (usize, &FloatLayer)| {
            let ring_bits = layer.terms.iter().map(|t| point.wires[t.source]).min().unwrap_or(32);
            LayerWidths { ring_bits: ring_bits.min(MOST_RING_BITS), opened_bits: point.opened[index] }
        };
        self.network.layers.iter().enumerate().map(layer).collect()
    }

    /// Bits each way between two servers.
    fn bits(&self, point: &Point) -> f64 {
        let input = self.network.input.elements() as f64 * f64::from(point.wires[0]);
        let layer = |(index, layer): (usize, &FloatLayer)| {
            let elements = layer.sum_shape().elements();
            let opened = point.opened[index];
            let opening = match &layer.step {
                FloatStep::Activate { relu, .. } => {
                    elements as f64 * f64::from(opened)
                        + relu.count(elements) as f64 * f64::from(comparison_bits(opened - 2))
                }
                FloatStep::Rescale { .. } | FloatStep::Release => 0.0,
            };
            opening + layer.output_shape().elements() as f64 * f64::from(point.wires[index + 1])
        };
        input + self.network.layers.iter().enumerate().map(layer).sum::<f64>()
    }
}

/// Bits each way that comparing k-bit values takes an element: the tree over chunks of four bits, and t.
#[must_use]
pub(crate) fn comparison_bits(k: u8) -> u32 {
    match k {
        0..=4 => 1,
        5..=8 => 3,
        9..=12 => 6,
        _ => 8,
    }
}
