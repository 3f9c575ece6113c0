//! Flash that the emulated boards do not have: a file in the emulator's folder, which outlives resets and the
//! emulator.

use core::ffi::CStr;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use semihosting::fs::File;
use semihosting::io::{Read, Seek, SeekFrom, Write};

/// The file. Whoever provisions the board makes it, [`SIZE`] bytes of 0xff.
pub const PATH: &CStr = c"flash";
/// Bytes of the whole flash: the counter's region.
pub const SIZE: u32 = 3 * PAGE;
/// Bytes that are erased together, as on small microcontrollers.
const PAGE: u32 = 4096;

/// The emulator's host failed, or the file is not there.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub struct HostFailed;

impl NorFlashError for HostFailed {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// The flash.
#[derive(Debug)]
pub struct Flash(File);

impl Flash {
    /// Opens the file.
    ///
    /// # Errors
    /// It is not there: a board without its flash does not begin anew.
    pub fn open() -> Result<Self, HostFailed> {
        File::options().read(true).write(true).open(PATH).map(Self).map_err(|_| HostFailed)
    }

    fn seek(&mut self, offset: u32) -> Result<(), HostFailed> {
        self.0.seek(SeekFrom::Start(u64::from(offset))).map(|_| ()).map_err(|_| HostFailed)
    }
}

impl ErrorType for Flash {
    type Error = HostFailed;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), HostFailed> {
        self.seek(offset)?;
        self.0.read_exact(bytes).map_err(|_| HostFailed)
    }

    fn capacity(&self) -> usize {
        SIZE as usize
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), HostFailed> {
        self.seek(from)?;
        for _ in from / 64..to / 64 {
            self.0.write_all(&[0xff; 64]).map_err(|_| HostFailed)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), HostFailed> {
        self.seek(offset)?;
        self.0.write_all(bytes).map_err(|_| HostFailed)
    }
}
