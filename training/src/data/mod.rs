//! Batches of pictures: split, shuffled, augmented and laid out in blocks.

mod augmentation;

use halfnet_core::shape::Shape;
use halfnet_host::network::data::DataSet;
use halfnet_host::network::float::ChannelNormalisation;
use halfnet_layers::LANES;
use rayon::prelude::*;

use crate::random::Random;
pub use augmentation::Augmentation;
use augmentation::Variation;

/// One batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (block, channel, row, column, lane), normalised.
    pub pixels: Vec<f32>,
    /// The class of each picture.
    pub labels: Vec<u16>,
}

/// Parts of a training set.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Pictures that are trained on.
    pub training: Vec<usize>,
    /// Pictures that choices are made on.
    pub validation: Vec<usize>,
}

impl Parts {
    /// Takes `validation` pictures out of `count`, always the same for a seed.
    #[must_use]
    pub fn new(count: usize, validation: usize, seed: u64) -> Self {
        let mut training = Random::new(&[seed, 0x5911]).permutation(count);
        let validation = training.split_off(count - validation.min(count));
        Self { training, validation }
    }

    /// Whole batches of an epoch.
    #[must_use]
    pub fn batches(&self, batch: usize) -> usize {
        self.training.len() / batch
    }

    /// The training pictures of batch `index` of an epoch; what does not fill a batch is left out.
    #[must_use]
    pub fn epoch(&self, seed: u64, epoch: u64) -> Vec<usize> {
        Random::new(&[seed, 0xe90c, epoch])
            .permutation(self.training.len())
            .into_iter()
            .map(|i| self.training[i])
            .collect()
    }
}

