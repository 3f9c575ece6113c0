//! P0 as its own client over TCP and Ethernet.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use halfnet_qemu_mps2_an500::ethernet::{self, Ethernet, STATICS};
use halfnet_qemu_mps2_an500::serve::{TIMEOUT, serve};
use halfnet_qemu_mps2_an500::{begin, exit};

/// Milliseconds that the last bytes may take.
const FAREWELL: u32 = 2000;

#[entry]
fn main() -> ! {
    begin();
    exit(serve(open, |mut link| link.close(FAREWELL), STATICS))
}

fn open(random: u64) -> Option<Ethernet> {
    // Twice the party's patience: its own fault says more than a link that is dropped.
    // Safety: here alone, once.
    let link = unsafe { ethernet::open(TIMEOUT.saturating_mul(2), random) };
    link.inspect_err(|_| defmt::error!("no Ethernet controller answers")).ok()
}
