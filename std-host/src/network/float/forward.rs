//! Running a float network, one picture at a time, pictures in parallel.

use halfnet_core::shape::{Join, Pool, Shape};
use rayon::prelude::*;

use super::{FloatLayer, FloatLinear, FloatNetwork, FloatPolynomial, FloatStep, Mask, columns};
use crate::network::data::DataSet;

/// Everything a network computes on one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Each layer's sum, before its step.
    pub sums: Vec<Vec<f32>>,
    /// Each wire: the input, then each layer's output.
    pub wires: Vec<Vec<f32>>,
}

/// Adds a residual input under `sum`, each element times its input channel's factor.
pub(crate) fn add_join<T: Copy + std::ops::AddAssign>(
    join: &Join,
    input: &[T],
    sum: &mut [T],
    mut scaled: impl FnMut(usize, T) -> T,
) {
    let (width, out_width) = (usize::from(join.input.width), usize::from(join.output.width));
    let stride = usize::from(join.stride);
    let first = usize::from(join.channel_offset) * join.output.plane();
    let planes = sum.get_mut(first..).unwrap_or_default().chunks_exact_mut(join.output.plane());
    for (channel, (source, target)) in input.chunks_exact(join.input.plane()).zip(planes).enumerate() {
        for (source, target) in
            source.chunks_exact(width).step_by(stride).zip(target.chunks_exact_mut(out_width))
        {
            source.iter().step_by(stride).zip(target).for_each(|(&v, slot)| *slot += scaled(channel, v));
        }
    }
}

/// Sums over the windows of a pool.
#[must_use]
pub(crate) fn sum_pool<T: Copy + Default + std::ops::AddAssign>(
    pool: Pool,
    shape: Shape,
    input: &[T],
) -> Vec<T> {
    let mut out = vec![T::default(); pool.output(shape).elements()];
    for (index, &value) in input.iter().enumerate() {
        pool.windows_of(shape, index, |window| out[window] += value);
    }
    out
}

impl FloatLayer {
    /// The layer's sum, given the wires so far.
    ///
    /// # Panics
    /// The layer reads a wire that `wires` lacks, or whose shape differs.
    #[must_use]
    pub fn sum(&self, wires: &[Vec<f32>], scratch: &mut Vec<f32>) -> Vec<f32> {
        let shape = self.sum_shape();
        let mut sum: Vec<f32> =
            self.bias.iter().flat_map(|&b| std::iter::repeat_n(b, shape.plane())).collect();
        for term in &self.terms {
            let source = &wires[term.source];
            match &term.linear {
                FloatLinear::Convolution { geometry, weights } => {
                    columns::convolve(geometry, weights, source, 1.0, &mut sum, scratch)
                }
                FloatLinear::Join(join) => add_join(join, source, &mut sum, |_, v| v),
            }
        }
        sum
    }

    /// The wire that the layer writes, from its sum.
    #[must_use]
    pub fn step(&self, sum: &[f32]) -> Vec<f32> {
        let shape = self.sum_shape();
        let values = match &self.step {
            FloatStep::Activate { relu, polynomial, .. } => activate(relu, polynomial.as_ref(), shape, sum),
            FloatStep::Rescale { .. } | FloatStep::Release => sum.to_vec(),
        };
        match self.pool() {
            Some(pool) => sum_pool(pool, shape, &values),
            None => values,
        }
    }
}

fn activate(relu: &Mask, polynomial: Option<&FloatPolynomial>, shape: Shape, sum: &[f32]) -> Vec<f32> {
    let Some(polynomial) = polynomial else {
        return sum.iter().map(|z| z.max(0.0)).collect();
    };
    let plane = shape.plane();
    let at = |coefficients: &[f32], channel: usize| coefficients.get(channel).copied().unwrap_or(0.0);
    sum.iter()
        .enumerate()
        .map(|(index, &z)| {
            let channel = index / plane;
            match relu.get(index) {
                true => z.max(0.0),
                false => {
                    (at(&polynomial.c2, channel) * z + at(&polynomial.c1, channel)) * z
                        + at(&polynomial.c0, channel)
                }
            }
        })
        .collect()
}

impl FloatNetwork {
    /// A picture's pixels as the network's real input.
    ///
    /// # Shapes
    /// `pixels`: [`FloatNetwork::input`].
    #[must_use]
    pub fn normalise(&self, pixels: &[u8]) -> Vec<f32> {
        let planes = pixels.chunks_exact(self.input.plane()).zip(&self.normalisation);
        planes
            .flat_map(|(plane, n)| plane.iter().map(|&p| (f32::from(p) / 255.0 - n.mean) / n.deviation))
            .collect()
    }

    /// Runs one picture and keeps everything.
    ///
    /// # Shapes
    /// `pixels`: [`FloatNetwork::input`].
    #[must_use]
    pub fn run(&self, pixels: &[u8]) -> Trace {
        let mut trace = Trace { sums: Vec::new(), wires: vec![self.normalise(pixels)] };
        let mut scratch = Vec::new();
        for layer in &self.layers {
            let sum = layer.sum(&trace.wires, &mut scratch);
            trace.wires.push(layer.step(&sum));
            trace.sums.push(sum);
        }
        trace
    }

    /// The logits of every picture, on all cores; `done` is called after each.
    #[must_use]
    pub fn logits(&self, data: &DataSet, done: impl Fn() + Sync) -> Vec<Vec<f32>> {
        let run = |index| {
            let logits = self.run(data.picture(index)).wires.pop().unwrap_or_default();
            done();
            logits
        };
        (0..data.len()).into_par_iter().map(run).collect()
    }
}

/// The label that logits give: the largest, the lower index on a tie.
#[must_use]
pub fn label<T: PartialOrd>(logits: &[T]) -> usize {
    let better = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (0..logits.len()).reduce(better).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfnet_core::shape::Shape;

    #[test]
    fn joins_follow_their_definition() {
        for join in [
            Join { input: Shape::new(2, 5, 4), output: Shape::new(4, 3, 2), stride: 2, channel_offset: 1 },
            Join { input: Shape::new(3, 4, 4), output: Shape::new(3, 4, 4), stride: 1, channel_offset: 0 },
        ] {
            join.validate().unwrap();
            let input: Vec<i32> = (1..=join.input.elements() as i32).collect();
            let mut sum = vec![1000; join.output.elements()];
            add_join(&join, &input, &mut sum, |channel, v| v * (channel as i32 + 2));
            for (index, &value) in sum.iter().enumerate() {
                let added =
                    join.source(index).map_or(0, |i| input[i] * ((i / join.input.plane()) as i32 + 2));
                assert_eq!(value, 1000 + added, "{join:?} {index}");
            }
        }
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        assert_eq!(label(&[1, 3, 3, 2]), 1);
        assert_eq!(label(&[0.5, 0.25]), 0);
        assert_eq!(label::<i64>(&[]), 0);
    }
}
