//! The party: asks every picture in flash over whichever link its program opens.

use halfnet_core::board::Board;
use halfnet_counter::{Blocking, Counter, wait};
use halfnet_firmware::counter::FlashCounter;
use halfnet_firmware::link::Link;
use halfnet_firmware::memory::Memory;
use halfnet_firmware::nonce::Nonces;
use halfnet_firmware::party::SeedParty;
use static_cell::ConstStaticCell;

use crate::flash::{Flash, SIZE};
use crate::stack;

mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
}
pub use provisioned::TIMEOUT;
use provisioned::{ARENA, BLOB, CHANNEL, INCOMING, OUTGOING, ROUNDS, TEST_SEED};

static ARENA_WORDS: ConstStaticCell<[u64; ARENA]> = ConstStaticCell::new([0; ARENA]);
static CHANNEL_WORDS: ConstStaticCell<[u64; CHANNEL]> = ConstStaticCell::new([0; CHANNEL]);
static OUTGOING_BYTES: ConstStaticCell<[u8; OUTGOING]> = ConstStaticCell::new([0; OUTGOING]);
static INCOMING_BYTES: ConstStaticCell<[u8; INCOMING]> = ConstStaticCell::new([0; INCOMING]);

/// Asks every picture; says whether all were answered. `open` makes the link from a number that no other boot has had, `close` lets the
/// last bytes leave. `network`: bytes of statics that belong to the link.
pub fn serve<L: Link>(open: impl FnOnce(u64) -> Option<L>, close: impl FnOnce(L), network: usize) -> bool {
    let board = match Board::decode(BLOB) {
        Ok(board) => board,
        Err(error) => {
            defmt::error!("the board's material is refused: {}", error);
            return false;
        }
    };
    let Ok(flash) = Flash::open() else {
        defmt::error!("there is no flash: a file `flash` of {=u32} bytes 0xff in the emulator's folder", SIZE);
        return false;
    };
    let opened = wait(Counter::open(Blocking(flash), 0..SIZE, board.agreement.pairing));
    let (counter, boot) = match opened.and_then(|mut counter| wait(counter.boot()).map(|boot| (counter, boot))) {
        Ok(opened) => opened,
        Err(error) => {
            defmt::error!("the counter: {}", error);
            return false;
        }
    };
    let nonces = TEST_SEED.map_or_else(|| Nonces::new(&board.seed, u64::from(boot)), Nonces::insecure_test);
    let memory = Memory {
        arena: ARENA_WORDS.take(),
        channel: CHANNEL_WORDS.take(),
        outgoing: OUTGOING_BYTES.take(),
        incoming: INCOMING_BYTES.take(),
    };
    let mut party = match SeedParty::new(&board, FlashCounter::new(counter, board.next), nonces, memory, TIMEOUT) {
        Ok(party) => party,
        Err(fault) => {
            defmt::error!("fault {=u16}: {}", fault.code(), fault);
            return false;
        }
    };
    let fresh = board.seed.derive("halfnet 1 sequence numbers of a board", &[&boot.to_le_bytes()]);
    let fresh = fresh.expose().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let Some(mut link) = open(fresh) else { return false };
    defmt::info!("boot {=u32}, waiting, {=usize} pictures", boot, board.pictures().len());
    for _ in 0..ROUNDS {
        for (index, picture) in board.pictures().enumerate() {
            // A proposal that fails is no answer: the picture is asked again under the next counter.
            loop {
                let mut picture = picture;
                match party.infer(&mut link, &mut picture) {
                    Ok(outcome) => {
                        let [sent, received] = outcome.moved;
                        defmt::info!(
                            "picture {=usize} counter {=u64}: answer {=[?]}, {=u32} bytes sent, {=u32} received, {=u32} rounds",
                            index,
                            outcome.counter,
                            outcome.answer(),
                            sent,
                            received,
                            outcome.rounds
                        );
                        break;
                    }
                    Err(failure) => defmt::error!("fault {=u16}: {}", failure.fault.code(), failure),
                }
            }
        }
    }
    close(link);
    let (statics, stack) = (stack::statics(), stack::high_water());
    defmt::info!("statics {=usize} bytes, of them network {=usize}; stack at most {=usize} bytes", statics, network, stack);
    true
}
