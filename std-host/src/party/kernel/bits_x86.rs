//! Bit-packing by AVX-512 VBMI and by BMI2; `bits.rs` says how.

use core::arch::x86_64::*;

use halfnet_core::ring::low_mask;

use super::bits::BitPacking;

/// Ice Lake, Zen 4 and later.
pub(super) const VBMI: BitPacking = BitPacking {
    name: "avx512vbmi",
    supported: || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
    },
    pack: pack_vbmi,
    unpack: unpack_vbmi,
};

/// Haswell, Zen and later; before Zen 3 no faster than core's.
pub(super) const BMI2: BitPacking = BitPacking {
    name: "bmi2",
    supported: || is_x86_feature_detected!("bmi2"),
    pack: pack_bmi2,
    unpack: unpack_bmi2,
};

/// Eight or sixteen elements of a vector.
#[derive(Clone, Copy)]
enum Group {
    /// Sixteen lanes of 32 bits.
    Sixteen,
    /// Eight lanes of 64 bits.
    Eight,
}

/// Bytes to load and how far to shift each lane, for elements of `bits` bits in lanes of `lane` bytes.
fn gather(lane: usize, bits: usize) -> ([u8; 64], [u8; 64]) {
    let (mut bytes, mut shifts) = ([0; 64], [0; 64]);
    for at in 0..64 {
        let start = at / lane * bits;
        bytes[at] = (start / 8 + at % lane) as u8;
        shifts[at] = if at % lane == 0 { (start % 8) as u8 } else { 0 };
    }
    (bytes, shifts)
}

/// # Safety
/// As [`BitPacking::unpack`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn unpack_vbmi(bytes: &[u8], word: usize, bits: u8, out: &mut [u8]) -> usize {
    // A lane must hold an element and its shift, at most 7.
    let (group, lane) = match (word, bits) {
        (2 | 4, ..=25) => (Group::Sixteen, 4),
        (4, _) | (8, ..=57) => (Group::Eight, 8),
        _ => return 0,
    };
    let count = 64 / lane;
    let step = count / 8 * usize::from(bits);
    let (places, shifts) = gather(lane, usize::from(bits));
    // SAFETY: `gather` fills whole registers.
    let (places, shifts) =
        unsafe { (_mm512_loadu_si512(places.as_ptr().cast()), _mm512_loadu_si512(shifts.as_ptr().cast())) };
    let mask32 = _mm512_set1_epi32(low_mask(bits) as i32);
    let mask64 = _mm512_set1_epi64(low_mask(bits) as i64);
    let loaded: __mmask64 = u64::MAX >> (64 - step);
    let groups = (out.len() / word / count).min(bytes.len() / step);
    for index in 0..groups {
        // SAFETY: `step` bytes are there for every group, the mask loads no more; a group's words fit `out`.
        unsafe {
            let packed = _mm512_maskz_loadu_epi8(loaded, bytes.as_ptr().add(index * step).cast());
            let spread = _mm512_permutexvar_epi8(places, packed);
            let to = out.as_mut_ptr().add(index * count * word);
            match group {
                Group::Sixteen => {
                    let words = _mm512_and_si512(_mm512_srlv_epi32(spread, shifts), mask32);
                    if word == 2 {
                        _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(words));
                    } else {
                        _mm512_storeu_si512(to.cast(), words);
                    }
                }
                Group::Eight => {
                    let words = _mm512_and_si512(_mm512_srlv_epi64(spread, shifts), mask64);
                    if word == 4 {
                        _mm256_storeu_si256(to.cast(), _mm512_cvtepi64_epi32(words));
                    } else {
                        _mm512_storeu_si512(to.cast(), words);
                    }
                }
            }
        }
    }
    groups * count
}

/// Where the bytes of packed lanes come from: lane p's `width` bits, shifted left by p·width mod 8, cover at
/// most two of each output byte's sources: byte `first[k]`, and byte `second[k]` where bit k of the mask says
/// so. Then each lane's shift.
fn scatter(width: usize) -> ([u8; 64], [u8; 64], u64, [u8; 64]) {
    let (mut first, mut second, mut both, mut shifts) = ([0; 64], [0; 64], 0, [0; 64]);
    for lane in 0..8 {
        shifts[8 * lane] = (lane * width % 8) as u8;
    }
    for byte in 0..width {
        let source = |lane: usize| (8 * lane + byte - lane * width / 8) as u8;
        let (low, high) = (8 * byte / width, (8 * byte + 7) / width);
        first[byte] = source(low);
        if high != low {
            second[byte] = source(high);
            both |= 1 << byte;
        }
    }
    (first, second, both, shifts)
}

