//! The networks by name.

use halfnet_core::shape::Shape;
use halfnet_host::network::data::DataSetKind;
use halfnet_host::network::float::ChannelNormalisation;

use super::builder::Builder;
use super::{Linear, Network, Step, Term, efficientnet};

const RELU: Step = Step::Relu { average: false };
const LINEAR: Step = Step::Linear { average: false };

/// The names that [`by_name`] knows.
pub const NAMES: &[&str] = &[
    "mnist_cnn",
    "fsdd_cnn",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet18",
    "wrn22-8",
    "mobilenet",
    "efficientnet_b2",
    "depthwise",
];

/// A network by its name, for a data set.
///
/// `mnist_cnn` and `fsdd_cnn` are small enough for a microcontroller; `resnet20` to `resnet56` are He et
/// al.'s for CIFAR, `resnet18` is the one of SNL and AutoReP (no ReLU after the stem), `wrn22-8` the wide
/// residual network (no ReLU after the last normalisation), `mobilenet` MobileNetV1 with strides for 32
/// pixels, `efficientnet_b2` torchvision's with ReLUs, `depthwise` a small network of depthwise blocks for
/// benches.
#[must_use]
pub fn by_name(name: &str, data_set: DataSetKind) -> Option<Network> {
    let input = data_set.shape();
    let colour = input.channels == 3;
    Some(match name {
        "mnist_cnn" if data_set == DataSetKind::Mnist => {
            plain_cnn(name, data_set, &[(8, 1), (16, 2), (32, 2)])
        }
        "fsdd_cnn" if data_set == DataSetKind::Fsdd => {
            plain_cnn(name, data_set, &[(8, 1), (16, 2), (32, 2), (64, 2)])
        }
        "resnet20" if colour => he_resnet(3, data_set),
        "resnet32" if colour => he_resnet(5, data_set),
        "resnet44" if colour => he_resnet(7, data_set),
        "resnet56" if colour => he_resnet(9, data_set),
        "resnet18" if colour => resnet18(data_set, input),
        "wrn22-8" if colour => wide_resnet(data_set, input),
        "mobilenet" if colour => mobilenet(data_set, input),
        "efficientnet_b2" if colour => efficientnet::b2(data_set, of(data_set)),
        "depthwise" if colour => depthwise(data_set, input),
        _ => return None,
    })
}

/// The data set that a network is for where none is named.
#[must_use]
pub fn default_data_set(name: &str) -> DataSetKind {
    match name {
        "mnist_cnn" => DataSetKind::Mnist,
        "fsdd_cnn" => DataSetKind::Fsdd,
        "efficientnet_b2" => DataSetKind::Imagenet,
        _ => DataSetKind::Cifar10,
    }
}

fn channels(mean: [f32; 3], deviation: [f32; 3]) -> Vec<ChannelNormalisation> {
    mean.into_iter()
        .zip(deviation)
        .map(|(mean, deviation)| ChannelNormalisation { mean, deviation })
        .collect()
}

