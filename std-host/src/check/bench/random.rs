//! Random numbers that are the same again for the same seed.

use halfnet_core::prg::{Key, Stream};

/// Uniform and normal numbers from a labelled stream.
#[derive(Debug)]
pub(super) struct Random {
    stream: Stream,
    drawn: u64,
}

impl Random {
    /// Stream number `kind` of a seed.
    pub(super) fn new(seed: u64, kind: u64) -> Self {
        Self {
            stream: Stream::new(&Key::new([0; 32]).derive("halfnet bench v1", &[&seed.to_le_bytes()]), kind),
            drawn: 0,
        }
    }

    pub(super) fn words(&mut self, count: usize) -> Vec<u32> {
        let mut words = vec![0; count];
        // A stream has 256 GiB, a network a few hundred MiB at most.
        let filled = self.stream.fill_words(self.drawn, &mut words);
        debug_assert!(filled.is_ok());
        self.drawn += count as u64;
        words
    }

    /// Uniform in 0 .. `bound`, by the high part of a product: a bias of bound / 2^32 is nothing to a
    /// benchmark.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.words(1)[0]) * u64::from(bound)) >> 32) as u32
    }

    /// Standard normal numbers, two from two uniform ones (Box and Muller).
    pub(super) fn normal(&mut self, count: usize) -> Vec<f32> {
        let words = self.words(count.next_multiple_of(2));
        let unit = |word: u32| (f64::from(word) + 0.5) / f64::from(u32::MAX);
        let pair = |pair: &[u32; 2]| {
            let (radius, angle) =
                ((-2.0 * unit(pair[0]).min(1.0).ln()).max(0.0).sqrt(), std::f64::consts::TAU * unit(pair[1]));
            [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]
        };
        words.as_chunks::<2>().0.iter().flat_map(pair).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_are_normal_and_repeatable() {
        let numbers = Random::new(1, 2).normal(100_001);
        let count = numbers.len() as f64;
        let mean = numbers.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = numbers.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        let beyond = numbers.iter().filter(|v| v.abs() > 1.96).count() as f64 / count;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02 && (beyond - 0.05).abs() < 0.005,
            "{mean} {variance} {beyond}"
        );
        assert_eq!(numbers[..10], Random::new(1, 2).normal(10)[..]);
        assert_ne!(numbers[..10], Random::new(2, 2).normal(10)[..]);
    }

    #[test]
    fn below_reaches_every_value_and_no_other() {
        let mut random = Random::new(0, 0);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[random.below(7) as usize] += 1);
        assert!(seen.iter().all(|&n| n > 800), "{seen:?}");
    }
}
