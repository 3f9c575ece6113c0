//! The counter that never goes back: each number names one inference, and no number is ever accepted twice.
//!
//! Masks follow from the seed and the counter. A counter that went back, by a lost write, a restored flash or a power cut, would use
//! masks twice and show P1 the difference of two pictures.

/// The memory of the counter failed. The inference that asked for it does not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CounterError {
    /// It could not be read.
    #[error("the counter cannot be read: a board without its counter never resumes, deal a new pairing")]
    Read,
    /// It could not be written, or does not read back as written.
    #[error("the counter could not be written")]
    Write,
    /// The last number has been used.
    #[error("every number of the counter has been used: deal a new pairing")]
    Spent,
}

/// Where a board keeps its counter.
///
/// # Contract
/// [`CounterStore::burn`] returns only when the new value is durable: a cut of power at any moment before leaves the old value or the
/// new one, at any moment after the new one. The value never falls, over any number of resets.
pub trait CounterStore {
    /// The lowest number that may still be accepted.
    ///
    /// # Errors
    /// The memory failed. Never a guess.
    fn next(&mut self) -> Result<u64, CounterError>;

    /// Makes `next` the lowest number that may still be accepted; a lower one than the kept is refused.
    ///
    /// # Errors
    /// The memory failed; what is kept is then the old value or the new one.
    fn store(&mut self, next: u64) -> Result<(), CounterError>;

    /// Burns `counter`: from when this returns, no number up to it is ever accepted.
    ///
    /// # Errors
    /// The memory failed, or the counter has been burned before.
    fn burn(&mut self, counter: u64) -> Result<(), CounterError> {
        let next = counter.checked_add(1).ok_or(CounterError::Spent)?;
        if next <= self.next()? {
            return Err(CounterError::Write);
        }
        self.store(next)?;
        if self.next()? == next { Ok(()) } else { Err(CounterError::Write) }
    }
}

/// Bytes of a slot: the number, and a check that it was written whole and for this purpose.
pub const SLOT: usize = 16;

/// Memory of two records that are written whole or not at all, or at least never both at once.
pub trait Slots {
    /// Reads slot 0 or 1; anything where it was never written.
    ///
    /// # Errors
    /// The memory failed.
    fn read(&mut self, slot: usize) -> Result<[u8; SLOT], CounterError>;

    /// Writes slot 0 or 1 durably.
    ///
    /// # Errors
    /// The memory failed.
    fn write(&mut self, slot: usize, record: &[u8; SLOT]) -> Result<(), CounterError>;
}

/// A counter in two slots, written in turn: whatever happens while one is written, the other holds the value before.
#[derive(Debug)]
pub struct TwoSlots<S> {
    slots: S,
    owner: [u8; 16],
}

impl<S: Slots> TwoSlots<S> {
    /// The counter of `owner`, a pairing's identifier or another name: records of others do not count.
    pub const fn new(slots: S, owner: [u8; 16]) -> Self {
        Self { slots, owner }
    }

    /// The record that holds `next`. A board is provisioned with that of 0 in slot 0, once.
    #[must_use]
    pub fn record(owner: &[u8; 16], next: u64) -> [u8; SLOT] {
        let mut hasher = blake3::Hasher::new_derive_key("halfnet 1 counter of a board");
        hasher.update(owner).update(&next.to_le_bytes());
        let mut record = [0; SLOT];
        let (value, check) = record.split_at_mut(8);
        value.copy_from_slice(&next.to_le_bytes());
        hasher.finalize_xof().fill(check);
        record
    }

    fn value(&mut self, slot: usize) -> Result<Option<u64>, CounterError> {
        let record = self.slots.read(slot)?;
        let next = record.first_chunk().map_or(0, |value| u64::from_le_bytes(*value));
        Ok((Self::record(&self.owner, next) == record).then_some(next))
    }
}

impl<S: Slots> CounterStore for TwoSlots<S> {
    fn next(&mut self) -> Result<u64, CounterError> {
        // No valid slot is a board that lost its counter, or never had one: it must not begin at 0 again.
        self.value(0)?.max(self.value(1)?).ok_or(CounterError::Read)
    }

    fn store(&mut self, next: u64) -> Result<(), CounterError> {
        let values = [self.value(0)?, self.value(1)?];
        if values.iter().flatten().any(|&kept| kept >= next) {
            return Err(CounterError::Write);
        }
        // Over the lower one, or one that is none.
        let slot = usize::from(values[1] < values[0]);
        self.slots.write(slot, &Self::record(&self.owner, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: [u8; 16] = [9; 16];

    /// Power fails after `left` more bytes.
    #[derive(Clone)]
    struct Cut {
        slots: [[u8; SLOT]; 2],
        left: usize,
    }

    impl Slots for &mut Cut {
        fn read(&mut self, slot: usize) -> Result<[u8; SLOT], CounterError> {
            Ok(self.slots[slot])
        }

        fn write(&mut self, slot: usize, record: &[u8; SLOT]) -> Result<(), CounterError> {
            for (at, byte) in record.iter().enumerate() {
                self.left = self.left.checked_sub(1).ok_or(CounterError::Write)?;
                self.slots[slot][at] = *byte;
            }
            Ok(())
        }
    }

    #[test]
    fn no_counter_is_accepted_twice_wherever_power_fails() {
        for cut in 0..12 * SLOT {
            let mut memory = Cut { slots: [TwoSlots::<&mut Cut>::record(&OWNER, 0), [0xff; SLOT]], left: cut };
            let mut accepted = std::vec::Vec::new();
            // Every boot takes counters until power fails; from the second on it lasts.
            for _ in 0..3 {
                for _ in 0..4 {
                    let mut counter = TwoSlots::new(&mut memory, OWNER);
                    let next = counter.next().expect("a slot is always whole");
                    // What was being written when power failed may be burned unused, never the other way round.
                    if counter.burn(next).is_err() {
                        break;
                    }
                    assert!(!accepted.contains(&next), "{next} twice, cut at byte {cut}");
                    accepted.push(next);
                }
                memory.left = usize::MAX;
            }
            assert!(accepted.len() >= 8 && accepted.is_sorted());
        }
    }

    #[test]
    fn a_lost_counter_or_that_of_another_pairing_is_an_error() {
        let mut memory = Cut { slots: [TwoSlots::<&mut Cut>::record(&[8; 16], 3), [0; SLOT]], left: usize::MAX };
        assert_eq!(TwoSlots::new(&mut memory, OWNER).next(), Err(CounterError::Read));
    }

    struct Kept {
        value: u64,
        broken: bool,
    }

    impl CounterStore for Kept {
        fn next(&mut self) -> Result<u64, CounterError> {
            Ok(self.value)
        }

        fn store(&mut self, next: u64) -> Result<(), CounterError> {
            if !self.broken {
                self.value = next;
            }
            Ok(())
        }
    }

    #[test]
    fn burns_upwards_only() {
        let mut kept = Kept { value: 5, broken: false };
        assert_eq!(kept.burn(4), Err(CounterError::Write));
        assert_eq!(kept.burn(9), Ok(()));
        assert_eq!(kept.next(), Ok(10));
        assert_eq!(kept.burn(9), Err(CounterError::Write));
        assert_eq!(kept.burn(u64::MAX), Err(CounterError::Spent));
    }

    #[test]
    fn notices_a_write_that_did_not_happen() {
        let mut kept = Kept { value: 5, broken: true };
        assert_eq!(kept.burn(5), Err(CounterError::Write));
    }
}