/// What He et al.'s pretrained networks take.
fn imagenet() -> Vec<ChannelNormalisation> {
    channels([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
}

/// What a data set's pictures are normalised with where a file does not say.
pub(super) fn normalisation(data_set: DataSetKind) -> Vec<ChannelNormalisation> {
    if data_set.shape().channels == 1 { plain() } else { of(data_set) }
}

/// Pixels / 255 as they are.
fn plain() -> Vec<ChannelNormalisation> {
    vec![ChannelNormalisation { mean: 0.0, deviation: 1.0 }]
}

/// What SNL, AutoReP and others normalise with.
fn of(data_set: DataSetKind) -> Vec<ChannelNormalisation> {
    match data_set {
        DataSetKind::Cifar100 => channels([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
        DataSetKind::TinyImagenet | DataSetKind::TinyImagenet20 => {
            channels([0.480, 0.448, 0.398], [0.277, 0.269, 0.282])
        }
        DataSetKind::Imagenet => imagenet(),
        _ => channels([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
    }
}

/// Convolutions 3×3 of some (channels, stride), each with normalisation and ReLU, then a linear layer over
/// the whole plane. Pixels are divided by 255.
fn plain_cnn(name: &str, data_set: DataSetKind, convolutions: &[(u16, u16)]) -> Network {
    let mut b = Builder::new(name, data_set, data_set.shape(), plain());
    for (index, &(channels, stride)) in convolutions.iter().enumerate() {
        let names = (format!("conv{}", index + 1), format!("bn{}", index + 1));
        let term = b.convolution(index, (&names.0, &names.1), channels, 3, stride, 1);
        b.push(vec![term], RELU);
    }
    b.release("linear")
}

/// Three stages of `blocks` blocks; shortcuts are option A.
fn he_resnet(blocks: usize, data_set: DataSetKind) -> Network {
    let mut b = Builder::new(&format!("resnet{}", 6 * blocks + 2), data_set, data_set.shape(), imagenet());
    let stem = b.convolution(0, ("conv1", "bn1"), 16, 3, 1, 1);
    b.push(vec![stem], RELU);
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..blocks {
            let prefix = format!("layer{}.{block}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let source = b.last();
            let first = b.convolution(
                source,
                (&format!("{prefix}.conv1"), &format!("{prefix}.bn1")),
                width,
                3,
                stride,
                1,
            );
            let middle = b.push(vec![first], RELU);
            let second =
                b.convolution(middle, (&format!("{prefix}.conv2"), &format!("{prefix}.bn2")), width, 3, 1, 1);
            let shortcut = b.join(source, b.shape(middle));
            let average = stage == 2 && block + 1 == blocks;
            b.push(vec![second, shortcut], Step::Relu { average });
        }
    }
    b.release("linear")
}

fn resnet18(data_set: DataSetKind, input: Shape) -> Network {
    let mut b = Builder::new("resnet18", data_set, input, of(data_set));
    let stem = b.convolution(0, ("conv1", "bn1"), 64, 3, 1, 1);
    b.push(vec![stem], LINEAR);
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let prefix = format!("layer{}.{block}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let source = b.last();
            let first = b.convolution(
                source,
                (&format!("{prefix}.conv1"), &format!("{prefix}.bn1")),
                width,
                3,
                stride,
                1,
            );
            let middle = b.push(vec![first], RELU);
            let second =
                b.convolution(middle, (&format!("{prefix}.conv2"), &format!("{prefix}.bn2")), width, 3, 1, 1);
            let shortcut = if stride == 1 {
                b.join(source, b.shape(middle))
            } else {
                b.convolution(
                    source,
                    (&format!("{prefix}.shortcut.0"), &format!("{prefix}.shortcut.1")),
                    width,
                    1,
                    2,
                    1,
                )
            };
            b.push(vec![second, shortcut], Step::Relu { average: stage == 3 && block == 1 });
        }
    }
    b.release("linear")
}

/// Depth 22, widening 8: normalisation and ReLU come before each convolution.
fn wide_resnet(data_set: DataSetKind, input: Shape) -> Network {
    let mut b = Builder::new("wrn22-8", data_set, input, of(data_set));
    let normalise = |source: usize, name: String| Term { source, linear: Linear::Normalisation { name } };
    let stem = b.convolution(0, ("conv1", ""), 16, 3, 1, 1);
    b.push(vec![stem], LINEAR);
    for (stage, width) in [128, 256, 512].into_iter().enumerate() {
        for block in 0..3 {
            let prefix = format!("block{}.layer.{block}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let source = b.last();
            let active = b.push(vec![normalise(source, format!("{prefix}.bn1"))], RELU);
            let first = b.convolution(
                active,
                (&format!("{prefix}.conv1"), &format!("{prefix}.bn2")),
                width,
                3,
                stride,
                1,
            );
            let middle = b.push(vec![first], RELU);
            let second = b.convolution(middle, (&format!("{prefix}.conv2"), ""), width, 3, 1, 1);
            let shortcut = if block == 0 {
                b.convolution(active, (&format!("{prefix}.convShortcut"), ""), width, 1, stride, 1)
            } else {
                b.join(source, b.shape(middle))
            };
            b.push(vec![second, shortcut], LINEAR);
        }
    }
    let last = normalise(b.last(), "bn1".to_owned());
    b.push(vec![last], Step::Linear { average: true });
    b.release("fc")
}

/// (channels, stride) of MobileNetV1's thirteen blocks, the plane ending at 2×2 for 32 pixels.
const MOBILENET: [(u16, u16); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

fn mobilenet(data_set: DataSetKind, input: Shape) -> Network {
    let mut b = Builder::new("mobilenet", data_set, input, of(data_set));
    let stem = b.convolution(0, ("conv1", "bn1"), 32, 3, 1, 1);
    b.push(vec![stem], RELU);
    separable(&mut b, &MOBILENET);
    b.release("linear")
}

fn depthwise(data_set: DataSetKind, input: Shape) -> Network {
    let mut b = Builder::new("depthwise", data_set, input, of(data_set));
    let stem = b.convolution(0, ("conv1", "bn1"), 32, 3, 1, 1);
    b.push(vec![stem], RELU);
    separable(&mut b, &[(64, 1), (128, 2), (128, 1), (256, 2), (256, 1)]);
    b.release("linear")
}

/// Blocks of a depthwise 3×3 and a 1×1 convolution; the last plane is averaged.
fn separable(b: &mut Builder, blocks: &[(u16, u16)]) {
    for (index, &(width, stride)) in blocks.iter().enumerate() {
        let prefix = format!("layers.{index}");
        let channels = b.shape(b.last()).channels;
        let names = (format!("{prefix}.conv1"), format!("{prefix}.bn1"));
        let depth = b.convolution(b.last(), (&names.0, &names.1), channels, 3, stride, channels);
        let middle = b.push(vec![depth], RELU);
        let names = (format!("{prefix}.conv2"), format!("{prefix}.bn2"));
        let point = b.convolution(middle, (&names.0, &names.1), width, 1, 1, 1);
        b.push(vec![point], Step::Relu { average: index + 1 == blocks.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relus(name: &str, data_set: DataSetKind) -> usize {
        by_name(name, data_set).unwrap().relus()
    }

    #[test]
    fn networks_have_the_published_relu_counts() {
        assert_eq!(relus("mnist_cnn", DataSetKind::Mnist), 10_976);
        assert_eq!(relus("fsdd_cnn", DataSetKind::Fsdd), 15_360);
        // He et al.'s, the stem's included.
        assert_eq!(relus("resnet20", DataSetKind::Cifar10), 188_416);
        // SNL and AutoReP, at 32 and at 64 pixels.
        assert_eq!(relus("resnet18", DataSetKind::Cifar100), 491_520);
        assert_eq!(relus("resnet18", DataSetKind::TinyImagenet), 1_966_080);
        assert_eq!(relus("wrn22-8", DataSetKind::Cifar100), 1_359_872);
        assert_eq!(relus("wrn22-8", DataSetKind::TinyImagenet), 5_439_488);
        // A stem, and thirteen blocks of two.
        assert_eq!(relus("mobilenet", DataSetKind::Cifar100), 411_648);
        // AutoReP's, 626 of them in squeeze-excite.
        assert_eq!(relus("efficientnet_b2", DataSetKind::Imagenet), 8_804_162);
        let network = by_name("efficientnet_b2", DataSetKind::Imagenet).unwrap();
        let squeezed = |l: &&super::super::Layer| l.name.ends_with("fc1");
        assert_eq!(
            network.layers.iter().filter(squeezed).map(|l| l.sum_shape(&[]).elements()).sum::<usize>(),
            626
        );
    }

    #[test]
    fn networks_have_the_published_numbers_of_weights() {
        let weights = |name: &str, data_set: DataSetKind| -> usize {
            let trained = |role: super::super::Role| {
                !matches!(role, super::super::Role::Mean | super::super::Role::Variance)
            };
            let network = by_name(name, data_set).unwrap();
            network
                .parameters()
                .iter()
                .filter(|p| trained(p.role))
                .map(|p| p.shape.iter().product::<usize>())
                .sum()
        };
        assert_eq!(weights("resnet20", DataSetKind::Cifar10), 269_722);
        assert_eq!(weights("resnet18", DataSetKind::Cifar10), 11_173_962);
        assert_eq!(weights("mnist_cnn", DataSetKind::Mnist), 21_634);
        // torchvision's.
        assert_eq!(weights("efficientnet_b2", DataSetKind::Imagenet), 9_109_994);
        assert_eq!(weights("fsdd_cnn", DataSetKind::Fsdd), 34_754);
    }

    #[test]
    fn every_name_builds_a_network_whose_geometries_are_valid() {
        for name in NAMES {
            let network = by_name(name, default_data_set(name)).unwrap();
            for term in network.layers.iter().flat_map(|l| &l.terms) {
                match &term.linear {
                    Linear::Convolution { geometry, .. } => assert_eq!(geometry.validate(), Ok(()), "{name}"),
                    Linear::Join(join) => assert_eq!(join.validate(), Ok(()), "{name}"),
                    Linear::Normalisation { .. } => {}
                }
            }
            assert_eq!(network.classes(), network.data_set.classes());
        }
    }
}
