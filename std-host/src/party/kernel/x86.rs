//! x86-64: AVX-512 with and without VNNI, AVX2 with and without VNNI.
//!
//! 16-bit rings take two products an instruction everywhere (`vpmaddwd`, or `vpdpwssd` where it is). For
//! 32-bit rings two digits through `vpdpwssd` are 1½ operations a vector of products against the three of
//! `vpmulld` (which is two) and `vpaddd`; without VNNI they would be three as well, so words are multiplied
//! as they are.

use core::arch::x86_64::*;
use core::ops::Range;

use halfnet_core::ring::{Words, WordsMut};

use super::block::{DigitLanes, Digits, Lanes, Single, store_transposed};
use super::layout::{Format, Layout};
use super::packed::{PackedInput, PackedWeights};
use super::{Formats, Kernel, KernelError, direct, panels};

/// Defines a register type's [`Lanes`].
macro_rules! lanes {
    (
        $(#[$doc:meta])* $name:ident($register:ty): $count:literal lanes of $element:ty, $rows:tt rows,
        zero $zero:ident, load $load:ident, broadcast $broadcast:expr, multiply_add $multiply_add:expr, channels $channels:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        struct $name($register);

        // SAFETY of the blocks below: the trait's contract, which is the intrinsics' own.
        impl Lanes for $name {
            const LANES: usize = $count;
            const ROWS: [usize; 2] = $rows;
            type Element = $element;
            type Sum = $element;
            type Operand = $register;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: as above.
                unsafe { Self($zero()) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $element) -> $register {
                // SAFETY: as above.
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn broadcast(from: *const $element) -> $register {
                // SAFETY: as above.
                unsafe { $broadcast(from.read_unaligned() as _) }
            }
            #[inline(always)]
            unsafe fn multiply_add(self, a: $register, b: $register) -> Self {
                // SAFETY: as above.
                unsafe { Self($multiply_add(self.0, a, b)) }
            }
            #[inline(always)]
            unsafe fn store_channels<const R: usize>(rows: [Self; R], to: *mut $element) {
                let mut registers = [rows[0].0; R];
                for r in 1..R {
                    registers[r] = rows[r].0;
                }
                // SAFETY: as above.
                unsafe { $channels(registers, to) }
            }
            #[inline(always)]
            unsafe fn prefetch(at: *const $element) {
                // SAFETY: a hint; it never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
            }
        }
    };
}

lanes! {
    /// Pairs in one instruction.
    Vnni512(__m512i): 16 lanes of u32, [12, 8] rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi32, multiply_add _mm512_dpwssd_epi32,
    channels store_channels_512
}
lanes! {
    /// Pairs in two instructions.
    Pairs512(__m512i): 16 lanes of u32, [12, 8] rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi32,
    multiply_add |sum, a, b| _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)),
    channels store_channels_512
}
lanes! {
    /// Words of 32 bits.
    Words512(__m512i): 16 lanes of u32, [12, 8] rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi32,
    multiply_add |sum, a, b| _mm512_add_epi32(sum, _mm512_mullo_epi32(a, b)),
    channels store_channels_512
}
lanes! {
    /// Words of 64 bits.
    Long512(__m512i): 8 lanes of u64, [12, 8] rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi64,
    multiply_add |sum, a, b| _mm512_add_epi64(sum, _mm512_mullo_epi64(a, b)),
    channels store_longs
}
lanes! {
    /// Pairs in one instruction.
    Vnni256(__m256i): 8 lanes of u32, [6, 4] rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi32, multiply_add _mm256_dpwssd_avx_epi32,
    channels store_channels_256
}
lanes! {
    /// Pairs in two instructions.
    Pairs256(__m256i): 8 lanes of u32, [6, 4] rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi32,
    multiply_add |sum, a, b| _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)),
    channels store_channels_256
}
lanes! {
    /// Words of 32 bits.
    Words256(__m256i): 8 lanes of u32, [6, 4] rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi32,
    multiply_add |sum, a, b| _mm256_add_epi32(sum, _mm256_mullo_epi32(a, b)),
    channels store_channels_256
}
lanes! {
    /// Words of 64 bits, from products of their halves.
    Long256(__m256i): 4 lanes of u64, [4, 4] rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi64x, multiply_add multiply_add_halves,
    channels store_longs
}

