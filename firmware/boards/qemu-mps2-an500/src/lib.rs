//! What QEMU's mps2-an500 (Cortex-M7) and mps2-an386 (Cortex-M4) have: a clock, serial ports, Ethernet, and a
//! file of the host in flash's place.
#![no_std]

pub mod clock;
pub mod ethernet;
pub mod flash;
pub mod lan9118;
#[cfg(feature = "party")]
pub mod serve;
pub mod stack;
pub mod uart;

// The interrupt table and the logger are linked by name.
use cortex_m as _;
use defmt_semihosting as _;

use cortex_m::peripheral::SCB;

/// Reports over defmt and resets the board. The counter lies in memory that a reset does not touch.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
    defmt::error!("panic at {=str}:{=u32}", file, line);
    SCB::sys_reset()
}

defmt::timestamp!("{=u32:ms}", clock::milliseconds());

/// What every program does first: paints the stack and starts the clock.
#[inline(always)]
pub fn begin() {
    stack::paint();
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
}

/// Is this the Cortex-M7, and so the mps2-an500? Peripherals of the two machines lie at different places.
#[must_use]
pub fn is_cortex_m7() -> bool {
    // Safety: the register is there on every Cortex-M, and reading it changes nothing.
    let identity = unsafe { (*cortex_m::peripheral::CPUID::PTR).base.read() };
    identity >> 4 & 0xfff == 0xc27
}

/// Ends the emulation.
pub fn exit(success: bool) -> ! {
    semihosting::process::exit(i32::from(!success))
}
