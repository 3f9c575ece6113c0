//! The blocks in portable Rust: what the assembly must equal.

use halfnet_core::ring::{Word, WordsMut};
use halfnet_core::with_words;

use super::layout::TAPS;
use super::word::{Rows, block, weight_words};

/// out += strip ⊗ records for the whole blocks of each row.
///
/// # Shapes
/// `records`: `sections[0]` records of 3 taps, then of 2, then of 1; a record is the bytes from the input
/// word of the record before to its own, then its weights.
pub(super) fn add_blocks(strip: &[u32], rows: &Rows, records: &[u32], sections: [u32; 3], out: WordsMut<'_>) {
    let kind = out.kind();
    let (block, weight_words) = (block(kind), weight_words(kind));
    with_words!(WordsMut, out, out => {
        for (row, out) in out.chunks_exact_mut(rows.width.max(1)).enumerate().take(rows.count) {
            for (number, sums) in out.chunks_exact_mut(block).enumerate() {
                let at = rows.first + row * rows.step + number * block;
                add_block(strip, at, records, sections, weight_words, sums);
            }
        }
    });
}

/// One block, whose inputs begin at word `at` of the strip.
fn add_block<W: Word>(
    strip: &[u32],
    mut at: usize,
    records: &[u32],
    sections: [u32; 3],
    weight_words: usize,
    sums: &mut [W],
) {
    let mut rest = records;
    for (taps, count) in TAPS.into_iter().zip(sections) {
        for _ in 0..count {
            let Some(([offset, weights @ ..], after)) = rest.split_at_checked(1 + taps * weight_words) else {
                return;
            };
            rest = after;
            at = at.wrapping_add_signed((*offset).cast_signed() as isize / 4);
            for (tap, weight) in weights.chunks_exact(weight_words).enumerate() {
                for (sum, &input) in sums.iter_mut().zip(strip.get(at + tap..).unwrap_or(&[])) {
                    *sum = sum.add(W::from_u64(product(W::BYTES, input, weight)));
                }
            }
        }
    }
}

/// A strip's word times a record's weight, modulo the sums' word of so many bytes: of Z_16 the sum of two
/// products.
fn product(bytes: usize, input: u32, weight: &[u32]) -> u64 {
    let word = |index: usize| u64::from(weight.get(index).copied().unwrap_or(0));
    let weight = word(0) | word(1) << 32;
    if bytes == 2 {
        u64::from(input & 0xffff) * (weight & 0xffff) + u64::from(input >> 16) * (weight >> 16 & 0xffff)
    } else {
        u64::from(input).wrapping_mul(weight)
    }
}
