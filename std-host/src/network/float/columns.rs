//! Convolutions as dense products: the patches under a kernel as columns of a matrix, one column an output
//! position.
//!
//! Generic over the scalar, because the integer reference uses the same products on integers that a float
//! holds exactly.

use halfnet_core::shape::Convolution;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, LinalgScalar};

/// True when the input itself is the matrix: a 1×1 convolution, or a kernel that covers its whole input.
#[must_use]
pub(crate) fn is_plain(geometry: &Convolution) -> bool {
    let pointwise = geometry.kernel_height == 1 && geometry.kernel_width == 1 && geometry.stride == 1;
    let covering =
        geometry.kernel_height == geometry.input.height && geometry.kernel_width == geometry.input.width;
    geometry.padding == 0 && (pointwise || covering)
}

/// Patches of `input`, (C·kernel_height·kernel_width, positions) row-major, into `out`, which is resized.
///
/// # Shapes
/// `input`: the geometry's input.
pub(crate) fn patches<T: Copy + Default>(geometry: &Convolution, input: &[T], out: &mut Vec<T>) {
    let (output, shape) = (geometry.output(), geometry.input);
    let (height, width) = (usize::from(shape.height), usize::from(shape.width));
    let (rows, columns) = (usize::from(output.height), usize::from(output.width));
    let (stride, padding) = (usize::from(geometry.stride), usize::from(geometry.padding));
    out.clear();
    out.resize(
        usize::from(shape.channels)
            * usize::from(geometry.kernel_height)
            * usize::from(geometry.kernel_width)
            * rows
            * columns,
        T::default(),
    );
    let mut lines = out.chunks_exact_mut(columns);
    for plane in input.chunks_exact(height * width) {
        for ky in 0..usize::from(geometry.kernel_height) {
            for kx in 0..usize::from(geometry.kernel_width) {
                // Columns whose input column x·stride + kx − padding lies inside.
                let first = padding.saturating_sub(kx).div_ceil(stride).min(columns);
                let last = (width + padding).saturating_sub(kx).div_ceil(stride).clamp(first, columns);
                for (row, line) in (&mut lines).take(rows).enumerate() {
                    let Some(y) = (row * stride + ky).checked_sub(padding).filter(|&y| y < height) else {
                        continue;
                    };
                    let start = y * width + first * stride + kx - padding.min(first * stride + kx);
                    let line = &mut line[first..last];
                    if stride == 1 {
                        line.copy_from_slice(&plane[start..start + line.len()]);
                    } else {
                        line.iter_mut()
                            .zip(plane[start.min(plane.len())..].iter().step_by(stride))
                            .for_each(|(out, &v)| *out = v);
                    }
                }
            }
        }
    }
}

/// out = W ⊗ x + keep · out.
///
/// # Shapes
/// `weights`: (O, C / groups, kernel_height, kernel_width); `input`: the geometry's input; `out`: its output;
/// `scratch`: anything.
pub(crate) fn convolve<T: LinalgScalar + Default>(
    geometry: &Convolution,
    weights: &[T],
    input: &[T],
    keep: T,
    out: &mut [T],
    scratch: &mut Vec<T>,
) {
    let positions = geometry.output().plane();
    let (groups, fan_in) = (usize::from(geometry.groups), geometry.fan_in());
    let patches: &[T] = if is_plain(geometry) {
        input
    } else {
        patches(geometry, input, scratch);
        scratch
    };
    let per_group = usize::from(geometry.out_channels) / groups;
    for group in 0..groups {
        let weights = &weights[group * per_group * fan_in..(group + 1) * per_group * fan_in];
        let patches = &patches[group * fan_in * positions..(group + 1) * fan_in * positions];
        let out = &mut out[group * per_group * positions..(group + 1) * per_group * positions];
        // The lengths are the shapes' own products.
        let (Ok(weights), Ok(patches), Ok(mut out)) = (
            ArrayView2::from_shape((per_group, fan_in), weights),
            ArrayView2::from_shape((fan_in, positions), patches),
            ArrayViewMut2::from_shape((per_group, positions), out),
        ) else {
            return;
        };
        general_mat_mul(T::one(), &weights, &patches, keep, &mut out);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use halfnet_core::shape::Shape;

    /// The definition, for tests.
    pub(crate) fn direct(geometry: &Convolution, weights: &[f64], input: &[f64]) -> Vec<f64> {
        let (output, shape) = (geometry.output(), geometry.input);
        let per_group = usize::from(geometry.out_channels / geometry.groups);
        (0..output.elements())
            .map(|index| {
                let (o, position) = (index / output.plane(), index % output.plane());
                let (oy, ox) = (position / usize::from(output.width), position % usize::from(output.width));
                let mut sum = 0.0;
                for k in 0..geometry.fan_in() {
                    let kernel = usize::from(geometry.kernel_height) * usize::from(geometry.kernel_width);
                    let (c, ky, kx) = (
                        k / kernel,
                        k % kernel / usize::from(geometry.kernel_width),
                        k % usize::from(geometry.kernel_width),
                    );
                    let c = o / per_group * geometry.group_channels() + c;
                    let at = |o: usize, k: usize| {
                        (o * usize::from(geometry.stride) + k).checked_sub(usize::from(geometry.padding))
                    };
                    let (Some(y), Some(x)) = (at(oy, ky), at(ox, kx)) else { continue };
                    if y < usize::from(shape.height) && x < usize::from(shape.width) {
                        let at = (c * usize::from(shape.height) + y) * usize::from(shape.width) + x;
                        sum += weights[o * geometry.fan_in() + k] * input[at];
                    }
                }
                sum
            })
            .collect()
    }

    #[test]
    fn every_geometry_agrees_with_the_definition() {
        let base = Convolution {
            input: Shape::new(4, 7, 6),
            out_channels: 8,
            kernel_height: 3,
            kernel_width: 3,
            stride: 1,
            padding: 1,
            groups: 1,
        };
        let geometries = [
            base,
            Convolution { stride: 2, ..base },
            Convolution { stride: 3, padding: 0, ..base },
            Convolution { padding: 4, stride: 2, ..base },
            Convolution { groups: 2, ..base },
            Convolution { groups: 4, stride: 2, ..base },
            Convolution { kernel_height: 1, kernel_width: 1, padding: 0, ..base },
            Convolution { kernel_height: 1, kernel_width: 1, padding: 0, stride: 2, ..base },
            Convolution { kernel_height: 2, kernel_width: 5, padding: 2, stride: 3, ..base },
            Convolution { kernel_height: 7, kernel_width: 6, padding: 0, ..base },
        ];
        for geometry in geometries {
            geometry.validate().unwrap();
            let value = |i: usize| ((i * 2_654_435_761 % 1000) as f64) - 500.0;
            let weights: Vec<f64> = (0..geometry.weights()).map(value).collect();
            let input: Vec<f64> = (0..geometry.input.elements()).map(|i| value(i + 77)).collect();
            let mut out = vec![10.0; geometry.output().elements()];
            convolve(&geometry, &weights, &input, 2.0, &mut out, &mut Vec::new());
            let expected: Vec<f64> =
                direct(&geometry, &weights, &input).into_iter().map(|v| v + 20.0).collect();
            assert_eq!(out, expected, "{geometry:?}");
        }
    }
}
