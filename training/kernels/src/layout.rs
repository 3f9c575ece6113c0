//! Ways in and out of blocks of pictures, shortcuts and pools.

use halfnet_core::shape::{Join, Shape};
use rayon::prelude::*;

use crate::LANES;

/// Pictures one after another into blocks.
///
/// # Shapes
/// `pictures`: (picture, element), `out`: (block, element, lane). Lanes without a picture are zero.
///
/// # Panics
/// `out` is no whole number of blocks.
pub fn into_blocks(pictures: &[f32], elements: usize, out: &mut [f32]) {
    assert!(out.len().is_multiple_of(elements * LANES), "blocks of pictures");
    out.par_chunks_mut(elements * LANES).zip(pictures.par_chunks(elements * LANES)).for_each(
        |(block, pictures)| {
            block.fill(0.0);
            for (lane, picture) in pictures.chunks_exact(elements).enumerate() {
                for (position, &value) in block.as_chunks_mut::<LANES>().0.iter_mut().zip(picture) {
                    position[lane] = value;
                }
            }
        },
    );
}

/// The first `count` pictures of blocks, one after another.
///
/// # Shapes
/// `blocks`: (block, element, lane); the result: (picture, element).
#[must_use]
pub fn from_blocks(blocks: &[f32], elements: usize, count: usize) -> Vec<f32> {
    let picture = |index: usize| {
        let block = &blocks[index / LANES * elements * LANES..][..elements * LANES];
        block.iter().skip(index % LANES).step_by(LANES).copied()
    };
    (0..count).flat_map(picture).collect()
}

/// y += its channel's bias.
///
/// # Shapes
/// `y`: (block, channel, position, lane); `bias`: one a channel.
///
/// # Panics
/// Lengths do not go together.
pub fn add_bias(bias: &[f32], positions: usize, y: &mut [f32]) {
    assert!(y.len().is_multiple_of(bias.len() * positions * LANES), "lengths of a bias");
    y.par_chunks_mut(positions * LANES).enumerate().for_each(|(index, y)| {
        let bias = bias[index % bias.len()];
        y.iter_mut().for_each(|y| *y += bias);
    });
}

/// y += x laid under it as `join` says.
///
/// # Shapes
/// `x`: (block, the join's input, lane), `y`: (block, its output, lane).
///
/// # Panics
/// Lengths do not go together.
pub fn add_join(join: &Join, x: &[f32], y: &mut [f32]) {
    if join.is_in_place() {
        assert_eq!(x.len(), y.len(), "lengths of a shortcut");
        let piece = 1 << 14;
        y.par_chunks_mut(piece)
            .zip(x.par_chunks(piece))
            .for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, x)| *y += x));
        return;
    }
    let blocks = check(join, x.len(), y.len());
    y.par_chunks_mut(y.len() / blocks).zip(x.par_chunks(x.len() / blocks)).for_each(|(y, x)| {
        under(join, |to, from| {
            y[to..to + LANES].iter_mut().zip(&x[from..from + LANES]).for_each(|(y, x)| *y += x);
        });
    });
}

/// What a join takes of a gradient.
///
/// # Shapes
/// `gradient`: (block, the join's output, lane), `out`: (block, its input, lane); overwritten.
///
/// # Panics
/// Lengths do not go together.
pub fn join_gradient(join: &Join, gradient: &[f32], out: &mut [f32]) {
    let blocks = check(join, out.len(), gradient.len());
    out.par_chunks_mut(out.len() / blocks).zip(gradient.par_chunks(gradient.len() / blocks)).for_each(
        |(out, gradient)| {
            out.fill(0.0);
            under(join, |to, from| out[from..from + LANES].copy_from_slice(&gradient[to..to + LANES]));
        },
    );
}

fn check(join: &Join, input: usize, output: usize) -> usize {
    let blocks = input / (join.input.elements() * LANES);
    assert!(blocks > 0 && input == blocks * join.input.elements() * LANES, "input of a shortcut");
    assert_eq!(output, blocks * join.output.elements() * LANES, "output of a shortcut");
    blocks
}

