//! Every known answer of the core, on the processor that runs it.

use halfnet_vectors::{GATES, PRIMITIVES, REPLAY_HELD, REPLAY_SHARED, Scratch, Vector, check, read};

/// Checks them all and logs each that does not hold; says whether all do and every file has some.
///
/// `nanoseconds`: a clock, for how long each file took.
#[must_use]
pub fn selftest(scratch: Scratch<'_>, nanoseconds: impl Fn() -> u64) -> bool {
    let Scratch { arena, channel, frame } = scratch;
    let mut good = true;
    for (name, file) in [
        ("primitives", PRIMITIVES),
        ("gates", GATES),
        ("replay_shared", REPLAY_SHARED),
        ("replay_held", REPLAY_HELD),
    ] {
        let (mut held, began) = (0_u32, nanoseconds());
        for (index, vector) in read(file).enumerate() {
            let scratch = Scratch { arena, channel, frame };
            match vector.and_then(|vector: Vector<'_>| check(&vector, scratch)) {
                Ok(()) => held += 1,
                Err(mismatch) => {
                    good = false;
                    defmt::error!(
                        "{=str}, vector {=usize}: {}",
                        name,
                        index,
                        defmt::Display2Format(&mismatch)
                    );
                }
            }
        }
        defmt::info!("{=str}: {=u32} known answers hold, {=u64} ns", name, held, nanoseconds() - began);
        good &= held > 0;
    }
    good
}
