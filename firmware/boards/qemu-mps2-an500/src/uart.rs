//! The CMSDK APB UART, polled: one byte waits in each direction. The emulator holds further bytes back until
//! this one is taken.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use halfnet_firmware::link::Clock;

use crate::clock;

const DATA: usize = 0;
const STATE: usize = 1;
const CONTROL: usize = 2;
const DIVIDER: usize = 4;

/// A byte waits to leave.
const TRANSMIT_FULL: u32 = 1;
/// A byte has come.
const RECEIVE_FULL: u32 = 1 << 1;

/// One of the board's serial ports.
#[derive(Debug)]
pub struct Uart {
    base: *mut u32,
}

impl Uart {
    /// UART0, which is QEMU's first `-serial`.
    ///
    /// # Safety
    /// Called once: two owners would take each other's bytes.
    #[must_use]
    pub unsafe fn zero() -> Self {
        let uart = Self { base: 0x4000_4000 as *mut u32 };
        uart.write_register(DIVIDER, 16);
        uart.write_register(CONTROL, 0b11);
        uart
    }

    fn read_register(&self, index: usize) -> u32 {
        // Safety: `base` is a UART's and the index one of its registers.
        unsafe { self.base.add(index).read_volatile() }
    }

    fn write_register(&self, index: usize, value: u32) {
        // Safety: as above.
        unsafe { self.base.add(index).write_volatile(value) }
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.read_register(STATE) & RECEIVE_FULL != 0)
    }
}

impl WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.read_register(STATE) & TRANSMIT_FULL == 0)
    }
}

impl Read for Uart {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let Some(slot) = out.first_mut() else { return Ok(0) };
        while !self.read_ready()? {}
        *slot = self.read_register(DATA) as u8;
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let Some(&byte) = bytes.first() else { return Ok(0) };
        while !self.write_ready()? {}
        self.write_register(DATA, u32::from(byte));
        Ok(1)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while !self.write_ready()? {}
        Ok(())
    }
}

/// The clock beside the port.
#[derive(Clone, Copy, Debug)]
pub struct SysTick;

impl Clock for SysTick {
    fn milliseconds(&mut self) -> u32 {
        clock::milliseconds()
    }
}
