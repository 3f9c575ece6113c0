//! From instructions, bytes and rounds to seconds on boards that are not here. The assumptions stand in the
//! table.

use std::fmt::Write as _;

use anyhow::Result;

use super::Measured;

/// A processor and its link.
struct Board {
    name: &'static str,
    megahertz: f64,
    /// Cycles an instruction.
    cycles: f64,
    /// Bits a second that the link carries, in millions.
    megabits: f64,
    /// Milliseconds of a round trip.
    round_trip: f64,
}

/// Cycles an instruction: loads of several words and taken branches cost more than one on the M4 and M33, and
/// flash waits where its cache misses; the M7 issues two instructions a cycle where it can, from caches. The
/// M33 is taken to run the assembly, which asks for its DSP extension: a board built without it multiplies in
/// portable loops, several times slower.
const BOARDS: [Board; 3] = [
    Board { name: "Cortex-M4, 64 MHz, USB", megahertz: 64.0, cycles: 1.5, megabits: 6.0, round_trip: 2.0 },
    Board { name: "Cortex-M33, 150 MHz, USB", megahertz: 150.0, cycles: 1.4, megabits: 6.0, round_trip: 2.0 },
    Board {
        name: "Cortex-M7, 480 MHz, Ethernet",
        megahertz: 480.0,
        cycles: 1.0,
        megabits: 100.0,
        round_trip: 0.5,
    },
];

pub(super) fn table(text: &mut String, measured: &[Measured]) -> Result<()> {
    write!(text, "| seconds a picture, projected |")?;
    for board in &BOARDS {
        write!(
            text,
            " {}: {} cycles an instruction, {} Mb/s, {} ms a round |",
            board.name, board.cycles, board.megabits, board.round_trip
        )?;
    }
    writeln!(text, "\n|---|---|---|---|")?;
    for one in measured {
        let (instructions, bits) = (one.total()? as f64, 8.0 * one.bytes().iter().sum::<usize>() as f64);
        write!(
            text,
            "| {}, mode {}: {:.1} M instructions |",
            one.setting.network,
            one.setting.mode,
            instructions / 1e6
        )?;
        for Board { megahertz, cycles, megabits, round_trip, .. } in &BOARDS {
            let (computing, moving) = (instructions * cycles / megahertz / 1e6, bits / megabits / 1e6);
            let waiting = one.row.board.rounds as f64 * round_trip / 1e3;
            write!(
                text,
                " {:.2} ({computing:.2} + {moving:.2} + {waiting:.2}) |",
                computing + moving + waiting
            )?;
        }
        writeln!(text)?;
    }
    writeln!(
        text,
        "\nIn brackets: computing, moving bytes, waiting for rounds, as if none of them overlapped. The M33 is taken to multiply by its DSP extension.\n"
    )?;
    Ok(())
}
