//! Blocks against `halfnet-core`'s portable loop, over any geometry, tile and memory.

use std::vec::Vec;

use halfnet_core::gate::linear;
use halfnet_core::party::half::MaterialError;
use halfnet_core::ring::{Word, WordKind, Words, WordsMut};
use halfnet_core::shape::{Convolution, Shape};
use proptest::prelude::*;

use super::layout::Layout;
use super::{Weights, blocks, channels, direct, memory_words};

/// Values that follow from their place.
#[derive(Clone, Copy)]
struct Numbered(u64);

impl Numbered {
    fn value(self, index: usize) -> u64 {
        // A round of splitmix64.
        let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.0);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 27
    }
}

impl Weights for Numbered {
    fn fill(&mut self, first: usize, mut out: WordsMut<'_>) -> Result<(), MaterialError> {
        (0..out.len()).try_for_each(|index| Ok(out.set(index, self.value(first + index))?))
    }
}

fn words<W: Word>(seed: u64, count: usize) -> Vec<W> {
    (0..count).map(|index| W::from_u64(Numbered(seed).value(index))).collect()
}

/// Both ways; `share` of 255 parts of what lies between the least memory and the memory asked for.
fn compare<W: Word>(
    geometry: &Convolution,
    input: Words<'_>,
    seed: u64,
    tile: core::ops::Range<usize>,
    share: u8,
) {
    let kind = WordKind::for_bits(W::BITS);
    let wanted = memory_words(geometry, kind);
    assert!(
        Layout::fit(kind, geometry, wanted).is_some()
            == (geometry.output().plane() > 1 && geometry.kernel_width <= 15)
    );
    let least = (0..=wanted).find(|&words| Layout::fit(kind, geometry, words).is_some()).unwrap_or(wanted);
    let mut memory = std::vec![!0_u64; least + (wanted - least) * usize::from(share) / 255];
    let before: Vec<W> = words(seed ^ 1, tile.len());
    let mut expected = before.clone();
    let plain = &mut std::vec![0; wanted];
    channels(
        geometry,
        input,
        &mut Numbered(seed),
        tile.clone(),
        WordsMut::new(&mut expected),
        plain,
        linear::convolve_words,
    )
    .unwrap();
    let mut found = before.clone();
    channels(geometry, input, &mut Numbered(seed), tile.clone(), WordsMut::new(&mut found), plain, direct)
        .unwrap();
    assert_eq!(found, expected);
    let mut found = before;
    let done =
        blocks(geometry, input, &mut Numbered(seed), tile, WordsMut::new(&mut found), &mut memory).unwrap();
    assert_eq!(done, Layout::fit(kind, geometry, memory.len()).is_some());
    if done {
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn blocks_are_the_portable_loop(
        groups in 1_u16..4, group_channels in prop_oneof![4 => 1_u16..8, 1 => 8_u16..72], group_out in 1_u16..5, height in 1_u16..9, width in 1_u16..15,
        kernel_height in 1_u16..6, kernel_width in 1_u16..9, stride in 1_u16..5, padding in 0_u16..4,
        seed in any::<u64>(), cut in any::<(u16, u16)>(), share in any::<u8>(), kinds in 0..5_u8,
    ) {
        let geometry = Convolution {
            input: Shape::new(groups * group_channels, height, width),
            out_channels: groups * group_out,
            kernel_height, kernel_width, stride, padding, groups,
        };
        prop_assume!(geometry.validate().is_ok());
        let elements = geometry.output().elements();
        let ends = [cut.0, cut.1].map(|cut| usize::from(cut) % (elements + 1));
        // Every second time the whole layer, as most plans have it.
        let tile = if cut.0 % 2 == 0 { 0..elements } else { ends[0].min(ends[1])..ends[0].max(ends[1]) };
        let narrow: Vec<u16> = words(seed, geometry.input.elements());
        let wide: Vec<u32> = words(seed, geometry.input.elements());
        // No wire is wider than the sums that read it.
        let (narrow, wide) = (Words::U16(&narrow), Words::U32(&wide));
        match kinds {
            0 => compare::<u16>(&geometry, narrow, seed, tile, share),
            1 => compare::<u32>(&geometry, narrow, seed, tile, share),
            2 => compare::<u32>(&geometry, wide, seed, tile, share),
            3 => compare::<u64>(&geometry, narrow, seed, tile, share),
            _ => compare::<u64>(&geometry, wide, seed, tile, share),
        }
    }
}

#[test]
fn a_kernel_row_falls_into_pieces_of_three_two_and_one() {
    let geometry = |kernel_width, stride| Convolution {
        input: Shape::new(2, 9, 20),
        out_channels: 1,
        kernel_height: 1,
        kernel_width,
        stride,
        padding: 0,
        groups: 1,
    };
    for (width, stride, counts) in [
        (1, 1, [0, 0, 1]),
        (3, 1, [1, 0, 0]),
        (5, 1, [1, 1, 0]),
        (7, 1, [2, 0, 1]),
        (3, 2, [0, 1, 1]),
        (5, 2, [1, 1, 0]),
    ] {
        assert_eq!(
            Layout::fit(WordKind::U16, &geometry(width, stride), 1 << 20).unwrap().pieces.counts,
            counts,
            "{width} by {stride}"
        );
    }
}

#[test]
fn too_little_memory_is_said_and_nothing_done() {
    let geometry = Convolution {
        input: Shape::new(4, 5, 5),
        out_channels: 2,
        kernel_height: 3,
        kernel_width: 3,
        stride: 1,
        padding: 1,
        groups: 1,
    };
    let input: Vec<u16> = words(1, geometry.input.elements());
    let mut out = [7_u16; 50];
    assert_eq!(
        blocks(&geometry, Words::U16(&input), &mut Numbered(1), 0..50, WordsMut::U16(&mut out), &mut [0; 8]),
        Ok(false)
    );
    assert_eq!(out, [7; 50]);
    // Slices that do not fit the geometry are refused, not read beyond.
    let short = Words::U16(&input[1..]);
    assert_eq!(
        blocks(&geometry, short, &mut Numbered(1), 0..50, WordsMut::U16(&mut out), &mut [0; 4096]),
        Err(MaterialError::Weights)
    );
}
