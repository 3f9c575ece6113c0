//! Every known answer of the core, on this processor. Ends with success only if all hold and every file has
//! some.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use halfnet_firmware::selftest::selftest;
use halfnet_qemu_mps2_an500::{clock, exit, stack};
use halfnet_vectors::Scratch;
use static_cell::ConstStaticCell;

static ARENA: ConstStaticCell<[u64; 2048]> = ConstStaticCell::new([0; 2048]);
static CHANNEL: ConstStaticCell<[u64; 128]> = ConstStaticCell::new([0; 128]);
static FRAME: ConstStaticCell<[u8; 2048]> = ConstStaticCell::new([0; 2048]);

#[entry]
fn main() -> ! {
    stack::paint();
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
    let held = selftest(
        Scratch { arena: ARENA.take(), channel: CHANNEL.take(), frame: FRAME.take() },
        clock::nanoseconds,
    );
    defmt::info!(
        "statics {=usize} bytes, stack at most {=usize} bytes",
        stack::statics(),
        stack::high_water()
    );
    exit(held)
}
