//! Cross-entropy, and distillation from a teacher's logits.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use halfnet_layers::LANES;

use crate::ops::tensors::Activations;

/// The temperature of distillation in AutoReP, SNL and DeepReDuce.
pub const TEMPERATURE: f32 = 4.0;

/// Labels as ones: (block, class, lane); lanes without a picture are zero.
#[must_use]
pub fn one_hot(labels: &[u16], classes: usize, device: &Device) -> Tensor<3> {
    let blocks = labels.len().div_ceil(LANES);
    let mut ones = vec![0.0; blocks * classes * LANES];
    for (index, &label) in labels.iter().enumerate() {
        ones[(index / LANES * classes + usize::from(label)) * LANES + index % LANES] = 1.0;
    }
    Tensor::from_data(TensorData::new(ones, [blocks, classes, LANES]), device)
}

/// Cross-entropy, and with a teacher's logits, T² times the Kullback–Leibler divergence of both softened
/// distributions, each the mean over all pictures.
///
/// # Shapes
/// `logits` and `teacher`: (block, class, 1, 1, lane), every lane with a picture, the latter without
/// gradients.
#[must_use]
pub fn loss(logits: Activations, labels: &[u16], teacher: Option<Activations>, device: &Device) -> Tensor<1> {
    let [blocks, classes, ..] = logits.dims();
    let logits = logits.reshape([blocks, classes, LANES]);
    let count = labels.len() as f32;
    let truth = one_hot(labels, classes, device).autodiff();
    let entropy = (truth * log_softmax(logits.clone(), 1)).sum() / -count;
    match teacher {
        None => entropy,
        Some(teacher) => {
            let teacher = teacher.reshape([blocks, classes, LANES]) / TEMPERATURE;
            let (soft, logarithm) =
                (softmax(teacher.clone(), 1).autodiff(), log_softmax(teacher, 1).autodiff());
            let divergence = (soft * (logarithm - log_softmax(logits / TEMPERATURE, 1))).sum()
                * (TEMPERATURE * TEMPERATURE / count);
            entropy + divergence
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::values;

    #[test]
    fn losses_are_their_definitions() {
        let device = Device::flex();
        let logits: Vec<f32> = (0..3 * LANES).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let teacher: Vec<f32> = (0..3 * LANES).map(|i| (i as f32 * 0.3).cos() * 3.0).collect();
        let labels: Vec<u16> = (0..LANES).map(|i| (i % 3) as u16).collect();
        let distribution = |logits: &[f32], lane: usize, temperature: f32| {
            let powers =
                [0, 1, 2].map(|c| (f64::from(logits[c * LANES + lane]) / f64::from(temperature)).exp());
            powers.map(|p| p / powers.iter().sum::<f64>())
        };
        let (mut entropy, mut divergence) = (0.0, 0.0);
        for (lane, &label) in labels.iter().enumerate() {
            entropy -= distribution(&logits, lane, 1.0)[usize::from(label)].ln() / LANES as f64;
            let (t, s) =
                (distribution(&teacher, lane, TEMPERATURE), distribution(&logits, lane, TEMPERATURE));
            divergence += t.iter().zip(s).map(|(t, s)| 16.0 * t * (t / s).ln()).sum::<f64>() / LANES as f64;
        }
        let of = |values: &[f32]| {
            Activations::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 1, LANES]), &device)
        };
        let tensor = || of(&logits).autodiff();
        let plain = values(&loss(tensor(), &labels, None, &device).inner())[0];
        let distilled = values(&loss(tensor(), &labels, Some(of(&teacher)), &device).inner())[0];
        assert!(
            (f64::from(plain) - entropy).abs() < 1e-5
                && (f64::from(distilled) - entropy - divergence).abs() < 1e-4
        );
        let same = values(&loss(tensor(), &labels, Some(of(&logits)), &device).inner())[0];
        assert!((same - plain).abs() < 1e-4);
    }
}
