//! The blocks in assembly.
//!
//! Registers: r0 the strip at the record, r1 the next record, r2 records left, r3 to r6 sums, r7 to r10
//! inputs, r11, r12 and lr weights; r7 takes the way to the record's inputs first. Two records a turn of the
//! loop.
//!
//! | instructions | 3 taps | 2 taps | 1 tap | a block beside them |
//! |---|---|---|---|---|
//! | Z_16, Z_32: 4 sums | 16 | 12 | 7 | 30 |
//! | Z_64: 2 sums | 17 | 12 | 7 | 24 |

use core::arch::naked_asm;

use halfnet_core::ring::WordsMut;

use crate::kernel::layout::TAPS;
use crate::kernel::word::{Rows, block, weight_words};

/// What a run of blocks works on: rows of as many blocks each. The order of the fields is known to the
/// assembly.
#[repr(C)]
struct Run {
    /// 0: the strip at the first output's column.
    strip: *const u32,
    /// 4
    out: *mut u8,
    /// 8: blocks of this row that are left.
    blocks: u32,
    /// 12
    records: *const u32,
    /// 16, 20, 24: records of 3, 2 and 1 taps.
    sections: [u32; 3],
    /// 28, 32: bytes from the end of a row's blocks to the next row's, in the strip and in `out`.
    strip_gap: u32,
    out_gap: u32,
    /// 36: rows that are left.
    rows: u32,
    /// 40: blocks of a row.
    row_blocks: u32,
}

/// out += strip ⊗ records for the whole blocks of each of `rows`.
pub(in crate::kernel) fn add_blocks(
    strip: &[u32],
    rows: &Rows,
    records: &[u32],
    sections: [u32; 3],
    mut out: WordsMut<'_>,
) {
    let kind = out.kind();
    let words = TAPS.map(|taps| 1 + taps * weight_words(kind));
    let needed: usize = words.iter().zip(sections).map(|(words, count)| words * count as usize).sum();
    let Some(strip) = strip.get(rows.first..) else { return };
    let blocks = rows.width / block(kind);
    let outputs = block(kind) * blocks;
    let covered =
        rows.width * rows.count <= out.len() && (rows.count.wrapping_sub(1)) * rows.step < strip.len();
    if blocks == 0 || rows.count == 0 || needed > records.len() || !covered {
        return;
    }
    let assembly: unsafe extern "C" fn(*mut Run) = match kind.bytes() {
        2 => blocks_16,
        4 => blocks_32,
        _ => blocks_64,
    };
    let mut run = Run {
        strip: strip.as_ptr(),
        out: out.bytes_mut().as_mut_ptr(),
        blocks: blocks as u32,
        records: records.as_ptr(),
        sections,
        strip_gap: (4 * rows.step).wrapping_sub(4 * outputs) as u32,
        out_gap: (kind.bytes() * (rows.width - outputs)) as u32,
        rows: rows.count as u32,
        row_blocks: blocks as u32,
    };
    // Safety: there are `rows` rows of `blocks` blocks in `out`, and as many records as `sections` says.
    // Records are written by `records::frame` alone, and from whatever block of the strip's rows they lead no
    // further than `Layout::strip_words`, of which `strip` is the end.
    unsafe { assembly(&mut run) }
}

/// Three taps, four sums.
macro_rules! three {
    ($multiply:literal) => {
        concat!(
            "ldmia r1!, {{r7, r11, r12, lr}}\n",
            "add r0, r0, r7\n",
            "ldmia r0, {{r7, r8, r9, r10}}\n",
            $multiply,
            " r3, r7, r11, r3\n",
            $multiply,
            " r4, r8, r11, r4\n",
            $multiply,
            " r5, r9, r11, r5\n",
            $multiply,
            " r6, r10, r11, r6\n",
            $multiply,
            " r3, r8, r12, r3\n",
            "ldrd r7, r8, [r0, #16]\n",
            $multiply,
            " r4, r9, r12, r4\n",
            $multiply,
            " r5, r10, r12, r5\n",
            $multiply,
            " r6, r7, r12, r6\n",
            $multiply,
            " r3, r9, lr, r3\n",
            $multiply,
            " r4, r10, lr, r4\n",
            $multiply,
            " r5, r7, lr, r5\n",
            $multiply,
            " r6, r8, lr, r6\n",
        )
    };
}

/// Two taps, four sums.
macro_rules! two {
    ($multiply:literal) => {
        concat!(
            "ldmia r1!, {{r7, r11, r12}}\n",
            "add r0, r0, r7\n",
            "ldmia r0, {{r7, r8, r9, r10}}\n",
            $multiply,
            " r3, r7, r11, r3\n",
            $multiply,
            " r4, r8, r11, r4\n",
            $multiply,
            " r5, r9, r11, r5\n",
            $multiply,
            " r6, r10, r11, r6\n",
            "ldr r7, [r0, #16]\n",
            $multiply,
            " r3, r8, r12, r3\n",
            $multiply,
            " r4, r9, r12, r4\n",
            $multiply,
            " r5, r10, r12, r5\n",
            $multiply,
            " r6, r7, r12, r6\n",
        )
    };
}

