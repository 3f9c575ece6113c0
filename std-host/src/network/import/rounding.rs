//! Rounding a layer's weights to integers so that its output error on data is smallest.
//!
//! With inputs x (the integers that the layer really receives) and targets t (what the float layer computes),
//! the error of weights q is a quadratic form: (q − w)ᵀ H (q − w) + what no weights could do, with H the
//! covariance of x and w the least-squares weights. It is made small by GPTQ's rule (Frantar et al., 2022),
//! here as Babai's nearest plane on H's Cholesky factor, which is the same thing: each weight is rounded in
//! turn and the others make up for its error. Then single weights are moved while that helps. The bias takes
//! up the means.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis};

/// Part of the mean variance that is added to H's diagonal.
const DAMPING: f64 = 0.003;
/// Passes over a row's weights in the final descent, at most.
const SWEEPS: usize = 50;

/// Sums of products of a layer's inputs and targets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moments {
    count: f64,
    /// Σ x, K.
    x: Vec<f64>,
    /// Σ x xᵀ, (K, K).
    xx: Array2<f64>,
    /// Σ t, O.
    t: Vec<f64>,
    /// Σ t xᵀ, (O, K).
    tx: Array2<f64>,
}

/// Weights and biases as integers of the sum's units.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rounded {
    /// (O, K).
    pub(crate) weights: Vec<i64>,
    /// O.
    pub(crate) bias: Vec<i64>,
    /// What rounding changed: integer weights less the best real ones, in units of the sum, (O, K).
    pub(crate) change: Vec<f64>,
    /// Mean of that over the inputs, which the bias takes up, O.
    pub(crate) change_mean: Vec<f64>,
}

impl Moments {
    /// No sample yet, for K inputs and O outputs.
    #[must_use]
    pub(crate) fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            count: 0.0,
            x: vec![0.0; inputs],
            xx: Array2::zeros((inputs, inputs)),
            t: vec![0.0; outputs],
            tx: Array2::zeros((outputs, inputs)),
        }
    }

    /// Adds samples.
    ///
    /// # Shapes
    /// `inputs`: (K, P); `targets`: (O, P).
    pub(crate) fn add(&mut self, inputs: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) {
        self.count += inputs.ncols() as f64;
        let sums = |m: &ArrayView2<'_, f32>, into: &mut [f64]| {
            m.axis_iter(Axis(0))
                .zip(into)
                .for_each(|(row, sum)| *sum += row.iter().map(|&v| f64::from(v)).sum::<f64>());
        };
        sums(&inputs, &mut self.x);
        sums(&targets, &mut self.t);
        // One picture's products in f32, their sum over pictures in f64.
        let product = |a: &ArrayView2<'_, f32>, into: &mut Array2<f64>| {
            let mut product = Array2::<f32>::zeros(into.dim());
            general_mat_mul(1.0, a, &inputs.t(), 0.0, &mut product);
            into.zip_mut_with(&product, |sum, &v| *sum += f64::from(v));
        };
        product(&inputs, &mut self.xx);
        product(&targets, &mut self.tx);
    }

    /// Adds the samples of another.
    #[must_use]
    pub(crate) fn merge(mut self, other: &Self) -> Self {
        self.count += other.count;
        let add = |a: &mut [f64], b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.x, &other.x);
        add(&mut self.t, &other.t);
        self.xx += &other.xx;
        self.tx += &other.tx;
        self
    }

    /// Rounds (O, K) weights, given in the targets' unit an input unit, for sums whose units are `units`.
    ///
    /// # Shapes
    /// `weights`: O·K; `units`: O.
    #[must_use]
    pub(crate) fn round(&self, weights: &[f64], units: &[f64]) -> Rounded {
        let inputs = self.x.len();
        let mean_x: Vec<f64> = self.x.iter().map(|s| s / self.count).collect();
        let mut covariance = self.xx.mapv(|v| v / self.count);
        for ((i, j), value) in covariance.indexed_iter_mut() {
            *value -= mean_x[i] * mean_x[j];
        }
        let trace: f64 = covariance.diag().sum();
        let damping = (DAMPING * trace / inputs as f64).max(1e-6);
        covariance.diag_mut().mapv_inplace(|d| d + damping);
        // Nearest plane works from the last index to the first: the inputs that matter most come first, while
        // all others can still make up for them.
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_by(|&a, &b| covariance[[a, a]].total_cmp(&covariance[[b, b]]));
        let ordered = Array2::from_shape_fn((inputs, inputs), |(i, j)| covariance[[order[i], order[j]]]);
        let factor = cholesky(&ordered);
        let mut rounded = Rounded::default();
        for (output, (row, &unit)) in weights.chunks_exact(inputs).zip(units).enumerate() {
            let mean_t = self.t[output] / self.count;
            // Least squares, drawn towards the given weights where the data say little.
            let target: Vec<f64> = order
                .iter()
                .map(|&k| (self.tx[[output, k]] / self.count - mean_t * mean_x[k] + damping * row[k]) / unit)
                .collect();
            let best = solve(&factor, &target);
            let mut chosen = nearest_plane(&factor, &best);
            descend(&ordered, &best, &mut chosen);
            let mut weights = vec![0; inputs];
            order.iter().zip(&chosen).for_each(|(&k, &q)| weights[k] = q);
            let projected: f64 = weights.iter().zip(&mean_x).map(|(&q, m)| q as f64 * m).sum();
            rounded.bias.push((mean_t / unit - projected).round() as i64);
            let mut change = vec![0.0; inputs];
            order.iter().zip(chosen.iter().zip(&best)).for_each(|(&k, (&q, w))| change[k] = q as f64 - w);
            rounded.extend(weights, change, &mean_x);
        }
        rounded
    }
}

