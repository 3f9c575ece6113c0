//! The SMSC LAN9118 Ethernet controller (on the real board its register-compatible successor LAN9220),
//! polled.
//!
//! Frames go through two FIFOs that are read and written in 32-bit words, little-endian. A frame to send is
//! preceded by two command words; one that came, by a status word with its length, in a FIFO of its own.
//! Behind its bytes stands its checksum.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use cortex_m::interrupt::{CriticalSection, InterruptNumber};
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;
use halfnet_firmware::tcp::Adapter;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Bytes of the longest frame without its checksum.
pub const FRAME: usize = 1514;
/// Words that hold it and its checksum.
pub const WORDS: usize = (FRAME + CHECKSUM).div_ceil(4);
const CHECKSUM: usize = 4;

/// What the FIFO of frames that came holds, in bytes, as the controller divides its memory after a reset.
pub const RECEIVE_FIFO: usize = 10_560;

// Registers, in words from the base.
const RX_DATA: usize = 0;
const TX_DATA: usize = 0x20 / 4;
const RX_STATUS: usize = 0x40 / 4;
const TX_STATUS: usize = 0x48 / 4;
const IDENTITY: usize = 0x50 / 4;
const IRQ_CONFIG: usize = 0x54 / 4;
const INTERRUPTS: usize = 0x58 / 4;
const INTERRUPT_ENABLE: usize = 0x5c / 4;
const BYTE_TEST: usize = 0x64 / 4;
const FIFO_LEVELS: usize = 0x68 / 4;
const RX_CONFIG: usize = 0x6c / 4;
const TX_CONFIG: usize = 0x70 / 4;
const HARDWARE_CONFIG: usize = 0x74 / 4;
const RX_FIFO: usize = 0x7c / 4;
const TX_FIFO: usize = 0x80 / 4;
const POWER: usize = 0x84 / 4;
const MAC_COMMAND: usize = 0xa4 / 4;
const MAC_DATA: usize = 0xa8 / 4;
const EEPROM_COMMAND: usize = 0xb0 / 4;

// Registers of the part that speaks Ethernet, reached through two of those above.
const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
const MAC_PHY_ACCESS: u32 = 6;
const MAC_PHY_DATA: u32 = 7;

/// What an idle line reads as once the controller is awake.
const BYTE_TEST_PATTERN: u32 = 0x8765_4321;
const BUSY: u32 = 1 << 31;
const READ: u32 = 1 << 30;
const SOFT_RESET: u32 = 1;
const AWAKE: u32 = 1;
const MUST_BE_ONE: u32 = 1 << 20;
/// Five sixteenths of the memory for frames to send: the value after a reset.
const TX_SHARE: u32 = 5 << 16;
const TX_ON: u32 = 1 << 1;
const MAC_FULL_DUPLEX: u32 = 1 << 20;
const MAC_TX_ON: u32 = 1 << 3;
const MAC_RX_ON: u32 = 1 << 2;
/// Of a status: the frame is damaged.
const RX_ERROR: u32 = 1 << 15;
/// Of a command: the first and the last part of a frame.
const WHOLE: u32 = 0b11 << 12;
/// The interrupt line drives its pin, active high, and is on.
const LINE: u32 = 1 << 8 | 1 << 4 | 1;
/// More frames came than the level says, which is 0.
const FRAME_CAME: u32 = 1 << 3;
const PHY: u32 = 1 << 11;
const PHY_BUSY: u32 = 1;
const PHY_WRITE: u32 = 1 << 1;
const PHY_CONTROL: u32 = 0;
const PHY_STATUS: u32 = 1;
/// Negotiate, and begin anew.
const PHY_NEGOTIATE: u32 = 1 << 12 | 1 << 9;
const PHY_LINK: u32 = 1 << 2;

/// Looks at a register before the controller is taken for dead.
const LOOKS: u32 = 1_000_000;

/// The number of the controller's interrupt on both boards.
const INTERRUPT: u16 = 13;

/// The controller's interrupt.
#[derive(Clone, Copy)]
struct Line;

// Safety: both boards have the controller at this number.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        INTERRUPT
    }
}

/// Where the controller is, for the interrupt; 0 before it is started.
static BASE: AtomicUsize = AtomicUsize::new(0);

