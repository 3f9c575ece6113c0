//! NEON: words as they are, `mla` of eight 16-bit or four 32-bit lanes. There is no 64-bit product of
//! vectors; scalar code is best.

use core::arch::aarch64::*;
use core::ops::Range;

use halfnet_core::ring::WordsMut;

use super::block::{Lanes, Single, store_transposed};
use super::layout::Format;
use super::packed::{PackedInput, PackedWeights};
use super::portable::Array;
use super::{Formats, Kernel, direct, panels};

pub(super) const KERNEL: Kernel = Kernel {
    name: "neon",
    supported: || std::arch::is_aarch64_feature_detected!("neon"),
    formats: Formats { u16: (Format::Words, 8), u32: (Format::Words, 8), u64: (Format::Words, 2) },
    prepare: PackedInput::fill,
    accumulate,
};

/// Eight words of 16 bits.
#[derive(Clone, Copy)]
#[repr(C)]
struct Short(uint16x8_t);

/// Eight words of 32 bits.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pair(uint32x4_t, uint32x4_t);

impl Lanes for Short {
    const LANES: usize = 8;
    const ROWS: [usize; 2] = [12, 8];
    type Element = u16;
    type Sum = u16;
    type Operand = uint16x8_t;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vdupq_n_u16(0)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u16) -> uint16x8_t {
        // SAFETY: the trait's contract.
        unsafe { vld1q_u16(from) }
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const u16) -> uint16x8_t {
        // SAFETY: the trait's contract.
        unsafe { vld1q_dup_u16(from) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, a: uint16x8_t, b: uint16x8_t) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vmlaq_u16(self.0, a, b)) }
    }
    #[inline(always)]
    unsafe fn store_channels<const R: usize>(rows: [Self; R], to: *mut u16) {
        // SAFETY: the trait's contract; the vectors lie in memory lane after lane.
        unsafe { store_transposed::<u16, R>(rows.as_ptr().cast(), 8, 0, to) }
    }
    #[inline(always)]
    unsafe fn prefetch(_at: *const u16) {}
}

impl Lanes for Pair {
    const LANES: usize = 8;
    const ROWS: [usize; 2] = [8, 4];
    type Element = u32;
    type Sum = u32;
    type Operand = (uint32x4_t, uint32x4_t);

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vdupq_n_u32(0), vdupq_n_u32(0)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self::Operand {
        // SAFETY: the trait's contract.
        unsafe { (vld1q_u32(from), vld1q_u32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const u32) -> Self::Operand {
        // SAFETY: the trait's contract.
        let word = unsafe { vld1q_dup_u32(from) };
        (word, word)
    }
    #[inline(always)]
    unsafe fn multiply_add(self, a: Self::Operand, b: Self::Operand) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(vmlaq_u32(self.0, a.0, b.0), vmlaq_u32(self.1, a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn store_channels<const R: usize>(rows: [Self; R], to: *mut u32) {
        // SAFETY: the trait's contract; the vectors lie in memory lane after lane.
        unsafe { store_transposed::<u32, R>(rows.as_ptr().cast(), 8, 0, to) }
    }
    #[inline(always)]
    unsafe fn prefetch(_at: *const u32) {}
}

/// # Safety
/// As [`panels::accumulate`] says.
#[target_feature(enable = "neon")]
unsafe fn accumulate(weights: &PackedWeights, input: &PackedInput, tile: Range<usize>, out: WordsMut<'_>) {
    // SAFETY: the caller's promise; this function enables what the lanes need.
    unsafe {
        match (weights.layout.format, out) {
            (Format::Direct, WordsMut::U16(out)) => direct::accumulate(weights, input, tile, out),
            (Format::Direct, WordsMut::U32(out)) => direct::accumulate(weights, input, tile, out),
            (Format::Direct, WordsMut::U64(out)) => direct::accumulate(weights, input, tile, out),
            (_, WordsMut::U16(out)) => panels::accumulate::<Single<Short>, u16>(weights, input, tile, out),
            (_, WordsMut::U32(out)) => panels::accumulate::<Single<Pair>, u32>(weights, input, tile, out),
            (_, WordsMut::U64(out)) => {
                panels::accumulate::<Single<Array<u64, 2>>, u64>(weights, input, tile, out)
            }
        }
    }
}
