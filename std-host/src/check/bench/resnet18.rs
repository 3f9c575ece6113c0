//! A random ResNet-18 of CIFAR's shape: 3×3 stem without ReLU, eight blocks of two 3×3 convolutions, 1×1
//! projections where a block halves the picture, a global average pool and ten classes. 491,520 activations
//! in 16 layers, 555.4 million multiply-adds.
//!
//! Weights are normal, scaled layer by layer so that pre-activations have mean 0 and deviation 1 on random
//! pictures. The importer then makes integers of it as of any trained network. (Scaled channel by channel, as
//! batch normalisation would leave it, a random network is chaotic: each layer multiplies any difference, so
//! that even the floats' last bits reach the logits.)

use halfnet_core::gate::polynomial::distribution_aware;
use halfnet_core::shape::{Convolution, Join, Pool, Shape};

use super::random::Random;
use crate::network::data::{DataSet, DataSetKind};
use crate::network::float::{
    ChannelNormalisation, FloatLayer, FloatLinear, FloatNetwork, FloatPolynomial, FloatStep, FloatTerm, Mask,
};
use crate::network::import::{ImportError, ImportOptions, Imported, import_network};
use crate::network::progress::Progress;

/// Activations of the network.
pub const ACTIVATIONS: usize = 491_520;
/// Channels of the four stages, and the side of their pictures.
const STAGES: [(u16, u16); 4] = [(64, 32), (128, 16), (256, 8), (512, 4)];
/// Pictures on which weights are scaled.
const SCALING_PICTURES: usize = 8;
/// Pictures on which ranges are taken.
const RANGE_PICTURES: usize = 64;
/// Pictures on which weights are rounded and the result is judged.
const ROUNDING_PICTURES: usize = 8;
/// Bits that every activation opens.
const OPENED_BITS: u8 = 10;
/// Deviation of the normal distribution that polynomials replace ReLU for. Pre-activations have deviation 1;
/// fitted to that, polynomials of degree 2 make a random network unstable (a deviation that is too large by a
/// little grows by 1.16 times that a layer, and then faster); from 1.3 or so on it shrinks. Training finds
/// weights for which it does.
const FITTED_DEVIATION: f64 = 1.5;
/// Variance that a block's convolution keeps, at least, beside its shortcut.
const LEAST_VARIANCE: f64 = 0.1;

/// How many activations are ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relus {
    /// Every one.
    All,
    /// None: polynomials of degree 2 throughout.
    None,
    /// So many, spread over the layers in proportion to their size; the others are polynomials of degree 2.
    Some(usize),
}

impl Relus {
    /// ReLUs of each of `layers` (their elements), rounded so that the sum is exact: what is left over goes
    /// to the largest remainders.
    fn spread(self, layers: &[usize]) -> Vec<usize> {
        let total: usize = layers.iter().sum();
        let wanted = match self {
            Self::All => total,
            Self::None => 0,
            Self::Some(count) => count.min(total),
        };
        let mut counts: Vec<usize> = layers.iter().map(|size| size * wanted / total.max(1)).collect();
        let mut order: Vec<usize> = (0..layers.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(layers[i] * wanted % total.max(1)));
        let rest = wanted - counts.iter().sum::<usize>();
        order.iter().take(rest).for_each(|&i| counts[i] += 1);
        counts
    }
}

/// Pictures of unit normal pixels, cut at three deviations.
#[must_use]
pub fn pictures(count: usize, seed: u64) -> DataSet {
    let shape = DataSetKind::Cifar10.shape();
    let numbers = Random::new(seed, 1).normal(count * shape.elements());
    let pixels = numbers.iter().map(|v| (127.5 + 42.5 * v).round().clamp(0.0, 255.0) as u8).collect();
    DataSet { shape, pixels, labels: vec![0; count] }
}

