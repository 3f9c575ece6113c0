//! P0 as its own client over UART0.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use halfnet_firmware::link::Port;
use halfnet_qemu_mps2_an500::serve::serve;
use halfnet_qemu_mps2_an500::uart::{SysTick, Uart};
use halfnet_qemu_mps2_an500::{begin, exit};

#[entry]
fn main() -> ! {
    begin();
    // Safety: here alone, once.
    exit(serve(|_| Some(Port::new(unsafe { Uart::zero() }, SysTick)), |_| {}, 0))
}
