//! Widths of every layer, and what they cost.

use serde::Serialize;

use super::ImportOptions;
use crate::float::{FloatLayer, FloatNetwork, FloatStep};

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

/// Fan-in from which a layer's sums need more ring bits than the usual: each doubling of it leaves half a bit less to a weight.
const WIDE_FAN_IN: usize = 600;

/// Ring bits of an activation of ordinary fan-in: measured on a CIFAR ResNet-20.
const RING_BITS: u8 = 16;
/// Opened bits of an activation: measured likewise.
const OPENED_BITS: u8 = 10;
/// Ring bits that a release has more than an activation: its range is half as wide, its error is the answer's, and it costs little.
const RELEASE_BITS: u8 = 2;

/// Widths by rule: more ring bits for a large fan-in, for inputs that were summed over windows, and for the release.
#[must_use]
pub fn by_rule(network: &FloatNetwork, options: &ImportOptions) -> Widths {
    let layer = |layer: &FloatLayer| {
        let fan_in: usize = layer.terms.iter().map(super::quantise::fan_in).sum();
        let wide = if fan_in > WIDE_FAN_IN { (fan_in as f64 / WIDE_FAN_IN as f64).log2() / 2.0 + 2.0 } else { 0.0 };
        // A sum over a window is as many bits wider than its summands.
        let window = |source: usize| source.checked_sub(1).and_then(|i| network.layers[i].pool()).map_or(1, |p| u32::from(p.kernel).pow(2));
        let pooled = f64::from(layer.terms.iter().map(|t| window(t.source)).max().unwrap_or(1)).log2();
        let release = if matches!(layer.step, FloatStep::Release) { RELEASE_BITS } else { 0 };
        let ring_bits = options.ring_bits.unwrap_or(RING_BITS).saturating_add(wide as u8 + pooled.ceil() as u8 + release);
        let opened_bits = options.opened_bits.unwrap_or(OPENED_BITS).min(ring_bits);
        LayerWidths { ring_bits, opened_bits }
    };
    network.layers.iter().map(layer).collect()
}

/// Bits each way that comparing k-bit values takes an element: the tree over chunks of four bits, and t.
#[must_use]
pub fn comparison_bits(k: u8) -> u32 {
    match k {
        0..=4 => 1,
        5..=8 => 3,
        9..=12 => 6,
        _ => 8,
    }
}
