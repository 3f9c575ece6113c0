//! The arena: 64-bit words that the caller lends, seen as whatever a region holds.

use crate::bits::LANES;
use crate::model::mask_of;
use crate::packing::Unpacker;
use crate::plan::Region;
use crate::ring::{Word, WordKind, Words, WordsMut};
use crate::with_words;

/// A region's elements.
#[must_use]
pub fn region<'a>(wires: &'a [u64], region: &Region) -> Words<'a> {
    let words = wires.get(region.range()).unwrap_or(&[]);
    Words::of(region.word(), words).slice(0..region.elements as usize).unwrap_or(Words::U16(&[]))
}

/// A region's elements, to be written.
#[must_use]
pub fn region_mut<'a>(wires: &'a mut [u64], region: &Region) -> WordsMut<'a> {
    let words = wires.get_mut(region.range()).unwrap_or(&mut []);
    window_mut(words, region.word(), region.elements as usize)
}

/// The first `count` elements of a window, in words of `kind`.
#[must_use]
pub fn window_mut(window: &mut [u64], kind: WordKind, count: usize) -> WordsMut<'_> {
    WordsMut::of(kind, window).slice(0..count).unwrap_or(WordsMut::U16(&mut []))
}

/// The first `count` elements of a window of known word.
#[must_use]
pub fn window_as<W: Word>(window: &[u64], count: usize) -> &[W] {
    bytemuck::cast_slice(window).get(..count).unwrap_or(&[])
}

/// shares ← ((shares + the peer's) mod 2^bits) >> shift.
pub(super) fn join<W: Word>(unpacker: &mut Unpacker<'_>, bits: u8, shift: u8, shares: &mut [W]) {
    let mut peer = [W::default(); LANES];
    for part in shares.chunks_mut(LANES) {
        let peer = peer.get_mut(..part.len()).unwrap_or(&mut []);
        unpacker.take(bits, peer);
        for (slot, peer) in part.iter_mut().zip(peer) {
            *slot = slot.add(*peer).reduce(bits).shr(shift);
        }
    }
}

/// Stores a run of values.
pub(super) fn store_run<W: Word>(target: WordsMut<'_>, range: core::ops::Range<usize>, values: &[W]) {
    with_words!(WordsMut, target, target => {
        for (slot, value) in target.get_mut(range).unwrap_or(&mut []).iter_mut().zip(values) {
            *slot = Word::from_u64(value.to_u64());
        }
    });
}

/// Stores the peer's values, or adds them to this party's own.
pub(super) fn add_run(
    target: WordsMut<'_>,
    range: core::ops::Range<usize>,
    unpacker: &mut Unpacker<'_>,
    bits: u8,
    mutual: bool,
) {
    with_words!(WordsMut, target, target => {
        let target = target.get_mut(range).unwrap_or(&mut []);
        if mutual {
            join(unpacker, bits, 0, target);
        } else {
            unpacker.take(bits, target);
        }
    });
}

/// Which elements of a range are ReLU, or are not, in runs of up to 64.
#[derive(Clone, Debug)]
pub struct Selected<'a> {
    bitmap: crate::model::Bitmap<'a>,
    relu: bool,
    next: usize,
    end: usize,
}

/// Up to 64 element indices.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    indices: [u32; 64],
    count: usize,
}

impl Chunk {
    /// The indices.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        self.indices.get(..self.count).unwrap_or(&[])
    }

    /// Is it one run of neighbours?
    fn run(&self) -> Option<core::ops::Range<usize>> {
        let first = *self.indices().first()? as usize;
        let last = *self.indices().last()? as usize;
        (last - first + 1 == self.count).then_some(first..last + 1)
    }

    /// Copies the chunk's elements out of a region; `base` is the region's first element's index.
    pub fn gather<W: Word>(&self, source: Words<'_>, base: usize, out: &mut [W]) {
        with_words!(Words, source, source => {
            if let Some(run) = self.run() {
                let source = source.get(run.start - base..run.end - base).unwrap_or(&[]);
                for (slot, value) in out.iter_mut().zip(source) {
                    *slot = W::from_u64(value.to_u64());
                }
            } else {
                for (slot, &index) in out.iter_mut().zip(self.indices()) {
                    *slot = W::from_u64(source.get(index as usize - base).map_or(0, |v| v.to_u64()));
                }
            }
        });
    }

    /// Copies values into the chunk's elements of a region.
    pub fn scatter<W: Word>(&self, target: WordsMut<'_>, values: &[W]) {
        with_words!(WordsMut, target, target => {
            if let Some(run) = self.run() {
                for (slot, value) in target.get_mut(run).unwrap_or(&mut []).iter_mut().zip(values) {
                    *slot = Word::from_u64(value.to_u64());
                }
            } else {
                for (value, &index) in values.iter().zip(self.indices()) {
                    if let Some(slot) = target.get_mut(index as usize) {
                        *slot = Word::from_u64(value.to_u64());
                    }
                }
            }
        });
    }
}

impl<'a> Selected<'a> {
    /// The ReLUs (or the others) among elements `range`.
    #[must_use]
    pub const fn new(bitmap: crate::model::Bitmap<'a>, relu: bool, range: core::ops::Range<usize>) -> Self {
        Self { bitmap, relu, next: range.start, end: range.end }
    }
}

impl Iterator for Selected<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let mut chunk = Chunk { indices: [0; 64], count: 0 };
        while self.next < self.end && chunk.count < chunk.indices.len() {
            let word = self.next / 64;
            let bits = self.bitmap.word(word);
            let mut wanted = if self.relu { bits } else { !bits } & mask_of(word, &(self.next..self.end));
            let base = 64 * word as u32;
            for slot in chunk.indices.iter_mut().skip(chunk.count) {
                if wanted == 0 {
                    break;
                }
                *slot = base + wanted.trailing_zeros();
                wanted &= wanted - 1;
                chunk.count += 1;
            }
            self.next = if wanted == 0 { 64 * (word + 1) } else { (base + wanted.trailing_zeros()) as usize };
        }
        (chunk.count > 0).then_some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bitmap;
    use std::vec::Vec;

    #[test]
    fn selected_finds_each_element_once() {
        let bytes =
            [0b1011_0000, 0, 0xff, 0xff, 0b10, 0, 0xf0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1];
        for bitmap in [Bitmap::All, Bitmap::None, Bitmap::Bits(&bytes)] {
            for relu in [true, false] {
                for range in [0..128, 3..77, 64..64, 5..6] {
                    let found: Vec<usize> = Selected::new(bitmap, relu, range.clone())
                        .flat_map(|c| c.indices().to_vec())
                        .map(|i| i as usize)
                        .collect();
                    let expected: Vec<usize> = range.filter(|&i| bitmap.get(i) == relu).collect();
                    assert_eq!(found, expected);
                }
            }
        }
    }
}
