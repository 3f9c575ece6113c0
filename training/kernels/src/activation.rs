//! The replacement of ReLUs: each position of a channel is a ReLU or its channel's polynomial c2·z² + c1·z + c0.

use rayon::prelude::*;

use crate::LANES;
use crate::simd::vectorised;

/// What keeps the polynomials' arguments in range: `weight` · mean over all elements of (|z| − limit)₊², counted where z goes into a
/// polynomial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangePenalty {
    /// Arguments up to this size are free.
    pub limit: f32,
    /// Weight in the loss; 0 switches it off.
    pub weight: f32,
}

/// A layer's activation.
#[derive(Clone, Copy, Debug)]
pub struct Activation<'a> {
    /// Which elements are ReLUs, in (channel, position) order.
    pub relu: &'a [bool],
    /// Coefficient of z², one a channel.
    pub c2: &'a [f32],
    /// Coefficient of z, one a channel.
    pub c1: &'a [f32],
    /// Constant, one a channel.
    pub c0: &'a [f32],
}

/// Gradients of an activation but that of its argument.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Of each element's indicator, were it a real number between polynomial (0) and ReLU (1): Σ dy · (ReLU(z) − polynomial(z)).
    pub indicator: Vec<f32>,
    /// One a channel.
    pub c2: Vec<f32>,
    /// One a channel.
    pub c1: Vec<f32>,
    /// One a channel.
    pub c0: Vec<f32>,
}

vectorised! {
    fn mix(relu: &[bool], c: [f32; 3], z: &[f32], y: &mut [f32]) {
        for ((&relu, z), y) in relu.iter().zip(z.as_chunks::<LANES>().0).zip(y.as_chunks_mut::<LANES>().0) {
            if relu {
                for lane in 0..LANES {
                    y[lane] = z[lane].max(0.0);
                }
            } else {
                for lane in 0..LANES {
                    y[lane] = (c[0] * z[lane] + c[1]) * z[lane] + c[2];
                }
            }
        }
    }
}

vectorised! {
    /// Writes dz and the indicators' gradients, and returns those of the coefficients. `limit`: of the range, and the factor of the
    /// excess in dz.
    fn unmix(
        relu: &[bool],
        c: [f32; 3],
        limit: (f32, f32),
        z: &[f32],
        gradient: &[f32],
        out: &mut [f32],
        indicator: &mut [f32],
    ) -> [f64; 3] {
        let mut sums = [[0.0_f32; LANES]; 3];
        let values = z.as_chunks::<LANES>().0.iter().zip(gradient.as_chunks::<LANES>().0);
        let outs = out.as_chunks_mut::<LANES>().0.iter_mut().zip(indicator);
        for ((&relu, (z, gradient)), (out, indicator)) in relu.iter().zip(values).zip(outs) {
            let mut difference = [0.0_f32; LANES];
            for lane in 0..LANES {
                let polynomial = (c[0] * z[lane] + c[1]) * z[lane] + c[2];
                difference[lane] = gradient[lane] * (z[lane].max(0.0) - polynomial);
            }
            *indicator = difference.iter().sum();
            if relu {
                for lane in 0..LANES {
                    out[lane] = if z[lane] > 0.0 { gradient[lane] } else { 0.0 };
                }
            } else {
                for lane in 0..LANES {
                    let excess = z[lane] - z[lane].clamp(-limit.0, limit.0);
                    out[lane] = gradient[lane] * (2.0 * c[0] * z[lane] + c[1]) + limit.1 * excess;
                    sums[0][lane] += gradient[lane] * z[lane] * z[lane];
                    sums[1][lane] += gradient[lane] * z[lane];
                    sums[2][lane] += gradient[lane];
                }
            }
        }
        sums.map(|lanes| lanes.iter().map(|&v| f64::from(v)).sum())
    }
}

vectorised! {
    fn step(z: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, z), gradient) in out.iter_mut().zip(z).zip(gradient) {
            *out = if *z > 0.0 { *gradient } else { 0.0 };
        }
    }
}

