//! Running a folded float network on blocks of pictures: the teacher's logits, and the accuracy that is exported.

use halfnet_host::data::DataSet;
use halfnet_host::float::{FloatLayer, FloatLinear, FloatNetwork, FloatStep, Mask};
use halfnet_layers::activation::{self, Activation};
use halfnet_layers::{LANES, convolution, layout};

use crate::data::{Augmentation, batch};
use crate::error::TrainError;
use crate::export::Replaced;

/// Pictures that are run together.
const CHUNK: usize = 256;

/// A float network ready to run on blocks.
#[derive(Clone, Debug)]
pub struct Evaluator {
    network: FloatNetwork,
    /// Of each layer with polynomials, c2 filled in.
    mixed: Vec<Option<Replaced>>,
}

impl Evaluator {
    /// Takes a network.
    ///
    /// # Errors
    /// It has a pool over less than a whole plane.
    pub fn new(network: FloatNetwork) -> Result<Self, TrainError> {
        let mut mixed = Vec::new();
        for layer in &network.layers {
            let sum = layer.sum_shape();
            if layer.pool().is_some_and(|p| p.output(sum).plane() != 1 || p.kernel != sum.height || sum.height != sum.width) {
                return Err(TrainError::Unsupported { layer: layer.name.clone(), reason: "training pools whole planes only" });
            }
            mixed.push(match &layer.step {
                FloatStep::Activate { relu, polynomial: Some(p), .. } => {
                    let relu = match relu {
                        Mask::All => vec![true; sum.elements()],
                        Mask::None => vec![false; sum.elements()],
                        Mask::Elements(elements) => elements.clone(),
                    };
                    let c2 = if p.c2.is_empty() { vec![0.0; p.c1.len()] } else { p.c2.clone() };
                    Some(Replaced { relu, coefficients: [c2, p.c1.clone(), p.c0.clone()] })
                }
                _ => None,
            });
        }
        Ok(Self { network, mixed })
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &FloatNetwork {
        &self.network
    }

    /// Logits, (block, class, lane), of pictures (block, channel, row, column, lane).
    #[must_use]
    pub fn logits(&self, pixels: Vec<f32>) -> Vec<f32> {
        let blocks = pixels.len() / (self.network.input.elements() * LANES);
        let mut wires = vec![pixels];
        let mut readers = vec![0_usize; self.network.layers.len() + 1];
        for term in self.network.layers.iter().flat_map(|l| &l.terms) {
            readers[term.source] += 1;
        }
        for (layer, mixed) in self.network.layers.iter().zip(&self.mixed) {
            let output = run_layer(layer, mixed.as_ref(), &wires, blocks);
            for term in &layer.terms {
                readers[term.source] -= 1;
                if readers[term.source] == 0 {
                    wires[term.source] = Vec::new();
                }
            }
            wires.push(output);
        }
        wires.pop().unwrap_or_default()
    }

    /// Right labels among some pictures of a set.
    #[must_use]
    pub fn correct(&self, set: &DataSet, pictures: &[usize]) -> usize {
        let classes = self.network.classes();
        let mut correct = 0;
        for chunk in pictures.chunks(CHUNK) {
            let found = batch(set, &self.network.normalisation, chunk, Augmentation::NONE, (0, 0));
            let logits = layout::from_blocks(&self.logits(found.pixels), classes, chunk.len());
            let right = |(logits, &label): (&[f32], &u16)| halfnet_host::float::forward::label(logits) == usize::from(label);
            correct += logits.chunks_exact(classes).zip(&found.labels).filter(|&pair| right(pair)).count();
        }
        correct
    }

    /// Accuracy on some pictures of a set, in percent.
    #[must_use]
    pub fn accuracy(&self, set: &DataSet, pictures: &[usize]) -> f64 {
        100.0 * self.correct(set, pictures) as f64 / pictures.len().max(1) as f64
    }
}

fn run_layer(layer: &FloatLayer, mixed: Option<&Replaced>, wires: &[Vec<f32>], blocks: usize) -> Vec<f32> {
    let shape = layer.sum_shape();
    let mut sum = vec![0.0; blocks * shape.elements() * LANES];
    for (index, term) in layer.terms.iter().enumerate() {
        let source = &wires[term.source];
        match &term.linear {
            FloatLinear::Convolution { geometry, weights } if index == 0 => convolution::forward(geometry, weights, source, &mut sum),
            FloatLinear::Convolution { geometry, weights } => {
                let mut more = vec![0.0; sum.len()];
                convolution::forward(geometry, weights, source, &mut more);
                sum.iter_mut().zip(&more).for_each(|(s, m)| *s += m);
            }
            FloatLinear::Join(join) => layout::add_join(join, source, &mut sum),
        }
    }
    layout::add_bias(&layer.bias, shape.plane(), &mut sum);
    let mut output = match &layer.step {
        FloatStep::Activate { .. } => {
            let mut output = vec![0.0; sum.len()];
            match mixed {
                Some(Replaced { relu, coefficients: [c2, c1, c0] }) => Activation { relu, c2, c1, c0 }.forward(&sum, &mut output),
                None => activation::relu(&sum, &mut output),
            }
            output
        }
        FloatStep::Rescale { .. } | FloatStep::Release => sum,
    };
    if layer.pool().is_some() {
        let mut pooled = vec![0.0; output.len() / shape.plane()];
        layout::sum_planes(&output, shape.plane(), &mut pooled);
        output = pooled;
    }
    output
}
