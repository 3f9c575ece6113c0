//! Waiting for sockets, listening and connecting.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use super::Stream;

/// Between attempts to reach a peer that does not listen yet.
const RETRY: Duration = Duration::from_millis(25);
/// No sleep is longer: the operating system counts it in few bits.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

/// Wakes a thread when any of its sockets can go on.
///
/// Wakes are edges: a socket wakes the thread once after it refused to read or write. So whoever sleeps must
/// have tried every socket that it waits for since it woke.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    tokens: usize,
}

impl Reactor {
    /// A reactor without sockets.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(64), tokens: 0 })
    }

    fn register(&mut self, register: impl FnOnce(&Registry, Token) -> io::Result<()>) -> io::Result<()> {
        self.tokens += 1;
        register(self.poll.registry(), Token(self.tokens))
    }

    pub(super) fn add_stream(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.register(|registry, token| {
            stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)
        })
    }

    /// Sleeps until a socket can go on, or for `limit`.
    ///
    /// # Errors
    /// The operating system fails.
    pub fn wait(&mut self, limit: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(limit.min(LONGEST_SLEEP))) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on `address`; port 0 lets the operating system choose.
    ///
    /// # Errors
    /// The port is in use or the address is not this machine's.
    pub fn bind(reactor: &mut Reactor, address: SocketAddr) -> io::Result<Self> {
        let mut listener = TcpListener::bind(address)?;
        reactor.register(|registry, token| listener.register(registry, token, Interest::READABLE))?;
        Ok(Self(listener))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The operating system fails.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next connection, if there is one.
    ///
    /// # Errors
    /// The operating system fails.
    pub fn accept(&self) -> io::Result<Option<TcpStream>> {
        match self.0.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

/// Connects to `address`, trying again until `limit` while nobody listens there.
///
/// # Errors
/// Nobody listened in time, or the address cannot be reached.
pub fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + limit.min(LONGEST_SLEEP);
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match std::net::TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                return Ok(TcpStream::from_std(stream));
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused && Instant::now() + RETRY < end => {
                std::thread::sleep(RETRY)
            }
            Err(e) => return Err(e),
        }
    }
}
