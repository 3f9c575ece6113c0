//! The kernel that every machine has: arrays of words, vectorised by the compiler as far as the target's
//! baseline allows.

use core::ops::Range;

use halfnet_core::ring::{Word, WordsMut};

use super::block::{Lanes, Single, store_transposed};
use super::layout::Format;
use super::packed::{PackedInput, PackedWeights};
use super::{Formats, Kernel, direct, panels};

pub(super) const KERNEL: Kernel = Kernel {
    name: "portable",
    supported: || true,
    formats: Formats { u16: (Format::Words, 8), u32: (Format::Words, 8), u64: (Format::Words, 2) },
    prepare: PackedInput::fill,
    accumulate,
};

/// `N` words.
#[derive(Clone, Copy)]
pub(super) struct Array<W, const N: usize>([W; N]);

impl<W: Word, const N: usize> Lanes for Array<W, N> {
    const LANES: usize = N;
    const ROWS: [usize; 2] = [6, 6];
    type Element = W;
    type Sum = W;
    type Operand = [W; N];

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([W::default(); N])
    }

    #[inline(always)]
    unsafe fn load(from: *const W) -> [W; N] {
        // SAFETY: the caller lends N elements.
        unsafe { from.cast::<[W; N]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const W) -> [W; N] {
        // SAFETY: the caller lends one element.
        unsafe { [from.read_unaligned(); N] }
    }

    #[inline(always)]
    unsafe fn multiply_add(mut self, a: [W; N], b: [W; N]) -> Self {
        for lane in 0..N {
            self.0[lane] = self.0[lane].add(a[lane].mul(b[lane]));
        }
        self
    }

    #[inline(always)]
    unsafe fn store_channels<const R: usize>(rows: [Self; R], to: *mut W) {
        // SAFETY: the caller lends room for R vectors of N sums.
        unsafe { store_transposed::<W, R>(rows.as_ptr().cast(), N, 0, to) }
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
            (_, WordsMut::U16(out)) => {
                panels::accumulate::<Single<Array<u16, 8>>, u16>(weights, input, tile, out)
            }
            (_, WordsMut::U32(out)) => {
                panels::accumulate::<Single<Array<u32, 8>>, u32>(weights, input, tile, out)
            }
            (_, WordsMut::U64(out)) => {
                panels::accumulate::<Single<Array<u64, 2>>, u64>(weights, input, tile, out)
            }
        }
    }
}
