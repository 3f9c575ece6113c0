//! P0 as its own client over UART0: asks every picture in flash, and ends with success only if all were answered.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use halfnet_core::board::Board;
use halfnet_counter::{Blocking, Counter, wait};
use halfnet_firmware::counter::FlashCounter;
use halfnet_firmware::link::Port;
use halfnet_firmware::memory::Memory;
use halfnet_firmware::nonce::Nonces;
use halfnet_firmware::party::SeedParty;
use halfnet_qemu_mps2_an500::flash::{Flash, SIZE};
use halfnet_qemu_mps2_an500::uart::{SysTick, Uart};
use halfnet_qemu_mps2_an500::{clock, exit, stack};
use static_cell::ConstStaticCell;

mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
}
use provisioned::{ARENA, BLOB, CHANNEL, INCOMING, OUTGOING, TEST_SEED};

static ARENA_WORDS: ConstStaticCell<[u64; ARENA]> = ConstStaticCell::new([0; ARENA]);
static CHANNEL_WORDS: ConstStaticCell<[u64; CHANNEL]> = ConstStaticCell::new([0; CHANNEL]);
static OUTGOING_BYTES: ConstStaticCell<[u8; OUTGOING]> = ConstStaticCell::new([0; OUTGOING]);
static INCOMING_BYTES: ConstStaticCell<[u8; INCOMING]> = ConstStaticCell::new([0; INCOMING]);

/// Milliseconds without a byte after which the host is taken for gone.
const TIMEOUT: u32 = 30_000;

#[entry]
fn main() -> ! {
    stack::paint();
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
    exit(serve())
}

/// Asks every picture; says whether all were answered.
fn serve() -> bool {
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
            defmt::error!("the counter: {}", defmt::Debug2Format(&error));
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
    // Safety: here alone, once.
    let mut link = Port::new(unsafe { Uart::zero() }, SysTick);
    defmt::info!("boot {=u32}, waiting, {=usize} pictures", boot, board.pictures().len());
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
    defmt::info!("statics {=usize} bytes, stack at most {=usize} bytes", stack::statics(), stack::high_water());
    true
}