/// The network in floats.
#[must_use]
pub fn network(relus: Relus, seed: u64) -> FloatNetwork {
    let data_set = DataSetKind::Cifar10;
    // 42.5 of 255 steps are one deviation.
    let normalisation = vec![ChannelNormalisation { mean: 0.5, deviation: 1.0 / 6.0 }; 3];
    let network = FloatNetwork {
        name: "random_resnet18".to_owned(),
        data_set,
        input: data_set.shape(),
        normalisation,
        layers: Vec::new(),
    };
    let sizes: Vec<usize> =
        STAGES.iter().flat_map(|&(c, side)| [Shape::new(c, side, side).elements(); 4]).collect();
    let mut builder = Builder {
        wires: {
            let pictures = pictures(SCALING_PICTURES, seed.wrapping_add(1));
            (0..pictures.len()).map(|i| vec![network.normalise(pictures.picture(i))]).collect()
        },
        network,
        weights: Random::new(seed, 2),
        choice: Random::new(seed, 3),
        relus: relus.spread(&sizes).into_iter(),
    };
    let mut shape = builder.network.input;
    builder.layer("stem", &[(0, conv(shape, 64, 3, 1))], None, Kind::Rescale);
    shape = Shape::new(64, 32, 32);
    for (stage, (channels, side)) in STAGES.into_iter().enumerate() {
        for block in 0..2 {
            let output = Shape::new(channels, side, side);
            let source = builder.network.layers.len();
            let stride = shape.height / side;
            let name = format!("layer{}.{block}.conv", stage + 1);
            builder.layer(
                &format!("{name}1"),
                &[(source, conv(shape, channels, 3, stride))],
                None,
                Kind::Activate(None),
            );
            let last = stage == 3 && block == 1;
            let pool = last.then_some(Pool { kernel: side, stride: side, padding: 0 });
            let own = (source + 1, conv(output, channels, 3, 1));
            let kind = Kind::Activate(pool);
            if shape == output {
                let join = Join { input: shape, output, stride: 1, channel_offset: 0 };
                builder.layer(&format!("{name}2"), &[own], Some((source, join)), kind);
            } else {
                builder.layer(
                    &format!("{name}2"),
                    &[own, (source, conv(shape, channels, 1, stride))],
                    None,
                    kind,
                );
            }
            shape = output;
        }
    }
    let source = builder.network.layers.len();
    builder.layer("linear", &[(source, conv(Shape::new(512, 1, 1), 10, 1, 1))], None, Kind::Release);
    builder.network
}

/// The integer model, with widths by the importer's rule at ten opened bits.
///
/// # Errors
/// The importer's.
pub fn import(network: &FloatNetwork, seed: u64, progress: Progress) -> Result<Imported, ImportError> {
    let options = ImportOptions {
        opened_bits: Some(OPENED_BITS),
        range_pictures: RANGE_PICTURES,
        rounding_pictures: ROUNDING_PICTURES,
        judging_pictures: ROUNDING_PICTURES,
        seed,
        progress,
        ..ImportOptions::default()
    };
    import_network(network, &[], &pictures(RANGE_PICTURES, seed.wrapping_add(2)), &options)
}

fn conv(input: Shape, out_channels: u16, kernel: u16, stride: u16) -> Convolution {
    Convolution {
        input,
        out_channels,
        kernel_height: kernel,
        kernel_width: kernel,
        stride,
        padding: kernel / 2,
        groups: 1,
    }
}

enum Kind {
    Rescale,
    Activate(Option<Pool>),
    Release,
}

/// Adds layers, each scaled on what the layers before it give.
struct Builder {
    network: FloatNetwork,
    /// Every wire of every scaling picture.
    wires: Vec<Vec<Vec<f32>>>,
    weights: Random,
    choice: Random,
    relus: std::vec::IntoIter<usize>,
}

impl Builder {
    fn layer(
        &mut self,
        name: &str,
        convolutions: &[(usize, Convolution)],
        join: Option<(usize, Join)>,
        kind: Kind,
    ) {
        let shape = convolutions[0].1.output();
        let term = |&(source, geometry): &(usize, Convolution)| {
            let spread = (geometry.fan_in() as f32).sqrt();
            let weights = self.weights.normal(geometry.weights()).into_iter().map(|w| w / spread).collect();
            FloatTerm { source, linear: FloatLinear::Convolution { geometry, weights } }
        };
        let step = match kind {
            Kind::Rescale => FloatStep::Rescale { pool: None },
            Kind::Release => FloatStep::Release,
            Kind::Activate(pool) => FloatStep::Activate { relu: Mask::All, polynomial: None, pool },
        };
        let terms = convolutions.iter().map(term).collect();
        let mut layer =
            FloatLayer { name: name.to_owned(), terms, bias: vec![0.0; usize::from(shape.channels)], step };
        let sums = self.sums(&layer);
        let own = sums.iter().flatten().map(|&v| f64::from(v));
        let (gain, bias) = match join {
            None => {
                let (mean, variance, ..) = moments(own.map(|v| (v, 0.0)));
                let gain = 1.0 / variance.max(f64::MIN_POSITIVE).sqrt();
                (gain, -mean * gain)
            }
            Some((source, _)) => beside(moments(
                own.zip(self.wires.iter().flat_map(|wires| &wires[source]).map(|&v| f64::from(v))),
            )),
        };
        layer.bias.fill(bias as f32);
        for term in &mut layer.terms {
            let FloatLinear::Convolution { weights, .. } = &mut term.linear else { continue };
            weights.iter_mut().for_each(|w| *w *= gain as f32);
        }
        if let Some((source, join)) = join {
            layer.terms.push(FloatTerm { source, linear: FloatLinear::Join(join) });
        }
        if let FloatStep::Activate { relu, polynomial, .. } = &mut layer.step {
            let count = self.relus.next().unwrap_or(0);
            *relu = mask(shape.elements(), count, &mut self.choice);
            *polynomial = (count < shape.elements())
                .then(|| normal_replacement(usize::from(shape.channels), FITTED_DEVIATION));
        }
        for (wires, sum) in (0..self.wires.len()).zip(self.sums(&layer)) {
            self.wires[wires].push(layer.step(&sum));
        }
        self.network.layers.push(layer);
    }

