//! The pass over the layers: each is rounded on what the integer layers before it really give.

use halfnet_core::model::Normalisation;
use halfnet_core::shape::Convolution;
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use super::calibrate::LayerStatistics;
use super::rounding::{Moments, round_plainly};
use super::scales::{self, LayerScales};
use super::widths::{LayerWidths, Widths};
use super::{ImportError, ImportOptions};
use crate::network::data::DataSet;
use crate::network::float::forward::add_join;
use crate::network::float::{
    FloatLayer, FloatLinear, FloatNetwork, FloatPolynomial, FloatStep, FloatTerm, columns,
};
use crate::network::simulate::{
    IntegerActivation, IntegerLayer, IntegerLinear, IntegerPolynomial, IntegerStep, IntegerTerm, Products,
    Scratch, SeededCoins,
};

/// Inputs of one output from which weights are rounded plainly: the covariance would not fit, nor would the
/// pictures tell it.
const MOST_COMPENSATED: usize = 1280;
/// Samples an input that compensated rounding needs.
const SAMPLES_AN_INPUT: usize = 8;
/// Pictures whose moments are summed together before they are merged.
const BATCH: usize = 16;

/// A network in integers, with what its report says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quantised {
    /// How pixels become integers.
    pub(crate) normalisation: Vec<Normalisation>,
    /// The layers.
    pub(crate) layers: Vec<IntegerLayer>,
    /// Real value of one unit, layer by layer.
    pub(crate) scales: Vec<LayerScales>,
    /// What rounding the weights changed in each layer's sum, as a float layer on the same wires.
    pub(crate) changes: Vec<FloatLayer>,
    /// Root mean square of each layer's (sum − float sum) on the pictures rounded on, in parts of the float
    /// sum's deviation.
    pub(crate) errors: Vec<f64>,
}

/// Products that one output element of a term sums.
pub(super) fn fan_in(term: &FloatTerm) -> usize {
    match &term.linear {
        FloatLinear::Convolution { geometry, .. } => geometry.fan_in(),
        FloatLinear::Join(_) => 0,
    }
}

/// What a picture has on the wires so far, in both worlds.
struct Pair {
    float: Vec<Vec<f32>>,
    integer: Vec<Vec<i64>>,
}

