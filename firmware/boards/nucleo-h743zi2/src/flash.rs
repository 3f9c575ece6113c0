//! The flash under the counter, torn words included.
//!
//! The STM32H7 guards each 32-byte word by an error-correcting code. A word whose writing was cut answers a
//! read with a bus fault, which would end the board at every start. The counter's records carry checksums and
//! take any bytes for what a cut left, so here such a word reads as zeros.

use core::arch::asm;

use embassy_stm32::flash::{Blocking, Error, Flash};
use embassy_stm32::pac;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// Where the flash lies.
const BASE: u32 = 0x0800_0000;
/// Bytes of a word with a code of its own.
const WORD: u32 = 32;
/// `BFHFNMIGN` of the Configuration and Control Register: with faults masked, a bus fault of a load is
/// ignored.
const IGNORE_BUS_FAULTS: u32 = 1 << 8;
/// The Configuration and Control Register.
const CCR: *mut u32 = 0xE000_ED14 as *mut u32;

/// Flash whose torn words read as zeros.
pub(crate) struct Checked(Flash<'static, Blocking>);

impl Checked {
    /// The same flash.
    pub(crate) const fn new(flash: Flash<'static, Blocking>) -> Self {
        Self(flash)
    }
}

/// Forgets the errors of earlier reads; says whether a word could not be corrected. The driver takes an old
/// one for a failed write.
fn take_errors() -> bool {
    let mut torn = false;
    for bank in [pac::FLASH.bank(0), pac::FLASH.bank(1)] {
        torn |= bank.sr().read().dbeccerr();
        bank.ccr().write(|w| {
            w.set_clr_sneccerr(true);
            w.set_clr_dbeccerr(true);
        });
    }
    torn
}

/// The word at `offset`, a multiple of [`WORD`] below the flash's end.
fn word(offset: u32) -> [u8; WORD as usize] {
    let mut bytes = [0; WORD as usize];
    take_errors();
    // Safety: the address is in flash. With faults masked and bus faults ignored a load that fails gives any
    // value. No interrupt comes in between, and both settings are undone.
    unsafe {
        let before = CCR.read_volatile();
        asm!("cpsid f");
        CCR.write_volatile(before | IGNORE_BUS_FAULTS);
        asm!("dsb", "isb");
        let first = (BASE + offset) as *const u32;
        for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
            part.copy_from_slice(&first.add(index).read_volatile().to_le_bytes());
        }
        asm!("dsb", "isb");
        CCR.write_volatile(before);
        asm!("cpsie f");
    }
    if take_errors() { [0; WORD as usize] } else { bytes }
}

impl ErrorType for Checked {
    type Error = Error;
}

impl ReadNorFlash for Checked {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let end = (offset as usize).checked_add(bytes.len()).filter(|&end| end <= self.capacity());
        if end.is_none() {
            return Err(Error::Size);
        }
        let mut at = offset;
        let mut left = bytes;
        while !left.is_empty() {
            let word = word(at - at % WORD);
            let from = &word[(at % WORD) as usize..];
            let count = from.len().min(left.len());
            let (now, rest) = left.split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            at += count as u32;
            left = rest;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for Checked {
    const WRITE_SIZE: usize = <Flash<'static, Blocking> as NorFlash>::WRITE_SIZE;
    const ERASE_SIZE: usize = <Flash<'static, Blocking> as NorFlash>::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        take_errors();
        self.0.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        take_errors();
        self.0.write(offset, bytes)
    }
}
