//! What the harness asks of other programs: the host's, and cargo for a board's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use halfnet_core::board::Board;
use halfnet_core::ring::WIDEST_NARROW;

/// What everything is dealt and run under, so that it repeats exactly.
pub(crate) const TEST_SEED: &str = "4a1f";
/// Bytes of the emulated board's flash.
const FLASH: usize = 3 * 4096;
/// Seconds after which a party is taken for stuck.
pub(crate) const TIMEOUT: &str = "300";

/// How the board is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Uart,
    Ethernet,
}

impl Link {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "uart" => Ok(Self::Uart),
            "ethernet" => Ok(Self::Ethernet),
            _ => bail!("--link {text}: uart or ethernet"),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uart => "uart",
            Self::Ethernet => "ethernet",
        }
    }
}

/// The firmware's folder.
pub(crate) fn firmware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A child that does not outlive this process's interest in it.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The host's program.
#[derive(Clone, Debug)]
pub(crate) struct Halfnet(pub(crate) PathBuf);

impl Default for Halfnet {
    fn default() -> Self {
        let program = |profile: &str| firmware().join("../target").join(profile).join("halfnet");
        Self(Some(program("release")).filter(|p| p.exists()).unwrap_or_else(|| program("debug")))
    }
}

impl Halfnet {
    pub(crate) fn command(&self) -> Result<Command> {
        ensure!(
            self.0.exists(),
            "{} is missing: build the host's program first, cargo build --release",
            self.0.display()
        );
        Ok(Command::new(&self.0))
    }

    /// Deals `count` bundles for P0 as its own client, label released.
    pub(crate) fn deal(
        &self,
        model: &Path,
        out: &Path,
        mode: char,
        count: usize,
        p0_memory: Option<&str>,
    ) -> Result<()> {
        let mut deal = self.command()?;
        deal.arg("deal").arg("--model").arg(model).arg("--out").arg(out);
        deal.args([
            "--bundles",
            &count.to_string(),
            "--mode",
            &mode.to_string(),
            "--client",
            "p0",
            "--release",
            "label",
        ]);
        deal.args(["--insecure-test-seed", TEST_SEED, "--json"]);
        if let Some(bytes) = p0_memory {
            deal.args(["--p0-memory", bytes]);
        }
        finish(&mut deal)
    }

    /// P1 with the material of `folder`, going to `address`.
    pub(crate) fn party_one(&self, folder: &Path, address: &str, inferences: usize) -> Result<Process> {
        let mut party = self.command()?;
        party.args(["party", "--role", "1", "--material"]).arg(folder.join("party1.postcard"));
        party.args(["--peer-connect", address, "--inferences", &inferences.to_string()]);
        party.args(["--insecure-test-seed", TEST_SEED, "--timeout", TIMEOUT, "--report-json"]);
        Ok(Process(party.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

/// Waits for a program that must succeed.
pub(crate) fn finish(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Settings of a board's build beside its material.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Nonces of the test seed, so that every byte is that of a host's P0.
    pub(crate) repeatable: bool,
    /// Milliseconds after which a silent peer is gone.
    pub(crate) timeout: Option<u32>,
    /// How many times every picture is asked.
    pub(crate) rounds: Option<u32>,
    /// With code for rings of more than 32 bits even where the plan has none.
    pub(crate) wide_rings: bool,
}

/// Builds the board's party with the blob `board` in `folder`; the program lies beside it.
pub(crate) fn build(folder: &Path, link: Link, settings: Settings) -> Result<PathBuf> {
    let blob = folder.join("board");
    let mut variables: Vec<(&str, OsString)> = vec![("HALFNET_BOARD", blob.into())];
    if settings.repeatable {
        variables.push(("HALFNET_TEST_SEED", TEST_SEED.into()));
    }
    for (variable, value) in [("HALFNET_TIMEOUT", settings.timeout), ("HALFNET_ROUNDS", settings.rounds)] {
        variables.extend(value.map(|value| (variable, value.to_string().into())));
    }
    let elf = folder.join("party.elf");
    let features = if settings.wide_rings {
        "party,wide-rings".into()
    } else {
        format!("party{}", wide_rings(&folder.join("board"))?)
    };
    std::fs::copy(build_program(&format!("party-{}", link.name()), &features, &variables)?, &elf)?;
    Ok(elf)
}

/// The feature beside others that the material in `blob` asks of a program: code that its plan has no use for
/// is left out.
pub(crate) fn wide_rings(blob: &Path) -> Result<&'static str> {
    let bytes = std::fs::read(blob).with_context(|| format!("cannot read {}", blob.display()))?;
    let board =
        Board::decode(&bytes).with_context(|| format!("{} is no board's material", blob.display()))?;
    Ok(if board.plan.widest() > WIDEST_NARROW { ",wide-rings" } else { "" })
}

/// Builds a program of the emulated board with these features and variables of `halfnet-provisioned`, and no
/// others.
pub(crate) fn build_program(name: &str, features: &str, variables: &[(&str, OsString)]) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "--no-default-features",
        "--features",
        features,
        "--bin",
        name,
    ]);
    cargo.current_dir(firmware().join("boards/qemu-mps2-an500"));
    // Flags of the host are none of the board's.
    for variable in [
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "HALFNET_TEST_SEED",
        "HALFNET_TIMEOUT",
        "HALFNET_ROUNDS",
        "HALFNET_REPLAY",
    ] {
        cargo.env_remove(variable);
    }
    finish(cargo.envs(variables.iter().map(|(variable, value)| (variable, value))))?;
    Ok(firmware().join("target/thumbv7em-none-eabihf/release").join(name))
}

/// A board's flash that was never written.
pub(crate) fn erase_flash(folder: &Path) -> Result<()> {
    Ok(std::fs::write(folder.join("flash"), [0xff; FLASH])?)
}

/// An empty folder.
pub(crate) fn fresh(folder: &Path) -> Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
