//! P0 on the Pico 2, its own client: asks the pictures in its flash over and over, as often as P1 proposes,
//! over USB.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use defmt_rtt as _;
use embassy_executor::InterruptExecutor;
use embassy_rp::flash::{Blocking as Waiting, Flash};
use embassy_rp::interrupt;
use embassy_rp::interrupt::{InterruptExt, Priority};
use embassy_rp::peripherals::{FLASH, TRNG, USB};
use embassy_rp::trng::{self, Trng};
use embassy_rp::usb::{self, Driver};
use embassy_rp::{Peri, bind_interrupts};
use halfnet_counter::Blocking;
use halfnet_embassy::board::counter_region;
use halfnet_embassy::{Wire, WireLink};
use halfnet_firmware::serve::{Entropy, forever};

mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
}
use provisioned::{BLOB, TIMEOUT, memory};

bind_interrupts!(struct Interrupts {
    USBCTRL_IRQ => usb::InterruptHandler<USB>;
    TRNG_IRQ => trng::InterruptHandler<TRNG>;
});

/// Bytes of the board's flash.
const FLASH_SIZE: usize = 4 << 20;

static WIRE: Wire = Wire::new();
static DRIVERS: InterruptExecutor = InterruptExecutor::new();

/// An interrupt that no peripheral uses: the drivers' tasks run in it, above the party.
#[interrupt]
unsafe fn SWI_IRQ_0() {
    // Safety: here alone.
    unsafe { DRIVERS.on_interrupt() }
}

#[embassy_executor::task]
async fn link(port: Peri<'static, USB>) {
    halfnet_embassy::usb::serve(Driver::new(port, Interrupts), "halfnet P0 (Pico 2)", &WIRE).await
}

#[entry]
fn main() -> ! {
    let peripherals = embassy_rp::init(Default::default());
    let mut entropy = [0; 32];
    Trng::new(peripherals.TRNG, Interrupts, trng::Config::default()).blocking_fill_bytes(&mut entropy);
    interrupt::SWI_IRQ_0.set_priority(Priority::P2);
    match link(peripherals.USB) {
        Ok(task) => DRIVERS.start(interrupt::SWI_IRQ_0).spawn(task),
        Err(_) => defmt::panic!("the link's task is there once"),
    }
    let flash = Blocking(Flash::<FLASH, Waiting, FLASH_SIZE>::new_blocking(peripherals.FLASH));
    forever(BLOB, flash, counter_region(), Entropy::Random(entropy), memory(), TIMEOUT, &mut WireLink(&WIRE))
}
