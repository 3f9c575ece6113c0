//! The copies in assembly: inputs to a strip, weights to records.

use core::arch::naked_asm;

use halfnet_core::ring::Words;

use crate::kernel::strip::Lines;

/// Rows of input that become rows of 32-bit words. The order of the fields is known to the assembly.
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

/// Rows of words from rows of inputs from `one` on: every `stride`-th, of one channel, or of two, two to a
/// word. `false`: there is no assembly for these, or the slices are too short, and nothing was done.
pub(in crate::kernel) fn copy_rows(
    out: &mut [u32],
    input: Words<'_>,
    one: usize,
    two: Option<usize>,
    stride: usize,
    rows: &Lines,
) -> bool {
    let &Lines { groups, group_step, group_out_step, count, width, step, out_step } = rows;
    if groups * count * width == 0 {
        return true;
    }
    let (base, bytes) = (input.bytes().as_ptr(), input.kind().bytes());
    let assembly: unsafe extern "C" fn(*mut Copy) = match (bytes, two, stride) {
        (2, Some(_), 1) if width == 3 => pair_of_3,
        (4, None, 1) if width == 3 => words_of_3,
        (2, Some(_), 1) => pair_1,
        (2, Some(_), 2) => pair_2,
        (2, None, 1) => widen_1,
        (2, None, 2) => widen_2,
        (4, None, 1) => words_1,
        (4, None, 2) => words_2,
        _ => return false,
    };
    let two = two.unwrap_or(one);
    let (last, out_last) = (
        (groups - 1) * group_step + (count - 1) * step,
        (groups - 1) * group_out_step + (count - 1) * out_step,
    );
    let reach = last + (width - 1) * stride + 1;
    if out_last + width > out.len() || one.max(two) + reach > input.len() {
        return false;
    }
    let mut copy = Copy {
        out: out.as_mut_ptr(),
        one: base.wrapping_add(bytes * one),
        two: base.wrapping_add(bytes * two),
        fours: (width / 4) as u32,
        rest: (width % 4) as u32,
        out_gap: (4 * out_step).wrapping_sub(4 * width) as u32,
        gap: bytes.wrapping_mul(step.wrapping_sub(stride * width)) as u32,
        rows: count as u32,
    };
    for _ in 0..groups {
        // Safety: `count` rows of `width` words of each group lie in `out` and of as many inputs from `one`
        // and `two` on, as checked above. They are read one by one, or, where neighbours are wanted, several
        // of those that are wanted at once.
        unsafe { assembly(&mut copy) }
        copy.out = copy.out.wrapping_add(group_out_step);
        copy.one = copy.one.wrapping_add(bytes * group_step);
        copy.two = copy.two.wrapping_add(bytes * group_step);
    }
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
                crate::target!(),
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
    concat!(
        "ldrh r4, [r1], #4\nldrh r5, [r1], #4\nldrh r6, [r1], #4\nldrh r7, [r1], #4\n",
        "stmia r0!, {{r4-r7}}\n",
    ),
    "ldrh r4, [r1], #4\nstr r4, [r0], #4\n"
);
copy!(words_1, "ldmia r1!, {{r4-r7}}\nstmia r0!, {{r4-r7}}\n", "ldr r4, [r1], #4\nstr r4, [r0], #4\n");
copy!(
    words_2,
    "ldr r4, [r1], #8\nldr r5, [r1], #8\nldr r6, [r1], #8\nldr r7, [r1], #8\nstmia r0!, {{r4-r7}}\n",
    "ldr r4, [r1], #8\nstr r4, [r0], #4\n"
);

/// Copies rows of three words: r0 out, r1 and r2 the inputs, r3 and r11 the gaps, r4 to r10 values, lr rows.
macro_rules! copy_of_3 {
    ($name:ident, $row:expr) => {
        /// # Safety
        /// `copy` is exclusively the callee's, and what it names may be read and written.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(copy: *mut Copy) {
            naked_asm!(
                crate::target!(),
                "push {{r4-r11, lr}}",
                "mov r12, r0",
                "ldmia r12, {{r0, r1, r2}}",
                "ldr r3, [r12, #20]",
                "ldr r11, [r12, #24]",
                "ldr lr, [r12, #28]",
                "2:",
                $row,
                "add r0, r0, r3",
                "add r1, r1, r11",
                "add r2, r2, r11",
                "subs lr, #1",
                "bne 2b",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

// Kernels of three by three are what most networks have: their weights' rows.
copy_of_3!(
    pair_of_3,
    concat!(
        "ldr r4, [r1], #4\nldrh r5, [r1], #2\nldr r6, [r2], #4\nldrh r7, [r2], #2\n",
        "pkhbt r8, r4, r6, lsl #16\npkhtb r9, r6, r4, asr #16\npkhbt r10, r5, r7, lsl #16\n",
        "stmia r0!, {{r8-r10}}\n",
    )
);
copy_of_3!(words_of_3, "ldmia r1!, {{r4-r6}}\nstmia r0!, {{r4-r6}}\n");
