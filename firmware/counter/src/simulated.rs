//! NOR flash in memory, whose power can be cut at any byte.
//!
//! A word is written once between two erases, except that zeros may be written over anything. What a cut
//! leaves of the word at hand or of the page at hand is up to [`Torn`].

use std::vec::Vec;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// What a cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Torn {
    /// Bytes before the cut done, bytes behind it untouched.
    Sharp,
    /// The word that is written: any mixture of old and new bits. The page that is erased: by byte done,
    /// untouched or a mixture, from a generator of this seed.
    Blurred(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The power is gone.
    Cut,
    /// A word was written a second time, or an address was wrong.
    Misuse,
}

impl NorFlashError for Failure {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// Flash of pages of `PAGE` bytes and words of `WORD`.
#[derive(Clone, Debug)]
pub(crate) struct Flash<const PAGE: usize, const WORD: usize> {
    pub(crate) bytes: Vec<u8>,
    /// Erases by page.
    pub(crate) erases: Vec<u32>,
    /// Bytes that are written or erased before the power goes.
    pub(crate) left: u64,
    /// Bytes written or erased so far.
    pub(crate) done: u64,
    pub(crate) torn: Torn,
}

impl<const PAGE: usize, const WORD: usize> Flash<PAGE, WORD> {
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            bytes: std::vec![0xFF; pages * PAGE],
            erases: std::vec![0; pages],
            left: u64::MAX,
            done: 0,
            torn: Torn::Sharp,
        }
    }

    /// The same flash whose power goes after `left` more bytes.
    pub(crate) fn cut_after(&self, left: u64, torn: Torn) -> Self {
        Self { left, done: 0, torn, ..self.clone() }
    }

    /// The same flash with power again.
    pub(crate) fn powered(&self) -> Self {
        self.cut_after(u64::MAX, Torn::Sharp)
    }

    /// Takes a byte's worth of power.
    fn spend(&mut self) -> bool {
        let powered = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.done += u64::from(powered);
        powered
    }

    /// A byte that nobody foresees.
    fn noise(&mut self) -> u8 {
        let Torn::Blurred(seed) = &mut self.torn else { return 0 };
        // SplitMix64.
        *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = *seed;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) as u8
    }
}

impl<const PAGE: usize, const WORD: usize> ErrorType for Flash<PAGE, WORD> {
    type Error = Failure;
}

impl<const PAGE: usize, const WORD: usize> ReadNorFlash for Flash<PAGE, WORD> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failure> {
        if self.left == 0 {
            return Err(Failure::Cut);
        }
        let offset = offset as usize;
        bytes.copy_from_slice(self.bytes.get(offset..offset + bytes.len()).ok_or(Failure::Misuse)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const PAGE: usize, const WORD: usize> NorFlash for Flash<PAGE, WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failure> {
        let offset = offset as usize;
        if !offset.is_multiple_of(WORD)
            || !bytes.len().is_multiple_of(WORD)
            || offset + bytes.len() > self.bytes.len()
        {
            return Err(Failure::Misuse);
        }
        for (word, new) in bytes.chunks(WORD).enumerate() {
            let start = offset + word * WORD;
            let erased = self.bytes[start..start + WORD].iter().all(|&byte| byte == 0xFF);
            if !erased && new.iter().any(|&byte| byte != 0) {
                return Err(Failure::Misuse);
            }
            for (index, &byte) in new.iter().enumerate() {
                if self.spend() {
                    self.bytes[start + index] &= byte;
                    continue;
                }
                if self.torn != Torn::Sharp {
                    for (index, &byte) in new.iter().enumerate().skip(index) {
                        let noise = self.noise();
                        self.bytes[start + index] &= byte | noise;
                    }
                }
                return Err(Failure::Cut);
            }
        }
        Ok(())
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failure> {
        let (from, to) = (from as usize, to as usize);
        if !from.is_multiple_of(PAGE) || !to.is_multiple_of(PAGE) || to > self.bytes.len() {
            return Err(Failure::Misuse);
        }
        for page in from / PAGE..to / PAGE {
            self.erases[page] += 1;
            for at in page * PAGE..(page + 1) * PAGE {
                if self.spend() {
                    if self.torn == Torn::Sharp {
                        self.bytes[at] = 0xFF;
                    }
                    continue;
                }
                if self.torn != Torn::Sharp {
                    // All bytes at once, not in a row.
                    for at in page * PAGE..(page + 1) * PAGE {
                        match self.noise() % 3 {
                            0 => self.bytes[at] = 0xFF,
                            1 => self.bytes[at] |= self.noise(),
                            _ => {}
                        }
                    }
                }
                return Err(Failure::Cut);
            }
            self.bytes[page * PAGE..(page + 1) * PAGE].fill(0xFF);
        }
        Ok(())
    }
}
