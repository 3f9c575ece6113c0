//! The party: asks every picture in flash over whichever link its program opens.

use halfnet_core::board::Board;
use halfnet_counter::Blocking;
use halfnet_firmware::link::Link;
use halfnet_firmware::serve::{Entropy, Started, ask, log, log_material, log_start, log_waiting, start};

use crate::flash::{Flash, SIZE};
use crate::stack;

mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
}
use provisioned::{BLOB, ROUNDS, TEST_SEED, memory};

/// Milliseconds without a byte after which the host is taken for gone.
pub const TIMEOUT: u32 = provisioned::TIMEOUT;

/// Asks every picture; says whether all were answered. `open` makes the link from a number that no other boot
/// has had, `close` lets the last bytes leave. `network`: bytes of statics that belong to the link.
pub fn serve<L: Link>(open: impl FnOnce(u64) -> Option<L>, close: impl FnOnce(L), network: usize) -> bool {
    let board = match Board::decode(BLOB) {
        Ok(board) => board,
        Err(error) => {
            log_material(&error);
            return false;
        }
    };
    let Ok(flash) = Flash::open() else {
        defmt::error!(
            "there is no flash: a file `flash` of {=u32} bytes 0xff in the emulator's folder",
            SIZE
        );
        return false;
    };
    let entropy = TEST_SEED.map_or(Entropy::None, Entropy::InsecureTest);
    let Started { mut party, boot } =
        match start(&board, Blocking(flash), 0..SIZE, entropy, memory(), TIMEOUT) {
            Ok(started) => started,
            Err(error) => {
                log_start(&error);
                return false;
            }
        };
    let fresh = board.seed.derive("halfnet 1 sequence numbers of a board", &[&boot.to_le_bytes()]);
    let fresh = fresh.expose().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let Some(mut link) = open(fresh) else { return false };
    log_waiting(boot, &board);
    for _ in 0..ROUNDS {
        ask(&mut party, &mut link, &board, &mut log);
    }
    close(link);
    let (statics, stack) = (stack::statics(), stack::high_water());
    defmt::info!(
        "statics {=usize} bytes, of them network {=usize}; stack at most {=usize} bytes",
        statics,
        network,
        stack
    );
    true
}
