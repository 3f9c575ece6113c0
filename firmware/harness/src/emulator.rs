//! QEMU with a board's program in it, and the program's log.

use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use defmt_decoder::{DecodeError, Table};

/// The machine that is emulated if no other is named: a Cortex-M7.
pub(crate) const MACHINE: &str = "mps2-an500";

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
    pub(crate) fn start(elf: &Path, machine: &str, folder: &Path, arguments: &[&str], print: bool) -> Result<Self> {
        let bytes = std::fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
        let table = Table::parse(&bytes)?.with_context(|| format!("{} has no log strings", elf.display()))?;
        let elf = std::path::absolute(elf)?;
        let mut process = Command::new("qemu-system-arm")
            .args(["-M", machine, "-display", "none", "-monitor", "none", "-semihosting-config", "enable=on,target=native"])
            .args(arguments)
            .arg("-kernel")
            .arg(elf)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start qemu-system-arm: install Debian's qemu-system-arm")?;
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

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn wait_for(&self, text: &str, limit: Duration) -> Result<String> {
        loop {
            let line = self.lines.recv_timeout(limit).with_context(|| format!("the board did not say `{text}`"))?;
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
