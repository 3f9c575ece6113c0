//! Each gate's `evaluate`: sums by their definition; both parties' shares of a dealt correlation, checked
//! against the reference.

use halfnet_core::gate::comparison::{self, Layout};
use halfnet_core::gate::{argmax, polynomial, relu};
use halfnet_core::opening;
use halfnet_core::ring::{Word, low_mask, signed};
use halfnet_core::shape::{Convolution, Join, Shape};
use halfnet_vectors::Vector;

use super::{File, Kept, draw, kept};
use crate::network::Random;

/// The file's bytes.
pub(super) fn file() -> Vec<u8> {
    let mut random = Random(0x6a7e);
    let mut file = File::default();
    linear(&mut random, &mut file);
    for (width, ring_bits, opened_bits) in [(2, 16, 10), (4, 20, 8), (4, 32, 16), (8, 45, 2), (8, 64, 12)] {
        match width {
            2 => activations::<u16>(&mut random, &mut file, ring_bits, opened_bits),
            4 => activations::<u32>(&mut random, &mut file, ring_bits, opened_bits),
            _ => activations::<u64>(&mut random, &mut file, ring_bits, opened_bits),
        }
    }
    for (opened_bits, chunk) in [(2, 4), (3, 1), (10, 4), (10, 3), (10, 1), (12, 2), (16, 4), (16, 5)] {
        comparisons(&mut random, &mut file, opened_bits, chunk);
    }
    for ring_bits in [12, 16, 20, 32] {
        for later in [false, true] {
            tournament(&mut random, &mut file, ring_bits, later);
        }
    }
    file.0
}

fn linear(random: &mut Random, file: &mut File) {
    let geometry = |input, out_channels, kernel: (u16, u16), stride, padding, groups| Convolution {
        input,
        out_channels,
        kernel_height: kernel.0,
        kernel_width: kernel.1,
        stride,
        padding,
        groups,
    };
    let geometries = [
        geometry(Shape::new(2, 5, 4), 3, (3, 3), 1, 1, 1),
        geometry(Shape::new(4, 6, 6), 4, (3, 2), 2, 1, 4),
        geometry(Shape::new(4, 3, 5), 6, (2, 2), 1, 0, 2),
        geometry(Shape::new(3, 4, 4), 5, (1, 1), 2, 0, 1),
        geometry(Shape::new(2, 3, 3), 7, (3, 3), 1, 0, 1),
    ];
    for (index, geometry) in geometries.into_iter().enumerate() {
        geometry.validate().expect("a geometry that fits");
        for (input_width, width) in [(2, 2), (2, 4), (4, 4), (4, 8)] {
            let input = draw(random, 8 * input_width, geometry.input.elements());
            let weights = draw(random, 8 * width, geometry.weights());
            // A tile that begins and ends inside channels.
            let elements = geometry.output().elements();
            let (first, end) = if index % 2 == 0 { (1, elements - 1) } else { (0, elements) };
            let out: Vec<u64> =
                (first..end).map(|element| convolved(&geometry, &input, &weights, element)).collect();
            file.add(Vector::Convolution {
                geometry,
                input: kept(input_width, &input).numbers(),
                weights: kept(width, &weights).numbers(),
                first: first as u32,
                out: kept(width, &out).numbers(),
            });
        }
    }
    let joins = [
        Join { input: Shape::new(3, 4, 4), output: Shape::new(3, 4, 4), stride: 1, channel_offset: 0 },
        Join { input: Shape::new(2, 6, 6), output: Shape::new(4, 3, 3), stride: 2, channel_offset: 1 },
    ];
    for (geometry, width, shift) in
        joins.into_iter().flat_map(|join| [(join, 2, 0), (join, 4, 5), (join, 8, 40)])
    {
        let input = draw(random, 16, geometry.input.elements());
        let (first, end) = (2, geometry.output.elements() - 1);
        let out: Vec<u64> = (first..end)
            .map(|element| {
                let (channel, row, column) = position(element, geometry.output);
                let from = usize::from(geometry.channel_offset);
                if !(from..from + usize::from(geometry.input.channels)).contains(&channel) {
                    return 0;
                }
                let (stride, width) = (usize::from(geometry.stride), usize::from(geometry.input.width));
                input[(channel - from) * geometry.input.plane() + row * stride * width + column * stride]
                    << shift
            })
            .collect();
        let (input, out) = (kept(2, &input), kept(width, &out));
        file.add(Vector::JoinShift {
            geometry,
            shift,
            input: input.numbers(),
            first: first as u32,
            out: out.numbers(),
        });
    }
}

