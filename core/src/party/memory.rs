//! The arena: 64-bit words that the caller lends, seen as whatever a region holds.
//!
//! A plan that was accepted keeps every region, window and record inside; whoever is asked for more gives
//! [`Internal`], never a shorter slice.

use core::slice::SliceIndex;

use crate::bits::LANES;
use crate::error::Internal;
use crate::model::mask_of;
use crate::packing::Unpacker;
use crate::plan::Region;
use crate::ring::{Word, WordKind, Words, WordsMut};
use crate::with_words;

/// A part of a slice, which has it.
#[inline(always)]
pub(crate) fn part<T, I: SliceIndex<[T]>>(slice: &[T], index: I) -> Result<&I::Output, Internal> {
    slice.get(index).ok_or(Internal)
}

/// As [`part`], to be written.
#[inline(always)]
pub(crate) fn part_mut<T, I: SliceIndex<[T]>>(slice: &mut [T], index: I) -> Result<&mut I::Output, Internal> {
    slice.get_mut(index).ok_or(Internal)
}

/// A region's elements.
///
/// # Errors
/// `wires` ends before.
pub fn region<'a>(wires: &'a [u64], region: &Region) -> Result<Words<'a>, Internal> {
    let words = part(wires, region.range())?;
    Words::of(region.word(), words).slice(0..region.elements as usize).ok_or(Internal)
}

/// A region's elements, to be written.
///
/// # Errors
/// `wires` ends before.
pub fn region_mut<'a>(wires: &'a mut [u64], region: &Region) -> Result<WordsMut<'a>, Internal> {
    window_mut(part_mut(wires, region.range())?, region.word(), region.elements as usize)
}

/// The first `count` elements of a window, in words of `kind`.
///
/// # Errors
/// `window` ends before.
pub fn window_mut(window: &mut [u64], kind: WordKind, count: usize) -> Result<WordsMut<'_>, Internal> {
    WordsMut::of(kind, window).slice(0..count).ok_or(Internal)
}

/// The first `count` elements of a window of known word.
///
/// # Errors
/// `window` ends before.
pub fn window_as<W: Word>(window: &[u64], count: usize) -> Result<&[W], Internal> {
    part(bytemuck::cast_slice(window), ..count)
}

/// As [`window_as`], to be written.
///
/// # Errors
/// `window` ends before.
pub fn window_as_mut<W: Word>(window: &mut [u64], count: usize) -> Result<&mut [W], Internal> {
    part_mut(bytemuck::cast_slice_mut(window), ..count)
}

/// shares ← ((shares + the peer's) mod 2^bits) >> shift.
pub(crate) fn join<W: Word>(
    unpacker: &mut Unpacker<'_>,
    bits: u8,
    shift: u8,
    shares: &mut [W],
) -> Result<(), Internal> {
    let mut peer = [W::default(); LANES];
    for shares in shares.chunks_mut(LANES) {
        let peer = part_mut(&mut peer, ..shares.len())?;
        unpacker.take(bits, peer)?;
        for (slot, peer) in shares.iter_mut().zip(peer) {
            *slot = slot.add(*peer).reduce(bits).shr(shift);
        }
    }
    Ok(())
}

/// Stores a run of values.
pub(crate) fn store_run<W: Word>(
    target: WordsMut<'_>,
    range: core::ops::Range<usize>,
    values: &[W],
) -> Result<(), Internal> {
    if range.len() != values.len() {
        return Err(Internal);
    }
    with_words!(WordsMut, target, target => {
        for (slot, value) in part_mut(target, range)?.iter_mut().zip(values) {
            *slot = Word::from_u64(value.to_u64());
        }
    });
    Ok(())
}