/// Calls with the offsets in a block of every output position that has an input position, and of that.
fn under(join: &Join, mut visit: impl FnMut(usize, usize)) {
    let Shape { height, width, .. } = join.input;
    let (height, width, stride) = (usize::from(height), usize::from(width), usize::from(join.stride));
    for channel in 0..usize::from(join.input.channels) {
        let to = (channel + usize::from(join.channel_offset)) * join.output.plane();
        for y in 0..usize::from(join.output.height) {
            for x in 0..usize::from(join.output.width) {
                let from = (channel * height + y * stride) * width + x * stride;
                visit((to + y * usize::from(join.output.width) + x) * LANES, from * LANES);
            }
        }
    }
}

/// The sum over each plane.
///
/// # Shapes
/// `x`: (block, channel, position, lane), `y`: (block, channel, lane).
///
/// # Panics
/// Lengths do not go together.
pub fn sum_planes(x: &[f32], positions: usize, y: &mut [f32]) {
    assert_eq!(x.len(), y.len() * positions, "lengths of a pool");
    y.par_chunks_mut(LANES).zip(x.par_chunks(positions * LANES)).for_each(|(y, x)| {
        y.fill(0.0);
        x.chunks_exact(LANES).for_each(|x| y.iter_mut().zip(x).for_each(|(y, x)| *y += x));
    });
}

/// The gradient of [`sum_planes`].
///
/// # Shapes
/// `gradient`: (block, channel, lane), `out`: (block, channel, position, lane).
///
/// # Panics
/// Lengths do not go together.
pub fn spread_planes(gradient: &[f32], positions: usize, out: &mut [f32]) {
    assert_eq!(out.len(), gradient.len() * positions, "lengths of a pool");
    out.par_chunks_mut(positions * LANES).zip(gradient.par_chunks(LANES)).for_each(|(out, gradient)| {
        out.chunks_exact_mut(LANES).for_each(|out| out.copy_from_slice(gradient));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_back() {
        let pictures: Vec<f32> = (0..20 * 6).map(|v| v as f32).collect();
        let mut blocks = vec![7.0; 2 * 6 * LANES];
        into_blocks(&pictures, 6, &mut blocks);
        assert_eq!(blocks[6 * LANES + 2 * LANES + 3], pictures[19 * 6 + 2]);
        assert_eq!(blocks[6 * LANES + 4], 0.0);
        assert_eq!(from_blocks(&blocks, 6, 20), pictures);
    }

    #[test]
    fn joins_follow_their_definition_and_their_transpose() {
        for join in [
            Join { input: Shape::new(2, 5, 4), output: Shape::new(4, 3, 2), stride: 2, channel_offset: 1 },
            Join { input: Shape::new(3, 4, 4), output: Shape::new(3, 4, 4), stride: 1, channel_offset: 0 },
        ] {
            let x: Vec<f32> = (0..2 * join.input.elements() * LANES).map(|v| v as f32).collect();
            let mut y = vec![0.5; 2 * join.output.elements() * LANES];
            add_join(&join, &x, &mut y);
            let mut back = vec![9.0; x.len()];
            join_gradient(&join, &y, &mut back);
            let mut expected_back = vec![0.0; x.len()];
            for (index, &value) in y.iter().enumerate() {
                let (element, lane) = (index / LANES, index % LANES);
                let (block, element) = (element / join.output.elements(), element % join.output.elements());
                let source = join.source(element).map(|e| (block * join.input.elements() + e) * LANES + lane);
                assert_eq!(value, 0.5 + source.map_or(0.0, |s| x[s]));
                if let Some(source) = source {
                    expected_back[source] = value;
                }
            }
            assert_eq!(back, expected_back);
        }
    }

    #[test]
    fn pools_add_planes() {
        let x: Vec<f32> = (0..2 * 3 * LANES).map(|v| v as f32).collect();
        let (mut y, mut back) = (vec![0.0; 2 * LANES], vec![0.0; x.len()]);
        sum_planes(&x, 3, &mut y);
        assert_eq!(y[LANES + 1], (x[3 * LANES + 1] + x[4 * LANES + 1]) + x[5 * LANES + 1]);
        spread_planes(&y, 3, &mut back);
        assert_eq!(back[4 * LANES + 1], y[LANES + 1]);
    }
}