/// (channel, row, column) of an element.
fn position(element: usize, shape: Shape) -> (usize, usize, usize) {
    let width = usize::from(shape.width);
    (element / shape.plane(), element % shape.plane() / width, element % width)
}

/// One element of a convolution by its definition, modulo 2^64.
fn convolved(g: &Convolution, input: &[u64], weights: &[u64], element: usize) -> u64 {
    let (channel, row, column) = position(element, g.output());
    let (height, width) = (usize::from(g.kernel_height), usize::from(g.kernel_width));
    let channels = usize::from(g.input.channels) / usize::from(g.groups);
    let group = channel / (usize::from(g.out_channels) / usize::from(g.groups));
    let mut sum = 0_u64;
    for (i, y, x) in
        (0..channels).flat_map(|i| (0..height).flat_map(move |y| (0..width).map(move |x| (i, y, x))))
    {
        let (stride, padding) = (usize::from(g.stride), usize::from(g.padding));
        let at = |base: usize, offset: usize, side: u16| {
            (base * stride + offset).checked_sub(padding).filter(|&p| p < usize::from(side))
        };
        if let (Some(y_in), Some(x_in)) = (at(row, y, g.input.height), at(column, x, g.input.width)) {
            let value =
                input[(group * channels + i) * g.input.plane() + y_in * usize::from(g.input.width) + x_in];
            sum = sum.wrapping_add(
                value.wrapping_mul(weights[((channel * channels + i) * height + y) * width + x]),
            );
        }
    }
    sum
}

/// P1's words where P0's are `zero`.
fn rest<W: Word>(whole: &[u64], zero: &[W]) -> Vec<W> {
    whole.iter().zip(zero).map(|(&value, &share)| W::from_u64(value).sub(share)).collect()
}

fn words<W: Word>(values: &[u64]) -> Vec<W> {
    values.iter().map(|&value| W::from_u64(value)).collect()
}

fn kept_words<W: Word>(values: &[W]) -> Kept {
    kept(W::BYTES as u8, &values.iter().map(|w| w.to_u64()).collect::<Vec<_>>())
}

