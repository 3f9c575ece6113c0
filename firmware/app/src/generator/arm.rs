//! ChaCha12's block function in assembly, for ARMv7-M and later.
//!
//! All rotations are the barrel shifter's: a word of the second or fourth row is kept unrotated, 7 or 8 bits
//! short of its value, and every use of it takes the rotation along, so that a quarter round is its 4
//! additions and 4 exclusive ors. The state is 16 words and there are 14 registers: one pair of words waits
//! on the stack, exchanged once a round.
//!
//! Instructions a block of 64 bytes: 12 rounds of 4 · 8 + 2, 3 turns of 6, 15 before, 46 behind: 487, or 7.6
//! a byte.

use core::arch::naked_asm;

/// The state before a block, and what of it is kept rotated. The order is known to the assembly.
#[repr(C)]
pub(super) struct State {
    /// 0: constant, key, counter, nonce.
    pub(super) words: [u32; 16],
    /// 64: words 4 to 7, rotated right by 7.
    pub(super) second_row: [u32; 4],
    /// 80: words 13 to 15, rotated right by 8.
    pub(super) fourth_row: [u32; 3],
}

/// Fills `out`, whole blocks, and moves the counter on by as many.
pub(super) fn fill(state: &mut State, out: &mut [u32]) {
    let count = out.len() / 16;
    if count > 0 {
        // Safety: both are borrowed exclusively, and `out` has room for `count` blocks of aligned words.
        unsafe { blocks(state, out.as_mut_ptr(), count) }
    }
}

/// A quarter round of registers.
macro_rules! quarter {
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "add ",
            $a,
            ", ",
            $a,
            ", ",
            $b,
            ", ror #25\n",
            "eor ",
            $d,
            ", ",
            $a,
            ", ",
            $d,
            ", ror #24\n",
            "add ",
            $c,
            ", ",
            $c,
            ", ",
            $d,
            ", ror #16\n",
            "eor ",
            $b,
            ", ",
            $c,
            ", ",
            $b,
            ", ror #25\n",
            "add ",
            $a,
            ", ",
            $a,
            ", ",
            $b,
            ", ror #20\n",
            "eor ",
            $d,
            ", ",
            $a,
            ", ",
            $d,
            ", ror #16\n",
            "add ",
            $c,
            ", ",
            $c,
            ", ",
            $d,
            ", ror #24\n",
            "eor ",
            $b,
            ", ",
            $c,
            ", ",
            $b,
            ", ror #20\n",
        )
    };
}

/// Two rounds. r0 to r7 are words 0 to 7, r9 is 9, r10 is 13, r11 is 11, lr is 14; r8 and r12 are 8 and 12,
/// or 10 and 15.
macro_rules! double_round {
    () => {
        concat!(
            quarter!("r0", "r4", "r8", "r12"),
            quarter!("r1", "r5", "r9", "r10"),
            "strd r8, r12, [sp]\n",
            "ldrd r8, r12, [sp, #8]\n",
            quarter!("r2", "r6", "r8", "lr"),
            quarter!("r3", "r7", "r11", "r12"),
            quarter!("r0", "r5", "r8", "r12"),
            quarter!("r3", "r4", "r9", "lr"),
            "strd r8, r12, [sp, #8]\n",
            "ldrd r8, r12, [sp]\n",
            quarter!("r1", "r6", "r11", "r12"),
            quarter!("r2", "r7", "r8", "r10"),
        )
    };
}

/// Writes `count` blocks to `out` and moves the counter on by as many.
///
/// # Safety
/// `state` is exclusively the callee's, `out` may be written for 64 · `count` bytes and is aligned to 4;
/// `count` is at least 1.
#[unsafe(naked)]
unsafe extern "C" fn blocks(state: *mut State, out: *mut u32, count: usize) {
    naked_asm!(
        crate::target!(),
        "push {{r4-r11, lr}}",
        // 0: words 8 and 12; 8: words 10 and 15; 16: state, out, count, turns; 32: six words.
        "sub sp, #60",
        "strd r0, r1, [sp, #16]",
        "str r2, [sp, #24]",
        "2:",
        "ldr r12, [sp, #16]",
        "movs r0, #3",
        "str r0, [sp, #28]",
        "ldr r8, [r12, #40]",
        "ldr r9, [r12, #88]",
        "strd r8, r9, [sp, #8]",
        "add lr, r12, #64",
        "ldmia lr, {{r4-r7}}",
        "ldr r10, [r12, #80]",
        "ldr r11, [r12, #44]",
        "ldrd r8, r9, [r12, #32]",
        "ldr lr, [r12, #84]",
        "ldmia r12, {{r0-r3}}",
        "ldr r12, [r12, #48]",
        "ror r12, r12, #8",
        "3:",
        double_round!(),
        double_round!(),
        // r12 waits with word 8, whose place the next exchange would use anyway.
        "str r12, [sp, #4]",
        "ldr r12, [sp, #28]",
        "subs r12, #1",
        "str r12, [sp, #28]",
        "ldr r12, [sp, #4]",
        "bne.w 3b",
        "strd r8, r9, [sp, #32]",
        "strd r10, r11, [sp, #40]",
        "strd r12, lr, [sp, #48]",
        "ldrd r12, lr, [sp, #16]",
        "ldmia r12!, {{r8-r11}}",
        "add r0, r0, r8",
        "add r1, r1, r9",
        "add r2, r2, r10",
        "add r3, r3, r11",
        "stmia lr!, {{r0-r3}}",
        "ldmia r12!, {{r8-r11}}",
        "add r4, r8, r4, ror #25",
        "add r5, r9, r5, ror #25",
        "add r6, r10, r6, ror #25",
        "add r7, r11, r7, ror #25",
        "stmia lr!, {{r4-r7}}",
        "ldmia r12!, {{r0-r3}}",
        "ldrd r4, r5, [sp, #32]",
        "ldr r6, [sp, #8]",
        "ldr r7, [sp, #44]",
        "add r0, r0, r4",
        "add r1, r1, r5",
        "add r2, r2, r6",
        "add r3, r3, r7",
        "stmia lr!, {{r0-r3}}",
        "ldmia r12, {{r0-r3}}",
        "ldr r4, [sp, #48]",
        "ldr r5, [sp, #40]",
        "ldr r6, [sp, #52]",
        "ldr r7, [sp, #12]",
        "add r4, r0, r4, ror #24",
        "add r5, r1, r5, ror #24",
        "add r6, r2, r6, ror #24",
        "add r7, r3, r7, ror #24",
        "stmia lr!, {{r4-r7}}",
        "adds r0, #1",
        "str r0, [r12]",
        "ldr r0, [sp, #24]",
        "str lr, [sp, #20]",
        "subs r0, #1",
        "str r0, [sp, #24]",
        "bne.w 2b",
        "add sp, #60",
        "pop {{r4-r11, pc}}",
    )
}