vectorised! {
    fn positive(z: &[f32], y: &mut [f32]) {
        for (y, z) in y.iter_mut().zip(z) {
            *y = z.max(0.0);
        }
    }
}

/// Elements that a task takes where any cut does.
const PIECE: usize = 1 << 14;

/// max(z, 0).
///
/// # Panics
/// Lengths differ.
pub fn relu(z: &[f32], y: &mut [f32]) {
    assert_eq!(z.len(), y.len(), "lengths of a ReLU");
    y.par_chunks_mut(PIECE).zip(z.par_chunks(PIECE)).for_each(|(y, z)| positive(z, y));
}

/// dz of max(z, 0). `z` may as well be the ReLU's output.
///
/// # Panics
/// Lengths differ.
pub fn relu_gradient(z: &[f32], gradient: &[f32], out: &mut [f32]) {
    assert!(z.len() == gradient.len() && z.len() == out.len(), "lengths of a ReLU's gradient");
    let pieces = out.par_chunks_mut(PIECE).zip(z.par_chunks(PIECE).zip(gradient.par_chunks(PIECE)));
    pieces.for_each(|(out, (z, gradient))| step(z, gradient, out));
}

impl Activation<'_> {
    fn positions(&self) -> usize {
        let channels = self.c1.len();
        assert!(self.c2.len() == channels && self.c0.len() == channels, "coefficients of an activation");
        assert!(channels > 0 && self.relu.len().is_multiple_of(channels), "mask of an activation");
        self.relu.len() / channels
    }

    fn channel(&self, index: usize, positions: usize) -> (&[bool], [f32; 3]) {
        let channel = index % self.c1.len();
        (&self.relu[channel * positions..(channel + 1) * positions], [self.c2[channel], self.c1[channel], self.c0[channel]])
    }

    /// Each element's ReLU or polynomial.
    ///
    /// # Shapes
    /// `z` and `y`: (block, channel, position, lane).
    ///
    /// # Panics
    /// Lengths do not go together.
    pub fn forward(&self, z: &[f32], y: &mut [f32]) {
        let positions = self.positions();
        assert!(z.len() == y.len() && z.len().is_multiple_of(self.relu.len() * LANES), "lengths of an activation");
        let plane = positions * LANES;
        y.par_chunks_mut(plane).zip(z.par_chunks(plane)).enumerate().for_each(|(index, (y, z))| {
            let (relu, coefficients) = self.channel(index, positions);
            mix(relu, coefficients, z, y);
        });
    }

    /// Writes dz, with the range penalty's own gradient added, and returns the other gradients.
    ///
    /// # Shapes
    /// `z`, `gradient` and `out`: (block, channel, position, lane).
    ///
    /// # Panics
    /// Lengths do not go together.
    pub fn backward(&self, range: RangePenalty, z: &[f32], gradient: &[f32], out: &mut [f32]) -> Gradients {
        let positions = self.positions();
        let (plane, channels) = (positions * LANES, self.c1.len());
        assert!(z.len() == gradient.len() && z.len() == out.len(), "lengths of an activation");
        assert!(z.len().is_multiple_of(self.relu.len() * LANES), "lengths of an activation");
        let limit = (range.limit, 2.0 * range.weight / z.len() as f32);
        let mut indicators = vec![0.0; z.len() / LANES];
        let planes = out.par_chunks_mut(plane).zip(indicators.par_chunks_mut(positions));
        let values = z.par_chunks(plane).zip(gradient.par_chunks(plane));
        let partial: Vec<[f64; 3]> = planes
            .zip(values)
            .enumerate()
            .map(|(index, ((out, indicator), (z, gradient)))| {
                let (relu, coefficients) = self.channel(index, positions);
                unmix(relu, coefficients, limit, z, gradient, out, indicator)
            })
            .collect();
        let mut sums = vec![[0.0_f64; 3]; channels];
        for (index, partial) in partial.iter().enumerate() {
            for (sum, one) in sums[index % channels].iter_mut().zip(partial) {
                *sum += one;
            }
        }
        let mut indicator = vec![0.0; self.relu.len()];
        for block in indicators.chunks_exact(self.relu.len()) {
            for (all, one) in indicator.iter_mut().zip(block) {
                *all += one;
            }
        }
        let of = |which: usize| sums.iter().map(|s| s[which] as f32).collect();
        Gradients { indicator, c2: of(0), c1: of(1), c0: of(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_the_difference_quotients() {
        let (channels, positions) = (2, 3);
        let relu = [true, false, false, true, true, false];
        let (c2, c1, c0) = (vec![0.2, -0.1], vec![0.5, 0.7], vec![0.3, 0.1]);
        let count = 2 * channels * positions * LANES;
        let z: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin() * 8.0 + 0.05).collect();
        let weight: Vec<f32> = (0..count).map(|i| (i as f32 * 0.11).cos()).collect();
        let range = RangePenalty { limit: 6.0, weight: 50.0 };
        let loss = |z: &[f32], c: [&[f32]; 3]| {
            let mut y = vec![0.0; count];
            Activation { relu: &relu, c2: c[0], c1: c[1], c0: c[2] }.forward(z, &mut y);
            let sum: f64 = y.iter().zip(&weight).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum();
            let excess = z.iter().enumerate().filter(|(i, _)| !relu[i / LANES % relu.len()]).map(|(_, z)| (z.abs() - 6.0).max(0.0).powi(2));
            sum + 50.0 * f64::from(excess.sum::<f32>()) / count as f64
        };
        let activation = Activation { relu: &relu, c2: &c2, c1: &c1, c0: &c0 };
        let mut dz = vec![0.0; count];
        let gradients = activation.backward(range, &z, &weight, &mut dz);
        let quotient = |change: &dyn Fn(f32) -> f64| (change(1e-2) - change(-1e-2)) / 2e-2;
        for index in 0..count {
            let numeric = quotient(&|by| {
                let mut z = z.clone();
                z[index] += by;
                loss(&z, [&c2, &c1, &c0])
            });
            if z[index].abs() > 0.02 && (z[index].abs() - 6.0).abs() > 0.02 {
                assert!((numeric - f64::from(dz[index])).abs() < 2e-3, "{index}: {numeric} {}", dz[index]);
            }
        }
        for channel in 0..channels {
            for (which, found) in [&gradients.c2, &gradients.c1, &gradients.c0].into_iter().enumerate() {
                let numeric = quotient(&|by| {
                    let mut c = [c2.clone(), c1.clone(), c0.clone()];
                    c[which][channel] += by;
                    loss(&z, [&c[0], &c[1], &c[2]])
                });
                assert!((numeric - f64::from(found[channel])).abs() < 2e-1, "c {which}: {numeric} {}", found[channel]);
            }
        }
        // An indicator moves its element's output from the polynomial to the ReLU, in every picture.
        for element in 0..relu.len() {
            let expected: f32 = (0..count)
                .filter(|i| i / LANES % relu.len() == element)
                .map(|i| {
                    let channel = element / positions;
                    weight[i] * (z[i].max(0.0) - ((c2[channel] * z[i] + c1[channel]) * z[i] + c0[channel]))
                })
                .sum();
            assert!((expected - gradients.indicator[element]).abs() < 1e-3);
        }
    }

    #[test]
    fn a_full_mask_is_the_relu() {
        let z: Vec<f32> = (0..3 * LANES).map(|i| i as f32 - 20.0).collect();
        let gradient: Vec<f32> = z.iter().map(|v| v * 0.5 + 1.0).collect();
        let (mut a, mut b, mut da, mut db) = (z.clone(), z.clone(), z.clone(), z.clone());
        let activation = Activation { relu: &[true; 3], c2: &[1.0], c1: &[1.0], c0: &[1.0] };
        activation.forward(&z, &mut a);
        relu(&z, &mut b);
        let gradients = activation.backward(RangePenalty { limit: 1.0, weight: 1.0 }, &z, &gradient, &mut da);
        relu_gradient(&b, &gradient, &mut db);
        assert_eq!((a, da, gradients.c2), (b, db, vec![0.0]));
    }
}
