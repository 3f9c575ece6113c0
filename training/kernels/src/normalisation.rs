//! Batch normalisation: y = gain · (x − mean) / √(variance + ε) + bias, with the mean and the variance of
//! each channel's own batch.

use rayon::prelude::*;

use crate::LANES;
use crate::simd::vectorised;

/// A channel's mean and variance over a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: f32,
    /// Variance, divided by the number of values.
    pub variance: f32,
}

vectorised! {
    /// Sums of x and of x², lane by lane.
    fn sums(plane: &[f32]) -> (f64, f64) {
        let (mut sum, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        for position in plane.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                sum[lane] += position[lane];
                squares[lane] += position[lane] * position[lane];
            }
        }
        (sum.iter().map(|&v| f64::from(v)).sum(), squares.iter().map(|&v| f64::from(v)).sum())
    }
}

vectorised! {
    /// y = factor · x + offset.
    fn affine(x: &[f32], factor: f32, offset: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = factor * *x + offset;
        }
    }
}

vectorised! {
    /// Sums of dy and of dy · x, lane by lane.
    fn products(x: &[f32], gradient: &[f32]) -> (f64, f64) {
        let (mut sum, mut product) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        for (x, gradient) in x.as_chunks::<LANES>().0.iter().zip(gradient.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                sum[lane] += gradient[lane];
                product[lane] += gradient[lane] * x[lane];
            }
        }
        (sum.iter().map(|&v| f64::from(v)).sum(), product.iter().map(|&v| f64::from(v)).sum())
    }
}

vectorised! {
    /// dx = a · dy + b · x + c.
    fn combine(x: &[f32], gradient: &[f32], a: f32, b: f32, c: f32, out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = a * *gradient + (b * *x + c);
        }
    }
}

/// Adds up what each (block, channel) plane gave, block after block.
fn by_channel(partial: &[(f64, f64)], channels: usize) -> Vec<(f64, f64)> {
    let mut all = vec![(0.0, 0.0); channels];
    for block in partial.chunks_exact(channels) {
        for (all, one) in all.iter_mut().zip(block) {
            *all = (all.0 + one.0, all.1 + one.1);
        }
    }
    all
}

/// Moments of every channel.
///
/// # Shapes
/// `x`: (block, channel, position, lane).
///
/// # Panics
/// The length is no whole number of planes of `positions`.
#[must_use]
pub fn moments(x: &[f32], channels: usize, positions: usize) -> Vec<Moments> {
    let plane = positions * LANES;
    assert!(x.len().is_multiple_of(channels * plane), "values of a normalisation");
    let partial: Vec<(f64, f64)> = x.par_chunks(plane).map(sums).collect();
    let count = (x.len() / channels) as f64;
    let moments = |(sum, squares): (f64, f64)| {
        let mean = sum / count;
        Moments { mean: mean as f32, variance: (squares / count - mean * mean).max(0.0) as f32 }
    };
    by_channel(&partial, channels).into_iter().map(moments).collect()
}

/// y = gain · (x − mean) / √(variance + ε) + bias.
///
/// # Shapes
/// `x` and `y`: (block, channel, position, lane); `gain`, `bias` and `moments`: one a channel.
///
/// # Panics
/// Lengths differ.
pub fn forward(
    x: &[f32],
    gain: &[f32],
    bias: &[f32],
    moments: &[Moments],
    epsilon: f32,
    positions: usize,
    y: &mut [f32],
) {
    assert!(
        x.len() == y.len() && gain.len() == moments.len() && bias.len() == moments.len(),
        "lengths of a normalisation"
    );
    let plane = positions * LANES;
    y.par_chunks_mut(plane).zip(x.par_chunks(plane)).enumerate().for_each(|(index, (y, x))| {
        let channel = index % moments.len();
        let factor = gain[channel] / (moments[channel].variance + epsilon).sqrt();
        affine(x, factor, bias[channel] - moments[channel].mean * factor, y);
    });
}

/// Where the moments of a normalisation come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the batch itself: they are functions of x.
    Batch,
    /// From elsewhere: they are constants.
    Fixed,
}

