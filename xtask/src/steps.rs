//! The steps of `cargo xtask test`, in their order: cheap ones first.
//!
//! All of them build in the dev profile (which is optimised), so that clippy, the tests and the docs share
//! what they can.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{Need, is_on_path};

/// The cargo that runs this program.
pub(crate) const CARGO: &str = env!("CARGO");

/// Microcontrollers that the core must build for: Cortex-M4F and M7, Cortex-M33, and RISC-V.
pub(crate) const BARE_TARGETS: [&str; 3] =
    ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf", "riscv32imac-unknown-none-elf"];
/// Where the NEON kernels are tested, under emulation.
const ARM_TARGET: &str = "aarch64-unknown-linux-gnu";

/// One check.
pub(crate) struct Step {
    /// Name, for `--only`.
    pub(crate) name: &'static str,
    /// What it checks, in a line.
    pub(crate) what: &'static str,
    /// What must be there before it runs.
    pub(crate) needs: &'static [Need],
    /// Its commands, run in order until one fails.
    pub(crate) commands: fn() -> Vec<Command>,
    /// How many commands run at a time, after the first: what that one builds, the others share.
    pub(crate) at_a_time: usize,
    /// Must a test run in it? Then none at all is a failure.
    pub(crate) runs_tests: bool,
}

impl Step {
    /// What a step is that says nothing else: commands one by one, which need nothing and are no tests.
    pub(crate) const PLAIN: Self =
        Self { name: "", what: "", needs: &[], commands: Vec::new, at_a_time: 1, runs_tests: false };
}

/// Every step.
pub(crate) const ALL: &[Step] = &[
    Step {
        name: "fmt",
        what: "the sources are formatted",
        needs: &[Need::Component("rustfmt")],
        commands: || vec![cargo(&["fmt", "--all", "--check"])],
        ..Step::PLAIN
    },
    Step {
        name: "clippy",
        what: "no lint fires, in any target of the workspace",
        needs: &[Need::Component("clippy")],
        commands: || vec![cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])],
        ..Step::PLAIN
    },
    Step {
        name: "no_std",
        what: "the core and its known answers compile for microcontrollers, the core with and without defmt",
        needs: &[Need::Target(BARE_TARGETS[0]), Need::Target(BARE_TARGETS[1]), Need::Target(BARE_TARGETS[2])],
        commands: no_std,
        ..Step::PLAIN
    },
    Step {
        name: "test",
        what: "unit tests, integration tests and the command line",
        // The programs that tests start are built with the tests: alone they would have fewer features, and the
        // whole host would be built twice.
        commands: || vec![cargo(&["build", "--workspace", "--bins", "--tests"]), test()],
        runs_tests: true,
        ..Step::PLAIN
    },
    Step {
        name: "narrow",
        what: "the core without rings of more than 32 bits, as a small board has it",
        needs: &[Need::Component("clippy")],
        commands: || {
            let narrow = ["--package", "halfnet-core", "--no-default-features", "--all-targets"];
            vec![
                cargo(&[&["clippy"], &narrow[..], &["--", "-D", "warnings"]].concat()),
                cargo(&[&["test"], &narrow[..], &["--no-fail-fast"]].concat()),
            ]
        },
        runs_tests: true,
        ..Step::PLAIN
    },
    Step {
        name: "wings",
        what: "the host with each of its features alone and with none, as a service links it",
        needs: &[Need::Component("clippy")],
        commands: || {
            let lint = |features: &[&str]| {
                let wing = ["clippy", "--package", "halfnet-host", "--all-targets", "--no-default-features"];
                cargo(&[&wing[..], features, &["--", "-D", "warnings"]].concat())
            };
            vec![lint(&[]), lint(&["--features", "import"]), lint(&["--features", "check"])]
        },
        ..Step::PLAIN
    },
    Step {
        name: "secrets",
        what: "no branch and no index of a party's depends on a secret, as valgrind sees it",
        needs: &[Need::Program { name: "valgrind", packages: &["valgrind"] }],
        commands: || {
            vec![cargo(&["run", "--quiet", "--package", "halfnet-tests", "--example", "constant_time"])]
        },
        ..Step::PLAIN
    },
    Step {
        name: "doctest",
        what: "the examples in the documentation",
        commands: || vec![cargo(&["test", "--workspace", "--doc", "--no-fail-fast"])],
        ..Step::PLAIN
    },
    crate::packages::EXAMPLES,
    Step {
        name: "doc",
        what: "the documentation builds without a warning",
        commands: || vec![with(cargo(&["doc", "--workspace", "--no-deps"]), "RUSTDOCFLAGS", "-D warnings")],
        ..Step::PLAIN
    },
    crate::packages::PACKAGE,
    crate::packages::MSRV,
    Step {
        name: "neon",
        what: "the arithmetic and the NEON kernels on emulated 64-bit Arm",
        needs: &[
            Need::Target(ARM_TARGET),
            Need::Program { name: "qemu-aarch64", packages: &["qemu-user"] },
            Need::Program {
                name: "aarch64-linux-gnu-gcc",
                packages: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
            },
        ],
        commands: || vec![neon()],
        runs_tests: true,
        ..Step::PLAIN
    },
    crate::fuzz::STEP,
    crate::training::STEP,
    crate::firmware::TEST,
    crate::firmware::BOARDS,
    crate::firmware::DEMO,
    crate::firmware::ATTACK,
    Step {
        // Advisories are left out: their database comes from the network and changes without the repository
        // changing.
        name: "deny",
        what: "licences and sources of the dependencies",
        needs: &[Need::Subcommand("cargo-deny")],
        commands: || vec![cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"])],
        ..Step::PLAIN
    },
];

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(CARGO);
    command.args(arguments);
    command
}

/// `command`, run in `folder` of the repository.
pub(crate) fn within(folder: impl AsRef<Path>, mut command: Command) -> Command {
    command.current_dir(root().join(folder));
    command
}

pub(crate) fn with(mut command: Command, variable: &str, value: &str) -> Command {
    command.env(variable, value);
    command
}

/// Checked, not built: the steps of the firmware build the same code for the same targets, and link it.
fn no_std() -> Vec<Command> {
    let check = |target| cargo(&["check", "--package", "halfnet-core", "--lib", "--target", target]);
    let mut commands = Vec::new();
    for target in BARE_TARGETS {
        commands.push(check(target));
        let mut with_logs = check(target);
        with_logs.args(["--features", "defmt"]);
        commands.push(with_logs);
        commands.push(cargo(&["check", "--package", "halfnet-vectors", "--target", target]));
    }
    commands
}

/// All tests but those in documentation, by nextest where it is installed: it runs the tests of all binaries
/// side by side. Benches are left out: they are programs that measure, not tests.
fn test() -> Command {
    if is_on_path("cargo-nextest") {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        cargo(&["test", "--workspace", "--tests", "--no-fail-fast"])
    }
}

fn neon() -> Command {
    let mut command = cargo(&[
        "test",
        "--package",
        "halfnet-core",
        "--package",
        "halfnet-host",
        "--lib",
        "--target",
        ARM_TARGET,
        "--no-fail-fast",
    ]);
    // What the tests do not measure builds in half the time.
    command.args(["--config", "profile.dev.package.'*'.opt-level=0"]);
    command.args(["--", "ring::", "kernel"]);
    let command = with(command, "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    with(command, "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64 -L /usr/aarch64-linux-gnu")
}
