//! A serial line, or what stands for one: a pseudoterminal, or a socket of this machine. A stream of bytes
//! without connections.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{ControlModes, OptionalActions, QueueSelector, isatty, tcflush, tcgetattr, tcsetattr};

/// Drivers of lines differ in when they wake who sleeps, so nobody sleeps longer.
const LOOK: Duration = Duration::from_millis(10);

/// What a link reads and writes.
#[derive(Debug)]
pub enum Stream {
    /// A connection.
    Tcp(TcpStream),
    /// A socket of this machine that stands for a line, as an emulator has it.
    Socket(UnixStream),
    /// A terminal device in raw mode.
    Terminal(File),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

/// Opens a line: a terminal device at `baud`, 8 data bits, no parity, no flow control, or a socket in the
/// file system, where `baud` means nothing. What a terminal received before is dropped.
///
/// # Errors
/// There is no such line, it may not be opened, or its driver does not know the speed.
pub fn open_line(path: &Path, baud: u32) -> io::Result<Stream> {
    if std::fs::metadata(path)?.file_type().is_socket() {
        return Ok(Stream::Socket(UnixStream::connect(path)?));
    }
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits() as i32;
    let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
    if !isatty(&file) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is neither a serial device nor a socket",
        ));
    }
    let mut settings = tcgetattr(&file)?;
    settings.make_raw();
    // No modem behind it: its lines are not looked at.
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes -= ControlModes::CRTSCTS | ControlModes::CSTOPB;
    settings.set_speed(baud)?;
    tcsetattr(&file, OptionalActions::Now, &settings)?;
    tcflush(&file, QueueSelector::IOFlush)?;
    Ok(Stream::Terminal(file))
}

impl Stream {
    /// For how long one may sleep before looking again, woken or not.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Tcp(_) | Self::Socket(_) => Duration::MAX,
            Self::Terminal(_) => LOOK,
        }
    }

    /// Does this error say that the other end is gone?
    pub(super) fn is_gone(&self, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                true
            }
            // A terminal that was pulled out, or whose other end closed.
            _ => matches!(self, Self::Terminal(_)) && error.raw_os_error() == Some(Errno::IO.raw_os_error()),
        }
    }

    /// Makes small frames leave at once.
    pub(super) fn hasten(&self) -> io::Result<()> {
        match self {
            // A small frame must not wait for an acknowledgement of the one before.
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Socket(_) | Self::Terminal(_) => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Socket(stream) => stream.read(bytes),
            Self::Terminal(file) => file.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Socket(stream) => stream.write(bytes),
            Self::Terminal(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Socket(stream) => stream.register(registry, token, interests),
            Self::Terminal(file) => SourceFd(&file.as_raw_fd()).register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Socket(stream) => stream.reregister(registry, token, interests),
            Self::Terminal(file) => SourceFd(&file.as_raw_fd()).reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Socket(stream) => stream.deregister(registry),
            Self::Terminal(file) => SourceFd(&file.as_raw_fd()).deregister(registry),
        }
    }
}
