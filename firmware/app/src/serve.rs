//! What every board does: open the counter, ask picture after picture, say what became of each.

use core::ops::Range;

use embedded_storage_async::nor_flash::NorFlash;
use halfnet_core::board::Board;
use halfnet_counter::{Counter, wait};

use crate::counter::{CounterStore, FlashCounter};
use crate::fault::Fault;
use crate::link::Link;
use crate::memory::Memory;
use crate::nonce;
use crate::party::{Failure, Outcome, SeedParty};

/// Where the nonces of the handshake come from.
#[derive(Clone, Copy)]
pub enum Entropy<'e> {
    /// A random generator's bytes of this boot.
    Random([u8; 32]),
    /// No random generator: the seed and the number of the boot alone.
    None,
    /// A host's P0 under this test seed. Insecure, for comparing the two byte by byte.
    InsecureTest(&'e [u8]),
}

impl core::fmt::Debug for Entropy<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// Why a board does not begin to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StartError<E> {
    /// The counter's flash.
    #[error("the counter: {0}")]
    Counter(halfnet_counter::CounterError<E>),
    /// The memory lent or the material.
    #[error(transparent)]
    Fault(Fault),
    /// A board asks pictures of its own.
    #[error("the material has no picture to ask")]
    Pictures,
}

impl<E> StartError<E> {
    /// The number of the fault, as [`Fault::code`] gives it.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Counter(_) => 310,
            Self::Fault(fault) => fault.code(),
            Self::Pictures => 503,
        }
    }
}

/// A board that began.
#[derive(Debug)]
pub struct Started<'a, F: NorFlash> {
    /// Its party.
    pub party: SeedParty<'a, FlashCounter<F>>,
    /// The number of the boot, which no other has had.
    pub boot: u32,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A picture was answered.
    Answer {
        /// Which.
        picture: usize,
        /// The answer.
        outcome: Outcome,
    },
    /// The inference ended early; its picture is asked again under the next counter.
    Fault(Failure),
}

/// Opens the counter in `region` of `flash`, burns a boot and makes the party. A peer that moves no byte for
/// `timeout` milliseconds counts as gone.
///
/// # Errors
/// See [`StartError`].
pub fn start<'a, F: NorFlash>(
    board: &'a Board<'a>,
    flash: F,
    region: Range<u32>,
    entropy: Entropy<'_>,
    memory: Memory<'a>,
    timeout: u32,
) -> Result<Started<'a, F>, StartError<F::Error>> {
    if board.pictures().len() == 0 {
        return Err(StartError::Pictures);
    }
    let mut counter =
        wait(Counter::open(flash, region, board.agreement.pairing)).map_err(StartError::Counter)?;
    let boot = wait(counter.boot()).map_err(StartError::Counter)?;
    let nonces = match entropy {
        Entropy::Random(bytes) => nonce::with_entropy(&board.seed, boot.into(), &bytes),
        Entropy::None => nonce::of_boot(&board.seed, boot.into()),
        Entropy::InsecureTest(seed) => nonce::insecure_test(seed),
    };
    let party = SeedParty::new(board, FlashCounter::new(counter, board.next), nonces, memory, timeout)
        .map_err(StartError::Fault)?;
    Ok(Started { party, boot })
}

/// Asks every picture of `board` until it is answered, and tells of each proposal what became of it.
pub fn ask(
    party: &mut SeedParty<'_, impl CounterStore>,
    link: &mut impl Link,
    board: &Board<'_>,
    tell: &mut impl FnMut(&Event),
) {
    for (index, picture) in board.pictures().enumerate() {
        loop {
            let mut picture = picture;
            match party.infer(link, &mut picture) {
                Ok(outcome) => {
                    tell(&Event::Answer { picture: index, outcome });
                    break;
                }
                Err(failure) => tell(&Event::Fault(failure)),
            }
        }
    }
}

/// A board's whole life: opens everything, and asks its pictures over and over, as often as P1 proposes. What
/// keeps it from beginning is logged, and then it does nothing.
#[cfg(feature = "defmt")]
pub fn forever<F: NorFlash<Error: defmt::Format>>(
    blob: &[u8],
    flash: F,
    region: Range<u32>,
    entropy: Entropy<'_>,
    memory: Memory<'_>,
    timeout: u32,
    link: &mut impl Link,
) -> ! {
    match Board::decode(blob) {
        Ok(board) => match start(&board, flash, region, entropy, memory, timeout) {
            Ok(Started { mut party, boot }) => {
                log_waiting(boot, &board);
                loop {
                    ask(&mut party, link, &board, &mut log);
                }
            }
            Err(error) => log_start(&error),
        },
        Err(error) => log_material(&error),
    }
    loop {
        link.idle();
    }
}

/// Logs that a board waits for proposals.
#[cfg(feature = "defmt")]
pub fn log_waiting(boot: u32, board: &Board<'_>) {
    defmt::info!("boot {=u32}, waiting, {=usize} pictures", boot, board.pictures().len());
}

/// Logs what became of a proposal.
#[cfg(feature = "defmt")]
pub fn log(event: &Event) {
    match event {
        Event::Answer { picture, outcome } => {
            let [sent, received] = outcome.moved;
            defmt::info!(
                "picture {=usize} counter {=u64}: answer {=[?]}, {=u32} bytes sent, {=u32} received, {=u32} rounds",
                *picture,
                outcome.counter,
                outcome.answer(),
                sent,
                received,
                outcome.rounds
            );
        }
        Event::Fault(failure) => defmt::error!("fault {=u16}: {}", failure.fault.code(), failure),
    }
}

/// Logs why a board does not begin to serve.
#[cfg(feature = "defmt")]
pub fn log_start<E: defmt::Format>(error: &StartError<E>) {
    defmt::error!("fault {=u16}: {}", error.code(), error);
}

/// Logs why a board's material is refused.
#[cfg(feature = "defmt")]
pub fn log_material(error: &halfnet_core::board::BoardError) {
    defmt::error!("fault 504: the board's material is refused: {}", error);
}

#[cfg(test)]
mod tests;
