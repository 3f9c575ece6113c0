//! `cargo xtask firmware VERB`, and the steps of `cargo xtask test` that are some of the verbs.
//!
//! The firmware is a workspace of its own and each board a folder with a target of its own: commands run
//! where they belong.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::Need;
use crate::steps::{BARE_TARGETS, Step, cargo, root, within};

/// The emulator of boards with an Arm processor.
const ARM_EMULATOR: Need = Need::Program { name: "qemu-system-arm", packages: &["qemu-system-arm"] };
/// The emulator of the board with a RISC-V processor.
const RISCV_EMULATOR: Need = Need::Program { name: "qemu-system-riscv32", packages: &["qemu-system-misc"] };

/// The firmware's own lints and tests, and the known answers on every processor that is emulated.
pub(crate) const TEST: Step = Step {
    name: "firmware",
    what: "the firmware's lints and tests, and the known answers on an emulated Cortex-M7, Cortex-M4 and RISC-V",
    needs: &[
        Need::Component("rustfmt"),
        Need::Component("clippy"),
        Need::Target(BARE_TARGETS[0]),
        Need::Target(BARE_TARGETS[2]),
        ARM_EMULATOR,
        RISCV_EMULATOR,
    ],
    commands: test,
    runs_tests: true,
    ..Step::PLAIN
};

/// Every board's programs.
pub(crate) const BOARDS: Step = Step {
    name: "boards",
    what: "every board's programs, linked with a known answer's material",
    needs: &[
        Need::Component("clippy"),
        Need::Target(BARE_TARGETS[0]),
        Need::Target(BARE_TARGETS[1]),
        Need::Target(BARE_TARGETS[2]),
    ],
    commands: build,
    ..Step::PLAIN
};

/// The board beside the host.
pub(crate) const DEMO: Step = Step {
    name: "demo",
    what: "P0 on an emulated Cortex-M7, P1 on the host, real pictures, one table: every byte as from a host's P0",
    needs: &[Need::Target(BARE_TARGETS[0]), ARM_EMULATOR],
    commands: || vec![halfnet(), beside_halfnet(&["demo"])],
    ..Step::PLAIN
};

/// The board under attack, briefly.
pub(crate) const ATTACK: Step = Step {
    name: "attack",
    what: "200 hostile sessions against the emulated board",
    needs: DEMO.needs,
    commands: || vec![halfnet(), beside_halfnet(&["fuzz", "--sessions", "200"])],
    ..Step::PLAIN
};

/// What stands behind `cargo xtask firmware`; what is typed after a verb goes to the last of its commands.
pub(crate) const VERBS: &[Step] = &[
    Step { name: "test", ..TEST },
    Step { name: "build", ..BOARDS },
    DEMO,
    Step { name: "compare", commands: || vec![halfnet(), beside_halfnet(&["compare"])], ..DEMO },
    Step {
        name: "fuzz",
        what: "hostile sessions against the emulated board: 10,000, or `--sessions N`",
        commands: || vec![halfnet(), beside_halfnet(&["fuzz", "--sessions", "10000"])],
        ..ATTACK
    },
    Step {
        name: "figures",
        what: "measures instructions, flash, memory and bytes, and writes the tables of firmware/BENCHMARKS.md",
        commands: || {
            let halfnet = ["build", "--release", "--package", "halfnet-host", "--bin", "halfnet"];
            vec![cargo(&halfnet), harness(&["figures"])]
        },
        ..DEMO
    },
];

fn folder() -> PathBuf {
    root().join("firmware")
}

/// A folder for each board, in the order of their names.
fn boards() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("boards")).into_iter().flatten().flatten();
    let mut boards: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").exists()).collect();
    boards.sort();
    boards
}

fn is_called(board: &Path, name: &str) -> bool {
    board.file_name().is_some_and(|found| found.to_string_lossy() == name)
}

/// The host's program, which deals, provisions and is P1: in the profile of the tests, which have built most of
/// it already.
fn halfnet() -> Command {
    cargo(&["build", "--package", "halfnet-host", "--bin", "halfnet"])
}

/// The harness, built as the boards' runner builds it.
fn harness(arguments: &[&str]) -> Command {
    let mut command = cargo(&["run", "--quiet", "--package", "halfnet-harness", "--"]);
    command.args(arguments);
    within("firmware", command)
}

/// The harness with that program.
fn beside_halfnet(arguments: &[&str]) -> Command {
    let mut command = harness(arguments);
    command.args(["--halfnet", "../target/debug/halfnet"]);
    command
}

fn test() -> Vec<Command> {
    let mut commands = vec![
        within("firmware", cargo(&["fmt", "--all", "--check"])),
        within("firmware", cargo(&["clippy", "--all-targets", "--", "-D", "warnings"])),
        within("firmware", cargo(&["test", "--no-fail-fast"])),
    ];
    for board in boards() {
        let selftest = || within(&board, cargo(&["run", "--release", "--bin", "selftest"]));
        if is_called(&board, "qemu-mps2-an500") {
            let mut on_m4 = selftest();
            on_m4.args(["--", "--machine", "mps2-an386"]);
            commands.extend([selftest(), on_m4]);
        } else if is_called(&board, "qemu-riscv32") {
            commands.push(selftest());
        }
    }
    commands
}

fn build() -> Vec<Command> {
    let command = |board: &Path, arguments: &[&str]| {
        let mut command = within(board, cargo(arguments));
        command.env("HALFNET_BOARD", "test");
        command
    };
    let lint =
        |board: PathBuf| command(&board, &["clippy", "--release", "--all-features", "--", "-D", "warnings"]);
    let link = |board: PathBuf| command(&board, &["build", "--release", "--all-features"]);
    boards().into_iter().flat_map(|board| [lint(board.clone()), link(board)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_is_found() {
        let boards = boards();
        for name in ["qemu-mps2-an500", "qemu-riscv32"] {
            assert!(boards.iter().any(|board| is_called(board, name)), "{name} is not among {boards:?}");
        }
    }
}
