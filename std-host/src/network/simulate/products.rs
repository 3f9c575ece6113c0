//! Integer convolutions, exact, through whichever arithmetic is fast enough for their size.
//!
//! As long as every partial sum is below 2^24 in size, an `f32` holds it exactly in any order of summation;
//! below 2^53 an `f64` does. The bound is max|x| · max over outputs of Σ|w|, taken anew for every input, so
//! nothing is assumed of the data.

use std::num::Wrapping;

use halfnet_core::shape::Convolution;

use crate::network::float::columns;

/// A convolution's weights, ready for each arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub struct Products {
    geometry: Convolution,
    weights: Vec<i64>,
    single: Vec<f32>,
    double: Vec<f64>,
    /// max over outputs of Σ|w|, saturating.
    gain: u64,
}

/// Buffers to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    single: Buffers<f32>,
    double: Buffers<f64>,
    integer: Buffers<Wrapping<i64>>,
}

#[derive(Debug, Default)]
struct Buffers<T> {
    input: Vec<T>,
    patches: Vec<T>,
    output: Vec<T>,
}

impl Products {
    /// # Shapes
    /// `weights`: as [`Convolution`] states.
    #[must_use]
    pub fn new(geometry: Convolution, weights: Vec<i64>) -> Self {
        let row = |row: &[i64]| row.iter().fold(0_u64, |sum, w| sum.saturating_add(w.unsigned_abs()));
        let gain = weights.chunks(geometry.fan_in().max(1)).map(row).max().unwrap_or(0);
        let exact = |limit: u32| gain <= 1 << limit;
        let single = if exact(24) { weights.iter().map(|&w| w as f32).collect() } else { Vec::new() };
        let double = if exact(53) { weights.iter().map(|&w| w as f64).collect() } else { Vec::new() };
        Self { geometry, weights, single, double, gain }
    }

    /// The geometry.
    #[must_use]
    pub fn geometry(&self) -> &Convolution {
        &self.geometry
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &[i64] {
        &self.weights
    }

    /// sum += W ⊗ x over the integers (modulo 2^64).
    ///
    /// # Shapes
    /// `input`: the geometry's input; `sum`: its output.
    pub fn add_to(&self, input: &[i64], sum: &mut [i64], scratch: &mut Scratch) {
        let largest = input.iter().fold(0, |max, x| x.unsigned_abs().max(max)).max(1);
        match self.gain.checked_mul(largest) {
            Some(bound) if bound <= 1 << 24 => {
                self.run(&self.single, input, sum, &mut scratch.single, 0.0, |v| v as f32, |v| v as i64);
            }
            Some(bound) if bound <= 1 << 53 => {
                self.run(&self.double, input, sum, &mut scratch.double, 0.0, |v| v as f64, |v| v as i64);
            }
            _ => {
                let weights: Vec<Wrapping<i64>> = self.weights.iter().map(|&w| Wrapping(w)).collect();
                self.run(&weights, input, sum, &mut scratch.integer, Wrapping(0), Wrapping, |v| v.0);
            }
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one scalar type's constants and conversions, listed once for each type"
    )]
    fn run<T: ndarray::LinalgScalar + Default>(
        &self,
        weights: &[T],
        input: &[i64],
        sum: &mut [i64],
        buffers: &mut Buffers<T>,
        zero: T,
        from: impl Fn(i64) -> T,
        into: impl Fn(T) -> i64,
    ) {
        buffers.input.clear();
        buffers.input.extend(input.iter().map(|&v| from(v)));
        buffers.output.clear();
        buffers.output.resize(sum.len(), zero);
        columns::convolve(
            &self.geometry,
            weights,
            &buffers.input,
            zero,
            &mut buffers.output,
            &mut buffers.patches,
        );
        sum.iter_mut().zip(&buffers.output).for_each(|(sum, &v)| *sum = sum.wrapping_add(into(v)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfnet_core::shape::Shape;

    #[test]
    fn every_arithmetic_is_exact_at_its_edge() {
        let geometry = Convolution {
            input: Shape::new(2, 3, 3),
            out_channels: 3,
            kernel_height: 2,
            kernel_width: 2,
            stride: 1,
            padding: 1,
            groups: 1,
        };
        // Σ|w| is 8 · 255 at most: bounds of 2^24, 2^53 and beyond.
        for largest in [8224, 4_415_293_752_000, i64::MAX / 2] {
            let weights: Vec<i64> = (0..geometry.weights() as i64)
                .map(|i| if i % 2 == 0 { 255 - i % 3 } else { i % 5 - 255 })
                .collect();
            let input: Vec<i64> = (0..geometry.input.elements() as i64)
                .map(|i| if i % 3 == 0 { largest - i } else { i - largest })
                .collect();
            let mut sum = vec![7; geometry.output().elements()];
            Products::new(geometry, weights.clone()).add_to(&input, &mut sum, &mut Scratch::default());
            for (index, &value) in sum.iter().enumerate() {
                let mut expected = 7_i64;
                let (o, y, x) = (index / 16, index % 16 / 4, index % 4);
                for (c, ky, kx) in (0..8).map(|k| (k / 4, k / 2 % 2, k % 2)) {
                    let (Some(row), Some(column)) = ((y + ky).checked_sub(1), (x + kx).checked_sub(1)) else {
                        continue;
                    };
                    if row < 3 && column < 3 {
                        let product = weights[o * 8 + c * 4 + ky * 2 + kx]
                            .wrapping_mul(input[c * 9 + row * 3 + column]);
                        expected = expected.wrapping_add(product);
                    }
                }
                assert_eq!(value, expected, "{largest} {index}");
            }
        }
    }
}
