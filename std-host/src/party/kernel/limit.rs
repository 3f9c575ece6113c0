//! What one thread of this machine could do at best, beside which the project reports its speeds.

use core::hint::black_box;
use std::time::{Duration, Instant};

use chacha20::ChaCha12;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

/// A machine's limits, one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// 32-bit multiply-adds a second, operands in registers, one vector product and one vector sum each.
    pub multiply_adds: f64,
    /// Bytes a second of ChaCha12, the generator of shares.
    pub prg_bytes: f64,
}

/// Independent chains: enough to hide a product's latency.
const CHAINS: usize = 12;
/// Steps of every chain in one call.
const STEPS: usize = 20_000;
/// Bytes of one call to the generator.
const PRG_BUFFER: usize = 1 << 16;

/// Measures for about half a second; the best of many short runs, so that a busy machine still shows its
/// limit.
#[must_use]
pub fn limit() -> Limit {
    let (run, lanes) = chains();
    let seconds = best(|| {
        // SAFETY: `chains` chose instructions that this machine has.
        unsafe { run() };
    });
    let mut cipher = ChaCha12::new(&[7; 32].into(), &[0; 12].into());
    let mut buffer = vec![0; PRG_BUFFER];
    let prg_seconds = best(|| {
        cipher.seek(0_u32);
        cipher.write_keystream(black_box(&mut buffer));
    });
    Limit {
        multiply_adds: (CHAINS * STEPS * lanes) as f64 / seconds,
        prg_bytes: PRG_BUFFER as f64 / prg_seconds,
    }
}

/// Seconds of the fastest run in a quarter of a second.
fn best(mut run: impl FnMut()) -> f64 {
    let end = Instant::now() + Duration::from_millis(250);
    let mut best = f64::INFINITY;
    while Instant::now() < end {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

type Run = unsafe fn();

/// The widest instructions here, and how many lanes they have.
fn chains() -> (Run, usize) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return (x86::avx512, 16);
        }
        if is_x86_feature_detected!("avx2") {
            return (x86::avx2, 8);
        }
    }
    (plain, 4)
}

/// Chains of x ← x·m + a over arrays of four words: what the target's baseline makes of them (on AArch64,
/// NEON).
fn plain() {
    let factor = black_box([0x9e37_79b9_u32; 4]);
    let mut sums = [factor; CHAINS];
    for _ in 0..STEPS {
        for sum in &mut sums {
            for lane in 0..4 {
                sum[lane] = sum[lane].wrapping_mul(factor[lane]).wrapping_add(factor[lane]);
            }
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;
    use core::hint::black_box;

    use super::{CHAINS, STEPS};

    /// Chains of x ← x·m + a.
    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512() {
        let factor = _mm512_set1_epi32(black_box(0x1e37_79b9));
        let mut sums = [factor; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_add_epi32(_mm512_mullo_epi32(*sum, factor), factor);
            }
        }
        black_box(sums);
    }

    /// Chains of x ← x·m + a.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2() {
        let factor = _mm256_set1_epi32(black_box(0x1e37_79b9));
        let mut sums = [factor; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_add_epi32(_mm256_mullo_epi32(*sum, factor), factor);
            }
        }
        black_box(sums);
    }
}
