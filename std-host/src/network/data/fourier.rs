//! The Fourier transform of a power of two values (Cooley and Tukey's, radix 2, in place).

/// A transform of one size.
#[derive(Clone, Debug)]
pub(super) struct Transform {
    /// e^(−2πi·k/n) for k below n/2.
    roots: Vec<[f64; 2]>,
}

impl Transform {
    /// Of `size` values, a power of two from 2 on.
    pub(super) fn new(size: usize) -> Self {
        let angle = |k: usize| -std::f64::consts::TAU * k as f64 / size as f64;
        Self { roots: (0..size / 2).map(|k| [angle(k).cos(), angle(k).sin()]).collect() }
    }

    /// Replaces values (real, imaginary) by their transform.
    ///
    /// # Panics
    /// There are not as many as the transform is for.
    pub(super) fn run(&self, values: &mut [[f64; 2]]) {
        let size = values.len();
        assert_eq!(size, 2 * self.roots.len());
        for i in 0..size {
            let reversed = i.reverse_bits() >> (usize::BITS - size.trailing_zeros());
            if i < reversed {
                values.swap(i, reversed);
            }
        }
        let mut half = 1;
        while half < size {
            for block in values.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                let roots = self.roots.iter().step_by(size / (2 * half));
                for ((a, b), [cos, sin]) in low.iter_mut().zip(high).zip(roots) {
                    let turned = [b[0] * cos - b[1] * sin, b[0] * sin + b[1] * cos];
                    *b = [a[0] - turned[0], a[1] - turned[1]];
                    *a = [a[0] + turned[0], a[1] + turned[1]];
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_its_definition() {
        for size in [2, 8, 64] {
            let values: Vec<[f64; 2]> =
                (0..size).map(|i| [((i * i * 37) % 101) as f64, ((i * 53) % 97) as f64 - 40.0]).collect();
            let mut found = values.clone();
            Transform::new(size).run(&mut found);
            for (k, found) in found.iter().enumerate() {
                let mut expected = [0.0; 2];
                for (i, [re, im]) in values.iter().enumerate() {
                    let (sin, cos) = (-std::f64::consts::TAU * (i * k) as f64 / size as f64).sin_cos();
                    expected[0] += re * cos - im * sin;
                    expected[1] += re * sin + im * cos;
                }
                assert!(
                    (found[0] - expected[0]).abs() + (found[1] - expected[1]).abs() < 1e-9,
                    "{k} of {size}"
                );
            }
        }
    }
}
