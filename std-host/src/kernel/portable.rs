//! The kernel that every machine has: arrays of words, vectorised by the compiler as far as the target's baseline allows.

use core::ops::Range;

use halfnet_core::ring::{Word, WordsMut};

use super::block::{Lanes, Single, store_transposed};
use super::layout::Format;
use super::packed::{PackedInput, PackedWeights};
use super::{Formats, Kernel, direct, panels};

pub(super) const KERNEL: Kernel = Kernel {
    name: "portable",
    supported: || true,
    formats: Formats { u16: (Format::Words, 8), u32: (Format::Words, 8), u64: (Format::Words, 8) },
    prepare: PackedInput::fill,
    accumulate,
};

/// Eight words.
#[derive(Clone, Copy)]
pub(super) struct Array<W>([W; 8]);

impl<W: Word> Lanes for Array<W> {
    const LANES: usize = 8;
    const ROWS: [usize; 2] = [6, 6];
    type Element = W;
    type Sum = W;
    type Operand = [W; 8];

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([W::default(); 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const W) -> [W; 8] {
        // SAFETY: the caller lends eight elements.
        unsafe { from.cast::<[W; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const W) -> [W; 8] {
        // SAFETY: the caller lends one element.
        unsafe { [from.read_unaligned(); 8] }
    }

    #[inline(always)]
    unsafe fn multiply_add(mut self, a: [W; 8], b: [W; 8]) -> Self {
        for lane in 0..8 {
            self.0[lane] = self.0[lane].add(a[lane].mul(b[lane]));
        }
        self
    }

    #[inline(always)]
    unsafe fn store_channels<const R: usize>(rows: [Self; R], to: *mut W) {
        // SAFETY: the caller lends room for R vectors of eight sums.
        unsafe { store_transposed::<W, R>(rows.as_ptr().cast(), 8, 0, to) }
    }

    #[inline(always)]
    unsafe fn prefetch(_at: *const W) {}
}

/// # Safety
/// As [`panels::accumulate`] says.
unsafe fn accumulate(weights: &PackedWeights, input: &PackedInput, tile: Range<usize>, out: WordsMut<'_>) {
    // SAFETY: the caller's promise; no instruction is needed beyond the target's own.
    unsafe {
        match (weights.layout.format, out) {
            (Format::Direct, WordsMut::U16(out)) => direct::accumulate(weights, input, tile, out),
            (Format::Direct, WordsMut::U32(out)) => direct::accumulate(weights, input, tile, out),
            (Format::Direct, WordsMut::U64(out)) => direct::accumulate(weights, input, tile, out),
            (_, WordsMut::U16(out)) => panels::accumulate::<Single<Array<u16>>, u16>(weights, input, tile, out),
            (_, WordsMut::U32(out)) => panels::accumulate::<Single<Array<u32>>, u32>(weights, input, tile, out),
            (_, WordsMut::U64(out)) => panels::accumulate::<Single<Array<u64>>, u64>(weights, input, tile, out),
        }
    }
}
