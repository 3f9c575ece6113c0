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

/// Cross-entropy, and with a teacher's logits, T² times the Kullback–Leibler divergence of both softened distributions (but for its
/// part that does not depend on the student), each the mean over all pictures.
///
/// # Shapes
/// `logits`: (block, class, 1, 1, lane), every lane with a picture; `teacher`: (block, class, lane), values.
#[must_use]
pub fn loss(logits: Activations, labels: &[u16], teacher: Option<Vec<f32>>, device: &Device) -> Tensor<1> {
    let [blocks, classes, ..] = logits.dims();
    let logits = logits.reshape([blocks, classes, LANES]);
    let count = labels.len() as f32;
    let truth = one_hot(labels, classes, device).autodiff();
    let entropy = (truth * log_softmax(logits.clone(), 1)).sum() / -count;
    match teacher {
        None => entropy,
        Some(teacher) => {
            let teacher: Tensor<3> = Tensor::from_data(TensorData::new(teacher, [blocks, classes, LANES]), device);
            let soft = softmax(teacher / TEMPERATURE, 1).autodiff();
            let divergence = (soft * log_softmax(logits / TEMPERATURE, 1)).sum() * (-TEMPERATURE * TEMPERATURE / count);
            entropy + divergence
        }
    }
}