/// Four rows of four lanes at a time, transposed in registers; what remains through memory.
///
/// # Safety
/// Needs AVX-512F; `to` has room for the sums.
#[inline(always)]
unsafe fn store_channels_512<const R: usize>(rows: [__m512i; R], to: *mut u32) {
    // SAFETY: the caller's promise.
    unsafe {
        for group in 0..R / 4 {
            let [a, b, c, d] =
                [rows[4 * group], rows[4 * group + 1], rows[4 * group + 2], rows[4 * group + 3]];
            let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            // Quarter q of register i: channel 4q + i.
            let channels = [
                _mm512_unpacklo_epi64(ab_low, cd_low),
                _mm512_unpackhi_epi64(ab_low, cd_low),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ];
            for (i, channel) in channels.into_iter().enumerate() {
                let to = |quarter: usize| to.add((4 * quarter + i) * R + 4 * group).cast();
                _mm_storeu_si128(to(0), _mm512_castsi512_si128(channel));
                _mm_storeu_si128(to(1), _mm512_extracti32x4_epi32::<1>(channel));
                _mm_storeu_si128(to(2), _mm512_extracti32x4_epi32::<2>(channel));
                _mm_storeu_si128(to(3), _mm512_extracti32x4_epi32::<3>(channel));
            }
        }
        store_transposed::<u32, R>(rows.as_ptr().cast(), 16, R / 4 * 4, to);
    }
}

/// As [`store_channels_512`].
///
/// # Safety
/// Needs AVX2; `to` has room for the sums.
#[inline(always)]
unsafe fn store_channels_256<const R: usize>(rows: [__m256i; R], to: *mut u32) {
    // SAFETY: the caller's promise.
    unsafe {
        for group in 0..R / 4 {
            let [a, b, c, d] =
                [rows[4 * group], rows[4 * group + 1], rows[4 * group + 2], rows[4 * group + 3]];
            let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            // Half h of register i: channel 4h + i.
            let channels = [
                _mm256_unpacklo_epi64(ab_low, cd_low),
                _mm256_unpackhi_epi64(ab_low, cd_low),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ];
            for (i, channel) in channels.into_iter().enumerate() {
                let to = |half: usize| to.add((4 * half + i) * R + 4 * group).cast();
                _mm_storeu_si128(to(0), _mm256_castsi256_si128(channel));
                _mm_storeu_si128(to(1), _mm256_extracti128_si256::<1>(channel));
            }
        }
        store_transposed::<u32, R>(rows.as_ptr().cast(), 8, R / 4 * 4, to);
    }
}

/// Through memory.
///
/// # Safety
/// `to` has room for the sums.
#[inline(always)]
unsafe fn store_longs<T, const R: usize>(rows: [T; R], to: *mut u64) {
    // SAFETY: the caller's promise; the registers lie in memory lane after lane.
    unsafe { store_transposed::<u64, R>(rows.as_ptr().cast(), size_of::<T>() / 8, 0, to) }
}

/// sum + a·b modulo 2^64: the low halves' product, and the crossed ones' shifted by 32.
///
/// # Safety
/// Needs AVX2.
#[inline(always)]
unsafe fn multiply_add_halves(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let (a_high, b_high) = (_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
        let crossed = _mm256_add_epi64(_mm256_mul_epu32(a_high, b), _mm256_mul_epu32(a, b_high));
        _mm256_add_epi64(sum, _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_slli_epi64(crossed, 32)))
    }
}

impl DigitLanes for Vnni512 {
    #[inline(always)]
    unsafe fn shift_digit(self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm512_slli_epi32(self.0, 16)) }
    }

    #[inline(always)]
    unsafe fn low_digits(even: __m512i, odd: __m512i) -> __m512i {
        // SAFETY: the trait's contract.
        unsafe { _mm512_mask_blend_epi16(0xaaaa_aaaa, even, odd) }
    }
}