/// The controller's interrupt only wakes the processor: what came is fetched by whoever slept. There is no
/// other.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    let base = BASE.load(Ordering::Relaxed);
    if base == 0 || number != INTERRUPT as i16 {
        panic!("interrupt {number}, which nobody expects");
    }
    Registers(base as *mut u32).write(INTERRUPT_ENABLE, 0);
}

/// No controller answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent;

/// The registers.
#[derive(Clone, Copy, Debug)]
struct Registers(*mut u32);

impl Registers {
    fn read(self, index: usize) -> u32 {
        // Safety: the base is the controller's and the index one of its registers.
        unsafe { self.0.add(index).read_volatile() }
    }

    fn write(self, index: usize, value: u32) {
        // Safety: as above.
        unsafe { self.0.add(index).write_volatile(value) }
    }

    fn wait(self, index: usize, is_so: impl Fn(u32) -> bool) -> Result<(), Absent> {
        (0..LOOKS).any(|_| is_so(self.read(index))).then_some(()).ok_or(Absent)
    }

    fn mac_read(self, index: u32) -> Result<u32, Absent> {
        self.write(MAC_COMMAND, BUSY | READ | index);
        self.wait(MAC_COMMAND, |value| value & BUSY == 0)?;
        Ok(self.read(MAC_DATA))
    }

    fn mac_write(self, index: u32, value: u32) -> Result<(), Absent> {
        self.write(MAC_DATA, value);
        self.write(MAC_COMMAND, BUSY | index);
        self.wait(MAC_COMMAND, |value| value & BUSY == 0)
    }

    fn phy(self, access: u32) -> Result<(), Absent> {
        self.mac_write(MAC_PHY_ACCESS, PHY | access | PHY_BUSY)?;
        for _ in 0..LOOKS {
            if self.mac_read(MAC_PHY_ACCESS)? & PHY_BUSY == 0 {
                return Ok(());
            }
        }
        Err(Absent)
    }

    fn phy_read(self, index: u32) -> Result<u32, Absent> {
        self.phy(index << 6)?;
        self.mac_read(MAC_PHY_DATA)
    }

    fn phy_write(self, index: u32, value: u32) -> Result<(), Absent> {
        self.mac_write(MAC_PHY_DATA, value)?;
        self.phy(index << 6 | PHY_WRITE)
    }
}

/// The controller.
#[derive(Debug)]
pub struct Lan9118 {
    registers: Registers,
    address: [u8; 6],
    received: &'static mut [u32; WORDS],
    sent: &'static mut [u32; WORDS],
    /// Damaged frames, and those too long for the buffer.
    dropped: Cell<u32>,
}

impl Lan9118 {
    /// Starts the controller of the machine that this runs on; a frame in each direction is kept in
    /// `received` and `sent`.
    ///
    /// # Errors
    /// None answers.
    ///
    /// # Safety
    /// Called once: two owners would take each other's frames.
    pub unsafe fn start(
        received: &'static mut [u32; WORDS],
        sent: &'static mut [u32; WORDS],
    ) -> Result<Self, Absent> {
        let base: usize = if crate::is_cortex_m7() { 0xa000_0000 } else { 0x4020_0000 };
        let registers = Registers(base as *mut u32);
        // Writing wakes it.
        registers.write(BYTE_TEST, 0);
        registers.wait(BYTE_TEST, |value| value == BYTE_TEST_PATTERN)?;
        if !matches!(registers.read(IDENTITY) >> 16, 0x0118 | 0x9220) {
            return Err(Absent);
        }
        registers.write(HARDWARE_CONFIG, SOFT_RESET);
        registers.wait(HARDWARE_CONFIG, |value| value & SOFT_RESET == 0)?;
        registers.wait(POWER, |value| value & AWAKE != 0)?;
        // It reads its address from its memory.
        registers.wait(EEPROM_COMMAND, |value| value & BUSY == 0)?;
        registers.write(HARDWARE_CONFIG, MUST_BE_ONE | TX_SHARE);
        registers.write(RX_CONFIG, 0);
        registers.write(INTERRUPT_ENABLE, 0);
        registers.write(INTERRUPTS, u32::MAX);
        registers.write(FIFO_LEVELS, 0);
        registers.write(IRQ_CONFIG, LINE);
        registers.phy_write(PHY_CONTROL, PHY_NEGOTIATE)?;
        registers.mac_write(MAC_CONTROL, MAC_FULL_DUPLEX | MAC_TX_ON | MAC_RX_ON)?;
        registers.write(TX_CONFIG, TX_ON);
        let [low, high] = [registers.mac_read(MAC_ADDRESS_LOW)?, registers.mac_read(MAC_ADDRESS_HIGH)?];
        let ([a, b, c, d], [e, f, ..]) = (low.to_le_bytes(), high.to_le_bytes());
        BASE.store(base, Ordering::Relaxed);
        // Safety: the handler touches one register, which `sleep` alone writes otherwise.
        unsafe { NVIC::unmask(Line) };
        Ok(Self { registers, address: [a, b, c, d, e, f], received, sent, dropped: Cell::new(0) })
    }

