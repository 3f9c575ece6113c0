//! x86-64: AVX-512 with and without VNNI, AVX2 with and without VNNI.
//!
//! 16-bit rings take two products an instruction everywhere (`vpmaddwd`, or `vpdpwssd` where it is). For 32-bit rings two digits
//! through `vpdpwssd` are 1½ operations a vector of products against the three of `vpmulld` (which is two) and `vpaddd`; without
//! VNNI they would be three as well, so words are multiplied as they are.

use core::arch::x86_64::*;
use core::ops::Range;

use halfnet_core::ring::{Words, WordsMut};

use super::layout::{Format, Layout, PackedInput, PackedWeights};
use super::panels::{self, DigitLanes, Digits, Lanes, Single};
use super::{Formats, Kernel, KernelError, direct};

/// Defines a register type's [`Lanes`].
macro_rules! lanes {
    (
        $(#[$doc:meta])* $name:ident($register:ty): $count:literal lanes of $element:ty, $rows:literal rows,
        zero $zero:ident, load $load:ident, broadcast $broadcast:expr, multiply_add $multiply_add:expr, store $store:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        struct $name($register);

        // SAFETY of the blocks below: the trait's contract, which is the intrinsics' own.
        impl Lanes for $name {
            const LANES: usize = $count;
            const ROWS: usize = $rows;
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
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: as above.
                unsafe { $store(to.cast(), self.0) }
            }
        }
    };
}

lanes! {
    /// Pairs in one instruction.
    Vnni512(__m512i): 16 lanes of u32, 12 rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi32, multiply_add _mm512_dpwssd_epi32,
    store _mm512_storeu_si512
}
lanes! {
    /// Pairs in two instructions.
    Pairs512(__m512i): 16 lanes of u32, 12 rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi32,
    multiply_add |sum, a, b| _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)),
    store _mm512_storeu_si512
}
lanes! {
    /// Words of 32 bits.
    Words512(__m512i): 16 lanes of u32, 12 rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi32,
    multiply_add |sum, a, b| _mm512_add_epi32(sum, _mm512_mullo_epi32(a, b)),
    store _mm512_storeu_si512
}
lanes! {
    /// Words of 64 bits.
    Long512(__m512i): 8 lanes of u64, 12 rows,
    zero _mm512_setzero_si512, load _mm512_loadu_si512, broadcast _mm512_set1_epi64,
    multiply_add |sum, a, b| _mm512_add_epi64(sum, _mm512_mullo_epi64(a, b)),
    store _mm512_storeu_si512
}
lanes! {
    /// Pairs in one instruction.
    Vnni256(__m256i): 8 lanes of u32, 6 rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi32, multiply_add _mm256_dpwssd_avx_epi32,
    store _mm256_storeu_si256
}
lanes! {
    /// Pairs in two instructions.
    Pairs256(__m256i): 8 lanes of u32, 6 rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi32,
    multiply_add |sum, a, b| _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)),
    store _mm256_storeu_si256
}
lanes! {
    /// Words of 32 bits.
    Words256(__m256i): 8 lanes of u32, 6 rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi32,
    multiply_add |sum, a, b| _mm256_add_epi32(sum, _mm256_mullo_epi32(a, b)),
    store _mm256_storeu_si256
}
lanes! {
    /// Words of 64 bits, from products of their halves.
    Long256(__m256i): 4 lanes of u64, 4 rows,
    zero _mm256_setzero_si256, load _mm256_loadu_si256, broadcast _mm256_set1_epi64x, multiply_add multiply_add_halves,
    store _mm256_storeu_si256
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

/// Defines a kernel: its functions are compiled with its instruction set, and call the loops that are inlined into them.
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