impl Rounded {
    fn extend(&mut self, weights: Vec<i64>, change: Vec<f64>, mean_x: &[f64]) {
        self.change_mean.push(dot(&change, mean_x));
        self.change.extend(change);
        self.weights.extend(weights);
    }
}

/// Weights rounded one by one, with the bias that keeps each output's mean: for layers with more inputs than
/// samples can tell apart.
///
/// # Shapes
/// `weights`: O·K; `units` and `mean_target`: O; `mean_input`: K.
#[must_use]
pub(crate) fn round_plainly(
    weights: &[f64],
    units: &[f64],
    mean_input: &[f64],
    mean_target: &[f64],
) -> Rounded {
    let mut all = Rounded::default();
    for ((row, unit), target) in weights.chunks_exact(mean_input.len()).zip(units).zip(mean_target) {
        let rounded: Vec<i64> = row.iter().map(|w| (w / unit).round() as i64).collect();
        let change = rounded.iter().zip(row).map(|(&q, w)| q as f64 - w / unit).collect();
        let projected: f64 = rounded.iter().zip(mean_input).map(|(&q, m)| q as f64 * m).sum();
        all.bias.push((target / unit - projected).round() as i64);
        all.extend(rounded, change, mean_input);
    }
    all
}

/// L of H = L Lᵀ, H positive definite.
fn cholesky(matrix: &Array2<f64>) -> Array2<f64> {
    let size = matrix.nrows();
    let mut lower = Array2::<f64>::zeros((size, size));
    for i in 0..size {
        for j in 0..=i {
            let (row_i, row_j) = (lower.row(i), lower.row(j));
            let (row_i, row_j) =
                (&row_i.as_slice().unwrap_or_default()[..j], &row_j.as_slice().unwrap_or_default()[..j]);
            let value = matrix[[i, j]] - dot(row_i, row_j);
            lower[[i, j]] = if i == j { value.max(1e-12).sqrt() } else { value / lower[[j, j]] };
        }
    }
    lower
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// w with L Lᵀ w = target.
fn solve(lower: &Array2<f64>, target: &[f64]) -> Vec<f64> {
    let size = target.len();
    let mut w = target.to_vec();
    for i in 0..size {
        let sum: f64 = (0..i).map(|j| lower[[i, j]] * w[j]).sum();
        w[i] = (w[i] - sum) / lower[[i, i]];
    }
    for i in (0..size).rev() {
        w[i] /= lower[[i, i]];
        let value = w[i];
        (0..i).for_each(|j| w[j] -= lower[[i, j]] * value);
    }
    w
}

/// Babai's nearest plane for ‖Lᵀ(q − w)‖².
fn nearest_plane(lower: &Array2<f64>, w: &[f64]) -> Vec<i64> {
    let size = w.len();
    let mut chosen = vec![0; size];
    for j in (0..size).rev() {
        // Row j of Lᵀ(q − w) is L_jj·(q_j − w_j) + Σ_{i>j} L_ij·(q_i − w_i): what q_j should be, given those
        // chosen before it.
        let pulled: f64 = (j + 1..size).map(|i| lower[[i, j]] * (w[i] - chosen[i] as f64)).sum();
        chosen[j] = (w[j] + pulled / lower[[j, j]]).round() as i64;
    }
    chosen
}

/// Moves single weights while (q − w)ᵀ H (q − w) falls.
fn descend(h: &Array2<f64>, w: &[f64], chosen: &mut [i64]) {
    let difference: Vec<f64> = chosen.iter().zip(w).map(|(&q, w)| q as f64 - w).collect();
    let mut gradient: Vec<f64> =
        h.axis_iter(Axis(0)).map(|row| dot(row.as_slice().unwrap_or_default(), &difference)).collect();
    for _ in 0..SWEEPS {
        let mut moved = false;
        for k in 0..w.len() {
            let step = -(gradient[k] / h[[k, k]]).round();
            // A whole step only ever lowers the form; ties do not move.
            if step != 0.0 && step * (2.0 * gradient[k] + step * h[[k, k]]) < -1e-9 {
                chosen[k] += step as i64;
                gradient.iter_mut().zip(h.row(k)).for_each(|(g, h)| *g += step * h);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(inputs: usize, samples: usize, weights: &[f64]) -> (Moments, Vec<Vec<f64>>) {
        let mut state = 12345_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1 << 24) as f64
        };
        let mut moments = Moments::new(inputs, 1);
        let mut xs = Vec::new();
        for _ in 0..samples {
            // Strongly correlated inputs: what one weight lacks, its neighbours can give.
            let common = [0; 4].map(|_| 40.0 * uniform());
            let x: Vec<f64> = (0..inputs).map(|k| (common[k % 4] + 3.0 * uniform()).round()).collect();
            let t: f64 = x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() + 3.0;
            let column = Array2::from_shape_fn((inputs, 1), |(k, _)| x[k] as f32);
            moments.add(column.view(), Array2::from_elem((1, 1), t as f32).view());
            xs.push(x);
        }
        (moments, xs)
    }

    #[test]
    fn the_factor_is_the_matrix_and_solves_it() {
        let matrix =
            Array2::from_shape_vec((3, 3), vec![4.0, 2.0, 0.6, 2.0, 5.0, 1.0, 0.6, 1.0, 3.0]).unwrap();
        let lower = cholesky(&matrix);
        assert!((lower.dot(&lower.t()) - &matrix).iter().all(|v| v.abs() < 1e-12));
        let w = solve(&lower, &[1.0, -2.0, 0.5]);
        let back = matrix.dot(&ndarray::Array1::from(w));
        assert!(back.iter().zip([1.0, -2.0, 0.5]).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn compensated_rounding_beats_plain_rounding() {
        let weights: Vec<f64> = (0..24).map(|k| f64::from(k * 37 % 24) / 7.0 - 1.5).collect();
        let (moments, xs) = moments(24, 400, &weights);
        let rounded = moments.round(&weights, &[1.0]);
        let mean_x: Vec<f64> = moments.x.iter().map(|s| s / moments.count).collect();
        let plain = round_plainly(&weights, &[1.0], &mean_x, &[moments.t[0] / moments.count]);
        let error = |rounded: &Rounded| {
            let one = |x: &Vec<f64>| {
                let exact: f64 = x.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>() + 3.0;
                let sum = x.iter().zip(&rounded.weights).map(|(x, &q)| x * q as f64).sum::<f64>()
                    + rounded.bias[0] as f64;
                (sum - exact) * (sum - exact)
            };
            xs.iter().map(one).sum::<f64>() / xs.len() as f64
        };
        let (compensated, plain_error) = (error(&rounded), error(&plain));
        assert!(compensated < 0.5 * plain_error, "{compensated} {plain_error}");
        // What is said to have changed is what the sums show, up to the bias' own rounding.
        for (rounded, error) in [(&rounded, compensated), (&plain, plain_error)] {
            let change = |x: &Vec<f64>| {
                x.iter().zip(&rounded.change).map(|(x, c)| x * c).sum::<f64>() - rounded.change_mean[0]
            };
            let stated = xs.iter().map(|x| change(x).powi(2)).sum::<f64>() / xs.len() as f64;
            assert!((error - stated).abs() < 0.3 + 0.02 * error, "{error} {stated}");
        }
    }
}
