//! The CIFAR ResNet family (He et al., "Deep Residual Learning for Image Recognition", §4.2): a 3×3 stem,
//! three stages of n blocks of two 3×3 convolutions, average pooling and a linear layer; depth 6n + 2, read
//! from the tensor names.
//!
//! A stage's first block halves the plane and doubles the channels; its shortcut is "option A" (every second
//! position, zero channels before and after) or, where the file has one, a 1×1 projection with batch
//! normalisation ("option B").

use halfnet_core::shape::{Convolution, Join, Pool, Shape};

use super::fold::BatchNorm;
use super::small_cnn::{convolution, linear};
use super::{
    ChannelNormalisation, FloatError, FloatLayer, FloatLinear, FloatNetwork, FloatStep, FloatTerm, Mask,
    Tensors,
};
use crate::network::data::DataSetKind;

/// What the pretrained networks of this family were trained with, RGB.
const NORMALISATION: [ChannelNormalisation; 3] = [
    ChannelNormalisation { mean: 0.485, deviation: 0.229 },
    ChannelNormalisation { mean: 0.456, deviation: 0.224 },
    ChannelNormalisation { mean: 0.406, deviation: 0.225 },
];

pub(super) fn build(tensors: &mut Tensors) -> Result<FloatNetwork, FloatError> {
    let classes = tensors.shape("linear.weight")?.first().copied().unwrap_or(0);
    let data_set =
        if classes == DataSetKind::Cifar100.classes() { DataSetKind::Cifar100 } else { DataSetKind::Cifar10 };
    let mut builder = Builder { tensors, layers: Vec::new(), shape: data_set.shape() };
    builder.convolution("", "conv1", "bn1", 1, None)?;
    let mut blocks = 0;
    for stage in 1..=3 {
        for block in 0.. {
            let prefix = format!("layer{stage}.{block}.");
            if !builder.tensors.has(&format!("{prefix}conv1.weight")) {
                break;
            }
            builder.block(&prefix, if stage > 1 && block == 0 { 2 } else { 1 })?;
            blocks += 1;
        }
    }
    let Builder { mut layers, shape, .. } = builder;
    // The average over the plane: its divisor goes into the linear layer's weights.
    let mut last = linear(tensors, Shape::new(shape.channels, 1, 1), layers.len(), data_set)?;
    if let (
        Some(FloatLayer { step: FloatStep::Activate { pool, .. }, .. }),
        FloatLinear::Convolution { weights, .. },
    ) = (layers.last_mut(), &mut last.terms[0].linear)
    {
        *pool = Some(Pool { kernel: shape.height, stride: shape.height, padding: 0 });
        weights.iter_mut().for_each(|w| *w /= shape.plane() as f32);
    }
    layers.push(last);
    let name = format!("resnet{}", 2 * blocks + 2);
    Ok(FloatNetwork {
        name,
        data_set,
        input: data_set.shape(),
        normalisation: NORMALISATION.to_vec(),
        layers,
    })
}

struct Builder<'t> {
    tensors: &'t mut Tensors,
    layers: Vec<FloatLayer>,
    shape: Shape,
}

impl Builder<'_> {
    /// Two convolutions and the shortcut around them.
    fn block(&mut self, prefix: &str, stride: u16) -> Result<(), FloatError> {
        let (source, input) = (self.layers.len(), self.shape);
        self.convolution(prefix, "conv1", "bn1", stride, None)?;
        self.convolution(prefix, "conv2", "bn2", 1, Some((source, input, stride)))
    }

    /// A 3×3 convolution with its normalisation and ReLU, over the last wire, with a shortcut from (wire,
    /// shape, stride).
    fn convolution(
        &mut self,
        prefix: &str,
        name: &str,
        norm: &str,
        stride: u16,
        shortcut: Option<(usize, Shape, u16)>,
    ) -> Result<(), FloatError> {
        let name = format!("{prefix}{name}");
        let (geometry, mut weights) = convolution(self.tensors, &name, self.shape, stride)?;
        let channels = usize::from(geometry.out_channels);
        let mut bias =
            BatchNorm::take(self.tensors, &format!("{prefix}{norm}"), channels)?.fold(&mut weights);
        let mut terms = vec![FloatTerm {
            source: self.layers.len(),
            linear: FloatLinear::Convolution { geometry, weights },
        }];
        self.shape = geometry.output();
        if let Some((source, input, stride)) = shortcut {
            let linear = match self.projection(prefix, input, stride)? {
                Some((linear, projected)) => {
                    bias.iter_mut().zip(projected).for_each(|(b, p)| *b += p);
                    linear
                }
                None => FloatLinear::Join(self.option_a(&name, input, stride)?),
            };
            terms.push(FloatTerm { source, linear });
        }
        let step = FloatStep::Activate { relu: Mask::All, polynomial: None, pool: None };
        self.layers.push(FloatLayer { name, terms, bias, step });
        Ok(())
    }

    fn option_a(&self, name: &str, input: Shape, stride: u16) -> Result<Join, FloatError> {
        let output = self.shape;
        let join = Join {
            input,
            output,
            stride,
            channel_offset: output.channels.saturating_sub(input.channels) / 2,
        };
        let fits = |_| {
            let found = vec![usize::from(input.channels), usize::from(output.channels)];
            FloatError::Shape {
                name: format!("{name}.weight"),
                found,
                expected: "at least as many channels as its block's input".to_owned(),
            }
        };
        join.validate().map_err(fits).map(|()| join)
    }

    /// The 1×1 projection of an option B shortcut, if the file has one, with its folded bias.
    fn projection(
        &mut self,
        prefix: &str,
        input: Shape,
        stride: u16,
    ) -> Result<Option<(FloatLinear, Vec<f32>)>, FloatError> {
        let names = [format!("{prefix}shortcut"), format!("{prefix}downsample")];
        let Some(name) = names.into_iter().find(|n| self.tensors.has(&format!("{n}.0.weight"))) else {
            return Ok(None);
        };
        let channels = usize::from(self.shape.channels);
        let mut weights =
            self.tensors.take(&format!("{name}.0.weight"), &[channels, usize::from(input.channels), 1, 1])?;
        let bias = BatchNorm::take(self.tensors, &format!("{name}.1"), channels)?.fold(&mut weights);
        let geometry = Convolution {
            input,
            out_channels: self.shape.channels,
            kernel_height: 1,
            kernel_width: 1,
            stride,
            padding: 0,
            groups: 1,
        };
        Ok(Some((FloatLinear::Convolution { geometry, weights }, bias)))
    }
}