/// # Safety
/// As [`BitPacking::pack`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn pack_vbmi(values: &[u8], word: usize, bits: u8, out: &mut [u8]) -> usize {
    // Pairs share a lane of 64 bits where both and a shift of at most 7 fit; a lane holds at least a byte.
    let paired = word < 8 && (4..=28).contains(&bits);
    let single = word >= 4 && (8..=57).contains(&bits);
    if !paired && !single {
        return 0;
    }
    let count = if paired { 16 } else { 8 };
    let width = usize::from(bits) * count / 8;
    let (first, second, both, shifts) = scatter(width);
    // SAFETY: `scatter` fills whole registers.
    let (first, second, shifts) = unsafe {
        let load = |from: [u8; 64]| _mm512_loadu_si512(from.as_ptr().cast());
        (load(first), load(second), load(shifts))
    };
    let mask = _mm512_set1_epi64(low_mask(bits) as i64);
    let distance = _mm_cvtsi32_si128(i32::from(bits));
    let stored: __mmask64 = u64::MAX >> (64 - width);
    let groups = values.len() / word / count;
    for index in 0..groups {
        // SAFETY: a group's words are inside `values`; `width` bytes of every group are inside `out`, the
        // mask stores no more.
        unsafe {
            let from = values.as_ptr().add(index * count * word);
            let lanes = match (word, paired) {
                (2, _) => _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())),
                (4, false) => _mm512_cvtepu32_epi64(_mm256_loadu_si256(from.cast())),
                _ => _mm512_loadu_si512(from.cast()),
            };
            let low = _mm512_and_si512(lanes, mask);
            let merged = if paired {
                let high = _mm512_and_si512(_mm512_srli_epi64(lanes, 32), mask);
                _mm512_or_si512(low, _mm512_sll_epi64(high, distance))
            } else {
                low
            };
            let shifted = _mm512_sllv_epi64(merged, shifts);
            let packed = _mm512_or_si512(
                _mm512_permutexvar_epi8(first, shifted),
                _mm512_maskz_permutexvar_epi8(both, second, shifted),
            );
            _mm512_mask_storeu_epi8(out.as_mut_ptr().add(index * width).cast(), stored, packed);
        }
    }
    groups * count
}

/// Words in one register of 64 bits and the mask of their low bits, such that their bits and a shift of at
/// most 7 stay below 64.
fn register(word: usize, bits: u8) -> Option<(usize, u64)> {
    let fit = (8 / word).min(56 / usize::from(bits).max(1));
    // A power of two, so that registers make up groups of eight.
    let count = if fit == 0 { return None } else { 1 << fit.ilog2() };
    Some((count, (0..count).fold(0, |mask, index| mask | low_mask(bits) << (8 * word * index))))
}

/// # Safety
/// As [`BitPacking::pack`] says.
#[target_feature(enable = "bmi2")]
unsafe fn pack_bmi2(values: &[u8], word: usize, bits: u8, out: &mut [u8]) -> usize {
    let Some((count, mask)) = register(word, bits) else { return 0 };
    let (taken, width) = (count * word, count * usize::from(bits));
    let (mut position, mut pending, mut done) = (0, 0, 0);
    // Whole groups only, and eight bytes to write into and to read from each time.
    let words = values.len() / word / 8 * 8;
    while done < words && position / 8 + 8 <= out.len() && done * word + 8 <= values.len() {
        let mut register = [0; 8];
        register.copy_from_slice(&values[done * word..][..8]);
        pending |= _pext_u64(u64::from_le_bytes(register), mask) << (position % 8);
        out[position / 8..][..8].copy_from_slice(&pending.to_le_bytes());
        let next = position + width;
        pending >>= next / 8 * 8 - position / 8 * 8;
        position = next;
        done += taken / word;
    }
    // What is left begins at a group: bytes that hold more are written again.
    done / 8 * 8
}

/// # Safety
/// As [`BitPacking::unpack`] says.
#[target_feature(enable = "bmi2")]
unsafe fn unpack_bmi2(bytes: &[u8], word: usize, bits: u8, out: &mut [u8]) -> usize {
    let Some((count, mask)) = register(word, bits) else { return 0 };
    let width = count * usize::from(bits);
    let (mut position, mut done) = (0, 0);
    let words = out.len() / word / 8 * 8;
    while done < words && position / 8 + 8 <= bytes.len() {
        let mut register = [0; 8];
        register.copy_from_slice(&bytes[position / 8..][..8]);
        let spread = _pdep_u64(u64::from_le_bytes(register) >> (position % 8), mask).to_le_bytes();
        out[done * word..][..count * word].copy_from_slice(&spread[..count * word]);
        position += width;
        done += count;
    }
    done / 8 * 8
}
