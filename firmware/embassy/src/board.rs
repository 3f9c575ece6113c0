//! What a board does on a panic, and where lies its counter.

use core::ops::Range;

use cortex_m::peripheral::SCB;

unsafe extern "C" {
    /// Offsets in flash, from `memory.x`.
    static _counter_start: u8;
    static _counter_end: u8;
}

/// The counter's pages, as offsets from the beginning of the flash. `memory.x` keeps them out of the
/// program's.
#[must_use]
pub fn counter_region() -> Range<u32> {
    (&raw const _counter_start) as u32..(&raw const _counter_end) as u32
}

/// Reports over defmt and resets the board. The counter lies in memory that a reset does not touch.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
    defmt::error!("panic at {=str}:{=u32}", file, line);
    defmt::flush();
    SCB::sys_reset()
}
