//! DaPa: the polynomial that fits ReLU best in the mean square under a normal distribution of its argument
//! (AutoReP, Eq. 13).
//!
//! With P = Φ(μ/σ) and p = φ(μ/σ), E(ReLU) = μP + σp and the regression of ReLU on z has the slope P; on z²
//! beside it, c2 = p / 2σ.

use std::f64::consts::{PI, SQRT_2};

/// c2·z² + c1·z + c0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    /// Of z².
    pub c2: f64,
    /// Of z.
    pub c1: f64,
    /// Constant.
    pub c0: f64,
}

/// Degree of the replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Degree {
    /// c1·z + c0.
    One,
    /// c2·z² + c1·z + c0.
    Two,
}

fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

/// Φ, by the continued fraction or the series of the error function, to about 1e-12.
fn distribution(x: f64) -> f64 {
    let t = x.abs() / SQRT_2;
    // erf(t) by its series where it converges fast, else erfc(t) by its continued fraction.
    let upper = if t < 3.0 {
        let (mut term, mut sum) = (t, t);
        for n in 1..100 {
            term *= -t * t / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        0.5 * (1.0 - 2.0 / PI.sqrt() * sum)
    } else {
        let mut fraction = t;
        for n in (1..60).rev() {
            fraction = t + f64::from(n) / 2.0 / fraction;
        }
        0.5 * (-t * t).exp() / PI.sqrt() / fraction
    };
    if x >= 0.0 { 1.0 - upper } else { upper }
}

/// The best polynomial of its degree for z ~ N(mean, deviation²), its c2 then multiplied by `shrink` and the
/// others fitted again.
#[must_use]
pub fn fit(degree: Degree, mean: f64, deviation: f64, shrink: f64) -> Polynomial {
    let (upper, p) = (distribution(mean / deviation), density(mean / deviation));
    let c2 = if degree == Degree::Two { shrink * p / (2.0 * deviation) } else { 0.0 };
    // What c2·z² leaves of ReLU(z): its slope on z and its mean, E[z²] being μ² + σ² and Cov(z², z) / σ²
    // being 2μ.
    let c1 = upper - 2.0 * c2 * mean;
    let c0 = mean * upper + deviation * p - c2 * (mean * mean + deviation * deviation) - c1 * mean;
    Polynomial { c2, c1, c0 }
}

/// What AutoReP's published code starts with, c2 multiplied by its `scale_x2`: the deviation is fed the
/// variance (at least 0.5), c0 is divided by 5 and c2 by 10.
#[must_use]
pub fn published(degree: Degree, mean: f64, variance: f64, scale: f64) -> Polynomial {
    let found = fit(degree, mean, variance.max(0.5), 1.0);
    Polynomial { c2: found.c2 / 10.0 * scale, c1: found.c1, c0: found.c0 / 5.0 }
}

/// The mean square error of the best polynomial (AutoReP's Eq. 14, its last exponent corrected to −μ²/σ²).
#[must_use]
pub fn least_loss(degree: Degree, mean: f64, deviation: f64) -> f64 {
    let (upper, p) = (distribution(mean / deviation), density(mean / deviation));
    let square = deviation * deviation;
    let last = if degree == Degree::Two { 1.5 } else { 1.0 } * square * p * p;
    (mean * mean + square) * upper * (1.0 - upper) + mean * deviation * p * (1.0 - 2.0 * upper) - last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E[f(z)] for z ~ N(mean, deviation²), by the trapezoidal rule, which is exact to rounding for such
    /// integrands but at ReLU's corner, where steps are fine.
    fn expectation(mean: f64, deviation: f64, f: impl Fn(f64) -> f64) -> f64 {
        let steps = 400_000;
        let width = 24.0 / f64::from(steps);
        (0..=steps)
            .map(|i| -12.0 + f64::from(i) * width)
            .map(|x| f(mean + deviation * x) * density(x) * width)
            .sum()
    }

    #[test]
    fn the_fit_is_the_best_of_its_degree() {
        for (mean, deviation) in [(0.0, 1.0), (0.7, 0.4), (-2.0, 1.0), (1.5, 2.0), (-0.3, 0.1)] {
            for degree in [Degree::One, Degree::Two] {
                let c = fit(degree, mean, deviation, 1.0);
                let error = |z: f64| z.max(0.0) - ((c.c2 * z + c.c1) * z + c.c0);
                let loss = expectation(mean, deviation, |z| error(z).powi(2));
                assert!(
                    (loss - least_loss(degree, mean, deviation)).abs() < 1e-7,
                    "{mean} {deviation} {degree:?} {loss}"
                );
                // The error is orthogonal to what it was fitted with.
                assert!(expectation(mean, deviation, error).abs() < 1e-7);
                assert!(expectation(mean, deviation, |z| error(z) * z).abs() < 1e-7);
                if degree == Degree::Two {
                    assert!(expectation(mean, deviation, |z| error(z) * z * z).abs() < 1e-7);
                }
            }
        }
    }

    #[test]
    fn a_shrunk_fit_keeps_mean_and_slope() {
        let c = fit(Degree::Two, 0.4, 1.3, 0.1);
        let error = |z: f64| z.max(0.0) - ((c.c2 * z + c.c1) * z + c.c0);
        assert!((c.c2 - 0.1 * fit(Degree::Two, 0.4, 1.3, 1.0).c2).abs() < 1e-15);
        assert!(
            expectation(0.4, 1.3, error).abs() < 1e-7 && expectation(0.4, 1.3, |z| error(z) * z).abs() < 1e-7
        );
    }

    #[test]
    fn published_start_of_a_standard_normal() {
        // By hand: at μ = 0 and variance 1, c2 = φ(0) / 2 / 10 · 0.1, c1 = ½ and c0 = φ(0) / 2 / 5.
        let c = published(Degree::Two, 0.0, 1.0, 0.1);
        assert!(
            (c.c2 - 0.001_994_7).abs() < 1e-6
                && (c.c1 - 0.5).abs() < 1e-12
                && (c.c0 - 0.039_894_2).abs() < 1e-6,
            "{c:?}"
        );
    }

    #[test]
    fn figure_6_of_autorep() {
        let c = fit(Degree::Two, 0.0, SQRT_2, 1.0);
        assert!(
            (c.c2 - 0.14).abs() < 0.005 && (c.c1 - 0.5).abs() < 0.005 && (c.c0 - 0.28).abs() < 0.005,
            "{c:?}"
        );
        assert!((least_loss(Degree::Two, 0.0, 1.0) - (0.25 - 3.0 / (4.0 * PI))).abs() < 1e-12);
    }
}
