//! What the statistical tests share: chi-square quantiles, least squares.

/// Upper quantile of the chi-square distribution with `freedom` degrees of freedom, `z` the normal quantile
/// of the same tail (Wilson and Hilferty, PNAS 17, 1931). For freedom ≥ 8 and z of about 6 it lies above the
/// exact one: the test errs towards passing by less than a factor of ten in the tail's probability.
pub fn chi_square_quantile(freedom: usize, z: f64) -> f64 {
    let k = freedom as f64;
    let spread = 2.0 / (9.0 * k);
    k * (1.0 - spread + z * spread.sqrt()).powi(3)
}

/// Upper tail of the standard normal distribution, by the continued fraction of Mills' ratio; for z of 3 and
/// more.
pub fn normal_tail(z: f64) -> f64 {
    let mut fraction = z;
    for k in (1..200).rev() {
        fraction = z + f64::from(k) / fraction;
    }
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() / fraction
}

/// Counts of bits and bytes at one place of a transcript over many runs.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    runs: usize,
    ones: Vec<u32>,
    bytes: Vec<u64>,
}

impl Histogram {
    /// Adds one run's bytes at this place.
    ///
    /// # Panics
    /// The length differs from earlier runs'.
    pub fn add(&mut self, bytes: &[u8]) {
        if self.runs == 0 {
            self.ones = vec![0; 8 * bytes.len()];
            self.bytes = vec![0; 256];
        }
        assert_eq!(self.ones.len(), 8 * bytes.len(), "a frame has the same length in every run");
        self.runs += 1;
        for (byte, ones) in bytes.iter().zip(self.ones.chunks_exact_mut(8)) {
            self.bytes[usize::from(*byte)] += 1;
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += u32::from(byte >> bit & 1);
            }
        }
    }

    /// Bytes counted.
    pub fn total(&self) -> usize {
        self.runs * self.ones.len() / 8
    }

    /// Chi-square of the ones of every bit against half the runs: (value, degrees of freedom).
    pub fn bits(&self) -> (f64, usize) {
        let half = self.runs as f64 / 2.0;
        let value = self.ones.iter().map(|&ones| (f64::from(ones) - half).powi(2) / (half / 2.0)).sum();
        (value, self.ones.len())
    }

    /// Chi-square of the byte values of all runs and positions against equal shares: (value, degrees of
    /// freedom).
    pub fn values(&self) -> (f64, usize) {
        let total: u64 = self.bytes.iter().sum();
        let expected = total as f64 / 256.0;
        (self.bytes.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum(), 255)
    }
}

/// Solves the symmetric positive definite system in place by Cholesky's decomposition; a direction without
/// variance gets 0.
///
/// # Shapes
/// `matrix`: n × n, row-major; `right`: n.
pub fn solve(matrix: &mut [f64], right: &mut [f64]) {
    let n = right.len();
    for j in 0..n {
        let (before, rest) = matrix.split_at_mut((j + 1) * n);
        let row_j = &mut before[j * n..];
        let pivot = row_j[j] - row_j[..j].iter().map(|v| v * v).sum::<f64>();
        let pivot = if pivot > 1e-9 { pivot.sqrt() } else { f64::INFINITY };
        row_j[j] = pivot;
        for row in rest.chunks_exact_mut(n) {
            let dot: f64 = row[..j].iter().zip(&row_j[..j]).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - dot) / pivot;
        }
    }
    for i in 0..n {
        let dot: f64 = matrix[i * n..i * n + i].iter().zip(&right[..i]).map(|(a, b)| a * b).sum();
        right[i] = (right[i] - dot) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| matrix[k * n + i] * right[k]).sum();
        right[i] = (right[i] - dot) / matrix[i * n + i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_tails_of_the_tables() {
        // 0.999 quantiles: 26.124 at 8, 330.520 at 255 degrees of freedom; z = 3.0902.
        // The approximation lies above, by less than a hundredth.
        assert!((0.0..0.01).contains(&(chi_square_quantile(8, 3.0902) / 26.124 - 1.0)));
        assert!((0.0..0.001).contains(&(chi_square_quantile(255, 3.0902) / 330.520 - 1.0)));
        assert!((normal_tail(3.0902) / 0.001 - 1.0).abs() < 1e-3);
        assert!((normal_tail(6.0) / 9.866e-10 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_system_is_solved() {
        let mut matrix = [4.0, 2.0, 0.0, 2.0, 5.0, 0.0, 0.0, 0.0, 0.0];
        let mut right = [10.0, 13.0, 0.0];
        solve(&mut matrix, &mut right);
        assert!((right[0] - 1.5).abs() < 1e-12 && (right[1] - 2.0).abs() < 1e-12 && right[2] == 0.0);
    }
}
