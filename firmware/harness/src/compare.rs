//! The same inferences twice, under one test seed: P0 on the host, P0 on the board. Answers and every byte must be equal.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use halfnet_core::board::Board;
use halfnet_core::model::Model;
use halfnet_core::wire::frame::HEADER;
use halfnet_firmware::memory::Needs;

use crate::emulator::{Emulator, MACHINE};
use crate::proxy::{Passed, Proxy, free_address};

/// What both are dealt and run under.
const TEST_SEED: &str = "4a1f";
/// Bytes of the emulated board's flash.
const FLASH: usize = 3 * 4096;
/// After so long a party is taken for stuck.
const TIMEOUT: &str = "120";

/// What is compared.
pub(crate) struct Comparison {
    pub(crate) halfnet: PathBuf,
    pub(crate) model: PathBuf,
    pub(crate) pictures: PathBuf,
    pub(crate) skip: usize,
    pub(crate) count: usize,
    pub(crate) modes: String,
    pub(crate) p0_memory: Option<String>,
    pub(crate) machine: String,
    pub(crate) work: PathBuf,
}

/// The firmware's folder.
fn firmware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

impl Default for Comparison {
    fn default() -> Self {
        let root = firmware().join("..");
        let program = |profile: &str| root.join("target").join(profile).join("halfnet");
        Self {
            halfnet: Some(program("release")).filter(|p| p.exists()).unwrap_or_else(|| program("debug")),
            model: root.join("assets/mnist_cnn.postcard"),
            pictures: root.join("assets/mnist32-images-idx3-ubyte"),
            skip: 16,
            count: 20,
            modes: "hs".into(),
            p0_memory: None,
            machine: MACHINE.into(),
            work: firmware().join("target/compare"),
        }
    }
}

/// One mode's row.
struct Row {
    mode: char,
    board: Vec<String>,
    host: Vec<String>,
    passed: [Passed; 2],
    arena: usize,
    buffers: usize,
    board_says: String,
    seconds: f64,
}

/// A child that does not outlive this process's interest in it.
struct Party(Child);

