//! Batch normalisation folded into the convolution before it.
//!
//! gain·(W ⊗ x − mean) / √(variance + ε) + bias = (W·g) ⊗ x + (bias − mean·g), with g = gain / √(variance +
//! ε) a channel.

use super::{FloatError, Tensors};

/// What PyTorch adds to a variance by default.
pub const EPSILON: f32 = 1e-5;

/// Statistics and affine part of one batch normalisation, one of each a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// γ.
    pub gain: Vec<f32>,
    /// β.
    pub bias: Vec<f32>,
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance.
    pub variance: Vec<f32>,
    /// ε.
    pub epsilon: f32,
}

impl BatchNorm {
    /// Takes `NAME.{weight,bias,running_mean,running_var}`.
    ///
    /// # Errors
    /// One is missing or has another length than `channels`.
    pub fn take(tensors: &mut Tensors, name: &str, channels: usize) -> Result<Self, FloatError> {
        let mut part = |part: &str| tensors.take(&format!("{name}.{part}"), &[channels]);
        Ok(Self {
            gain: part("weight")?,
            bias: part("bias")?,
            mean: part("running_mean")?,
            variance: part("running_var")?,
            epsilon: EPSILON,
        })
    }

    /// Scales `weights` in place and returns the bias that the convolution gets.
    ///
    /// # Shapes
    /// `weights`: (channels, anything).
    #[must_use]
    pub fn fold(&self, weights: &mut [f32]) -> Vec<f32> {
        let fan_in = weights.len() / self.gain.len().max(1);
        let statistics = self.mean.iter().zip(&self.variance);
        let mut biases = Vec::with_capacity(self.gain.len());
        for (((row, &gain), &bias), (&mean, &variance)) in
            weights.chunks_exact_mut(fan_in.max(1)).zip(&self.gain).zip(&self.bias).zip(statistics)
        {
            let factor = f64::from(gain) / (f64::from(variance) + f64::from(self.epsilon)).sqrt();
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
            biases.push((f64::from(bias) - f64::from(mean) * factor) as f32);
        }
        biases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_changes_nothing() {
        let norm = BatchNorm {
            gain: vec![2.0, -0.5],
            bias: vec![1.0, 0.25],
            mean: vec![0.5, -3.0],
            variance: vec![4.0, 0.3],
            epsilon: 1e-5,
        };
        let weights = [1.0, -2.0, 0.5, 0.75];
        let input = [3.0, 7.0];
        let mut folded = weights;
        let biases = norm.fold(&mut folded);
        for channel in 0..2 {
            let sum = |w: &[f32]| w[2 * channel] * input[0] + w[2 * channel + 1] * input[1];
            let direct = norm.gain[channel] * (sum(&weights) - norm.mean[channel])
                / (norm.variance[channel] + 1e-5).sqrt()
                + norm.bias[channel];
            assert!((sum(&folded) + biases[channel] - direct).abs() < 1e-4);
        }
    }
}
