//! A convolution and its two gradients: any kernel, stride, padding and groups.

use halfnet_core::shape::Convolution;

use crate::correlate;
use crate::simd::Level;
use crate::sweep::Sweep;
use crate::winograd;

/// y = W ⊗ x.
///
/// # Shapes
/// `weights`: (O, C / groups, kernel_height, kernel_width); `input`: (block, C, H, W, lane); `output`:
/// (block, O, H', W', lane), overwritten.
///
/// # Panics
/// A length does not fit the geometry.
pub fn forward(geometry: &Convolution, weights: &[f32], input: &[f32], output: &mut [f32]) {
    if winograd::pays_forward(geometry) {
        return winograd::forward(Level::detect(), geometry, weights, input, output);
    }
    forward_at(Level::detect(), geometry, weights, input, output);
}

/// dx of y = W ⊗ x.
///
/// # Shapes
/// As [`forward`], `gradient` as its output and `out` as its input; overwritten.
///
/// # Panics
/// A length does not fit the geometry.
pub fn data_gradient(geometry: &Convolution, weights: &[f32], gradient: &[f32], out: &mut [f32]) {
    if winograd::pays_for_data(geometry) {
        return winograd::data_gradient(Level::detect(), geometry, weights, gradient, out);
    }
    data_gradient_at(Level::detect(), geometry, weights, gradient, out);
}

/// dW of y = W ⊗ x.
///
/// # Shapes
/// As [`forward`], `gradient` as its output and `out` as its weights; overwritten.
///
/// # Panics
/// A length does not fit the geometry.
pub fn weight_gradient(geometry: &Convolution, input: &[f32], gradient: &[f32], out: &mut [f32]) {
    if input.is_empty() {
        return out.fill(0.0);
    }
    if winograd::pays_for_weights(geometry) {
        return winograd::weight_gradient(Level::detect(), geometry, input, gradient, out);
    }
    correlate::run(Level::detect(), geometry, input, gradient, out);
}

fn forward_at(level: Level, geometry: &Convolution, weights: &[f32], input: &[f32], output: &mut [f32]) {
    Sweep::forward(geometry).run(level, weights, input, output);
}

fn data_gradient_at(
    level: Level,
    geometry: &Convolution,
    weights: &[f32],
    gradient: &[f32],
    out: &mut [f32],
) {
    Sweep::backward(geometry).run(level, weights, gradient, out);
}

#[cfg(test)]
mod tests {
    use halfnet_core::shape::Shape;
    use proptest::prelude::*;

    use super::*;
    use crate::LANES;

    /// Every product of a convolution: (output index, weight index, input index), without lanes.
    fn products(g: &Convolution) -> Vec<(usize, usize, usize)> {
        let (output, input) = (g.output(), g.input);
        let per_group = usize::from(g.out_channels / g.groups);
        let kernel = usize::from(g.kernel_height) * usize::from(g.kernel_width);
        let mut all = Vec::new();
        for index in 0..output.elements() {
            let (o, y, x) = (
                index / output.plane(),
                index % output.plane() / usize::from(output.width),
                index % usize::from(output.width),
            );
            for k in 0..g.fan_in() {
                let (c, ky, kx) =
                    (k / kernel, k % kernel / usize::from(g.kernel_width), k % usize::from(g.kernel_width));
                let at =
                    |o: usize, k: usize| (o * usize::from(g.stride) + k).checked_sub(usize::from(g.padding));
                let (Some(iy), Some(ix)) = (at(y, ky), at(x, kx)) else { continue };
                if iy < usize::from(input.height) && ix < usize::from(input.width) {
                    let c = o / per_group * g.group_channels() + c;
                    all.push((
                        index,
                        o * g.fan_in() + k,
                        (c * usize::from(input.height) + iy) * usize::from(input.width) + ix,
                    ));
                }
            }
        }
        all
    }