/// One tap, four sums.
macro_rules! one {
    ($multiply:literal) => {
        concat!(
            "ldmia r1!, {{r7, r11}}\n",
            "add r0, r0, r7\n",
            "ldmia r0, {{r7, r8, r9, r10}}\n",
            $multiply,
            " r3, r7, r11, r3\n",
            $multiply,
            " r4, r8, r11, r4\n",
            $multiply,
            " r5, r9, r11, r5\n",
            $multiply,
            " r6, r10, r11, r6\n",
        )
    };
}

/// r4:r3 and r6:r5 += two inputs times the weight r12:r11.
macro_rules! long {
    ($first:literal, $second:literal) => {
        concat!(
            "umlal r3, r4, ",
            $first,
            ", r11\n",
            "mla r4, ",
            $first,
            ", r12, r4\n",
            "umlal r5, r6, ",
            $second,
            ", r11\n",
            "mla r6, ",
            $second,
            ", r12, r6\n",
        )
    };
}

/// Three taps, two sums of 64 bits.
macro_rules! three_long {
    () => {
        concat!(
            "ldmia r1!, {{r7, r11, r12}}\n",
            "add r0, r0, r7\n",
            "ldmia r0, {{r7, r8, r9, r10}}\n",
            long!("r7", "r8"),
            "ldmia r1!, {{r11, r12}}\n",
            long!("r8", "r9"),
            "ldmia r1!, {{r11, r12}}\n",
            long!("r9", "r10"),
        )
    };
}

/// Two taps, two sums of 64 bits.
macro_rules! two_long {
    () => {
        concat!(
            "ldmia r1!, {{r7, r11, r12}}\n",
            "add r0, r0, r7\n",
            "ldmia r0, {{r7, r8, r9}}\n",
            long!("r7", "r8"),
            "ldmia r1!, {{r11, r12}}\n",
            long!("r8", "r9"),
        )
    };
}

/// One tap, two sums of 64 bits.
macro_rules! one_long {
    () => {
        concat!(
            "ldmia r1!, {{r7, r11, r12}}\n",
            "add r0, r0, r7\n",
            "ldmia r0, {{r7, r8}}\n",
            long!("r7", "r8"),
        )
    };
}

/// All rows of a run: `$load` brings the sums at r1 into r3 to r6, `$store` takes them to r9 and moves r9 and
/// r8, the strip, on.
macro_rules! blocks {
    ($name:ident, $load:expr, $three:expr, $two:expr, $one:expr, $store:expr) => {
        /// # Safety
        /// `run` is exclusively the callee's, its `out` may be written for all blocks of all rows and its
        /// strip read wherever the records lead.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(run: *mut Run) {
            naked_asm!(
                crate::target!(),
                "push {{r0, r4-r11, lr}}",
                "2:",
                "ldr r7, [sp]",
                "ldmia r7, {{r0, r1}}",
                $load,
                "ldrd r1, r2, [r7, #12]",
                // Records of three taps, two a turn; an odd one is met by entering in the middle.
                "cmp r2, #0",
                "beq.w 5f",
                "tst r2, #1",
                "beq 3f",
                "adds r2, #1",
                "b 4f",
                "3:",
                $three,
                "4:",
                $three,
                "subs r2, #2",
                "bne.w 3b",
                "5:",
                "ldr r2, [sp]",
                "ldr r2, [r2, #20]",
                "cmp r2, #0",
                "beq.w 7f",
                "6:",
                $two,
                "subs r2, #1",
                "bne 6b",
                "7:",
                "ldr r2, [sp]",
                "ldr r2, [r2, #24]",
                "cmp r2, #0",
                "beq.w 11f",
                "tst r2, #1",
                "beq 8f",
                "adds r2, #1",
                "b 9f",
                "8:",
                $one,
                "9:",
                $one,
                "subs r2, #2",
                "bne 8b",
                "11:",
                "ldr r7, [sp]",
                "ldmia r7, {{r8, r9, r10}}",
                $store,
                "subs r10, #1",
                "stmia r7, {{r8, r9, r10}}",
                "bne.w 2b",
                // The next row.
                "ldrd r0, r1, [r7, #28]",
                "ldrd r2, r10, [r7, #36]",
                "add r8, r8, r0",
                "add r9, r9, r1",
                "stmia r7, {{r8, r9, r10}}",
                "subs r2, #1",
                "str r2, [r7, #36]",
                "bne.w 2b",
                "pop {{r0, r4-r11, pc}}",
            )
        }
    };
}

blocks!(
    blocks_16,
    // Above each sum lies its neighbour, or what a product carried: neither ever comes down.
    "ldr r3, [r1]\nldr r5, [r1, #4]\nlsrs r4, r3, #16\nlsrs r6, r5, #16\n",
    three!("smlad"),
    two!("smlad"),
    one!("smlad"),
    "pkhbt r3, r3, r4, lsl #16\npkhbt r5, r5, r6, lsl #16\nstr r5, [r9, #4]\nstr r3, [r9], #8\nadds r8, #16\n"
);
blocks!(
    blocks_32,
    "ldmia r1, {{r3, r4, r5, r6}}\n",
    three!("mla"),
    two!("mla"),
    one!("mla"),
    "stmia r9!, {{r3, r4, r5, r6}}\nadds r8, #16\n"
);
blocks!(
    blocks_64,
    "ldmia r1, {{r3, r4, r5, r6}}\n",
    three_long!(),
    two_long!(),
    one_long!(),
    "stmia r9!, {{r3, r4, r5, r6}}\nadds r8, #8\n"
);