/// Stores the peer's values, or adds them to this party's own.
pub(crate) fn add_run(
    target: WordsMut<'_>,
    range: core::ops::Range<usize>,
    unpacker: &mut Unpacker<'_>,
    bits: u8,
    mutual: bool,
) -> Result<(), Internal> {
    with_words!(WordsMut, target, target => {
        let target = part_mut(target, range)?;
        if mutual { join(unpacker, bits, 0, target) } else { unpacker.take(bits, target) }
    })
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
#[derive(Clone, Debug)]
pub struct Chunk {
    indices: heapless::Vec<u32, LANES>,
}

impl Chunk {
    /// The indices.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Is it one run of neighbours?
    fn run(&self) -> Option<core::ops::Range<usize>> {
        let first = *self.indices().first()? as usize;
        let last = *self.indices().last()? as usize;
        (last - first + 1 == self.indices.len()).then_some(first..last + 1)
    }

    /// Copies the chunk's elements out of a region; `base` is the region's first element's index.
    ///
    /// # Errors
    /// The region does not have them all, or `out` not a slot for each.
    pub fn gather<W: Word>(&self, source: Words<'_>, base: usize, out: &mut [W]) -> Result<(), Internal> {
        let out = part_mut(out, ..self.indices.len())?;
        with_words!(Words, source, source => {
            if let Some(run) = self.run() {
                let first = run.start.checked_sub(base).ok_or(Internal)?;
                for (slot, value) in out.iter_mut().zip(part(source, first..run.end - base)?) {
                    *slot = W::from_u64(value.to_u64());
                }
            } else {
                for (slot, &index) in out.iter_mut().zip(self.indices()) {
                    let index = (index as usize).checked_sub(base).ok_or(Internal)?;
                    *slot = W::from_u64(part(source, index)?.to_u64());
                }
            }
        });
        Ok(())
    }

    /// Copies values into the chunk's elements of a region.
    ///
    /// # Errors
    /// The region does not have them all, or `values` not one for each.
    pub fn scatter<W: Word>(&self, target: WordsMut<'_>, values: &[W]) -> Result<(), Internal> {
        if values.len() != self.indices.len() {
            return Err(Internal);
        }
        with_words!(WordsMut, target, target => {
            if let Some(run) = self.run() {
                for (slot, value) in part_mut(target, run)?.iter_mut().zip(values) {
                    *slot = Word::from_u64(value.to_u64());
                }
            } else {
                for (value, &index) in values.iter().zip(self.indices()) {
                    *part_mut(target, index as usize)? = Word::from_u64(value.to_u64());
                }
            }
        });
        Ok(())
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
        let mut indices = heapless::Vec::new();
        while self.next < self.end && !indices.is_full() {
            let word = self.next / 64;
            let bits = self.bitmap.word(word);
            let mut wanted = if self.relu { bits } else { !bits } & mask_of(word, &(self.next..self.end));
            let base = 64 * word as u32;
            while wanted != 0 && indices.push(base + wanted.trailing_zeros()).is_ok() {
                wanted &= wanted - 1;
            }
            self.next = if wanted == 0 { 64 * (word + 1) } else { (base + wanted.trailing_zeros()) as usize };
        }
        (!indices.is_empty()).then_some(Chunk { indices })
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

    #[test]
    fn what_does_not_lie_inside_is_an_error() {
        let mut wires = [0_u64; 4];
        let inside = Region { offset: 2, elements: 4, bits: 32 };
        assert!(region(&wires, &inside).is_ok() && region_mut(&mut wires, &inside).is_ok());
        for outside in [Region { elements: 5, ..inside }, Region { offset: 3, ..inside }] {
            assert_eq!(region(&wires, &outside).err(), Some(Internal));
            assert_eq!(region_mut(&mut wires, &outside).err(), Some(Internal));
        }
        assert_eq!(window_as::<u16>(&wires, 17), Err(Internal));
        assert_eq!(window_as_mut::<u64>(&mut wires, 5), Err(Internal));
        assert_eq!(window_mut(&mut wires, WordKind::U32, 9).err(), Some(Internal));
        let mut words = [0_u16; 4];
        assert_eq!(store_run(WordsMut::U16(&mut words), 2..5, &[1_u16; 3]), Err(Internal));
        assert_eq!(store_run(WordsMut::U16(&mut words), 0..3, &[1_u16; 2]), Err(Internal));
        let mut unpacker = Unpacker::new(&[0; 3]);
        assert_eq!(add_run(WordsMut::U16(&mut words), 0..4, &mut unpacker, 8, true), Err(Internal));
        assert_eq!(words, [0; 4]);
        for bits in [&[0xff_u8; 2][..], &[0x55; 2]] {
            let chunk = Selected::new(Bitmap::Bits(bits), true, 0..16).next().unwrap();
            let count = chunk.indices().len();
            let mut out = [0_u16; 16];
            assert_eq!(chunk.gather(Words::U16(&[1; 16]), 0, &mut out), Ok(()));
            assert_eq!(chunk.gather(Words::U16(&[1; 14]), 0, &mut out), Err(Internal));
            assert_eq!(chunk.gather(Words::U16(&[1; 16]), 1, &mut out), Err(Internal), "before the region");
            assert_eq!(chunk.gather(Words::U16(&[1; 16]), 0, &mut out[..count - 1]), Err(Internal));
            assert_eq!(chunk.scatter(WordsMut::U16(&mut out[..14]), &[1_u16; 16][..count]), Err(Internal));
            assert_eq!(chunk.scatter(WordsMut::U16(&mut out), &[1_u16; 16][..count - 1]), Err(Internal));
        }
    }
}
