//! P0 on the nRF52840-DK, its own client: asks the pictures in its flash over and over, as often as P1
//! proposes, over the board's own USB.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use defmt_rtt as _;
use embassy_executor::InterruptExecutor;
use embassy_nrf::config::{Config, Debug, HfclkSource};
use embassy_nrf::interrupt;
use embassy_nrf::interrupt::{InterruptExt, Priority};
use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::peripherals::USBD;
use embassy_nrf::rng::Rng;
use embassy_nrf::usb::vbus_detect::HardwareVbusDetect;
use embassy_nrf::usb::{self, Driver};
use embassy_nrf::{Peri, bind_interrupts};
use halfnet_counter::Blocking;
use halfnet_embassy::board::counter_region;
use halfnet_embassy::{Wire, WireLink};
use halfnet_firmware::serve::{Entropy, forever};

mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
}
use provisioned::{BLOB, TIMEOUT, memory};

bind_interrupts!(struct Interrupts {
    USBD => usb::InterruptHandler<USBD>;
    CLOCK_POWER => usb::vbus_detect::InterruptHandler;
});

static WIRE: Wire = Wire::new();
static DRIVERS: InterruptExecutor = InterruptExecutor::new();

/// An interrupt that no peripheral uses: the drivers' tasks run in it, above the party.
#[interrupt]
unsafe fn EGU0_SWI0() {
    // Safety: here alone.
    unsafe { DRIVERS.on_interrupt() }
}

#[embassy_executor::task]
async fn link(port: Peri<'static, USBD>) {
    let driver = Driver::new(port, Interrupts, HardwareVbusDetect::new(Interrupts));
    halfnet_embassy::usb::serve(driver, "halfnet P0 (nRF52840-DK)", &WIRE).await
}

#[entry]
fn main() -> ! {
    let mut config = Config::default();
    // USB needs the crystal.
    config.hfclk_source = HfclkSource::ExternalXtal;
    config.debug = if cfg!(feature = "locked") { Debug::Disallowed } else { Debug::Allowed };
    let peripherals = embassy_nrf::init(config);
    let mut entropy = [0; 32];
    Rng::new_blocking(peripherals.RNG).blocking_fill_bytes(&mut entropy);
    interrupt::EGU0_SWI0.set_priority(Priority::P6);
    match link(peripherals.USBD) {
        Ok(task) => DRIVERS.start(interrupt::EGU0_SWI0).spawn(task),
        Err(_) => defmt::panic!("the link's task is there once"),
    }
    let flash = Blocking(Nvmc::new(peripherals.NVMC));
    forever(BLOB, flash, counter_region(), Entropy::Random(entropy), memory(), TIMEOUT, &mut WireLink(&WIRE))
}