impl Drop for Party {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Comparison {
    /// Runs every mode and prints a table; says whether everything was equal.
    pub(crate) fn run(&self) -> Result<bool> {
        ensure!(self.halfnet.exists(), "{} is missing: build the host's program first, cargo build --release", self.halfnet.display());
        let mut rows = Vec::new();
        for mode in self.modes.chars() {
            rows.push(self.mode(mode).with_context(|| format!("mode {mode}"))?);
        }
        println!("mode  pictures  answers equal  bytes P0->P1  bytes P1->P0  bytes equal  arena B  buffers B  s/picture  board");
        let mut equal = true;
        for row in &rows {
            let [host, board] = &row.passed;
            let answers = row.board.iter().zip(&row.host).filter(|(a, b)| a == b).count();
            let bytes = host == board;
            equal &= bytes && answers == self.count && row.board.len() == self.count;
            println!(
                "{:<4}  {:>8}  {:>13}  {:>12}  {:>12}  {:>11}  {:>7}  {:>9}  {:>9.2}  {}",
                row.mode,
                self.count,
                answers,
                board.zero.len() / self.count,
                board.one.len() / self.count,
                if bytes { "all" } else { "NO" },
                row.arena,
                row.buffers,
                row.seconds / self.count as f64,
                row.board_says,
            );
            for (who, a, b) in [("P0", &host.zero, &board.zero), ("P1", &host.one, &board.one)] {
                if let Some(at) = (a != b).then(|| a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()))) {
                    println!("      {who}'s bytes differ first at {at} of {} and {}", a.len(), b.len());
                }
            }
        }
        Ok(equal)
    }

    fn mode(&self, mode: char) -> Result<Row> {
        let work = std::path::absolute(self.work.join(mode.to_string()))?;
        if work.exists() {
            std::fs::remove_dir_all(&work)?;
        }
        std::fs::create_dir_all(&work)?;
        let dealt = work.join("host");
        let mut deal = Command::new(&self.halfnet);
        deal.arg("deal").arg("--model").arg(&self.model).arg("--out").arg(&dealt);
        deal.args(["--bundles", &self.count.to_string(), "--mode", &mode.to_string(), "--client", "p0", "--release", "label"]);
        deal.args(["--insecure-test-seed", TEST_SEED, "--json"]);
        if let Some(bytes) = &self.p0_memory {
            deal.args(["--p0-memory", bytes]);
        }
        finish(&mut deal)?;
        let copied = work.join("board");
        copy(&dealt, &copied)?;

        let pictures = std::fs::read(&self.pictures).with_context(|| format!("cannot read {}", self.pictures.display()))?;
        let model = std::fs::read(&self.model)?;
        let size = Model::decode(&model)?.header.input.elements();
        let pictures = pictures.get(self.skip..self.skip + size * self.count).context("not so many pictures in the file")?;
        let raw = work.join("pictures");
        std::fs::write(&raw, pictures)?;
        let blob = copied.join("board");
        let mut provision = Command::new(&self.halfnet);
        provision.arg("provision").arg("--material").arg(copied.join("party0.postcard")).arg("--out").arg(&blob);
        finish(provision.arg("--raw-pictures").arg(&raw))?;
        let bytes = std::fs::read(&blob)?;
        let needs = Needs::of(&Board::decode(&bytes)?.plan);
        std::fs::write(copied.join("flash"), [0xff; FLASH])?;

        let (host, host_passed) = self.on_host(&dealt, &raw)?;
        let elf = build(&copied)?;
        let (board, board_passed, board_says, seconds) = self.on_board(&elf, &copied)?;
        Ok(Row {
            mode,
            board,
            host,
            passed: [host_passed, board_passed],
            arena: 8 * needs.arena,
            buffers: 8 * needs.channel + needs.outgoing + needs.incoming,
            board_says,
            seconds,
        })
    }

    fn party_one(&self, folder: &Path, proxy: &Proxy) -> Result<Party> {
        let mut party = Command::new(&self.halfnet);
        party.args(["party", "--role", "1", "--material"]).arg(folder.join("party1.postcard"));
        party.args(["--peer-connect", &proxy.address.to_string(), "--inferences", &self.count.to_string()]);
        party.args(["--insecure-test-seed", TEST_SEED, "--timeout", TIMEOUT, "--report-json"]);
        Ok(Party(party.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    /// P0 on the host: its answers, and what passed.
    fn on_host(&self, folder: &Path, pictures: &Path) -> Result<(Vec<String>, Passed)> {
        let address = free_address()?;
        let proxy = Proxy::start(address)?;
        let mut infer = Command::new(&self.halfnet);
        infer.args(["infer", "--json", "--material"]).arg(folder.join("party0.postcard"));
        infer.arg("--raw-pictures").arg(pictures).args(["--peer-listen", &address.to_string()]);
        infer.args(["--insecure-test-seed", TEST_SEED, "--timeout", TIMEOUT]);
        let infer = infer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let one = self.party_one(folder, &proxy)?;
        let output = infer.wait_with_output()?;
        ensure!(output.status.success(), "the host's P0 failed: {}", String::from_utf8_lossy(&output.stderr));
        let passed = proxy.finish()?;
        drop(one);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).context("the host's answers")?;
        let answers = json["answers"].as_array().context("the host gives no answers")?;
        let values = |answer: &serde_json::Value| {
            answer["values"].as_array().map(|v| v.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        };
        Ok((answers.iter().filter_map(values).collect(), passed))
    }

    /// P0 on the board: its answers, what passed, what it says of its memory, and seconds.
    fn on_board(&self, elf: &Path, folder: &Path) -> Result<(Vec<String>, Passed, String, f64)> {
        let address = free_address()?;
        let serial = format!("tcp:{address},server=on,wait=on,nodelay=on");
        let board = Emulator::start(elf, &self.machine, folder, &["-serial", &serial], false)?;
        let proxy = Proxy::start(address)?;
        let one = self.party_one(folder, &proxy)?;
        board.wait_for("waiting", Duration::from_secs(30))?;
        let began = Instant::now();
        let mut answers = Vec::new();
        while answers.len() < self.count {
            let line = board.wait_for("", Duration::from_secs(600))?;
            ensure!(!line.contains("ERROR"), "the board reports: {line}");
            if let Some((_, rest)) = line.split_once("answer [")
                && let Some((values, _)) = rest.split_once(']')
            {
                answers.push(values.to_owned());
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let ended = board.finish()?;
        let passed = proxy.finish()?;
        drop(one);
        ensure!(ended.success, "the board ended with a failure");
        ensure!(passed.zero.len() > HEADER, "nothing passed");
        let says = ended.lines.iter().find_map(|line| line.split_once("statics ").map(|(_, rest)| format!("statics {rest}")));
        Ok((answers, passed, says.unwrap_or_default(), seconds))
    }
}

/// Builds the board's party with the material of `folder`.
fn build(folder: &Path) -> Result<PathBuf> {
    let board = firmware().join("boards/qemu-mps2-an500");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--features", "party", "--bin", "party"]).current_dir(board);
    cargo.env("HALFNET_BOARD", folder.join("board")).env("HALFNET_TEST_SEED", TEST_SEED);
    // Flags of the host are none of the board's.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
    finish(&mut cargo)?;
    let elf = folder.join("party.elf");
    std::fs::copy(firmware().join("target/thumbv7em-none-eabihf/release/party"), &elf)?;
    Ok(elf)
}

fn finish(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
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