/// Pictures of a set as a batch; the last block's lanes without a picture are zero.
#[must_use]
pub fn batch(
    set: &DataSet,
    normalisation: &[ChannelNormalisation],
    pictures: &[usize],
    augmentation: Augmentation,
    keys: (u64, u64),
) -> Batch {
    let Shape { channels, height, width } = set.shape;
    let (channels, height, width) = (usize::from(channels), usize::from(height), usize::from(width));
    let block = channels * height * width * LANES;
    // (value of pixel p) = p · factor + offset.
    let scales: Vec<(f32, f32)> =
        normalisation.iter().map(|n| (1.0 / (255.0 * n.deviation), -n.mean / n.deviation)).collect();
    let mut pixels = vec![0.0; pictures.len().div_ceil(LANES) * block];
    pixels.par_chunks_mut(block).zip(pictures.par_chunks(LANES)).for_each(|(out, pictures)| {
        for (lane, &picture) in pictures.iter().enumerate() {
            let random = Random::new(&[keys.0, 0xa06, keys.1, picture as u64]);
            let Variation { down, right, mirrored, masked, mut random } =
                Variation::draw(augmentation, height, random);
            let (most_down, most_right) = (usize::from(augmentation.down), usize::from(augmentation.right));
            let source = set.picture(picture);
            for (channel, &(factor, offset)) in scales.iter().enumerate().take(channels) {
                for y in (0..height).filter(|y| !masked.contains(y)) {
                    let Some(from) = (y + down).checked_sub(most_down).filter(|&y| y < height) else {
                        continue;
                    };
                    let line = &source[(channel * height + from) * width..][..width];
                    let first = ((channel * height + y) * width * LANES) + lane;
                    for x in 0..width {
                        let Some(column) = (x + right).checked_sub(most_right).filter(|&x| x < width) else {
                            continue;
                        };
                        let column = if mirrored { width - 1 - column } else { column };
                        let noise = if augmentation.noise > 0 {
                            f32::from(augmentation.noise) * random.normal()
                        } else {
                            0.0
                        };
                        out[first + x * LANES] = (f32::from(line[column]) + noise) * factor + offset;
                    }
                }
            }
        }
    });
    Batch { pixels, labels: pictures.iter().map(|&p| set.labels[p]).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> DataSet {
        let shape = Shape::new(1, 3, 4);
        DataSet { shape, pixels: (0..20 * 12).map(|v| v as u8).collect(), labels: (0..20).collect() }
    }

    #[test]
    fn batches_hold_the_pictures() {
        let normalisation = [ChannelNormalisation { mean: 0.5, deviation: 0.25 }];
        let order: Vec<usize> = (0..20).rev().collect();
        let found = batch(&set(), &normalisation, &order, Augmentation::NONE, (0, 0));
        assert_eq!(found.pixels.len(), 2 * 12 * LANES);
        assert_eq!(found.labels[..3], [19, 18, 17]);
        for (index, &picture) in order.iter().enumerate() {
            for element in 0..12 {
                let expected = (((picture * 12 + element) as u8) as f32 / 255.0 - 0.5) / 0.25;
                let value = found.pixels[(index / LANES * 12 + element) * LANES + index % LANES];
                assert!((value - expected).abs() < 1e-5);
            }
        }
        assert_eq!(found.pixels[12 * LANES + 5], 0.0);
    }

    #[test]
    fn augmentation_shifts_and_mirrors() {
        let normalisation = [ChannelNormalisation { mean: 0.0, deviation: 1.0 }];
        let plain: Vec<f32> = set().picture(7).iter().map(|&p| f32::from(p) / 255.0).collect();
        let (mut mirrored, mut moved) = (0, 0);
        let varied = Augmentation { down: 1, right: 1, mirror: true, ..Augmentation::NONE };
        for key in 0..200 {
            let varied = batch(&set(), &normalisation, &[7], varied, (1, key)).pixels;
            let varied: Vec<f32> = varied.iter().step_by(LANES).copied().collect();
            // Some shift and mirror of the picture explains all of it.
            let at = |dy: i32, dx: i32, mirror: bool| {
                (0..12).all(|i| {
                    let (y, x) = (i / 4 + dy, i % 4 + dx);
                    let inside = (0..3).contains(&y) && (0..4).contains(&x);
                    let value =
                        if inside { plain[(y * 4 + if mirror { 3 - x } else { x }) as usize] } else { 0.0 };
                    (varied[i as usize] - value).abs() < 1e-6
                })
            };
            let found = (0..18).find(|&c| at(c / 6 - 1, c / 2 % 3 - 1, c % 2 == 1));
            let found = found.expect("no shift and mirror gives this picture");
            mirrored += found % 2;
            moved += i32::from(found / 2 != 4);
        }
        assert!((60..140).contains(&mirrored) && moved > 130, "{mirrored} {moved}");
    }

    #[test]
    fn rows_are_masked_and_noise_is_added() {
        let normalisation = [ChannelNormalisation { mean: 0.0, deviation: 1.0 }];
        let one = |augmentation, key| -> Vec<f32> {
            batch(&set(), &normalisation, &[7], augmentation, (1, key))
                .pixels
                .iter()
                .step_by(LANES)
                .copied()
                .collect()
        };
        let plain = one(Augmentation::NONE, 0);
        let mut masked = [0; 3];
        for key in 0..200 {
            let found = one(Augmentation { masked_rows: 2, ..Augmentation::NONE }, key);
            let gone: Vec<bool> = (0..3).map(|y| found[y * 4..y * 4 + 4].iter().all(|&v| v == 0.0)).collect();
            (0..12).for_each(|i| assert!(gone[i / 4] || found[i] == plain[i]));
            masked[gone.iter().filter(|&&g| g).count()] += 1;
        }
        assert!(masked.iter().all(|&count| (40..100).contains(&count)), "{masked:?}");
        let noisy: Vec<f32> =
            (0..200).flat_map(|key| one(Augmentation { noise: 10, ..Augmentation::NONE }, key)).collect();
        let errors = noisy.iter().zip(plain.iter().cycle()).map(|(n, p)| f64::from(n - p) * 255.0);
        let deviation = (errors.map(|e| e * e).sum::<f64>() / noisy.len() as f64).sqrt();
        assert!((deviation - 10.0).abs() < 0.5, "{deviation}");
    }

    #[test]
    fn parts_are_disjoint_and_epochs_differ() {
        let parts = Parts::new(100, 20, 3);
        let mut all = [parts.training.clone(), parts.validation.clone()].concat();
        all.sort_unstable();
        assert!(all.iter().enumerate().all(|(i, &v)| i == v) && parts.validation.len() == 20);
        assert_ne!(parts.epoch(3, 0), parts.epoch(3, 1));
    }
}