/// Rounds every layer in turn, on the given training pictures.
///
/// # Errors
/// A layer does not fit its widths.
pub(crate) fn quantise(
    network: &FloatNetwork,
    ranges: &[LayerStatistics],
    widths: &Widths,
    pictures: &DataSet,
    options: &ImportOptions,
) -> Result<Quantised, ImportError> {
    let (normalisation, input_units) = scales::input(network);
    let bounds = scales::bounds(network, ranges, widths, options.headroom);
    let mut units = vec![input_units];
    let start = |index: usize| {
        let pixels = pictures.picture(index);
        let planes = pixels.chunks_exact(network.input.plane()).zip(&normalisation);
        let integer = planes.flat_map(|(plane, n)| plane.iter().map(|&p| i64::from(n.apply(p)))).collect();
        Pair { float: vec![network.normalise(pixels)], integer: vec![integer] }
    };
    let mut pairs: Vec<Pair> = (0..pictures.len()).into_par_iter().map(start).collect();
    let mut quantised = Quantised {
        normalisation: normalisation.clone(),
        layers: Vec::new(),
        scales: Vec::new(),
        changes: Vec::new(),
        errors: Vec::new(),
    };
    let bar = options.progress.bar(network.layers.len() as u64, "rounding");
    for (index, layer) in network.layers.iter().enumerate() {
        let scales = scales::layer(layer, &bounds[index], widths[index], &units)?;
        let sums: Vec<Vec<f32>> =
            pairs.par_iter().map_init(Vec::new, |scratch, pair| layer.sum(&pair.float, scratch)).collect();
        let (integer, change) =
            round_layer(layer, &scales, widths[index], options.headroom, &units, &pairs, &sums)?;
        let last_reader = |wire: usize| {
            network.layers.iter().rposition(|l| l.terms.iter().any(|t| t.source == wire)).unwrap_or(0)
        };
        let finished: Vec<usize> = (0..=index).filter(|&wire| last_reader(wire) <= index).collect();
        let deviation = deviation_of(&sums, layer);
        let squares: f64 = pairs
            .par_iter_mut()
            .zip(&sums)
            .enumerate()
            .map_init(Scratch::default, |scratch, (picture, (pair, float_sum))| {
                let sum = integer.sum(|wire| pair.integer[wire].as_slice(), scratch);
                let stepped = integer.step(index, &sum, &mut SeededCoins::new(options.seed, picture as u64));
                pair.integer.push(stepped.output);
                pair.float.push(layer.step(float_sum));
                for &wire in &finished {
                    pair.integer[wire] = Vec::new();
                    pair.float[wire] = Vec::new();
                }
                square_error(&sum, float_sum, &scales.sum, layer)
            })
            .sum();
        let elements = (pictures.len() * layer.sum_shape().elements()) as f64;
        quantised.errors.push((squares / elements).sqrt() / deviation.max(f64::MIN_POSITIVE));
        units.push(scales.output.clone());
        quantised.layers.push(integer);
        quantised.changes.push(change);
        quantised.scales.push(scales);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(quantised)
}

fn square_error(sum: &[i64], float: &[f32], units: &[f64], layer: &FloatLayer) -> f64 {
    let plane = layer.sum_shape().plane();
    let planes = sum.chunks_exact(plane).zip(float.chunks_exact(plane)).zip(units);
    planes
        .map(|((z, f), unit)| {
            z.iter().zip(f).map(|(&z, &f)| (z as f64 * unit - f64::from(f)).powi(2)).sum::<f64>()
        })
        .sum()
}

/// Deviation of a layer's float sums within their channels.
fn deviation_of(sums: &[Vec<f32>], layer: &FloatLayer) -> f64 {
    let shape = layer.sum_shape();
    let channel = |c: usize| {
        let values = || {
            sums.iter().flat_map(|s| &s[c * shape.plane()..(c + 1) * shape.plane()]).map(|&v| f64::from(v))
        };
        let count = (sums.len() * shape.plane()) as f64;
        let mean = values().sum::<f64>() / count;
        values().map(|v| (v - mean).powi(2)).sum::<f64>() / count
    };
    let variances: Vec<f64> = (0..usize::from(shape.channels)).into_par_iter().map(channel).collect();
    (variances.iter().sum::<f64>() / variances.len().max(1) as f64).sqrt()
}

/// A part of a layer's outputs that reads a part of its inputs: all of them, or a group.
struct Part {
    outputs: std::ops::Range<usize>,
    /// Term, geometry and the first row of its patches that the part reads.
    reads: Vec<(usize, Convolution, usize)>,
    inputs: usize,
}

fn parts(layer: &FloatLayer) -> Result<Vec<Part>, ImportError> {
    let convolutions: Vec<(usize, Convolution)> = layer
        .terms
        .iter()
        .enumerate()
        .filter_map(|(i, t)| {
            if let FloatLinear::Convolution { geometry, .. } = &t.linear {
                Some((i, *geometry))
            } else {
                None
            }
        })
        .collect();
    let groups = convolutions.iter().map(|(_, g)| usize::from(g.groups)).max().unwrap_or(1);
    if convolutions.iter().any(|(_, g)| !groups.is_multiple_of(usize::from(g.groups))) {
        return Err(ImportError::Unsupported {
            layer: layer.name.clone(),
            reason: "its terms' groups do not divide each other",
        });
    }
    let outputs = layer.bias.len() / groups;
    let part = |group: usize| {
        let reads =
            convolutions.iter().map(|&(i, g)| (i, g, group * usize::from(g.groups) / groups * g.fan_in()));
        Part {
            outputs: group * outputs..(group + 1) * outputs,
            reads: reads.collect(),
            inputs: convolutions.iter().map(|(_, g)| g.fan_in()).sum(),
        }
    };
    Ok((0..groups).map(part).collect())
}

fn round_layer(
    layer: &FloatLayer,
    scales: &LayerScales,
    widths: LayerWidths,
    headroom: f64,
    units: &[Vec<f64>],
    pairs: &[Pair],
    sums: &[Vec<f32>],
) -> Result<(IntegerLayer, FloatLayer), ImportError> {
    let plane = layer.sum_shape().plane();
    let mut weights: Vec<Vec<i64>> =
        layer.terms.iter().map(|t| vec![0; layer.bias.len() * fan_in(t)]).collect();
    let mut bias = vec![0; layer.bias.len()];
    let mut change = layer.clone();
    change.terms.retain(|t| matches!(t.linear, FloatLinear::Convolution { .. }));
    for part in parts(layer)? {
        let compensated =
            part.inputs <= MOST_COMPENSATED && pairs.len() * plane >= SAMPLES_AN_INPUT * part.inputs;
        let real = real_weights(layer, &part, units);
        let part_units = &scales.sum[part.outputs.clone()];
        let rounded = if compensated {
            moments(layer, scales, &part, pairs, sums).round(&real, part_units)
        } else {
            let (mean_input, mean_target) = means(layer, scales, &part, pairs, sums);
            round_plainly(&real, part_units, &mean_input, &mean_target)
        };
        bias[part.outputs.clone()].copy_from_slice(&rounded.bias);
        for (row, output) in part.outputs.clone().enumerate() {
            let mut first = row * part.inputs;
            change.bias[output] = (-rounded.change_mean[row] * scales.sum[output]) as f32;
            for (number, (term, geometry, _)) in part.reads.iter().enumerate() {
                let fan_in = geometry.fan_in();
                weights[*term][output * fan_in..][..fan_in]
                    .copy_from_slice(&rounded.weights[first..first + fan_in]);
                let FloatLinear::Convolution { weights: changed, .. } = &mut change.terms[number].linear
                else {
                    continue;
                };
                let inputs = input_units(geometry, &units[layer.terms[*term].source], output);
                let values = rounded.change[first..first + fan_in].iter().zip(inputs);
                changed[output * fan_in..][..fan_in]
                    .iter_mut()
                    .zip(values)
                    .for_each(|(slot, (c, unit))| *slot = (c * scales.sum[output] / unit) as f32);
                first += fan_in;
            }
        }
    }
    let terms = layer.terms.iter().zip(weights).zip(&scales.joins).map(|((term, weights), factors)| {
        let linear = match &term.linear {
            FloatLinear::Convolution { geometry, .. } => {
                IntegerLinear::Convolution(Products::new(*geometry, weights))
            }
            // A factor that all channels share and that is a power of two needs no secret.
            FloatLinear::Join(join) => match factors[0] {
                factor
                    if factor.is_positive()
                        && factor.count_ones() == 1
                        && factors.iter().all(|&f| f == factor) =>
                {
                    IntegerLinear::JoinShift { geometry: *join, shift: factor.trailing_zeros() as u8 }
                }
                _ => IntegerLinear::JoinScaled { geometry: *join, factors: factors.clone() },
            },
        };
        IntegerTerm { source: term.source, linear }
    });
    let step = match &layer.step {
        FloatStep::Release => IntegerStep::Release { ring_bits: widths.ring_bits },
        FloatStep::Rescale { pool } => IntegerStep::Rescale { shift: widths.shift(), pool: *pool },
        FloatStep::Activate { relu, polynomial, pool } => IntegerStep::Activate(IntegerActivation {
            ring_bits: widths.ring_bits,
            shift: widths.shift(),
            relu: relu.clone(),
            polynomial: polynomial
                .as_ref()
                .map(|p| round_polynomial(p, &scales.output, coefficient_bits(widths, headroom))),
            pool: *pool,
        }),
    };
    let output_scale = scales.output.iter().map(|&s| s as f32).collect();
    Ok((IntegerLayer { terms: terms.collect(), bias, step, output_scale }, change))
}

/// The unit of the input that each weight of an output channel meets.
fn input_units(geometry: &Convolution, units: &[f64], output: usize) -> impl Iterator<Item = f64> {
    let kernel = usize::from(geometry.kernel_height) * usize::from(geometry.kernel_width);
    let first = output / usize::from(geometry.out_channels / geometry.groups) * geometry.group_channels();
    (0..geometry.fan_in()).map(move |k| units[first + k / kernel])
}

/// Weights of a part's outputs, in real units of the sum for one unit of each input.
fn real_weights(layer: &FloatLayer, part: &Part, units: &[Vec<f64>]) -> Vec<f64> {
    let mut real = Vec::with_capacity(part.outputs.len() * part.inputs);
    for output in part.outputs.clone() {
        for (term, geometry, _) in &part.reads {
            let FloatLinear::Convolution { weights, .. } = &layer.terms[*term].linear else { continue };
            let row = &weights[output * geometry.fan_in()..(output + 1) * geometry.fan_in()];
            let inputs = input_units(geometry, &units[layer.terms[*term].source], output);
            real.extend(row.iter().zip(inputs).map(|(&w, unit)| f64::from(w) * unit));
        }
    }
    real
}

/// A picture's inputs (K, P) of a part, and what its convolutions should give (O, P): the float sum less the
/// joins' real values.
fn samples(
    layer: &FloatLayer,
    scales: &LayerScales,
    part: &Part,
    pair: &Pair,
    sum: &[f32],
    buffer: &mut Buffer,
) {
    let plane = layer.sum_shape().plane();
    buffer.inputs.clear();
    for (term, geometry, first) in &part.reads {
        buffer.source.clear();
        buffer.source.extend(pair.integer[layer.terms[*term].source].iter().map(|&v| v as f32));
        let rows = geometry.fan_in() * plane;
        if columns::is_plain(geometry) {
            buffer.inputs.extend_from_slice(&buffer.source[first * plane..first * plane + rows]);
        } else {
            columns::patches(geometry, &buffer.source, &mut buffer.patches);
            buffer.inputs.extend_from_slice(&buffer.patches[first * plane..first * plane + rows]);
        }
    }
    buffer.whole.clear();
    buffer.whole.extend_from_slice(sum);
    for (term, factors) in layer.terms.iter().zip(&scales.joins) {
        if let FloatLinear::Join(join) = &term.linear {
            let offset = usize::from(join.channel_offset);
            let real: Vec<f32> = factors
                .iter()
                .enumerate()
                .map(|(c, &f)| (f as f64 * scales.sum[offset + c]) as f32)
                .collect();
            let integers: Vec<f32> = pair.integer[term.source].iter().map(|&v| v as f32).collect();
            add_join(join, &integers, &mut buffer.whole, |c, v| -v * real[c]);
        }
    }
    buffer.targets.clear();
    buffer.targets.extend_from_slice(&buffer.whole[part.outputs.start * plane..part.outputs.end * plane]);
}

#[derive(Default)]
struct Buffer {
    source: Vec<f32>,
    patches: Vec<f32>,
    inputs: Vec<f32>,
    whole: Vec<f32>,
    targets: Vec<f32>,
}

fn with_samples(
    layer: &FloatLayer,
    scales: &LayerScales,
    part: &Part,
    pairs: &[Pair],
    sums: &[Vec<f32>],
    mut visit: impl FnMut(ArrayView2<'_, f32>, ArrayView2<'_, f32>),
) {
    let plane = layer.sum_shape().plane();
    let mut buffer = Buffer::default();
    for (pair, sum) in pairs.iter().zip(sums) {
        samples(layer, scales, part, pair, sum, &mut buffer);
        let inputs = ArrayView2::from_shape((part.inputs, plane), &buffer.inputs);
        let targets = ArrayView2::from_shape((part.outputs.len(), plane), &buffer.targets);
        if let (Ok(inputs), Ok(targets)) = (inputs, targets) {
            visit(inputs, targets);
        }
    }
}

fn moments(
    layer: &FloatLayer,
    scales: &LayerScales,
    part: &Part,
    pairs: &[Pair],
    sums: &[Vec<f32>],
) -> Moments {
    let empty = || Moments::new(part.inputs, part.outputs.len());
    pairs
        .par_chunks(BATCH)
        .zip(sums.par_chunks(BATCH))
        .fold(empty, |mut moments, (pairs, sums)| {
            with_samples(layer, scales, part, pairs, sums, |inputs, targets| moments.add(inputs, targets));
            moments
        })
        .reduce(empty, |a, b| a.merge(&b))
}

fn means(
    layer: &FloatLayer,
    scales: &LayerScales,
    part: &Part,
    pairs: &[Pair],
    sums: &[Vec<f32>],
) -> (Vec<f64>, Vec<f64>) {
    let (mut input, mut target) = (vec![0.0; part.inputs], vec![0.0; part.outputs.len()]);
    let count = (pairs.len() * layer.sum_shape().plane()) as f64;
    with_samples(layer, scales, part, pairs, sums, |inputs, targets| {
        let add = |rows: ArrayView2<'_, f32>, into: &mut [f64]| {
            rows.axis_iter(Axis(0))
                .zip(into)
                .for_each(|(row, mean)| *mean += row.iter().map(|&v| f64::from(v)).sum::<f64>() / count);
        };
        add(inputs, &mut input);
        add(targets, &mut target);
    });
    (input, target)
}

