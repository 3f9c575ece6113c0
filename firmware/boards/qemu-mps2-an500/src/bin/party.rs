//! P0 as its own client over UART0: asks every picture in flash, and ends with success only if all were answered.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use halfnet_firmware::counter::{CounterStore, TwoSlots};
use halfnet_firmware::link::Port;
use halfnet_firmware::material::Material;
use halfnet_firmware::nonce::Nonces;
use halfnet_firmware::party::{Memory, SeedParty};
use halfnet_firmware::picture::Picture;
use halfnet_qemu_mps2_an500::uart::{SysTick, Uart};
use halfnet_qemu_mps2_an500::{clock, exit, stack, store};
use static_cell::ConstStaticCell;

mod provisioned {
    include!(concat!(env!("OUT_DIR"), "/provisioned.rs"));
}
use provisioned::{ARENA, CHANNEL, INCOMING, MATERIAL, OUTGOING, PAIRING, PICTURE, PICTURES, TEST_SEED};

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
    let material = match Material::open(MATERIAL) {
        Ok(material) => material,
        Err(error) => {
            defmt::error!("the material is refused: {}", error);
            return false;
        }
    };
    let nonces = match TEST_SEED {
        Some(seed) => Nonces::insecure_test(seed),
        None => {
            let mut boots = TwoSlots::new(store::BOOT, PAIRING);
            match boots.next().and_then(|boot| boots.burn(boot).map(|()| boot)) {
                Ok(boot) => Nonces::new(&material.seed, boot),
                Err(error) => {
                    defmt::error!("the number of the boot: {}", error);
                    return false;
                }
            }
        }
    };
    let memory = Memory {
        arena: ARENA_WORDS.take(),
        channel: CHANNEL_WORDS.take(),
        outgoing: OUTGOING_BYTES.take(),
        incoming: INCOMING_BYTES.take(),
    };
    let mut party = match SeedParty::new(material, TwoSlots::new(store::COUNTER, PAIRING), nonces, memory, TIMEOUT) {
        Ok(party) => party,
        Err(fault) => {
            defmt::error!("fault {=u16}: {}", fault.code(), fault);
            return false;
        }
    };
    // Safety: here alone, once.
    let mut link = Port::new(unsafe { Uart::zero() }, SysTick);
    defmt::info!("waiting, {=u32} pictures", (PICTURES.len() / PICTURE) as u32);
    for (index, pixels) in PICTURES.chunks_exact(PICTURE).enumerate() {
        let Ok(picture) = Picture::new(&party.material().plan, pixels) else { return false };
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