    /// Small integers, so that every sum is exact.
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + seed * 7919).wrapping_mul(2_654_435_761) >> 7) % 17) as f32 - 8.0).collect()
    }

    fn geometry() -> impl Strategy<Value = Convolution> {
        let sizes = (1..4_u16, 1..6_u16, 1..6_u16, 1..11_u16, 1..11_u16);
        (sizes, 1..5_u16, 1..5_u16, 1..4_u16, 0..4_u16, any::<bool>())
            .prop_map(
                |(
                    (groups, inputs, outputs, height, width),
                    kernel_height,
                    kernel_width,
                    stride,
                    padding,
                    depthwise,
                )| {
                    let (groups, inputs, outputs) =
                        if depthwise { (groups * inputs, 1, 1) } else { (groups, inputs, outputs) };
                    Convolution {
                        input: Shape::new(groups * inputs, height, width),
                        out_channels: groups * outputs,
                        kernel_height,
                        kernel_width,
                        stride,
                        padding,
                        groups,
                    }
                },
            )
            .prop_filter("fits", |g| g.validate().is_ok())
    }

    /// All three products at every level, against the definition.
    fn check(g: &Convolution, blocks: usize) -> Result<(), TestCaseError> {
        let (inputs, outputs) = (g.input.elements(), g.output().elements());
        let weights = values(g.weights(), 1);
        let input = values(blocks * inputs * LANES, 2);
        let gradient = values(blocks * outputs * LANES, 3);
        let mut expected = (vec![0.0; gradient.len()], vec![0.0; input.len()], vec![0.0; weights.len()]);
        for (o, w, i) in products(g) {
            for block in 0..blocks {
                for lane in 0..LANES {
                    let (o, i) = ((block * outputs + o) * LANES + lane, (block * inputs + i) * LANES + lane);
                    expected.0[o] += weights[w] * input[i];
                    expected.1[i] += weights[w] * gradient[o];
                    expected.2[w] += gradient[o] * input[i];
                }
            }
        }
        for level in Level::available() {
            let mut found = (vec![9.0; gradient.len()], vec![9.0; input.len()], vec![9.0; weights.len()]);
            forward_at(level, g, &weights, &input, &mut found.0);
            data_gradient_at(level, g, &weights, &gradient, &mut found.1);
            correlate::run(level, g, &input, &gradient, &mut found.2);
            prop_assert!(found.0 == expected.0, "forward {level:?}");
            prop_assert!(found.1 == expected.1, "data gradient {level:?}");
            prop_assert!(found.2 == expected.2, "weight gradient {level:?}");
            if winograd::applies(g) {
                let mut found = (vec![9.0; gradient.len()], vec![9.0; input.len()], vec![9.0; weights.len()]);
                winograd::forward(level, g, &weights, &input, &mut found.0);
                winograd::data_gradient(level, g, &weights, &gradient, &mut found.1);
                winograd::weight_gradient(level, g, &input, &gradient, &mut found.2);
                prop_assert!(found.0 == expected.0, "forward by tiles {level:?}");
                prop_assert!(found.1 == expected.1, "data gradient by tiles {level:?}");
                prop_assert!(found.2 == expected.2, "weight gradient by tiles {level:?}");
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn all_three_products_are_the_definition(g in geometry(), blocks in 1..4_usize) {
            check(&g, blocks)?;
        }
    }

    fn tiled_geometry() -> impl Strategy<Value = Convolution> {
        (1..40_u16, 1..40_u16, 1..12_u16, 1..12_u16, 0..3_u16)
            .prop_map(|(inputs, out_channels, height, width, padding)| Convolution {
                input: Shape::new(inputs, height, width),
                out_channels,
                kernel_height: 3,
                kernel_width: 3,
                stride: 1,
                padding,
                groups: 1,
            })
            .prop_filter("fits", |g| g.validate().is_ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn tiles_are_the_definition(g in tiled_geometry(), blocks in 1..3_usize) {
            prop_assert!(winograd::applies(&g));
            check(&g, blocks)?;
        }
    }

    /// Of values between -1 and 1, against sums in double precision: root mean squares of what is off.
    #[test]
    fn tiles_round_about_as_sweeps_do() {
        let side = Convolution {
            input: Shape::new(48, 8, 8),
            out_channels: 40,
            kernel_height: 3,
            kernel_width: 3,
            stride: 1,
            padding: 1,
            groups: 1,
        };
        let values = |count: usize, seed: u32| -> Vec<f32> {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..count).map(|_| next()).collect()
        };
        let (weights, input) = (values(side.weights(), 1), values(side.input.elements() * LANES, 2));
        let gradient = values(side.output().elements() * LANES, 3);
        let mut exact =
            (vec![0.0_f64; gradient.len()], vec![0.0_f64; input.len()], vec![0.0_f64; weights.len()]);
        for (o, w, i) in products(&side) {
            for lane in 0..LANES {
                let (o, i) = (o * LANES + lane, i * LANES + lane);
                exact.0[o] += f64::from(weights[w]) * f64::from(input[i]);
                exact.1[i] += f64::from(weights[w]) * f64::from(gradient[o]);
                exact.2[w] += f64::from(gradient[o]) * f64::from(input[i]);
            }
        }
        let off = |found: &[f32], exact: &[f64]| {
            let squares: f64 = found.iter().zip(exact).map(|(&f, e)| (f64::from(f) - e).powi(2)).sum();
            (squares / exact.len() as f64).sqrt()
        };
        for level in Level::available() {
            let mut swept = (vec![0.0; gradient.len()], vec![0.0; input.len()], vec![0.0; weights.len()]);
            forward_at(level, &side, &weights, &input, &mut swept.0);
            data_gradient_at(level, &side, &weights, &gradient, &mut swept.1);
            correlate::run(level, &side, &input, &gradient, &mut swept.2);
            let mut tiled = swept.clone();
            winograd::forward(level, &side, &weights, &input, &mut tiled.0);
            winograd::data_gradient(level, &side, &weights, &gradient, &mut tiled.1);
            winograd::weight_gradient(level, &side, &input, &gradient, &mut tiled.2);
            for (name, tiled, swept) in [
                ("forward", off(&tiled.0, &exact.0), off(&swept.0, &exact.0)),
                ("data", off(&tiled.1, &exact.1), off(&swept.1, &exact.1)),
                ("weights", off(&tiled.2, &exact.2), off(&swept.2, &exact.2)),
            ] {
                println!("{level:?} {name}: {tiled:e} by tiles, {swept:e} swept");
                assert!(tiled < 3.0 * swept, "{level:?} {name}: {tiled:e} by tiles, {swept:e} swept");
            }
        }
    }

    #[test]
    fn no_pictures_have_no_gradient() {
        for channels in [1, 64] {
            let g = Convolution {
                input: Shape::new(channels, 4, 4),
                out_channels: channels,
                kernel_height: 3,
                kernel_width: 3,
                stride: 1,
                padding: 1,
                groups: 1,
            };
            let mut out = vec![9.0; g.weights()];
            weight_gradient(&g, &[], &[], &mut out);
            assert_eq!(out, vec![0.0; g.weights()]);
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let tiled = Convolution {
            input: Shape::new(64, 7, 6),
            out_channels: 65,
            kernel_height: 3,
            kernel_width: 3,
            stride: 1,
            padding: 1,
            groups: 1,
        };
        assert!(
            winograd::pays_forward(&tiled)
                && winograd::pays_for_data(&tiled)
                && winograd::pays_for_weights(&tiled)
        );
        for g in [tiled, Convolution { stride: 2, ..tiled }] {
            let noise = |count: usize, step: f32| -> Vec<f32> {
                (0..count).map(|i| (i as f32 * step).sin()).collect()
            };
            let (weights, input) = (noise(g.weights(), 0.7), noise(3 * g.input.elements() * LANES, 0.3));
            let gradient = noise(3 * g.output().elements() * LANES, 0.9);
            let with = |threads: usize| {
                let mut found = (vec![9.0; gradient.len()], vec![9.0; input.len()], vec![9.0; weights.len()]);
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    forward(&g, &weights, &input, &mut found.0);
                    data_gradient(&g, &weights, &gradient, &mut found.1);
                    weight_gradient(&g, &input, &gradient, &mut found.2);
                });
                found
            };
            let alone = with(1);
            assert!(with(2) == alone && with(5) == alone && with(24) == alone);
        }
    }

    /// Sources that take several bands, and more pairs than a chunk.
    #[test]
    fn large_layers_are_the_definition() {
        let base = Convolution {
            input: Shape::new(40, 30, 34),
            out_channels: 9,
            kernel_height: 3,
            kernel_width: 3,
            stride: 1,
            padding: 1,
            groups: 1,
        };
        let strided = Convolution { stride: 2, ..base };
        let plain = Convolution { kernel_height: 1, kernel_width: 1, padding: 0, ..base };
        let wide = Convolution { input: Shape::new(9, 30, 34), out_channels: 40, ..base };
        let apart = Convolution { stride: 3, kernel_height: 2, kernel_width: 2, padding: 0, ..base };
        for g in [base, strided, plain, wide, apart] {
            check(&g, 1).unwrap_or_else(|e| panic!("{g:?}: {e}"));
        }
        // More than a panel of channels; the shortest strips; one tile, cut.
        let panels = Convolution { input: Shape::new(130, 4, 5), out_channels: 66, padding: 2, ..base };
        let strips = Convolution { input: Shape::new(300, 4, 4), out_channels: 300, ..base };
        let cut = Convolution { input: Shape::new(64, 3, 3), out_channels: 64, padding: 0, ..base };
        for (g, blocks) in [(panels, 2), (strips, 1), (cut, 3)] {
            check(&g, blocks).unwrap_or_else(|e| panic!("{g:?}: {e}"));
        }
    }
}
