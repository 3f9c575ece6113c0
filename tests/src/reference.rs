//! The integer network, computed as slowly and plainly as its definition, with coins from anywhere.

use halfnet_core::gate::truncation::{self, Coins, Opening};
use halfnet_core::gate::{polynomial, relu};
use halfnet_core::model::{Layer, Linear, Model, Step};
use halfnet_core::shape::{Convolution, Pool, Shape};

/// A network's values for one input.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Every wire, the input first.
    pub wires: Vec<Vec<i64>>,
    /// Every layer's sum.
    pub sums: Vec<Vec<i64>>,
    /// The logits, in the last layer's ring.
    pub logits: Vec<i64>,
    /// Sums outside opening 1's range.
    pub violations: usize,
}

/// Runs `model` on `input`.
pub fn run(model: &Model<'_>, input: &[i64], coins: &mut impl Coins) -> Trace {
    let mut trace = Trace { wires: vec![input.to_vec()], ..Trace::default() };
    coins.wire(0, input);
    for (index, layer) in model.layers.iter().enumerate() {
        step(index, layer, &mut trace, coins);
    }
    trace
}

/// The sum of one layer.
pub fn sum(layer: &Layer<'_>, wires: &[Vec<i64>]) -> Vec<i64> {
    let shape = layer.sum_shape();
    let mut sum: Vec<i64> = (0..shape.elements()).map(|i| layer.bias.get(i / shape.plane())).collect();
    for term in &layer.terms {
        let input = &wires[usize::from(term.source)];
        match &term.linear {
            Linear::Convolution { geometry, weights } => {
                let weights: Vec<i64> = weights.iter().collect();
                convolve(geometry, input, &weights, &mut sum);
            }
            Linear::JoinShift { geometry, shift } => {
                for (i, slot) in sum.iter_mut().enumerate() {
                    *slot += geometry.source(i).map_or(0, |s| input[s] << shift);
                }
            }
            Linear::JoinScaled { geometry, factors } => {
                for (i, slot) in sum.iter_mut().enumerate() {
                    *slot +=
                        geometry.source(i).map_or(0, |s| input[s] * factors.get(s / geometry.input.plane()));
                }
            }
        }
    }
    sum
}

fn convolve(g: &Convolution, input: &[i64], weights: &[i64], out: &mut [i64]) {
    let shape = g.output();
    let (h, w) = (i64::from(g.input.height), i64::from(g.input.width));
    for (index, slot) in out.iter_mut().enumerate() {
        let (o, y, x) = (
            index / shape.plane(),
            index % shape.plane() / usize::from(shape.width),
            index % usize::from(shape.width),
        );
        let group = o / usize::from(g.out_channels / g.groups);
        for c in 0..g.group_channels() {
            for ky in 0..usize::from(g.kernel_height) {
                for kx in 0..usize::from(g.kernel_width) {
                    let row = (y * usize::from(g.stride) + ky) as i64 - i64::from(g.padding);
                    let column = (x * usize::from(g.stride) + kx) as i64 - i64::from(g.padding);
                    if (0..h).contains(&row) && (0..w).contains(&column) {
                        let channel = (group * g.group_channels() + c) as i64;
                        let weight = ((o * g.group_channels() + c) * usize::from(g.kernel_height) + ky)
                            * usize::from(g.kernel_width)
                            + kx;
                        *slot += input[((channel * h + row) * w + column) as usize] * weights[weight];
                    }
                }
            }
        }
    }
}

fn pooled(pool: &Pool, shape: Shape, values: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut out = vec![0; pool.output(shape).elements()];
    for (i, value) in values.enumerate() {
        pool.windows_of(shape, i, |w| out[w] += value);
    }
    out
}

fn step(index: usize, layer: &Layer<'_>, trace: &mut Trace, coins: &mut impl Coins) {
    let z = sum(layer, &trace.wires);
    let shape = layer.sum_shape();
    let draw = |coins: &mut dyn Coins, opening, shift, first, count: usize| {
        let mut out = vec![0; count];
        coins.fill(index, opening, shift, first, &mut out);
        out
    };
    let wire = match &layer.step {
        Step::Activate(a) => {
            let (low, high) =
                (-(1_i64 << (a.ring_bits - 2)), (1_i64 << (a.ring_bits - 2)) - (1_i64 << a.shift));
            trace.violations += z.iter().filter(|z| !(low..=high).contains(*z)).count();
            let first = draw(coins, Opening::First, a.shift, 0, z.len());
            let y: Vec<i64> =
                z.iter().zip(first).map(|(&z, coin)| truncation::reference(z, a.shift, coin)).collect();
            coins.truncated(index, &y);
            let f = a.polynomial.map_or(0, |p| p.frac_bits);
            let raw = |i: usize| {
                let c = i / shape.plane();
                match &a.polynomial {
                    Some(p) if !a.relu.get(i) => {
                        (polynomial::reference(y[i], p.c2.get(c), p.c1.get(c), p.c0.get(c)), true)
                    }
                    _ => (relu::reference(y[i]), false),
                }
            };
            if let Some(pool) = &a.pool {
                let cut = pooled(pool, shape, (0..y.len()).map(|i| i64::from(raw(i).1)));
                let shifted = (0..y.len()).map(|i| if raw(i).1 { raw(i).0 } else { raw(i).0 << f });
                let mixed = pooled(pool, shape, shifted);
                let plain = pooled(pool, shape, (0..y.len()).map(|i| if raw(i).1 { 0 } else { raw(i).0 }));
                let mut out = Vec::new();
                for (w, cut) in cut.iter().enumerate() {
                    out.push(if *cut > 0 {
                        truncation::reference(mixed[w], f, draw(coins, Opening::Second, f, w, 1)[0])
                    } else {
                        plain[w]
                    });
                }
                out
            } else {
                let mut out = Vec::new();
                let second = draw(coins, Opening::Second, f, 0, y.len());
                for (i, coin) in second.into_iter().enumerate() {
                    let (value, polynomial) = raw(i);
                    out.push(if polynomial { truncation::reference(value, f, coin) } else { value });
                }
                out
            }
        }
        Step::Rescale { shift, pool } => {
            let values = match pool {
                Some(pool) => pooled(pool, shape, z.iter().copied()),
                None => z.clone(),
            };
            let second = draw(coins, Opening::Second, *shift, 0, values.len());
            values.iter().zip(second).map(|(&v, coin)| truncation::reference(v, *shift, coin)).collect()
        }
        Step::Release { ring_bits } => {
            let bound = 1_i64 << (ring_bits - 3);
            trace.violations += z.iter().filter(|z| !(-bound..bound).contains(*z)).count();
            trace.logits = z.clone();
            Vec::new()
        }
    };
    trace.sums.push(z);
    coins.wire(index + 1, &wire);
    trace.wires.push(wire);
}
