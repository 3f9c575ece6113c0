//! QEMU with a board's program in it, and the program's log.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use defmt_decoder::{DecodeError, Table};

/// The machine that is emulated if no other is named: a Cortex-M7.
pub(crate) const MACHINE: &str = "mps2-an500";

/// The port that the board's program listens on.
const PORT: u16 = 4000;

/// Nothing at the board's serial port.
const NO_SERIAL: [&str; 2] = ["-serial", "null"];

/// The board's serial port at `address` of this machine; `wait`: it begins when somebody is there.
pub(crate) fn serial(address: SocketAddr, wait: bool) -> Vec<String> {
    let wait = if wait { "on" } else { "off" };
    vec!["-serial".into(), format!("tcp:{address},server=on,wait={wait},nodelay=on")]
}

/// The board's Ethernet on a network of its own, on which nothing leads out and `address` of this machine
/// leads to the board's port.
pub(crate) fn forwarded(address: SocketAddr) -> Vec<String> {
    let nic = format!("user,id={NETWORK},model=lan9118,restrict=on,hostfwd=tcp:{address}-:{PORT}");
    NO_SERIAL.into_iter().map(str::to_owned).chain(["-nic".into(), nic]).collect()
}

/// What the board's network is called in the emulator's monitor.
pub(crate) const NETWORK: &str = "cable";

/// ELF's number of RISC-V.
const RISC_V: u8 = 243;

/// A program that runs.
pub(crate) struct Emulator {
    process: Child,
    reader: Option<JoinHandle<Result<()>>>,
    lines: Receiver<String>,
}

/// A program that has ended.
pub(crate) struct Ended {
    /// Its exit code was that of success.
    pub(crate) success: bool,
    /// Its log, decoded.
    pub(crate) lines: Vec<String>,
}

impl Emulator {
    /// Starts `elf` with the folder of its files in `folder`; `print`: its log on standard output too.
    pub(crate) fn start(
        elf: &Path,
        machine: &str,
        folder: &Path,
        arguments: &[String],
        print: bool,
    ) -> Result<Self> {
        let bytes = std::fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
        let table = Table::parse(&bytes)?.with_context(|| format!("{} has no log strings", elf.display()))?;
        let elf = std::path::absolute(elf)?;
        // There is one machine for RISC-V; `machine` is for Arm.
        let (program, package, machine): (_, _, &[&str]) = match bytes.get(18) {
            Some(&RISC_V) => ("qemu-system-riscv32", "qemu-system-misc", &["-M", "virt", "-bios", "none"]),
            _ => ("qemu-system-arm", "qemu-system-arm", &["-M", machine]),
        };
        let mut process = Command::new(program)
            .args(machine)
            .args(["-display", "none", "-semihosting-config", "enable=on,target=native"])
            .args(arguments)
            .arg("-kernel")
            .arg(elf)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It remarks on every packet that finds the cable out.
            .stderr(std::fs::File::create(folder.join("emulator.log"))?)
            .spawn()
            .with_context(|| format!("cannot start {program}: install Debian's {package}"))?;
        let stdout = process.stdout.take().context("the emulator has no standard output")?;
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            decode(stdout, &table, &mut |line| {
                if print {
                    println!("{line}");
                }
                // Whoever waits for no more lines has what it needs.
                let _ = sender.send(line);
            })
        });
        Ok(Self { process, reader: Some(reader), lines })
    }

    /// Runs `elf` to its end, an instruction a nanosecond, with nothing at its ports; `print`: its log on
    /// standard output too.
    pub(crate) fn count(elf: &Path, machine: &str, print: bool) -> Result<Ended> {
        let folder = elf.parent().context("the program lies in no folder")?;
        let options: Vec<String> =
            ["-icount", "shift=0"].into_iter().chain(NO_SERIAL).map(str::to_owned).collect();
        Self::start(elf, machine, folder, &options, print)?.finish()
    }

    /// The next line of the log within `limit`.
    ///
    /// # Errors
    /// The emulator has ended.
    pub(crate) fn line(&self, limit: Duration) -> Result<Option<String>> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the emulator has ended"),
        }
    }

    /// Ends it at once, as a cut of power does; its log can still be read.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        if let Some(reader) = self.reader.take() {
            // A log that breaks off in the middle of a line is no error here.
            let _ = reader.join();
        }
        Ok(())
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn wait_for(&self, text: &str, limit: Duration) -> Result<String> {
        loop {
            let line =
                self.lines.recv_timeout(limit).with_context(|| format!("the board did not say `{text}`"))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Result<Ended> {
        let status = self.process.wait()?;
        if let Some(reader) = self.reader.take()
            && let Ok(result) = reader.join()
        {
            result?;
        }
        Ok(Ended { success: status.success(), lines: self.lines.try_iter().collect() })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Decodes a log until it ends.
fn decode(mut log: ChildStdout, table: &Table, line: &mut dyn FnMut(String)) -> Result<()> {
    let mut decoder = table.new_stream_decoder();
    let mut bytes = [0; 4096];
    loop {
        let count = log.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        decoder.received(bytes.get(..count).unwrap_or(&[]));
        loop {
            match decoder.decode() {
                Ok(frame) => line(frame.display(false).to_string()),
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) if table.encoding().can_recover() => {}
                Err(DecodeError::Malformed) => bail!("the log is malformed"),
            }
        }
    }
}
