//! Time from SysTick: milliseconds, and under `-icount shift=0`, where an instruction takes a nanosecond,
//! instructions.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SCB;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// Ticks of the processor's clock in a millisecond.
const TICKS: u32 = 25_000;
/// Nanoseconds of a tick.
const NANOSECONDS: u64 = 40;

static MILLISECONDS: AtomicU32 = AtomicU32::new(0);

/// Starts the clock.
pub fn start(mut syst: SYST) {
    syst.set_clock_source(SystClkSource::Core);
    syst.set_reload(TICKS - 1);
    syst.clear_current();
    syst.enable_counter();
    syst.enable_interrupt();
}

/// Milliseconds since the start, wrapping.
pub fn milliseconds() -> u32 {
    MILLISECONDS.load(Ordering::Relaxed)
}

/// Nanoseconds since the start, to 40. Not for where interrupts are masked: it waits for a millisecond that
/// is to be counted.
pub fn nanoseconds() -> u64 {
    loop {
        let before = milliseconds();
        let left = SYST::get_current();
        // A millisecond that ended in between would count wrongly, whether it was counted or is still to be.
        if before == milliseconds() && !SCB::is_pendst_pending() {
            return u64::from(before) * 1_000_000 + u64::from(TICKS - 1 - left) * NANOSECONDS;
        }
    }
}

#[exception]
fn SysTick() {
    MILLISECONDS.store(milliseconds().wrapping_add(1), Ordering::Relaxed);
}
