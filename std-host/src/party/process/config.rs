//! What a party process is told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ProcessError;
use crate::party::link::{Limits, Link, Listener, Reactor, Stream, connect, open_line};
use crate::party::material::names;
use crate::party::store::Counter;

/// Between a failure and the next connection.
const PAUSE: Duration = Duration::from_millis(500);

/// Where the other party is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// It comes here.
    Listen(SocketAddr),
    /// It is there.
    Connect(SocketAddr),
    /// It is at the other end of this line.
    Line {
        /// A serial device, or a socket in the file system.
        path: PathBuf,
        /// Bits a second.
        baud: u32,
    },
}

impl PeerAddress {
    /// The address, where the other party may be on another machine. A line is local, even with a board at
    /// its end.
    const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Listen(address) | Self::Connect(address) => Some(*address),
            Self::Line { .. } => None,
        }
    }
}

/// What a party process is told.
#[derive(Clone, Debug)]
pub struct PartyConfig {
    /// `party0.postcard` or `party1.postcard`.
    pub material: PathBuf,
    /// P1's bundles; beside the material if not named.
    pub bundles: Option<PathBuf>,
    /// The other party.
    pub peer: PeerAddress,
    /// Where clients come to, when the client is a third.
    pub clients: Option<SocketAddr>,
    /// Allow addresses that are not loopback.
    pub insecure_plaintext: bool,
    /// Nonces from a test seed, for repeatable runs.
    pub test_seed: Option<String>,
    /// How long a peer or client may be silent.
    pub timeout: Duration,
    /// End after so many inferences.
    pub inferences: Option<u64>,
    /// Go on after an inference that failed.
    pub keep_going: bool,
}

impl PartyConfig {
    /// A configuration with the defaults: 30 s of silence allowed, no end, stop on failure.
    #[must_use]
    pub const fn new(material: PathBuf, peer: PeerAddress) -> Self {
        Self {
            material,
            bundles: None,
            peer,
            clients: None,
            insecure_plaintext: false,
            test_seed: None,
            timeout: Duration::from_secs(30),
            inferences: None,
            keep_going: false,
        }
    }

    pub(super) fn bundles(&self) -> PathBuf {
        let beside = || self.material.parent().unwrap_or(Path::new("")).join(names::BUNDLES);
        self.bundles.clone().unwrap_or_else(beside)
    }

    pub(super) fn counter(&self) -> PathBuf {
        Counter::path_beside(&self.material)
    }

    pub(super) const fn limits(&self) -> Limits {
        Limits { timeout: self.timeout }
    }

    /// Checks every address before any is used; `test`: was the material dealt under a test seed?
    pub(super) fn check_addresses(&self, test: bool) -> Result<(), ProcessError> {
        let addresses = [self.peer.address(), self.clients];
        addresses.into_iter().flatten().try_for_each(|address| {
            check_address(address, self.insecure_plaintext, test || self.test_seed.is_some())
        })
    }
}

/// Is this address allowed?
///
/// # Errors
/// It is not loopback, and links are not encrypted or the material was dealt under a test seed.
pub fn check_address(address: SocketAddr, insecure_plaintext: bool, test: bool) -> Result<(), ProcessError> {
    match (address.ip().is_loopback(), test, insecure_plaintext) {
        (true, _, _) | (false, false, true) => Ok(()),
        (false, true, _) => Err(ProcessError::TestMaterial { address }),
        (false, false, false) => Err(ProcessError::Plaintext { address }),
    }
}

/// Between a failure on a line and the next session.
const REST: Duration = Duration::from_secs(1);

/// Where the other party comes from.
pub(super) enum PeerSource {
    Listener(Listener),
    Address(SocketAddr),
    Line {
        path: PathBuf,
        baud: u32,
        /// Opened before anybody is told that the party waits: what comes then is not lost.
        opened: Option<Stream>,
    },
}

impl PeerSource {
    pub(super) fn new(reactor: &mut Reactor, peer: &PeerAddress) -> Result<Self, ProcessError> {
        match peer {
            PeerAddress::Listen(address) => Ok(Self::Listener(listen(reactor, *address)?)),
            PeerAddress::Connect(address) => Ok(Self::Address(*address)),
            PeerAddress::Line { path, baud } => {
                Ok(Self::Line { path: path.clone(), baud: *baud, opened: Some(line(path, *baud)?) })
            }
        }
    }

    pub(super) fn address(&self) -> Result<Option<SocketAddr>, ProcessError> {
        match self {
            Self::Listener(listener) => Ok(Some(listener.address()?)),
            Self::Address(_) | Self::Line { .. } => Ok(None),
        }
    }

    /// After a failure, before the next [`PeerSource::next`]: whoever connects must not do so without a
    /// pause.
    pub(super) fn pause(&self) {
        if let Self::Address(_) = self {
            std::thread::sleep(PAUSE);
        }
    }

    /// A connection to the other party, or `None` after a while in which nobody came.
    pub(super) fn next(
        &mut self,
        reactor: &mut Reactor,
        timeout: Duration,
        who: &'static str,
    ) -> Result<Option<Link>, ProcessError> {
        let stream: Stream = match self {
            Self::Listener(listener) => match listener.accept()? {
                Some(stream) => stream.into(),
                None => {
                    reactor.wait(Duration::from_millis(100))?;
                    return Ok(None);
                }
            },
            Self::Address(address) => connect(*address, timeout)
                .map_err(|source| ProcessError::Connect { who, address: *address, source })?
                .into(),
            Self::Line { path, baud, opened } => match opened.take() {
                Some(stream) => stream,
                None => {
                    // After a failure. What the other end still sends is not of the next session.
                    std::thread::sleep(REST);
                    line(path, *baud)?
                }
            },
        };
        Ok(Some(Link::new(reactor, stream, who)?))
    }
}

fn line(path: &Path, baud: u32) -> Result<Stream, ProcessError> {
    open_line(path, baud).map_err(|source| ProcessError::Line { path: path.to_owned(), source })
}

pub(super) fn listen(reactor: &mut Reactor, address: SocketAddr) -> Result<Listener, ProcessError> {
    Listener::bind(reactor, address).map_err(|source| ProcessError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_it_takes_a_flag_and_never_test_material() {
        let (near, far) = ("127.0.0.1:1".parse().unwrap(), "10.0.0.1:1".parse().unwrap());
        assert!(check_address(near, false, true).is_ok());
        assert!(check_address("[::1]:1".parse().unwrap(), false, false).is_ok());
        assert!(matches!(check_address(far, false, false), Err(ProcessError::Plaintext { .. })));
        assert!(check_address(far, true, false).is_ok());
        assert!(matches!(check_address(far, true, true), Err(ProcessError::TestMaterial { .. })));
        assert!(matches!(
            check_address("0.0.0.0:1".parse().unwrap(), false, false),
            Err(ProcessError::Plaintext { .. })
        ));
    }
}