impl DigitLanes for Vnni256 {
    #[inline(always)]
    unsafe fn shift_digit(self) -> Self {
        // SAFETY: the trait's contract.
        unsafe { Self(_mm256_slli_epi32(self.0, 16)) }
    }

    #[inline(always)]
    unsafe fn low_digits(even: __m256i, odd: __m256i) -> __m256i {
        // SAFETY: the trait's contract.
        unsafe { _mm256_blend_epi16(even, odd, 0xaa) }
    }
}

/// Defines a kernel: its functions are compiled with its instruction set, and call the loops that are inlined
/// into them.
macro_rules! kernel {
    (
        $(#[$doc:meta])* $kernel:ident = $name:literal, needs $($feature:tt),+;
        u16: $u16:ty as ($u16_format:ident, $u16_lanes:literal);
        u32: $u32:ty as ($u32_format:ident, $u32_lanes:literal);
        u64: $u64:ty as ($u64_format:ident, $u64_lanes:literal);
    ) => {
        $(#[$doc])*
        pub(super) const $kernel: Kernel = {
            $(#[target_feature(enable = $feature)])+
            unsafe fn prepare(scratch: &mut PackedInput, layout: &Layout, input: Words<'_>) -> Result<(), KernelError> {
                scratch.fill(layout, input)
            }

            /// # Safety
            /// As [`panels::accumulate`] says.
            $(#[target_feature(enable = $feature)])+
            unsafe fn accumulate(weights: &PackedWeights, input: &PackedInput, tile: Range<usize>, out: WordsMut<'_>) {
                // SAFETY: the caller's promise; this function enables what the lanes need.
                unsafe {
                    match (weights.layout.format, out) {
                        (Format::Direct, WordsMut::U16(out)) => direct::accumulate(weights, input, tile, out),
                        (Format::Direct, WordsMut::U32(out)) => direct::accumulate(weights, input, tile, out),
                        (Format::Direct, WordsMut::U64(out)) => direct::accumulate(weights, input, tile, out),
                        (_, WordsMut::U16(out)) => panels::accumulate::<$u16, u16>(weights, input, tile, out),
                        (_, WordsMut::U32(out)) => panels::accumulate::<$u32, u32>(weights, input, tile, out),
                        (_, WordsMut::U64(out)) => panels::accumulate::<$u64, u64>(weights, input, tile, out),
                    }
                }
            }

            Kernel {
                name: $name,
                supported: || $(is_x86_feature_detected!($feature))&&+,
                formats: Formats {
                    u16: (Format::$u16_format, $u16_lanes),
                    u32: (Format::$u32_format, $u32_lanes),
                    u64: (Format::$u64_format, $u64_lanes),
                },
                prepare,
                accumulate,
            }
        };
    };
}

kernel! {
    /// Ice Lake, Sapphire Rapids, Zen 4 and later.
    AVX512_VNNI = "avx512vnni", needs "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni";
    u16: Single<Vnni512> as (Pairs, 16);
    u32: Digits<Vnni512> as (Digits, 16);
    u64: Single<Long512> as (Words, 8);
}
kernel! {
    /// Skylake-X.
    AVX512 = "avx512", needs "avx512f", "avx512bw", "avx512dq", "avx512vl";
    u16: Single<Pairs512> as (Pairs, 16);
    u32: Single<Words512> as (Words, 16);
    u64: Single<Long512> as (Words, 8);
}
kernel! {
    /// Alder Lake, Zen 5 and later.
    AVX_VNNI = "avxvnni", needs "avx2", "avxvnni";
    u16: Single<Vnni256> as (Pairs, 8);
    u32: Digits<Vnni256> as (Digits, 8);
    u64: Single<Long256> as (Words, 4);
}
kernel! {
    /// Haswell, Zen and later.
    AVX2 = "avx2", needs "avx2";
    u16: Single<Pairs256> as (Pairs, 8);
    u32: Single<Words256> as (Words, 8);
    u64: Single<Long256> as (Words, 4);
}