    fn sums(&self, layer: &FloatLayer) -> Vec<Vec<f32>> {
        use rayon::prelude::*;
        self.wires.par_iter().map_init(Vec::new, |scratch, wires| layer.sum(wires, scratch)).collect()
    }
}

/// Mean and variance of the first of each pair, mean and variance of the second, and their covariance.
fn moments(pairs: impl Iterator<Item = (f64, f64)>) -> (f64, f64, f64, f64, f64) {
    let (mut n, mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in pairs {
        n += 1.0;
        a += x;
        b += y;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    let (a, b) = (a / n, b / n);
    (a, aa / n - a * a, b, bb / n - b * b, ab / n - a * b)
}

/// The gain of a convolution and the bias that give its sum with a shortcut mean 0 and deviation 1: g with
/// g²·V + 2·g·C + V' = 1.
fn beside((mean, variance, skip_mean, skip_variance, covariance): (f64, f64, f64, f64, f64)) -> (f64, f64) {
    let left = (1.0 - skip_variance).max(LEAST_VARIANCE);
    let variance = variance.max(f64::MIN_POSITIVE);
    let gain = ((covariance * covariance + variance * left).sqrt() - covariance) / variance;
    (gain, -gain * mean - skip_mean)
}

/// `count` of `elements`, each set as likely as any other.
fn mask(elements: usize, count: usize, random: &mut Random) -> Mask {
    match count {
        0 => Mask::None,
        count if count == elements => Mask::All,
        count => {
            let mut order: Vec<usize> = (0..elements).collect();
            let mut chosen = vec![false; elements];
            for i in 0..count {
                order.swap(i, i + random.below((elements - i) as u32) as usize);
                chosen[order[i]] = true;
            }
            Mask::Elements(chosen)
        }
    }
}

/// The distribution-aware replacement of ReLU for N(0, `deviation`²), in every channel.
fn normal_replacement(channels: usize, deviation: f64) -> FloatPolynomial {
    let [c2, c1, c0] = distribution_aware(0.0, deviation).map(|c| vec![c as f32; channels]);
    FloatPolynomial { c2, c1, c0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relus_are_spread_in_proportion_and_none_is_lost() {
        let layers = [65_536, 65_536, 32_768, 8192];
        for wanted in [0, 1, 2, 12_900, 50_000, 172_031, 172_032] {
            let counts = Relus::Some(wanted).spread(&layers);
            assert_eq!(counts.iter().sum::<usize>(), wanted);
            for (count, layer) in counts.iter().zip(layers) {
                let share = layer as f64 * wanted as f64 / 172_032.0;
                assert!((*count as f64 - share).abs() <= 1.0 && *count <= layer, "{counts:?}");
            }
        }
        assert_eq!(Relus::All.spread(&layers), layers);
    }

    #[test]
    fn a_mask_has_the_number_asked_for() {
        let mut random = Random::new(5, 0);
        let Mask::Elements(chosen) = mask(1000, 137, &mut random) else { panic!("neither all nor none") };
        assert_eq!(chosen.iter().filter(|&&c| c).count(), 137);
        assert_eq!(mask(10, 10, &mut random), Mask::All);
        assert_eq!(mask(10, 0, &mut random), Mask::None);
    }

    #[test]
    fn a_gain_beside_a_shortcut_leaves_unit_deviation() {
        let own: Vec<f64> =
            Random::new(1, 1).normal(4000).iter().map(|&v| 3.0 * f64::from(v) + 2.0).collect();
        let skip: Vec<f64> = Random::new(1, 2)
            .normal(4000)
            .iter()
            .zip(&own)
            .map(|(&v, o)| f64::from(v.max(0.0)) + 0.05 * o)
            .collect();
        let (gain, bias) = beside(moments(own.iter().copied().zip(skip.iter().copied())));
        let (mean, variance, ..) = moments(own.iter().zip(&skip).map(|(o, s)| (gain * o + s + bias, 0.0)));
        assert!(mean.abs() < 1e-9 && (variance - 1.0).abs() < 1e-9, "{mean} {variance}");
    }

    #[test]
    fn the_scale_of_a_picture_stays_in_bounds() {
        // Of N(0, q), c2·z² + c1·z + c0 has second moment 3·c2²·q² + (c1² + 2·c2·c0)·q + c0²; its elasticity
        // at q = 1 decides.
        let elasticity = |deviation: f64| {
            let FloatPolynomial { c2, c1, c0 } = normal_replacement(1, deviation);
            let (square, linear) = (3.0 * c2[0] * c2[0], c1[0] * c1[0] + 2.0 * c2[0] * c0[0]);
            (2.0 * square + linear) / (square + linear + c0[0] * c0[0])
        };
        assert!((elasticity(1.0) - 1.16).abs() < 0.01 && elasticity(FITTED_DEVIATION) < 0.95);
    }
}
