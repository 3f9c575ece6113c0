//! The blocks in assembly, for processors of ARMv7E-M and those of ARMv8-M with DSP.
//!
//! Registers: r0 the strip at the record, r1 the next record, r2 records left, r3 to r6 sums, r7 to r10 inputs, r11, r12 and lr
//! weights; r7 takes the way to the record's inputs first. Two records a turn of the loop.
//!
//! | instructions | 3 taps | 2 taps | 1 tap | a block beside them |
//! |---|---|---|---|---|
//! | Z_16, Z_32: 4 sums | 16 | 12 | 7 | 30 |
//! | Z_64: 2 sums | 17 | 12 | 7 | 24 |

use core::arch::naked_asm;

use halfnet_core::ring::Word;

use super::strip::Lines;
use super::word::Rows;

/// What a run of blocks works on: rows of as many blocks each. The order of the fields is known to the assembly.
#[repr(C)]
struct Run<W> {
    /// 0: the strip at the first output's column.
    strip: *const u32,
    /// 4
    out: *mut W,
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

macro_rules! entry {
    ($name:ident, $word:ty, $block:literal, $assembly:ident) => {
        /// out += strip ⊗ records, a block after another.
        pub(super) fn $name(strip: &[u32], rows: &Rows, records: &[u32], sections: [u32; 3], out: &mut [$word]) {
            let words = super::layout::TAPS.map(|taps| 1 + taps * size_of::<$word>().div_ceil(4));
            let needed: usize = words.iter().zip(sections).map(|(words, count)| words * count as usize).sum();
            let Some(strip) = strip.get(rows.first..) else { return };
            let blocks = rows.width / $block;
            let covered = rows.width * rows.count <= out.len() && (rows.count - 1) * rows.step < strip.len();
            if blocks == 0 || rows.count == 0 || needed > records.len() || !covered {
                return;
            }
            let mut run = Run {
                strip: strip.as_ptr(),
                out: out.as_mut_ptr(),
                blocks: blocks as u32,
                records: records.as_ptr(),
                sections,
                strip_gap: (4 * rows.step).wrapping_sub(4 * $block * blocks) as u32,
                out_gap: (size_of::<$word>() * (rows.width - $block * blocks)) as u32,
                rows: rows.count as u32,
                row_blocks: blocks as u32,
            };
            // Safety: there are `rows` rows of `blocks` blocks in `out`, and as many records as `sections` says. Records are written by
            // `records::frame` alone, and from whatever block of the strip's rows they lead no further than `Layout::strip_words`, of
            // which `strip` is the end.
            unsafe { $assembly(&mut run) }
        }
    };
}

entry!(add_16, u16, 4, blocks_16);
entry!(add_32, u32, 4, blocks_32);
entry!(add_64, u64, 2, blocks_64);

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
        concat!("ldmia r1!, {{r7, r11, r12}}\n", "add r0, r0, r7\n", "ldmia r0, {{r7, r8}}\n", long!("r7", "r8"),)
    };
}

