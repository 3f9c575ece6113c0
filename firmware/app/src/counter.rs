//! The counter as the party sees it, and the one in flash behind it.

use embedded_storage_async::nor_flash::NorFlash;
use halfnet_counter::{Counter, wait};

/// The memory of the counter failed. The inference that asked for it does not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CounterError {
    /// It could not be written, or the counter is burned already.
    #[error("the counter could not be burned")]
    Burn,
    /// What is kept is not what was burned.
    #[error("the counter does not read back as it was burned")]
    Kept,
}

/// Where a board keeps its counter.
///
/// # Contract
/// [`CounterStore::burn`] returns only when the new value is durable: a cut of power at any moment before
/// leaves the old value or the new one, at any moment after the new one. The value never falls, over any
/// number of resets.
pub trait CounterStore {
    /// The lowest counter that may still be accepted.
    fn next(&self) -> u64;

    /// Burns `counter` and all below it.
    ///
    /// # Errors
    /// The memory failed, or the counter is burned.
    fn burn(&mut self, counter: u64) -> Result<(), CounterError>;
}

/// A counter in flash; `floor` is where the board took over.
#[derive(Debug)]
pub struct FlashCounter<S: NorFlash> {
    counter: Counter<S>,
    floor: u64,
}

impl<S: NorFlash> FlashCounter<S> {
    /// The counter of a board that was provisioned with `floor` as its next.
    pub const fn new(counter: Counter<S>, floor: u64) -> Self {
        Self { counter, floor }
    }
}

impl<S: NorFlash> CounterStore for FlashCounter<S> {
    fn next(&self) -> u64 {
        self.counter.next().max(self.floor)
    }

    fn burn(&mut self, counter: u64) -> Result<(), CounterError> {
        if counter < self.floor {
            return Err(CounterError::Burn);
        }
        wait(self.counter.burn(counter)).map_err(|_| CounterError::Burn)
    }
}
