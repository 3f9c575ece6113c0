//! Every known answer of the core, on this processor. Ends with success only if all hold and every file has
//! some.
#![no_std]
#![no_main]

// The logger is linked by name.
use defmt_semihosting as _;
use halfnet_firmware::selftest::selftest;
use halfnet_vectors::Scratch;
use riscv_rt::entry;
use static_cell::ConstStaticCell;

static ARENA: ConstStaticCell<[u64; 2048]> = ConstStaticCell::new([0; 2048]);
static CHANNEL: ConstStaticCell<[u64; 128]> = ConstStaticCell::new([0; 128]);
static FRAME: ConstStaticCell<[u8; 2048]> = ConstStaticCell::new([0; 2048]);

/// Reports over defmt and ends the emulation with a failure.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
    defmt::error!("panic at {=str}:{=u32}", file, line);
    exit(false)
}

fn exit(success: bool) -> ! {
    semihosting::process::exit(i32::from(!success))
}

#[entry]
fn main() -> ! {
    let scratch = Scratch { arena: ARENA.take(), channel: CHANNEL.take(), frame: FRAME.take() };
    // Under `-icount shift=0` the emulator counts an instruction as a cycle, and as a nanosecond.
    exit(selftest(scratch, riscv::register::mcycle::read64))
}
