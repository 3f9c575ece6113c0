//! The replacement of ReLUs: each position of a channel is a ReLU or its channel's polynomial c2·z² + c1·z +
//! c0.

use rayon::prelude::*;

use crate::LANES;
use crate::simd::vectorised;

/// What keeps the polynomials' arguments in range: weight · mean over all elements of h((|z| − limit)₊),
/// counted where z goes into a polynomial, with h(e) = e² up to `knee` and its tangent beyond, so that no
/// single element's pull is larger than 2 · weight · knee.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangePenalty {
    /// Arguments up to this size are free.
    pub limit: f32,
    /// Excess from which the cost grows no faster; infinite for a square.
    pub knee: f32,
    /// Weight in the loss; 0 switches it off.
    pub weight: f32,
}

impl RangePenalty {
    /// None.
    pub const OFF: Self = Self { limit: f32::INFINITY, knee: f32::INFINITY, weight: 0.0 };
}

/// How much each element is a ReLU, in (channel, position) order; the rest is its channel's polynomial.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a> {
    /// Wholly, or not at all.
    Hard(&'a [bool]),
    /// By a part: α · ReLU + (1 − α) · polynomial.
    Soft(&'a [f32]),
}

impl Mask<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Hard(mask) => mask.len(),
            Self::Soft(mask) => mask.len(),
        }
    }
}

/// A layer's activation.
#[derive(Clone, Copy, Debug)]
pub struct Activation<'a> {
    /// Which elements are ReLUs.
    pub mask: Mask<'a>,
    /// Coefficient of z², one a channel.
    pub c2: &'a [f32],
    /// Coefficient of z, one a channel.
    pub c1: &'a [f32],
    /// Constant, one a channel.
    pub c0: &'a [f32],
    /// Beyond ± this a polynomial goes on as its tangent, so that a picture out of range does not grow with
    /// every square that it meets; infinite: nowhere.
    pub tangent_from: f32,
}

/// Gradients of an activation but that of its argument.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Of each element's indicator, were it a real number between polynomial (0) and ReLU (1): Σ dy ·
    /// (ReLU(z) − polynomial(z)).
    pub indicator: Vec<f32>,
    /// One a channel.
    pub c2: Vec<f32>,
    /// One a channel.
    pub c1: Vec<f32>,
    /// One a channel.
    pub c0: Vec<f32>,
}

/// One channel's polynomial.
#[derive(Clone, Copy)]
struct Polynomial {
    c2: f32,
    c1: f32,
    c0: f32,
    limit: f32,
}

impl Polynomial {
    /// The argument up to which the square counts, the slope and the value.
    #[inline(always)]
    fn at(&self, z: f32) -> (f32, f32, f32) {
        let inner = z.max(-self.limit).min(self.limit);
        let slope = 2.0 * self.c2 * inner + self.c1;
        (inner, slope, (self.c2 * inner + self.c1) * inner + self.c0 + slope * (z - inner))
    }
}

/// Range penalty of one layer: the limit, the knee, and the factor of the excess in dz.
type Pull = (f32, f32, f32);

#[inline(always)]
fn pull(z: f32, (limit, knee, factor): Pull) -> f32 {
    factor * (z - z.max(-limit).min(limit)).max(-knee).min(knee)
}

vectorised! {
    fn mix(relu: &[bool], p: Polynomial, z: &[f32], y: &mut [f32]) {
        for ((&relu, z), y) in relu.iter().zip(z.as_chunks::<LANES>().0).zip(y.as_chunks_mut::<LANES>().0) {
            if relu {
                for lane in 0..LANES {
                    y[lane] = z[lane].max(0.0);
                }
            } else {
                for lane in 0..LANES {
                    y[lane] = p.at(z[lane]).2;
                }
            }
        }
    }
}

vectorised! {
    fn blend(parts: &[f32], p: Polynomial, z: &[f32], y: &mut [f32]) {
        for ((&part, z), y) in parts.iter().zip(z.as_chunks::<LANES>().0).zip(y.as_chunks_mut::<LANES>().0) {
            for lane in 0..LANES {
                let polynomial = p.at(z[lane]).2;
                y[lane] = polynomial + part * (z[lane].max(0.0) - polynomial);
            }
        }
    }
}

vectorised! {
    /// Writes dz and the indicators' gradients, and returns those of the coefficients.
    fn unmix(
        relu: &[bool],
        p: Polynomial,
        range: Pull,
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
                difference[lane] = gradient[lane] * (z[lane].max(0.0) - p.at(z[lane]).2);
            }
            *indicator = difference.iter().sum();
            if relu {
                for lane in 0..LANES {
                    out[lane] = if z[lane] > 0.0 { gradient[lane] } else { 0.0 };
                }
            } else {
                for lane in 0..LANES {
                    let (inner, slope, _) = p.at(z[lane]);
                    out[lane] = gradient[lane] * slope + pull(z[lane], range);
                    sums[0][lane] += gradient[lane] * inner * (2.0 * z[lane] - inner);
                    sums[1][lane] += gradient[lane] * z[lane];
                    sums[2][lane] += gradient[lane];
                }
            }
        }
        sums.map(|lanes| lanes.iter().map(|&v| f64::from(v)).sum())
    }
}

