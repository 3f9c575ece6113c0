//! Random numbers that depend on nothing but what they are for: a run that is resumed draws the same.

/// A stream of numbers (SplitMix64), keyed by what it is for.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of these keys: a run's seed, then what the numbers are for.
    #[must_use]
    pub fn new(keys: &[u64]) -> Self {
        Self {
            state: keys.iter().fold(0x9e37_79b9_7f4a_7c15, |state, &key| {
                mix(state ^ key).wrapping_add(0x9e37_79b9_7f4a_7c15)
            }),
        }
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        // The bias is below 2⁻³² for every bound that occurs here.
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number from 0 to 1.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// A number of the standard normal distribution.
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * f64::from(1.0 - self.uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * f64::from(self.uniform())).cos()) as f32
    }

    /// 0 to `count` − 1 in random order.
    #[must_use]
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_spread_and_keyed() {
        let mut order = Random::new(&[7, 1]).permutation(1000);
        assert_ne!(order, Random::new(&[7, 2]).permutation(1000));
        assert_eq!(order, Random::new(&[7, 1]).permutation(1000));
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, &v)| i == v));
        let mut random = Random::new(&[1]);
        let (sum, squares) =
            (0..20_000).map(|_| random.normal()).fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        assert!((sum / 20_000.0).abs() < 0.03 && (squares / 20_000.0 - 1.0).abs() < 0.05);
    }
}
