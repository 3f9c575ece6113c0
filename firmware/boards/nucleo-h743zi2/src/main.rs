//! P0 on the NUCLEO-H743ZI2, its own client: asks the pictures in its flash over and over, as often as P1
//! connects and proposes.
#![no_std]
#![no_main]

mod ethernet;
mod flash;
mod setup;

use cortex_m_rt::entry;
use defmt_rtt as _;
use embassy_stm32::bind_interrupts;
use embassy_stm32::eth;
use embassy_stm32::flash::Flash;
use embassy_stm32::peripherals::RNG;
use embassy_stm32::rng::{self, Rng};
use halfnet_counter::Blocking;
use halfnet_embassy::board::counter_region;
use halfnet_firmware::serve::{Entropy, forever};

use crate::flash::Checked;
use crate::setup::Jack;

mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
    include!(concat!(env!("OUT_DIR"), "/place.rs"));
}
use provisioned::{BLOB, PLACE, TIMEOUT, memory};

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    RNG => rng::InterruptHandler<RNG>;
});

#[entry]
fn main() -> ! {
    let mut peripherals = embassy_stm32::init(setup::clocks());
    if let Some(mut core) = cortex_m::Peripherals::take() {
        // Not the data cache: the Ethernet's DMA goes past it.
        core.SCB.enable_icache();
    }
    let (mut entropy, mut random) = ([0; 32], [0; 8]);
    let mut generator = Rng::new(peripherals.RNG.reborrow(), Interrupts);
    generator.fill_bytes(&mut entropy);
    generator.fill_bytes(&mut random);
    drop(generator);
    let flash = Blocking(Checked::new(Flash::new_blocking(peripherals.FLASH)));
    let jack = Jack {
        mac: peripherals.ETH,
        management: peripherals.ETH_SMA,
        clock: peripherals.PA1,
        mdio: peripherals.PA2,
        carrier: peripherals.PA7,
        transmit_1: peripherals.PB13,
        mdc: peripherals.PC1,
        receive_0: peripherals.PC4,
        receive_1: peripherals.PC5,
        transmit_enable: peripherals.PG11,
        transmit_0: peripherals.PG13,
    };
    // Twice the party's patience: its own fault says more than a link that is dropped.
    let mut link =
        ethernet::open(jack.driver(Interrupts), PLACE, TIMEOUT.saturating_mul(2), u64::from_le_bytes(random));
    let [a, b, c, d] = PLACE.address;
    defmt::info!("at {=u8}.{=u8}.{=u8}.{=u8}, port {=u16}", a, b, c, d, PLACE.port);
    forever(BLOB, flash, counter_region(), Entropy::Random(entropy), memory(), TIMEOUT, &mut link)
}