/// dx, dgain and dbias.
///
/// # Shapes
/// As [`forward`].
///
/// # Panics
/// Lengths differ.
#[allow(clippy::too_many_arguments, reason = "one function of eight slices and sizes")]
pub fn backward(
    source: Source,
    x: &[f32],
    gain: &[f32],
    moments: &[Moments],
    epsilon: f32,
    positions: usize,
    gradient: &[f32],
    out: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    assert!(
        x.len() == gradient.len() && x.len() == out.len() && gain.len() == moments.len(),
        "lengths of a normalisation"
    );
    let (plane, channels) = (positions * LANES, moments.len());
    let partial: Vec<(f64, f64)> =
        x.par_chunks(plane).zip(gradient.par_chunks(plane)).map(|(x, g)| products(x, g)).collect();
    let count = (x.len() / channels) as f64;
    let mut factors = Vec::with_capacity(channels);
    let (mut gains, mut biases) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
    for (((sum, product), moments), &gain) in
        by_channel(&partial, channels).into_iter().zip(moments).zip(gain)
    {
        let inverse = 1.0 / (f64::from(moments.variance) + f64::from(epsilon)).sqrt();
        // Σ dy · x̂, with x̂ the normalised x.
        let normalised = (product - f64::from(moments.mean) * sum) * inverse;
        gains.push(normalised as f32);
        biases.push(sum as f32);
        // dx = gain / σ · (dy − mean(dy) − x̂ · mean(dy · x̂)); the means stand for the moments' own
        // gradients.
        let a = f64::from(gain) * inverse;
        if source == Source::Fixed {
            factors.push((a as f32, 0.0, 0.0));
            continue;
        }
        let b = -a * inverse * normalised / count;
        factors.push((a as f32, b as f32, (-a * sum / count - b * f64::from(moments.mean)) as f32));
    }
    let planes = out.par_chunks_mut(plane).zip(x.par_chunks(plane).zip(gradient.par_chunks(plane)));
    planes.enumerate().for_each(|(index, (out, (x, gradient)))| {
        let (a, b, c) = factors[index % channels];
        combine(x, gradient, a, b, c, out);
    });
    (gains, biases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.7 + seed).sin() * 2.0 + (i as f32 * 0.013 * seed).cos()).collect()
    }

    #[test]
    fn gradients_are_the_difference_quotients() {
        let (channels, positions, epsilon) = (3, 4, 1e-3);
        let count = 2 * channels * positions * LANES;
        let (x, weight) = (wave(count, 1.0), wave(count, 2.0));
        let (gain, bias) = (vec![1.5, -0.5, 2.0], vec![0.1, 0.2, 0.3]);
        let constants = vec![Moments { mean: 0.3, variance: 2.0 }; channels];
        for source in [Source::Batch, Source::Fixed] {
            let found = |x: &[f32]| {
                if source == Source::Batch { moments(x, channels, positions) } else { constants.clone() }
            };
            let loss = |x: &[f32], gain: &[f32], bias: &[f32]| {
                let mut y = vec![0.0; count];
                forward(x, gain, bias, &found(x), epsilon, positions, &mut y);
                y.iter().zip(&weight).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum::<f64>()
            };
            let mut dx = vec![0.0; count];
            let (dgain, dbias) =
                backward(source, &x, &gain, &found(&x), epsilon, positions, &weight, &mut dx);
            let quotient = |change: &dyn Fn(f32) -> f64| (change(1e-2) - change(-1e-2)) / 2e-2;
            for index in [0, 17, 100, count - 1] {
                let numeric = quotient(&|by| {
                    let mut x = x.clone();
                    x[index] += by;
                    loss(&x, &gain, &bias)
                });
                assert!(
                    (numeric - f64::from(dx[index])).abs() < 3e-3,
                    "{source:?} {index}: {numeric} {}",
                    dx[index]
                );
            }
            for channel in 0..channels {
                let changed = |values: &[f32], by: f32| {
                    let mut values = values.to_vec();
                    values[channel] += by;
                    values
                };
                let numeric = quotient(&|by| loss(&x, &changed(&gain, by), &bias));
                assert!(
                    (numeric - f64::from(dgain[channel])).abs() < 2e-2,
                    "gain {numeric} {}",
                    dgain[channel]
                );
                let numeric = quotient(&|by| loss(&x, &gain, &changed(&bias, by)));
                assert!(
                    (numeric - f64::from(dbias[channel])).abs() < 2e-2,
                    "bias {numeric} {}",
                    dbias[channel]
                );
            }
        }
    }

    #[test]
    fn moments_are_those_of_each_channel() {
        let x: Vec<f32> = (0..2 * 2 * 3 * LANES)
            .map(|i| if (i / (3 * LANES)).is_multiple_of(2) { 5.0 } else { (i % 2) as f32 })
            .collect();
        assert_eq!(
            moments(&x, 2, 3),
            [Moments { mean: 5.0, variance: 0.0 }, Moments { mean: 0.5, variance: 0.25 }]
        );
    }
}
