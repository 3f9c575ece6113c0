//! Networks that are trained: sums of convolutions with batch normalisation and shortcuts, then ReLUs.
//!
//! A [`Network`] corresponds layer by layer to `halfnet_host::network::float::FloatNetwork`, into which
//! [`crate::export`] folds it: wire 0 is the normalised input, layer i writes wire i + 1. Parameters are
//! called as in PyTorch files of these networks.

mod builder;
mod efficientnet;
pub mod families;
pub mod file;

use std::path::Path;

use halfnet_core::shape::{Convolution, Join, Shape};
use halfnet_host::network::data::DataSetKind;
use halfnet_host::network::float::ChannelNormalisation;

use crate::error::TrainError;

/// A network without its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Name of the architecture.
    pub name: String,
    /// The data set that it classifies.
    pub data_set: DataSetKind,
    /// Shape of a picture.
    pub input: Shape,
    /// How pixels become numbers, channel by channel.
    pub normalisation: Vec<ChannelNormalisation>,
    /// The layers in order; the last releases the logits.
    pub layers: Vec<Layer>,
}

/// A sum of linear terms, then a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its own name, by which its polynomials' tensors are called: its first convolution's.
    pub name: String,
    /// The terms; the first is a shortcut only where it is the only one.
    pub terms: Vec<Term>,
    /// What happens to the sum.
    pub step: Step,
}

/// One linear term.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The wire it reads.
    pub source: usize,
    /// What it does.
    pub linear: Linear,
}

/// A linear map.
#[derive(Clone, Debug, PartialEq)]
pub enum Linear {
    /// A convolution, perhaps with a bias or batch normalisation.
    Convolution {
        /// `NAME.weight` are its weights.
        name: String,
        /// Its geometry.
        geometry: Convolution,
        /// What is added.
        offset: Offset,
    },
    /// Batch normalisation alone, of a wire that others read as it is.
    Normalisation {
        /// `NAME.weight` and so on.
        name: String,
    },
    /// A wire, unchanged.
    Join(Join),
}

/// What follows a convolution's products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offset {
    /// Batch normalisation of this name.
    Normalisation(String),
    /// `NAME.bias` of the convolution's own name.
    Bias,
    /// Nothing.
    None,
}

/// What happens to a layer's sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// ReLUs, then perhaps the average of each plane.
    Relu {
        /// Average each plane.
        average: bool,
    },
    /// No activation; perhaps the average of each plane.
    Linear {
        /// Average each plane.
        average: bool,
    },
    /// Each channel of the sum times the sigmoid of that channel of wire `by`, of one value a channel:
    /// squeeze-excite.
    Gate {
        /// The wire.
        by: usize,
    },
    /// The sum is the logits.
    Release,
}

/// The network of a name, for a data set or the one that it is usually for; or of a list of layers in a file
/// `NAME.toml`.
///
/// # Errors
/// There is none of this name for that data set, or the file is none.
pub fn select(model: &str, data_set: Option<DataSetKind>) -> Result<Network, TrainError> {
    if model.ends_with(".toml") {
        let network = file::read(Path::new(model))?;
        return match data_set.filter(|&set| set != network.data_set) {
            Some(set) => {
                Err(TrainError::Usage(format!("{model} is for {}, not for {set}", network.data_set)))
            }
            None => Ok(network),
        };
    }
    if !families::NAMES.contains(&model) {
        let known = families::NAMES.join(", ");
        return Err(TrainError::Usage(format!(
            "no network is called `{model}`: known are {known}, or a file NAME.toml with its layers"
        )));
    }
    let data_set = data_set.unwrap_or_else(|| families::default_data_set(model));
    families::by_name(model, data_set)
        .ok_or_else(|| TrainError::Usage(format!("{model} is not for {data_set}")))
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A convolution's weights.
    Weights,
    /// Gain of a normalisation.
    Gain,
    /// Bias of a normalisation or a layer.
    Bias,
    /// Running mean: measured, not trained.
    Mean,
    /// Running variance: measured, not trained.
    Variance,
}

/// One tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in files.
    pub name: String,
    /// Its shape in files.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Products that one output sums, for the size of first weights.
    pub fan_in: usize,
}

