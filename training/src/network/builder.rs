//! Putting a network together, layer after layer.

use halfnet_core::shape::{Convolution, Join, Shape};
use halfnet_host::network::data::DataSetKind;
use halfnet_host::network::float::ChannelNormalisation;

use super::{Layer, Linear, Network, Offset, Step, Term};

/// Names of a convolution and of its normalisation; an empty one is none.
pub(super) type Names<'a> = (&'a str, &'a str);

/// A network being built.
pub(super) struct Builder {
    network: Network,
    /// Shape of each wire.
    wires: Vec<Shape>,
}

impl Builder {
    pub(super) fn new(
        name: &str,
        data_set: DataSetKind,
        input: Shape,
        normalisation: Vec<ChannelNormalisation>,
    ) -> Self {
        let network = Network { name: name.to_owned(), data_set, input, normalisation, layers: Vec::new() };
        Self { network, wires: vec![input] }
    }

    /// The last wire.
    pub(super) fn last(&self) -> usize {
        self.network.layers.len()
    }

    pub(super) fn shape(&self, wire: usize) -> Shape {
        self.wires[wire]
    }

    /// A square convolution with padding that keeps the plane (before the stride), and batch normalisation.
    pub(super) fn convolution(
        &self,
        source: usize,
        names: Names<'_>,
        channels: u16,
        kernel: u16,
        stride: u16,
        groups: u16,
    ) -> Term {
        let geometry = Convolution {
            input: self.shape(source),
            out_channels: channels,
            kernel_height: kernel,
            kernel_width: kernel,
            stride,
            padding: kernel / 2,
            groups,
        };
        let offset =
            if names.1.is_empty() { Offset::None } else { Offset::Normalisation(names.1.to_owned()) };
        Term { source, linear: Linear::Convolution { name: names.0.to_owned(), geometry, offset } }
    }

    /// A convolution 1×1 with a bias.
    pub(super) fn biased(&self, source: usize, name: &str, channels: u16) -> Term {
        let mut term = self.convolution(source, (name, ""), channels, 1, 1, 1);
        if let Linear::Convolution { offset, .. } = &mut term.linear {
            *offset = Offset::Bias;
        }
        term
    }

    /// A wire under a sum of `output`'s shape, strided and with channels of zeros around where shapes differ.
    pub(super) fn join(&self, source: usize, output: Shape) -> Term {
        let input = self.shape(source);
        let channel_offset = (output.channels - input.channels) / 2;
        Term {
            source,
            linear: Linear::Join(Join {
                input,
                output,
                stride: input.height / output.height,
                channel_offset,
            }),
        }
    }

    pub(super) fn push(&mut self, terms: Vec<Term>, step: Step) -> usize {
        let name = match &terms[0].linear {
            Linear::Convolution { name, .. } | Linear::Normalisation { name } => name.clone(),
            Linear::Join(_) => String::new(),
        };
        self.push_named(name, terms, step)
    }

    pub(super) fn push_named(&mut self, name: String, terms: Vec<Term>, step: Step) -> usize {
        let layer = Layer { name, terms, step };
        let sum = layer.sum_shape(&self.wires);
        self.wires.push(if layer.averages() { Shape::new(sum.channels, 1, 1) } else { sum });
        self.network.layers.push(layer);
        self.last()
    }

    /// `NAME.{weight,bias}` over the whole last wire, and the end.
    pub(super) fn release(mut self, name: &str) -> Network {
        let input = self.shape(self.last());
        let geometry = Convolution::dense(input, self.network.data_set.classes() as u16);
        let linear = Linear::Convolution { name: name.to_owned(), geometry, offset: Offset::Bias };
        self.push(vec![Term { source: self.last(), linear }], Step::Release);
        self.network
    }
}
