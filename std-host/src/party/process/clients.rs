//! Third clients at one party: each over its own connection, which the other party never sees.

use std::net::SocketAddr;
use std::time::Duration;

use halfnet_core::endpoint::{self, EndpointError};
use halfnet_core::wire::frame::HEADER;
use halfnet_core::wire::message::{Identifier, REQUEST, Reason};

use super::ProcessError;
use super::config::listen;
use crate::party::link::{Link, LinkError, Listener, Reactor};

/// Connections at the same time; more are closed at once.
const MOST: usize = 64;

struct Slot {
    link: Link,
    request: Option<Identifier>,
    gone: bool,
}

/// The clients of one party.
pub(super) struct Clients {
    listener: Listener,
    slots: Vec<Slot>,
    counted: u64,
    /// Who has not asked for so long makes room for others.
    patience: Duration,
}

impl Clients {
    pub(super) fn listen(
        reactor: &mut Reactor,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<Self, ProcessError> {
        Ok(Self { listener: listen(reactor, address)?, slots: Vec::new(), counted: 0, patience })
    }

    pub(super) fn address(&self) -> Result<SocketAddr, ProcessError> {
        Ok(self.listener.address()?)
    }

    /// Takes new connections and what the known ones have sent.
    pub(super) fn poll(&mut self, reactor: &mut Reactor) -> Result<(), ProcessError> {
        while let Some(stream) = self.listener.accept()? {
            if self.slots.len() < MOST {
                self.counted += 1;
                let mut link = Link::new(reactor, stream, format!("client {}", self.counted))?;
                link.set_limit(HEADER + REQUEST);
                self.slots.push(Slot { link, request: None, gone: false });
            }
        }
        for index in 0..self.slots.len() {
            let taken: Vec<Identifier> = self.slots.iter().filter_map(|s| s.request).collect();
            let slot = &mut self.slots[index];
            // While a request waits, what comes behind it waits too.
            if slot.request.is_some() {
                continue;
            }
            match read_request(&mut slot.link) {
                Ok(None) => slot.gone = slot.link.silent_for() > self.patience,
                Ok(Some(Ok(request))) if !taken.contains(&request) => slot.request = Some(request),
                Ok(Some(_)) | Err(LinkError::TooLong { .. }) => {
                    refuse(&mut slot.link, Reason::BadRequest);
                    slot.gone = true;
                }
                Err(_) => slot.gone = true,
            }
        }
        self.slots.retain(|slot| !slot.gone);
        Ok(())
    }

    /// The first request that waits.
    pub(super) fn first_request(&self) -> Option<Identifier> {
        self.slots.iter().find_map(|slot| slot.request)
    }

    /// Takes the request of a client off the list; its connection, to run it on.
    pub(super) fn take(&mut self, request: &Identifier) -> Option<&mut Link> {
        let slot = self.slots.iter_mut().find(|slot| slot.request.as_ref() == Some(request))?;
        slot.request = None;
        Some(&mut slot.link)
    }

    pub(super) fn knows(&self, request: &Identifier) -> bool {
        self.slots.iter().any(|slot| slot.request.as_ref() == Some(request))
    }

    /// Tells the client of a request that nothing will come of it.
    pub(super) fn refuse(&mut self, request: &Identifier, reason: Reason) {
        if let Some(link) = self.take(request) {
            refuse(link, reason);
        }
    }

    /// Between inferences a client may send requests alone.
    pub(super) fn restrict(&mut self) {
        for slot in &mut self.slots {
            slot.link.set_limit(HEADER + REQUEST);
        }
    }
}

/// A client's request, if one has come, or what came instead.
fn read_request(link: &mut Link) -> Result<Option<Result<Identifier, EndpointError>>, LinkError> {
    link.flush()?;
    link.fill()?;
    let Some(frame) = link.frame()? else { return Ok(None) };
    let request = endpoint::read_request(frame);
    let length = frame.len();
    link.consume(length);
    Ok(Some(request))
}

/// Tells a client that its request failed, as far as it listens.
pub(super) fn refuse(link: &mut Link, reason: Reason) {
    if let Ok(length) = endpoint::write_refusal(reason, link.room(HEADER + 1)) {
        link.queue(length);
        let _ = link.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;

    use halfnet_core::wire::message::{self, Code};

    use super::*;

    #[test]
    fn who_never_asks_makes_room() {
        let mut reactor = Reactor::new().unwrap();
        let patience = Duration::from_millis(200);
        let mut clients = Clients::listen(&mut reactor, "127.0.0.1:0".parse().unwrap(), patience).unwrap();
        let address = clients.address().unwrap();
        let _idle = TcpStream::connect(address).unwrap();
        let mut asking = TcpStream::connect(address).unwrap();
        asking
            .write_all(
                &[&message::header(Code::Request, 0, REQUEST as u32).encode()[..], &[5; REQUEST]].concat(),
            )
            .unwrap();
        let began = std::time::Instant::now();
        while clients.slots.len() < 2 || clients.first_request().is_none() {
            clients.poll(&mut reactor).unwrap();
            assert!(began.elapsed() < Duration::from_secs(10));
        }
        std::thread::sleep(2 * patience);
        clients.poll(&mut reactor).unwrap();
        // Who waits for an answer is not idle.
        assert_eq!((clients.slots.len(), clients.knows(&[5; REQUEST])), (1, true));
    }
}