impl Layer {
    /// Shape of the sum, given the shapes of wires.
    fn sum_shape(&self, wires: &[Shape]) -> Shape {
        self.terms.first().map_or(Shape::default(), |term| match &term.linear {
            Linear::Convolution { geometry, .. } => geometry.output(),
            Linear::Normalisation { .. } => wires.get(term.source).copied().unwrap_or_default(),
            Linear::Join(join) => join.output,
        })
    }

    /// Is each plane averaged?
    #[must_use]
    pub const fn averages(&self) -> bool {
        matches!(self.step, Step::Relu { average: true } | Step::Linear { average: true })
    }

    /// Are there ReLUs?
    #[must_use]
    pub const fn is_activation(&self) -> bool {
        matches!(self.step, Step::Relu { .. })
    }
}

impl Network {
    /// Shape of every layer's sum.
    #[must_use]
    pub fn sums(&self) -> Vec<Shape> {
        let mut wires = vec![self.input];
        let mut sums = Vec::new();
        for layer in &self.layers {
            let sum = layer.sum_shape(&wires);
            wires.push(if layer.averages() { Shape::new(sum.channels, 1, 1) } else { sum });
            sums.push(sum);
        }
        sums
    }

    /// Shape of every wire.
    #[must_use]
    pub fn wires(&self) -> Vec<Shape> {
        let averaged = |(layer, sum): (&Layer, Shape)| {
            if layer.averages() { Shape::new(sum.channels, 1, 1) } else { sum }
        };
        std::iter::once(self.input).chain(self.layers.iter().zip(self.sums()).map(averaged)).collect()
    }

    /// ReLUs of the network as it is built.
    #[must_use]
    pub fn relus(&self) -> usize {
        self.layers
            .iter()
            .zip(self.sums())
            .filter(|(layer, _)| layer.is_activation())
            .map(|(_, sum)| sum.elements())
            .sum()
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.sums().last().map_or(0, Shape::elements)
    }

    /// Multiply-adds of a picture.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        let linear = |term: &Term| {
            if let Linear::Convolution { geometry, .. } = &term.linear { geometry.multiply_adds() } else { 0 }
        };
        self.layers.iter().flat_map(|l| &l.terms).map(linear).sum()
    }

    /// Every tensor, in the order of the layers.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = Vec::new();
        let norm = |all: &mut Vec<Parameter>, name: &str, channels: usize| {
            for (part, role) in [
                ("weight", Role::Gain),
                ("bias", Role::Bias),
                ("running_mean", Role::Mean),
                ("running_var", Role::Variance),
            ] {
                all.push(Parameter {
                    name: format!("{name}.{part}"),
                    shape: vec![channels],
                    role,
                    fan_in: 1,
                });
            }
        };
        let wires = self.wires();
        for (layer, term) in self.layers.iter().flat_map(|l| l.terms.iter().map(move |t| (l, t))) {
            match &term.linear {
                Linear::Convolution { name, geometry, offset } => {
                    let (out, channels) = (usize::from(geometry.out_channels), geometry.group_channels());
                    let released = layer.step == Step::Release;
                    // A layer that covers its input is a matrix in files.
                    let shape = if released {
                        vec![out, geometry.fan_in()]
                    } else {
                        vec![
                            out,
                            channels,
                            usize::from(geometry.kernel_height),
                            usize::from(geometry.kernel_width),
                        ]
                    };
                    all.push(Parameter {
                        name: format!("{name}.weight"),
                        shape,
                        role: Role::Weights,
                        fan_in: geometry.fan_in(),
                    });
                    match offset {
                        Offset::Normalisation(name) => norm(&mut all, name, out),
                        Offset::Bias => {
                            all.push(Parameter {
                                name: format!("{name}.bias"),
                                shape: vec![out],
                                role: Role::Bias,
                                fan_in: geometry.fan_in(),
                            });
                        }
                        Offset::None => {}
                    }
                }
                Linear::Normalisation { name } => {
                    norm(&mut all, name, usize::from(wires[term.source].channels))
                }
                Linear::Join(_) => {}
            }
        }
        all
    }
}
