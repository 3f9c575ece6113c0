//! The seed party's counter in flash: it never goes back, whatever is cut off at whatever moment.
//!
//! A mask that is used twice shows the difference of what it masked, so P0 writes down the counter of an
//! inference before it says that it takes part. [`Counter::burn`] returns when that is so. A region of flash
//! holds [`Record`]s, written one behind the other by [`sequential_storage`], which closes full pages and
//! erases them in a ring. On top of it this crate holds four rules:
//!
//! * **The highest record counts**, not the last: what a torn erase leaves of older records cannot take the
//!   counter back.
//! * **Every record is written twice**, so that one that rots is not missed.
//! * **Three pages or more.** While a page is erased, the newest records lie in neither it nor the one that
//!   its records move to.
//! * **An erase that was cut is finished first**: a page that looks empty at both ends but is not gets erased
//!   before it is written.
//!
//! Records carry the pairing. A region that served other pairings keeps, as long as its pages do, where they
//! stood: flashing an old material again does not start it anew. A region that was erased as a whole knows
//! nothing, and no software can tell that it was; whoever erases it must provision a new pairing.
//!
//! There is no executor: [`wait`] polls a future to its end. [`Blocking`] makes flash whose driver waits fit.
//!
//! Nothing here panics on what flash holds.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod flash;
mod pages;
mod record;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use core::ops::Range;

use embedded_storage_async::nor_flash::NorFlash;
use sequential_storage::Error;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};
use thiserror::Error;

pub use flash::{Blocking, wait};
pub use record::{Pairing, Record};

/// Pages that a region has at least.
pub const PAGES: usize = 3;
/// Records of one value that are in flash before a burn returns.
const COPIES: usize = 2;

/// Why a counter could not be opened or burned. Nothing may be sent then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CounterError<E> {
    /// The driver.
    #[error("the flash failed: {0:?}")]
    Flash(E),
    /// The region.
    #[error("the region must be whole pages of the flash, at least {PAGES}")]
    Region,
    /// The counter is burned, and so are all below.
    #[error("counter {counter} is burned: the next is {next}")]
    Burned {
        /// The counter.
        counter: u64,
        /// The lowest that is not.
        next: u64,
    },
    /// No counter is left, or no boot.
    #[error("the last counter is burned: provision a new pairing")]
    Spent,
    /// Records were there and none can be read: going on could use a mask twice.
    #[error("the records are lost: erase the region and provision a new pairing")]
    Lost,
    /// What lies there is not a counter's, or is damaged beyond what a cut can do.
    #[error(
        "the region holds something else than a counter, or is damaged: erase it and provision a new pairing"
    )]
    Damaged,
    /// Too many pairings.
    #[error("the region is full of other pairings: erase it and provision a new pairing")]
    Full,
}

impl<E> From<Error<E>> for CounterError<E> {
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Storage { value } => Self::Flash(value),
            Error::FullStorage => Self::Full,
            _ => Self::Damaged,
        }
    }
}

/// Room for a pairing and a record, aligned as any flash asks for.
#[repr(align(32))]
struct Buffer([u8; 64]);

impl Buffer {
    const fn new() -> Self {
        Self([0; 64])
    }
}

/// The counter of one pairing.
pub struct Counter<S: NorFlash> {
    storage: MapStorage<Pairing, S, Cache<Uncached, Uncached, Uncached, Pairing>>,
    pairing: Pairing,
    record: Record,
}

impl<S: NorFlash> core::fmt::Debug for Counter<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Counter({:?})", self.record)
    }
}

impl<S: NorFlash> Counter<S> {
    /// Opens the counter of `pairing` in `region`, whole pages of `flash`; what a cut left behind is put in
    /// order.
    ///
    /// A pairing that the region never saw begins at 0.
    ///
    /// # Errors
    /// See [`CounterError`].
    pub async fn open(
        mut flash: S,
        region: Range<u32>,
        pairing: Pairing,
    ) -> Result<Self, CounterError<S::Error>> {
        let size = region.end.checked_sub(region.start).ok_or(CounterError::Region)?;
        if (size as usize) < PAGES * S::ERASE_SIZE || region.end as usize > flash.capacity() {
            return Err(CounterError::Region);
        }
        let config = MapConfig::<S>::try_new(region.clone()).map_err(|_| CounterError::Region)?;
        let closed = pages::finish_erases(&mut flash, region).await.map_err(CounterError::Flash)?;
        let mut counter = Self {
            storage: MapStorage::new(flash, config, Cache::new_uncached()),
            pairing,
            record: Record::default(),
        };
        let (records, copies) = counter.read().await?;
        if records == 0 && closed {
            return Err(CounterError::Lost);
        }
        // A cut, or rot, left fewer than there should be.
        if copies > 0 {
            for _ in copies..COPIES {
                counter.store(counter.record).await?;
            }
        }
        Ok(counter)
    }

    /// Reads the highest record of the pairing; records of any pairing, and those that say the same as the
    /// highest.
    async fn read(&mut self) -> Result<(usize, usize), CounterError<S::Error>> {
        let (mut records, mut copies) = (0, 0);
        let mut buffer = Buffer::new();
        let mut items = self.storage.fetch_all_items(&mut buffer.0).await?;
        while let Some((pairing, bytes)) = items.next::<[u8; record::BYTES]>(&mut buffer.0).await? {
            records += 1;
            if pairing == self.pairing {
                let found = Record::decode(bytes);
                let highest = self.record.highest(found);
                copies = if highest == self.record { copies } else { 0 } + usize::from(found == highest);
                self.record = highest;
            }
        }
        Ok((records, copies))
    }

    async fn store(&mut self, record: Record) -> Result<(), CounterError<S::Error>> {
        Ok(self.storage.store_item(&mut Buffer::new().0, &self.pairing, &record.encode()).await?)
    }

    async fn write(&mut self, record: Record) -> Result<(), CounterError<S::Error>> {
        for _ in 0..COPIES {
            self.store(record).await?;
        }
        self.record = record;
        Ok(())
    }

    /// The next counter that may be accepted; all below are burned.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.record.next
    }

    /// Boots burned so far.
    #[must_use]
    pub const fn boots(&self) -> u32 {
        self.record.boots
    }

    /// Burns `counter` and all below it: when this returns, [`Counter::next`] is `counter` + 1, in flash.
    ///
    /// # Errors
    /// It is burned already, or flash failed; whether it is burned then, the next [`Counter::open`] says.
    pub async fn burn(&mut self, counter: u64) -> Result<(), CounterError<S::Error>> {
        let next = self.record.next;
        if counter < next {
            return Err(CounterError::Burned { counter, next });
        }
        let next = counter.checked_add(1).ok_or(CounterError::Spent)?;
        self.write(Record { next, ..self.record }).await
    }

    /// Counts a boot: the number is in flash when this returns, and no boot gets the same. Where there is no
    /// random generator, a nonce that must never repeat is derived from it.
    ///
    /// # Errors
    /// Flash failed, or there were 2³² − 1 boots.
    pub async fn boot(&mut self) -> Result<u32, CounterError<S::Error>> {
        let boots = self.record.boots.checked_add(1).ok_or(CounterError::Spent)?;
        self.write(Record { boots, ..self.record }).await?;
        Ok(boots)
    }

    /// Gives the flash back.
    #[must_use]
    pub fn close(self) -> S {
        self.storage.destroy().0
    }
}
