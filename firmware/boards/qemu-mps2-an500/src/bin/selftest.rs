//! Every known answer of the core, on this processor. Ends with success only if all hold and every file has some.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use halfnet_qemu_mps2_an500::{clock, exit, stack};
use halfnet_vectors::{GATES, PRIMITIVES, REPLAY_HELD, REPLAY_SHARED, Scratch, Vector, check, read};
use static_cell::ConstStaticCell;

static ARENA: ConstStaticCell<[u64; 2048]> = ConstStaticCell::new([0; 2048]);
static CHANNEL: ConstStaticCell<[u64; 128]> = ConstStaticCell::new([0; 128]);
static FRAME: ConstStaticCell<[u8; 2048]> = ConstStaticCell::new([0; 2048]);

#[entry]
fn main() -> ! {
    stack::paint();
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
    let (arena, channel, frame) = (ARENA.take(), CHANNEL.take(), FRAME.take());
    let mut failed = 0_u32;
    for (name, file) in [("primitives", PRIMITIVES), ("gates", GATES), ("replay_shared", REPLAY_SHARED), ("replay_held", REPLAY_HELD)] {
        let (mut held, began) = (0_u32, clock::nanoseconds());
        for (index, vector) in read(file).enumerate() {
            let checked = vector.and_then(|vector: Vector<'_>| check(&vector, Scratch { arena, channel, frame }));
            match checked {
                Ok(()) => held += 1,
                Err(mismatch) => {
                    failed += 1;
                    defmt::error!("{=str}, vector {=usize}: {}", name, index, defmt::Display2Format(&mismatch));
                }
            }
        }
        let nanoseconds = clock::nanoseconds() - began;
        defmt::info!("{=str}: {=u32} known answers hold, {=u64} ns", name, held, nanoseconds);
        failed += u32::from(held == 0);
    }
    defmt::info!("statics {=usize} bytes, stack at most {=usize} bytes", stack::statics(), stack::high_water());
    exit(failed == 0)
}
