//! How deep the stack grew: what lies below it is painted at the start, and what has kept its paint was never
//! used.

use core::ptr;

/// A word that no code leaves behind by chance.
const PAINT: u32 = 0xc0de_5afe;
/// Words left alone below the frame that paints: it and the interrupts use them.
const MARGIN: usize = 128;

unsafe extern "C" {
    static mut __sheap: u32;
    static mut _stack_start: u32;
}

/// Paints everything between the statics and this frame.
#[inline(never)]
pub fn paint() {
    let end = cortex_m::register::msp::read() as usize - 4 * MARGIN;
    let mut at = ptr::addr_of_mut!(__sheap);
    while (at as usize) < end {
        // Safety: between the end of the statics and the stack nothing lives: there is no heap.
        unsafe {
            at.write_volatile(PAINT);
            at = at.add(1);
        }
    }
}

/// Bytes of the stack that have been used since [`paint`].
#[must_use]
pub fn high_water() -> usize {
    let end = ptr::addr_of!(_stack_start);
    let mut at = ptr::addr_of!(__sheap);
    // Safety: as above, and reading disturbs nothing.
    while at < end && unsafe { at.read_volatile() } == PAINT {
        at = unsafe { at.add(1) };
    }
    end as usize - at as usize
}

/// Bytes of statics.
#[must_use]
pub fn statics() -> usize {
    ptr::addr_of!(__sheap) as usize - 0x2000_0000
}