/// All rows of a run: `$load` brings the sums at r1 into r3 to r6, `$store` takes them to r9 and moves r9 and r8, the strip, on.
macro_rules! blocks {
    ($name:ident, $word:ty, $load:expr, $three:expr, $two:expr, $one:expr, $store:expr) => {
        /// # Safety
        /// `run` is exclusively the callee's, its `out` may be written for all blocks of all rows and its strip read wherever the records lead.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(run: *mut Run<$word>) {
            naked_asm!(
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
    u16,
    // Above each sum lies its neighbour, or what a product carried: neither ever comes down.
    "ldr r3, [r1]\nldr r5, [r1, #4]\nlsrs r4, r3, #16\nlsrs r6, r5, #16\n",
    three!("smlad"),
    two!("smlad"),
    one!("smlad"),
    "pkhbt r3, r3, r4, lsl #16\npkhbt r5, r5, r6, lsl #16\nstr r5, [r9, #4]\nstr r3, [r9], #8\nadds r8, #16\n"
);
blocks!(
    blocks_32,
    u32,
    "ldmia r1, {{r3, r4, r5, r6}}\n",
    three!("mla"),
    two!("mla"),
    one!("mla"),
    "stmia r9!, {{r3, r4, r5, r6}}\nadds r8, #16\n"
);
blocks!(
    blocks_64,
    u64,
    "ldmia r1, {{r3, r4, r5, r6}}\n",
    three_long!(),
    two_long!(),
    one_long!(),
    "stmia r9!, {{r3, r4, r5, r6}}\nadds r8, #8\n"
);

/// Rows of input that become rows of a strip. The order of the fields is known to the assembly.
#[repr(C)]
struct Copy {
    /// 0
    out: *mut u32,
    /// 4, 8: the second channel's, or the first's again.
    one: *const u8,
    two: *const u8,
    /// 12, 16: words of a row, in fours and beyond them.
    fours: u32,
    rest: u32,
    /// 20, 24: bytes from the end of a row to the next one's begin, in `out` and in the input.
    out_gap: u32,
    gap: u32,
    /// 28
    rows: u32,
}

/// Rows of a strip from rows of inputs: every `stride`-th, of one channel or of two, two to a word. `false`: there is no assembly for
/// these, or the slices are too short, and nothing was done.
pub(super) fn copy_rows<I: Word>(out: &mut [u32], one: &[I], two: Option<&[I]>, stride: usize, rows: &Lines) -> bool {
    let &Lines { count, width, step, out_step } = rows;
    if count == 0 || width == 0 {
        return true;
    }
    let assembly: unsafe extern "C" fn(*mut Copy) = match (I::BITS, two, stride) {
        (16, Some(_), 1) => pair_1,
        (16, Some(_), 2) => pair_2,
        (16, None, 1) => widen_1,
        (16, None, 2) => widen_2,
        (32, None, 1) => words_1,
        (32, None, 2) => words_2,
        _ => return false,
    };
    let (last, out_last) = ((count - 1) * step, (count - 1) * out_step);
    let reach = last + (width - 1) * stride + 1;
    if out_last + width > out.len() || reach > one.len() || two.is_some_and(|two| reach > two.len()) {
        return false;
    }
    let mut copy = Copy {
        out: out.as_mut_ptr(),
        one: one.as_ptr().cast(),
        two: two.unwrap_or(one).as_ptr().cast(),
        fours: (width / 4) as u32,
        rest: (width % 4) as u32,
        out_gap: (4 * out_step).wrapping_sub(4 * width) as u32,
        gap: I::BYTES.wrapping_mul(step.wrapping_sub(stride * width)) as u32,
        rows: count as u32,
    };
    // Safety: `count` rows of `width` words lie in `out` and of as many inputs in `one` and `two`, as checked above. They are read one by
    // one, or, where neighbours are wanted, several of those that are wanted at once.
    unsafe { assembly(&mut copy) }
    true
}

/// Copies rows: r0 out, r1 and r2 the inputs, r3 fours or rest, r4 to r11 values, lr rows.
macro_rules! copy {
    ($name:ident, $four:expr, $one:expr) => {
        /// # Safety
        /// `copy` is exclusively the callee's, and what it names may be read and written.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(copy: *mut Copy) {
            naked_asm!(
                "push {{r4-r11, lr}}",
                "mov r12, r0",
                "ldr lr, [r12, #28]",
                "ldmia r12, {{r0, r1, r2}}",
                "2:",
                "ldr r3, [r12, #12]",
                "cbz r3, 4f",
                "3:",
                $four,
                "subs r3, #1",
                "bne 3b",
                "4:",
                "ldr r3, [r12, #16]",
                "cbz r3, 6f",
                "5:",
                $one,
                "subs r3, #1",
                "bne 5b",
                "6:",
                "ldrd r4, r5, [r12, #20]",
                "add r0, r0, r4",
                "add r1, r1, r5",
                "add r2, r2, r5",
                "subs lr, #1",
                "bne 2b",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

copy!(
    pair_1,
    concat!(
        "ldr r4, [r1], #4\nldr r5, [r1], #4\nldr r6, [r2], #4\nldr r7, [r2], #4\n",
        "pkhbt r8, r4, r6, lsl #16\npkhtb r9, r6, r4, asr #16\n",
        "pkhbt r10, r5, r7, lsl #16\npkhtb r11, r7, r5, asr #16\n",
        "stmia r0!, {{r8-r11}}\n",
    ),
    "ldrh r4, [r1], #2\nldrh r6, [r2], #2\npkhbt r8, r4, r6, lsl #16\nstr r8, [r0], #4\n"
);
copy!(
    pair_2,
    concat!(
        "ldrh r8, [r1], #4\nldrh r9, [r1], #4\nldrh r10, [r1], #4\nldrh r11, [r1], #4\n",
        "ldrh r4, [r2], #4\nldrh r5, [r2], #4\nldrh r6, [r2], #4\nldrh r7, [r2], #4\n",
        "orr r8, r8, r4, lsl #16\norr r9, r9, r5, lsl #16\n",
        "orr r10, r10, r6, lsl #16\norr r11, r11, r7, lsl #16\n",
        "stmia r0!, {{r8-r11}}\n",
    ),
    "ldrh r4, [r1], #4\nldrh r6, [r2], #4\npkhbt r8, r4, r6, lsl #16\nstr r8, [r0], #4\n"
);
copy!(
    widen_1,
    concat!(
        "ldr r4, [r1], #4\nldr r6, [r1], #4\n",
        "lsrs r5, r4, #16\nuxth r4, r4\nlsrs r7, r6, #16\nuxth r6, r6\n",
        "stmia r0!, {{r4-r7}}\n",
    ),
    "ldrh r4, [r1], #2\nstr r4, [r0], #4\n"
);
copy!(
    widen_2,
    concat!("ldrh r4, [r1], #4\nldrh r5, [r1], #4\nldrh r6, [r1], #4\nldrh r7, [r1], #4\n", "stmia r0!, {{r4-r7}}\n",),
    "ldrh r4, [r1], #4\nstr r4, [r0], #4\n"
);
copy!(words_1, "ldmia r1!, {{r4-r7}}\nstmia r0!, {{r4-r7}}\n", "ldr r4, [r1], #4\nstr r4, [r0], #4\n");
copy!(
    words_2,
    "ldr r4, [r1], #8\nldr r5, [r1], #8\nldr r6, [r1], #8\nldr r7, [r1], #8\nstmia r0!, {{r4-r7}}\n",
    "ldr r4, [r1], #8\nstr r4, [r0], #4\n"
);