/// f_c: with as many fraction bits as y² has magnitude bits where training pictures go, |y| < 2^(n−2) /
/// headroom, a coefficient's rounding moves the output by less than half a unit there. More would only widen
/// the polynomial's word, L = W + f_c.
fn coefficient_bits(widths: LayerWidths, headroom: f64) -> u8 {
    (2.0 * (f64::from(widths.opened_bits) - 2.0 - headroom.max(1.0).log2())).ceil().max(0.0) as u8
}

/// Coefficients for y in units of `scales`: c2·s·2^f, c1·2^f and c0/s·2^f.
fn round_polynomial(polynomial: &FloatPolynomial, scales: &[f64], frac_bits: u8) -> IntegerPolynomial {
    let one = 2_f64.powi(i32::from(frac_bits));
    let rounded = |values: &[f32], unit: &dyn Fn(f64) -> f64| {
        values.iter().zip(scales).map(|(&c, &s)| (f64::from(c) * unit(s) * one).round() as i64).collect()
    };
    IntegerPolynomial {
        frac_bits,
        c2: rounded(&polynomial.c2, &|s| s),
        c1: rounded(&polynomial.c1, &|_| 1.0),
        c0: rounded(&polynomial.c0, &|s| 1.0 / s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_as_fine_as_squares_are_large() {
        let bits =
            |opened_bits, headroom| coefficient_bits(LayerWidths { ring_bits: 20, opened_bits }, headroom);
        assert_eq!([bits(10, 1.0), bits(10, 1.5), bits(10, 2.0), bits(10, 4.0)], [16, 15, 14, 12]);
        assert_eq!([bits(6, 2.0), bits(3, 2.0), bits(2, 2.0), bits(16, 0.5)], [6, 0, 0, 28]);
    }
}
