//! The board that is attacked: started, reset, unplugged, and its log.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::emulator::{Emulator, NETWORK, forwarded, serial};
use crate::proxy::free_address;
use crate::work::Link;

/// What the board says of one attempt of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A fault's number, and the counter that was spent.
    Fault(u16, Option<u64>),
    /// The counter, and the values released.
    Answer(u64, String),
}

impl Report {
    /// The counter that was burned, if one was.
    pub(super) const fn burned(&self) -> Option<u64> {
        match self {
            Self::Fault(_, burned) => *burned,
            Self::Answer(counter, _) => Some(*counter),
        }
    }

    /// Reads a line of the log; none if it is about something else.
    fn parse(line: &str) -> Result<Option<Self>> {
        let number =
            |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("").parse::<u64>();
        if let Some((_, rest)) = line.split_once("fault ") {
            let burned = rest.split_once("burned: Some(").map(|(_, n)| number(n)).transpose()?;
            return Ok(Some(Self::Fault(number(rest)? as u16, burned)));
        }
        let Some((head, answer)) = line.split_once(": answer [") else { return Ok(None) };
        let counter =
            head.split_once("counter ").map(|(_, n)| number(n)).context("an answer without a counter")??;
        Ok(Some(Self::Answer(counter, answer.split(']').next().unwrap_or("").to_owned())))
    }
}

/// The board.
pub(super) struct Target {
    elf: PathBuf,
    machine: String,
    folder: PathBuf,
    pub(super) link: Link,
    /// Where it is reached.
    pub(super) address: SocketAddr,
    monitor: TcpStream,
    emulator: Emulator,
    /// How often it was started or reset.
    pub(super) boots: usize,
}

impl Target {
    /// Starts it and waits until it waits.
    pub(super) fn start(elf: &Path, machine: &str, folder: &Path, link: Link) -> Result<Self> {
        let (address, emulator, monitor) = launch(elf, machine, folder, link)?;
        let (elf, machine, folder) = (elf.to_owned(), machine.to_owned(), folder.to_owned());
        let mut target = Self { elf, machine, folder, link, address, monitor, emulator, boots: 0 };
        target.await_boot()?;
        Ok(target)
    }

    /// Cuts its power, and starts it again with the flash that it left behind.
    pub(super) fn cut_power(&mut self) -> Result<Vec<Report>> {
        self.emulator.kill()?;
        let reports = self.drain()?;
        (self.address, self.emulator, self.monitor) =
            launch(&self.elf, &self.machine, &self.folder, self.link)?;
        self.await_boot()?;
        Ok(reports)
    }

    /// Presses its reset button; what it said before.
    pub(super) fn reset(&mut self) -> Result<Vec<Report>> {
        self.command("system_reset")?;
        self.await_boot()
    }

    /// Pulls the cable out, or puts it in.
    pub(super) fn plug(&mut self, is_in: bool) -> Result<()> {
        self.command(&format!("set_link {NETWORK} {}", if is_in { "on" } else { "off" }))
    }

    /// The next report within `limit`.
    pub(super) fn report(&mut self, limit: Duration) -> Result<Option<Report>> {
        let end = Instant::now() + limit;
        loop {
            let Some(line) = self.emulator.line(end.saturating_duration_since(Instant::now()))? else {
                return Ok(None);
            };
            ensure!(!line.contains("panic"), "the board panicked: {line}");
            ensure!(!line.contains("waiting"), "the board started anew by itself: {line}");
            if let Some(report) = Report::parse(&line)? {
                return Ok(Some(report));
            }
        }
    }

    /// What it has said by now.
    fn drain(&mut self) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        while let Ok(Some(line)) = self.emulator.line(Duration::ZERO) {
            ensure!(!line.contains("panic"), "the board panicked: {line}");
            reports.extend(Report::parse(&line)?);
        }
        Ok(reports)
    }

    fn await_boot(&mut self) -> Result<Vec<Report>> {
        self.boots += 1;
        let mut reports = Vec::new();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let line = self
                .emulator
                .line(end.saturating_duration_since(Instant::now()))?
                .context("the board does not start")?;
            ensure!(!line.contains("panic"), "the board panicked: {line}");
            if line.contains("waiting") {
                return Ok(reports);
            }
            reports.extend(Report::parse(&line)?);
        }
    }

    /// Says something to the emulator's monitor and waits until it has obeyed.
    fn command(&mut self, text: &str) -> Result<()> {
        writeln!(self.monitor, "{text}")?;
        prompt(&mut self.monitor).with_context(|| format!("the emulator's monitor, after `{text}`"))
    }
}

fn launch(elf: &Path, machine: &str, folder: &Path, link: Link) -> Result<(SocketAddr, Emulator, TcpStream)> {
    let (address, monitor) = (free_address()?, free_address()?);
    let mut arguments = match link {
        Link::Uart => serial(address, false),
        Link::Ethernet => forwarded(address),
    };
    arguments.extend(["-monitor".into(), format!("tcp:{monitor},server=on,wait=off")]);
    let emulator = Emulator::start(elf, machine, folder, &arguments, false)?;
    let end = Instant::now() + Duration::from_secs(10);
    let mut stream = loop {
        match TcpStream::connect(monitor) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => return Err(error).context("the emulator's monitor"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    prompt(&mut stream)?;
    Ok((address, emulator, stream))
}

/// Reads up to the monitor's prompt.
fn prompt(monitor: &mut TcpStream) -> Result<()> {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"(qemu) ") {
        if monitor.read(&mut byte)? == 0 {
            bail!("it is gone");
        }
        said.extend_from_slice(&byte);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_from_the_log() {
        let fault = "12 ERROR fault 402: Failure { fault: Session(..), burned: Some(17), at: None }";
        assert_eq!(Report::parse(fault).unwrap(), Some(Report::Fault(402, Some(17))));
        let fault = "12 ERROR fault 101: Failure { fault: Link(Broken), burned: None, at: None }";
        assert_eq!(Report::parse(fault).unwrap(), Some(Report::Fault(101, None)));
        let answer = "900 INFO picture 0 counter 23: answer [7], 1 bytes sent, 2 received, 3 rounds";
        assert_eq!(Report::parse(answer).unwrap(), Some(Report::Answer(23, "7".into())));
        assert_eq!(Report::parse("0 INFO boot 1, waiting, 1 pictures").unwrap(), None);
    }
}