vectorised! {
    /// The same for parts.
    fn unblend(
        parts: &[f32],
        p: Polynomial,
        range: Pull,
        z: &[f32],
        gradient: &[f32],
        out: &mut [f32],
        indicator: &mut [f32],
    ) -> [f64; 3] {
        let mut sums = [[0.0_f32; LANES]; 3];
        let values = z.as_chunks::<LANES>().0.iter().zip(gradient.as_chunks::<LANES>().0);
        let outs = out.as_chunks_mut::<LANES>().0.iter_mut().zip(indicator);
        for ((&part, (z, gradient)), (out, indicator)) in parts.iter().zip(values).zip(outs) {
            let mut difference = [0.0_f32; LANES];
            let rest = 1.0 - part;
            for lane in 0..LANES {
                let (inner, slope, polynomial) = p.at(z[lane]);
                let step = if z[lane] > 0.0 { part } else { 0.0 };
                difference[lane] = gradient[lane] * (z[lane].max(0.0) - polynomial);
                out[lane] = gradient[lane] * (step + rest * slope) + rest * pull(z[lane], range);
                let weighted = rest * gradient[lane];
                sums[0][lane] += weighted * inner * (2.0 * z[lane] - inner);
                sums[1][lane] += weighted * z[lane];
                sums[2][lane] += weighted;
            }
            *indicator = difference.iter().sum();
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

impl<'a> Activation<'a> {
    /// The activation that a model has: each element wholly one or the other, polynomials exact everywhere.
    #[must_use]
    pub const fn exact(relu: &'a [bool], [c2, c1, c0]: [&'a [f32]; 3]) -> Self {
        Self { mask: Mask::Hard(relu), c2, c1, c0, tangent_from: f32::INFINITY }
    }

    fn positions(&self) -> usize {
        let channels = self.c1.len();
        assert!(self.c2.len() == channels && self.c0.len() == channels, "coefficients of an activation");
        assert!(channels > 0 && self.mask.len().is_multiple_of(channels), "mask of an activation");
        self.mask.len() / channels
    }

    fn channel(&self, index: usize, positions: usize) -> (Mask<'a>, Polynomial) {
        let channel = index % self.c1.len();
        let elements = channel * positions..(channel + 1) * positions;
        let mask = match self.mask {
            Mask::Hard(mask) => Mask::Hard(&mask[elements]),
            Mask::Soft(mask) => Mask::Soft(&mask[elements]),
        };
        (
            mask,
            Polynomial {
                c2: self.c2[channel],
                c1: self.c1[channel],
                c0: self.c0[channel],
                limit: self.tangent_from,
            },
        )
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
        assert!(
            z.len() == y.len() && z.len().is_multiple_of(self.mask.len() * LANES),
            "lengths of an activation"
        );
        let plane = positions * LANES;
        y.par_chunks_mut(plane).zip(z.par_chunks(plane)).enumerate().for_each(|(index, (y, z))| {
            match self.channel(index, positions) {
                (Mask::Hard(relu), polynomial) => mix(relu, polynomial, z, y),
                (Mask::Soft(parts), polynomial) => blend(parts, polynomial, z, y),
            }
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
        let (positions, elements) = (self.positions(), self.mask.len());
        let (plane, channels) = (positions * LANES, self.c1.len());
        assert!(z.len() == gradient.len() && z.len() == out.len(), "lengths of an activation");
        assert!(z.len().is_multiple_of(elements * LANES), "lengths of an activation");
        let range = (range.limit, range.knee, 2.0 * range.weight / z.len() as f32);
        let mut indicators = vec![0.0; z.len() / LANES];
        let planes = out.par_chunks_mut(plane).zip(indicators.par_chunks_mut(positions));
        let values = z.par_chunks(plane).zip(gradient.par_chunks(plane));
        let partial: Vec<[f64; 3]> = planes
            .zip(values)
            .enumerate()
            .map(|(index, ((out, indicator), (z, gradient)))| match self.channel(index, positions) {
                (Mask::Hard(relu), polynomial) => unmix(relu, polynomial, range, z, gradient, out, indicator),
                (Mask::Soft(parts), polynomial) => {
                    unblend(parts, polynomial, range, z, gradient, out, indicator)
                }
            })
            .collect();
        let mut sums = vec![[0.0_f64; 3]; channels];
        for (index, partial) in partial.iter().enumerate() {
            for (sum, one) in sums[index % channels].iter_mut().zip(partial) {
                *sum += one;
            }
        }
        let mut indicator = vec![0.0; elements];
        for block in indicators.chunks_exact(elements) {
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

    const CHANNELS: usize = 2;
    const POSITIONS: usize = 3;
    const COUNT: usize = 2 * CHANNELS * POSITIONS * LANES;

    fn position(index: usize) -> usize {
        index / LANES % (CHANNELS * POSITIONS)
    }

    /// All gradients against difference quotients. `parts`: how much each element is a ReLU.
    fn check(mask: Mask<'_>, parts: [f32; 6], tangent_from: f32, range: RangePenalty) {
        let (c2, c1, c0) = (vec![0.2, -0.1], vec![0.5, 0.7], vec![0.3, 0.1]);
        let z: Vec<f32> = (0..COUNT).map(|i| (i as f32 * 0.37).sin() * 8.0 + 0.05).collect();
        let weight: Vec<f32> = (0..COUNT).map(|i| (i as f32 * 0.11).cos()).collect();
        let cost = |z: f32| {
            let excess = f64::from((z.abs() - range.limit).max(0.0));
            let knee = f64::from(range.knee);
            if excess < knee { excess * excess } else { (2.0 * excess - knee) * knee }
        };
        let loss = |z: &[f32], c: [&[f32]; 3]| {
            let mut y = vec![0.0; COUNT];
            Activation { mask, c2: c[0], c1: c[1], c0: c[2], tangent_from }.forward(z, &mut y);
            let sum: f64 = y.iter().zip(&weight).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum();
            let costs = z.iter().enumerate().map(|(i, &z)| f64::from(1.0 - parts[position(i)]) * cost(z));
            sum + f64::from(range.weight) * costs.sum::<f64>() / COUNT as f64
        };
        let activation = Activation { mask, c2: &c2, c1: &c1, c0: &c0, tangent_from };
        let mut dz = vec![0.0; COUNT];
        let gradients = activation.backward(range, &z, &weight, &mut dz);
        let quotient = |change: &dyn Fn(f32) -> f64| (change(1e-2) - change(-1e-2)) / 2e-2;
        let corners = [0.0, range.limit, range.limit + range.knee, tangent_from];
        for index in 0..COUNT {
            let numeric = quotient(&|by| {
                let mut z = z.clone();
                z[index] += by;
                loss(&z, [&c2, &c1, &c0])
            });
            if corners.iter().all(|corner| (z[index].abs() - corner).abs() > 0.02) {
                assert!((numeric - f64::from(dz[index])).abs() < 2e-3, "{index}: {numeric} {}", dz[index]);
            }
        }
        for channel in 0..CHANNELS {
            for (which, found) in [&gradients.c2, &gradients.c1, &gradients.c0].into_iter().enumerate() {
                let numeric = quotient(&|by| {
                    let mut c = [c2.clone(), c1.clone(), c0.clone()];
                    c[which][channel] += by;
                    loss(&z, [&c[0], &c[1], &c[2]])
                });
                assert!(
                    (numeric - f64::from(found[channel])).abs() < 2e-1,
                    "c {which}: {numeric} {}",
                    found[channel]
                );
            }
        }
        // An indicator moves its element's output from the polynomial to the ReLU, in every picture.
        for element in 0..CHANNELS * POSITIONS {
            let channel = element / POSITIONS;
            let polynomial = |z: f32| {
                let inner = z.clamp(-tangent_from, tangent_from);
                let (c2, c1) = (c2[channel], c1[channel]);
                c2 * inner * inner + c1 * inner + c0[channel] + (2.0 * c2 * inner + c1) * (z - inner)
            };
            let elements = (0..COUNT).filter(|&i| position(i) == element);
            let expected: f32 = elements.map(|i| weight[i] * (z[i].max(0.0) - polynomial(z[i]))).sum();
            assert!((expected - gradients.indicator[element]).abs() < 1e-3);
        }
    }

    #[test]
    fn gradients_are_the_difference_quotients() {
        let relu = [true, false, false, true, true, false];
        let parts = relu.map(|r| if r { 1.0 } else { 0.0 });
        let range = RangePenalty { limit: 6.0, knee: 1.0, weight: 50.0 };
        check(Mask::Hard(&relu), parts, f32::INFINITY, RangePenalty { knee: f32::INFINITY, ..range });
        check(Mask::Hard(&relu), parts, 5.0, range);
        let parts = [0.3, 0.9, -0.1, 1.0, 0.5, 0.0];
        check(Mask::Soft(&parts), parts, f32::INFINITY, range);
        check(Mask::Soft(&parts), parts, 4.0, range);
    }

    #[test]
    fn a_full_mask_is_the_relu() {
        let z: Vec<f32> = (0..3 * LANES).map(|i| i as f32 - 20.0).collect();
        let gradient: Vec<f32> = z.iter().map(|v| v * 0.5 + 1.0).collect();
        let (mut a, mut b, mut da, mut db) = (z.clone(), z.clone(), z.clone(), z.clone());
        let activation = Activation::exact(&[true; 3], [&[1.0], &[1.0], &[1.0]]);
        activation.forward(&z, &mut a);
        relu(&z, &mut b);
        let gradients =
            activation.backward(RangePenalty { limit: 1.0, knee: 1.0, weight: 1.0 }, &z, &gradient, &mut da);
        relu_gradient(&b, &gradient, &mut db);
        assert_eq!((a, da, gradients.c2), (b, db, vec![0.0]));
    }
}
