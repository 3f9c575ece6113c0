//! The blocks in portable Rust: what the assembly must equal.

use super::layout::TAPS;
use super::word::{BlockWord, Rows};

#[cfg(not(halfnet_dsp))]
pub(super) use add as add_16;
#[cfg(not(halfnet_dsp))]
pub(super) use add as add_32;
#[cfg(not(halfnet_dsp))]
pub(super) use add as add_64;

/// out += strip ⊗ records for the whole blocks of each row.
///
/// # Shapes
/// `records`: `sections[0]` records of 3 taps, then of 2, then of 1; a record is the bytes from the input word of the record before to
/// its own, then its weights.
#[cfg_attr(halfnet_dsp, expect(dead_code, reason = "what the assembly must equal, tested on the host"))]
pub(super) fn add<W: BlockWord>(strip: &[u32], rows: &Rows, records: &[u32], sections: [u32; 3], out: &mut [W]) {
    let weight_words = W::BYTES.div_ceil(4);
    for (row, out) in out.chunks_exact_mut(rows.width.max(1)).enumerate().take(rows.count) {
        for (number, block) in out.chunks_exact_mut(W::BLOCK).enumerate() {
            let mut at = rows.first + row * rows.step + number * W::BLOCK;
            let mut rest = records;
            for (taps, count) in TAPS.into_iter().zip(sections) {
                for _ in 0..count {
                    let Some(([offset, weights @ ..], after)) = rest.split_at_checked(1 + taps * weight_words) else { return };
                    rest = after;
                    at = at.wrapping_add_signed((*offset).cast_signed() as isize / 4);
                    for (tap, weight) in weights.chunks_exact(weight_words).enumerate() {
                        let inputs = strip.get(at + tap..).unwrap_or(&[]);
                        for (sum, &input) in block.iter_mut().zip(inputs) {
                            *sum = sum.multiply_add(input, weight);
                        }
                    }
                }
            }
        }
    }
}
