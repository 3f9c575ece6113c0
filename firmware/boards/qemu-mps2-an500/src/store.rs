//! Flash that the emulated boards do not have: two small files in the emulator's folder, which outlive resets and the emulator.

use core::ffi::CStr;

use halfnet_firmware::counter::{CounterError, SLOT, Slots};
use semihosting::fs::{self, File};
use semihosting::io::Read;

/// Two slots in two files.
#[derive(Clone, Copy, Debug)]
pub struct Files(pub [&'static CStr; 2]);

/// The party's counter.
pub const COUNTER: Files = Files([c"counter.0", c"counter.1"]);
/// The number of the boot.
pub const BOOT: Files = Files([c"boot.0", c"boot.1"]);

impl Slots for Files {
    fn read(&mut self, slot: usize) -> Result<[u8; SLOT], CounterError> {
        let mut record = [0; SLOT];
        let path = self.0.get(slot).ok_or(CounterError::Read)?;
        // A slot that was never written is none.
        if let Ok(mut file) = File::open(path) {
            let mut filled = 0;
            while let Some(rest @ [_, ..]) = record.get_mut(filled..) {
                match file.read(rest) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(_) => return Err(CounterError::Read),
                }
            }
        }
        Ok(record)
    }

    fn write(&mut self, slot: usize, record: &[u8; SLOT]) -> Result<(), CounterError> {
        let path = self.0.get(slot).ok_or(CounterError::Write)?;
        fs::write(path, record).map_err(|_| CounterError::Write)
    }
}
