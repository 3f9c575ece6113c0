//! The small CNNs: convolutions 3×3 with batch normalisation and ReLU (the first of stride 1, then 2), then a
//! linear layer. Three convolutions are MNIST's, four those of spoken digits.

use halfnet_core::shape::{Convolution, Shape};

use super::fold::BatchNorm;
use super::{
    ChannelNormalisation, FloatError, FloatLayer, FloatLinear, FloatNetwork, FloatStep, FloatTerm, Mask,
    Tensors,
};
use crate::network::data::DataSetKind;

pub(super) fn build(tensors: &mut Tensors) -> Result<FloatNetwork, FloatError> {
    let convolutions = (1..).take_while(|number| tensors.has(&format!("conv{number}.weight"))).count();
    let (name, data_set) =
        if convolutions == 4 { ("fsdd_cnn", DataSetKind::Fsdd) } else { ("mnist_cnn", DataSetKind::Mnist) };
    let mut shape = data_set.shape();
    let mut layers = Vec::new();
    for index in 0..convolutions {
        let stride = if index == 0 { 1 } else { 2 };
        let name = format!("conv{}", index + 1);
        let (geometry, mut weights) = convolution(tensors, &name, shape, stride)?;
        let bias = BatchNorm::take(tensors, &format!("bn{}", index + 1), usize::from(geometry.out_channels))?
            .fold(&mut weights);
        shape = geometry.output();
        layers.push(FloatLayer {
            name,
            terms: vec![FloatTerm { source: index, linear: FloatLinear::Convolution { geometry, weights } }],
            bias,
            step: FloatStep::Activate { relu: Mask::All, polynomial: None, pool: None },
        });
    }
    layers.push(linear(tensors, shape, layers.len(), data_set)?);
    let normalisation = vec![ChannelNormalisation { mean: 0.0, deviation: 1.0 }];
    Ok(FloatNetwork { name: name.to_owned(), data_set, input: data_set.shape(), normalisation, layers })
}

/// `NAME.weight` as a 3×3 convolution with padding 1 on `input`.
pub(super) fn convolution(
    tensors: &mut Tensors,
    name: &str,
    input: Shape,
    stride: u16,
) -> Result<(Convolution, Vec<f32>), FloatError> {
    let name = format!("{name}.weight");
    let found = tensors.shape(&name)?.to_vec();
    let out_channels = found.first().and_then(|&o| u16::try_from(o).ok()).filter(|&o| o > 0).unwrap_or(1);
    let geometry =
        Convolution { input, out_channels, kernel_height: 3, kernel_width: 3, stride, padding: 1, groups: 1 };
    if geometry.validate().is_err() {
        return Err(FloatError::Shape { name, found, expected: format!("[O, {}, 3, 3]", input.channels) });
    }
    let weights = tensors.take(&name, &[usize::from(out_channels), usize::from(input.channels), 3, 3])?;
    Ok((geometry, weights))
}

/// `linear.{weight,bias}` on a flattened wire, releasing logits.
pub(super) fn linear(
    tensors: &mut Tensors,
    input: Shape,
    source: usize,
    data_set: DataSetKind,
) -> Result<FloatLayer, FloatError> {
    let classes = data_set.classes();
    let geometry = Convolution::dense(input, classes as u16);
    let weights = tensors.take("linear.weight", &[classes, input.elements()])?;
    Ok(FloatLayer {
        name: "linear".to_owned(),
        terms: vec![FloatTerm { source, linear: FloatLinear::Convolution { geometry, weights } }],
        bias: tensors.take("linear.bias", &[classes])?,
        step: FloatStep::Release,
    })
}