/// A polynomial and both kinds of ReLU, each of both parties.
fn activations<W: Word>(random: &mut Random, file: &mut File, ring_bits: u8, opened_bits: u8) {
    const COUNT: usize = 12;
    let bound = 1_i64 << (opened_bits - 2);
    let y: Vec<i64> = (0..COUNT)
        .map(|i| match i {
            0 => -bound,
            1 => bound - 1,
            2 => 0,
            3 => -1,
            _ => random.below(2 * bound as u64) as i64 - bound,
        })
        .collect();
    let masks = draw(random, opened_bits, COUNT);
    let next = draw(random, ring_bits, COUNT);
    let opened: Vec<u16> =
        y.iter().zip(&masks).map(|(&y, &mask)| opening::reference_open(y, mask, opened_bits)).collect();

    let secrets: Vec<polynomial::Secret> = (0..COUNT)
        .map(|i| polynomial::Secret {
            mask: masks[i],
            c2: random.about(99),
            c1: random.about(999),
            c0: random.about(9999),
            next_mask: next[i],
        })
        .collect();
    let mut whole = vec![0; polynomial::WORDS * COUNT];
    polynomial::deal(opened_bits, &secrets, &mut whole).expect("shapes");
    let zero: Vec<W> = words(&draw(random, W::BITS, whole.len()));
    let c2_zero: Vec<W> = words(&draw(random, W::BITS, COUNT));
    let c2: Vec<u64> = secrets.iter().map(|s| s.c2 as u64).collect();
    let shares = [(c2_zero.clone(), zero.clone()), (rest(&c2, &c2_zero), rest(&whole, &zero))];
    let mut sum = [0_u64; COUNT];
    for (c2, words) in shares {
        let mut out = vec![W::default(); COUNT];
        polynomial::evaluate(opened_bits, &opened, &c2, &words, &mut out).expect("shapes");
        sum.iter_mut().zip(&out).for_each(|(sum, out)| *sum = sum.wrapping_add(out.to_u64()));
        file.add(Vector::Polynomial {
            opened_bits,
            opened: kept_words(&opened).numbers(),
            c2: kept_words(&c2).numbers(),
            words: kept_words(&words).numbers(),
            out: kept_words(&out).numbers(),
        });
    }
    for (i, s) in secrets.iter().enumerate() {
        let expected = polynomial::reference(y[i], s.c2, s.c1, s.c0) as u64;
        assert_eq!(sum[i].wrapping_sub(next[i]) & low_mask(ring_bits), expected & low_mask(ring_bits));
    }

    for kinds in [relu::WORDS, relu::WORDS_POOLED] {
        let flips = draw(random, 1, COUNT);
        let secrets: Vec<relu::Secret> =
            (0..COUNT).map(|i| relu::Secret { mask: masks[i], flip: flips[i], next_mask: next[i] }).collect();
        let signs = (0..COUNT).fold(0, |signs, i| signs | (u64::from(y[i] >= 0) ^ flips[i]) << i);
        let mut whole = vec![0; kinds * COUNT];
        relu::deal(opened_bits, &secrets, &mut whole).expect("shapes");
        let zero: Vec<W> = words(&draw(random, W::BITS, whole.len()));
        let mut sum = [0_u64; COUNT];
        for (holds_public, words) in [(false, zero.clone()), (true, rest(&whole, &zero))] {
            let mut out = vec![W::default(); COUNT];
            relu::evaluate(opened_bits, holds_public, &opened, signs, &words, &mut out).expect("shapes");
            sum.iter_mut().zip(&out).for_each(|(sum, out)| *sum = sum.wrapping_add(out.to_u64()));
            file.add(Vector::Relu {
                opened_bits,
                holds_public,
                opened: kept_words(&opened).numbers(),
                signs,
                words: kept_words(&words).numbers(),
                out: kept_words(&out).numbers(),
            });
        }
        for i in 0..COUNT {
            let mask = if kinds == relu::WORDS { next[i] } else { 0 };
            assert_eq!(
                sum[i].wrapping_sub(mask) & low_mask(ring_bits),
                y[i].max(0) as u64 & low_mask(ring_bits)
            );
        }
    }
}

/// 64 values as bit planes.
fn planes(values: &[u64], count: u8) -> Vec<u64> {
    (0..count)
        .map(|bit| {
            values.iter().enumerate().fold(0, |plane, (lane, value)| plane | (value >> bit & 1) << lane)
        })
        .collect()
}