    /// Frames that came and were of no use.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped.get()
    }

    /// Fetches the next frame that is whole and undamaged into the buffer; its length.
    fn fetch(&mut self) -> Option<usize> {
        while self.registers.read(RX_FIFO) >> 16 & 0xff != 0 {
            let status = self.registers.read(RX_STATUS);
            let length = (status >> 16 & 0x3fff) as usize;
            let (words, kept) = (length.div_ceil(4), self.received.len());
            for slot in self.received.iter_mut().take(words) {
                *slot = self.registers.read(RX_DATA);
            }
            // Every word is taken: the controller's own skipping needs four of them at least.
            for _ in kept..words {
                self.registers.read(RX_DATA);
            }
            if status & RX_ERROR == 0 && words <= kept && length > CHECKSUM {
                return Some(length - CHECKSUM);
            }
            self.dropped.set(self.dropped.get().wrapping_add(1));
        }
        None
    }

    /// Is there room for a frame of any length?
    fn has_room(&self) -> bool {
        let state = self.registers.read(TX_FIFO);
        // What became of earlier frames interests nobody: TCP finds out.
        for _ in 0..state >> 16 & 0xff {
            self.registers.read(TX_STATUS);
        }
        (state & 0xffff) as usize >= 4 * WORDS + 8
    }
}

/// A frame that came.
#[derive(Debug)]
pub struct Received<'d>(&'d [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
#[derive(Debug)]
pub struct Room<'d> {
    registers: Registers,
    buffer: &'d mut [u32; WORDS],
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        // The stack asks for no more than the capabilities say.
        let length = length.min(FRAME);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(self.buffer);
        let result = f(bytes.get_mut(..length).unwrap_or(&mut []));
        self.registers.write(TX_DATA, WHOLE | length as u32);
        self.registers.write(TX_DATA, (length as u32) << 16 | length as u32);
        for word in self.buffer.iter().take(length.div_ceil(4)) {
            self.registers.write(TX_DATA, *word);
        }
        result
    }
}

impl Device for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Room<'_>)> {
        if !self.has_room() {
            return None;
        }
        let length = self.fetch()?;
        let bytes: &[u8] = bytemuck::cast_slice(&*self.received);
        Some((Received(bytes.get(..length)?), Room { registers: self.registers, buffer: self.sent }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        self.has_room().then_some(Room { registers: self.registers, buffer: self.sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

impl Adapter for Lan9118 {
    fn address(&mut self) -> [u8; 6] {
        self.address
    }

    fn is_up(&mut self) -> bool {
        // The bit for a link that was down stays until it is read: the second look is of now.
        let _ = self.registers.phy_read(PHY_STATUS);
        self.registers.phy_read(PHY_STATUS).is_ok_and(|status| status & PHY_LINK != 0)
    }

    fn sleep(&mut self) {
        // With interrupts held back they still wake the processor, and none is lost between the look and the
        // sleep.
        cortex_m::interrupt::free(|_: &CriticalSection| {
            self.registers.write(INTERRUPTS, FRAME_CAME);
            self.registers.write(INTERRUPT_ENABLE, FRAME_CAME);
            if self.registers.read(RX_FIFO) >> 16 & 0xff == 0 {
                cortex_m::asm::wfi();
            }
        });
    }
}