fn xor(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// 64 comparisons of both parties.
fn comparisons(random: &mut Random, file: &mut File, opened_bits: u8, chunk: u8) {
    let layout = Layout::new(opened_bits, chunk);
    let bound = 1_i64 << (opened_bits - 2);
    let y: Vec<i64> = (0..64)
        .map(|i| {
            if i < 4 { [-bound, bound - 1, 0, -1][i] } else { random.below(2 * bound as u64) as i64 - bound }
        })
        .collect();
    let masks = draw(random, opened_bits, 64);
    let c: Vec<u64> = y
        .iter()
        .zip(&masks)
        .map(|(&y, &mask)| opening::reference_open(y, mask, opened_bits).into())
        .collect();
    let (opened, mask_planes) = (planes(&c, layout.bits + 1), planes(&masks, layout.bits + 1));
    let flip = random.word();
    let mut leaves = vec![0; layout.leaf_planes()];
    comparison::deal_leaves(layout, &mask_planes, flip, &mut leaves).expect("shapes");
    let leaves_zero = draw(random, 64, leaves.len());
    let mut states = [vec![0; layout.state_words()], vec![0; layout.state_words()]];
    let leaves = [leaves_zero.clone(), xor(&leaves, &leaves_zero)];
    for (state, (holds_public, mut leaves)) in
        states.iter_mut().zip([false, true].into_iter().zip(leaves.clone()))
    {
        comparison::evaluate_leaves(layout, holds_public, &opened, &mut leaves, state).expect("shapes");
    }
    let (mut tree, mut sent) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for level in 0..layout.levels() {
        let uniform = draw(random, 64, layout.opened_planes(level));
        let mut whole = vec![0; layout.tree_planes(level)];
        comparison::deal_tree(layout, level, &uniform, &mut whole).expect("shapes");
        let zero = draw(random, 64, whole.len());
        let level_masks = [zero.clone(), xor(&whole, &zero)];
        let own = [0, 1].map(|party| {
            comparison::open_tree(layout, level, &level_masks[party], &mut states[party])
                .expect("shapes")
                .to_vec()
        });
        for party in 0..2 {
            comparison::join_tree(
                layout,
                level,
                party == 1,
                &level_masks[party],
                &own[1 - party],
                &mut states[party],
            )
            .expect("shapes");
            tree[party].extend(&level_masks[party]);
            sent[party].extend(&own[party]);
        }
    }
    let signs = states.each_mut().map(|state| {
        comparison::open_sign(layout, state).expect("shapes");
        state[layout.own_planes()]
    });
    for (lane, y) in y.iter().enumerate() {
        assert_eq!(
            (signs[0] ^ signs[1] ^ flip) >> lane & 1,
            u64::from(*y >= 0),
            "n {opened_bits}, chunk {chunk}, y {y}"
        );
    }
    for party in 0..2 {
        file.add(Vector::Comparison {
            opened_bits,
            chunk,
            holds_public: party == 1,
            opened: kept(8, &opened).numbers(),
            leaves: kept(8, &leaves[party]).numbers(),
            masks: kept(8, &tree[party]).numbers(),
            received: kept(8, &sent[1 - party]).numbers(),
            sent: kept(8, &sent[party]).numbers(),
            sign: signs[party],
        });
    }
}

/// A pair of a tournament, of both parties.
fn tournament(random: &mut Random, file: &mut File, ring_bits: u8, later: bool) {
    let bound = 1_i64 << (ring_bits - 2);
    for d in [-bound, bound - 1, 0, -1, random.below(bound as u64) as i64] {
        let (mask, flip, choice) =
            (random.word() & low_mask(ring_bits), random.below(2), random.word() & low_mask(ring_bits));
        let (s, delta) = (i64::from(d >= 0), random.about(9));
        let opened = [
            (d as u64).wrapping_add(1 << (ring_bits - 2)).wrapping_add(mask) & low_mask(ring_bits),
            s as u64 ^ flip,
            if later { (delta as u64).wrapping_add(choice) & low_mask(ring_bits) } else { 0 },
        ];
        let whole = argmax::deal(ring_bits, mask, flip, choice);
        let zero: [u64; 7] = std::array::from_fn(|_| random.word());
        let shares = [zero, std::array::from_fn(|i| whole[i].wrapping_sub(zero[i]))];
        let mut sum = [0_u64; 2];
        for (holds_public, w) in [false, true].into_iter().zip(shares) {
            let choice = later.then_some((w[5], w[6]));
            let share = argmax::Share { flip: w[0], masks: [w[1], w[2]], products: [w[3], w[4]], choice };
            let chosen = argmax::evaluate(
                ring_bits,
                holds_public,
                &argmax::Opened { difference: opened[0], sign: opened[1], choice: opened[2] },
                &share,
            );
            sum = [sum[0].wrapping_add(chosen.value), sum[1].wrapping_add(chosen.index)];
            let share = [w[0], w[1], w[2], w[3], w[4]];
            file.add(Vector::Tournament {
                ring_bits,
                holds_public,
                opened,
                share,
                choice,
                value: chosen.value,
                index: chosen.index,
            });
        }
        assert_eq!(signed(sum[0], ring_bits), s * d);
        assert_eq!(signed(sum[1], ring_bits), s * if later { delta } else { -1 });
    }
}
