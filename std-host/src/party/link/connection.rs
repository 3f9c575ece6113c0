//! One connection: frames in, frames out, nothing blocks.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use halfnet_core::wire::frame::{HEADER, Header};
use halfnet_core::wire::message;
use thiserror::Error;
use zeroize::Zeroize;

use super::{Reactor, Stream};

/// Bytes that are read ahead of the frame at hand, at most.
const AHEAD: usize = 1 << 16;

/// What is wrong with a connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The other end closed.
    #[error("{peer} closed the connection{}", if *partial { " in the middle of a frame" } else { "" })]
    Closed {
        /// Who.
        peer: String,
        /// Was a frame begun?
        partial: bool,
    },
    /// The socket failed.
    #[error("the connection to {peer} failed: {source}")]
    Io {
        /// Who.
        peer: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A frame that no step of the plan has.
    #[error("{peer} announced a frame of {found} bytes where at most {limit} are possible")]
    TooLong {
        /// Who.
        peer: String,
        /// Bytes announced, header included.
        found: usize,
        /// Longest frame possible.
        limit: usize,
    },
    /// Nothing came, and nothing was taken.
    #[error("{peer} has been silent for {:.1} s: is it still running?", after.as_secs_f64())]
    Silent {
        /// Who.
        peer: String,
        /// For how long.
        after: Duration,
    },
}

impl LinkError {
    /// Did the other end leave, as opposed to misbehave?
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Closed { partial: false, .. })
    }
}

/// Bytes in a row, taken from the front and added at the back.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Queue {
    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Room for `count` more bytes behind what is there.
    fn room(&mut self, count: usize) -> &mut [u8] {
        if self.end + count > self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end + count > self.bytes.len() {
                // A fresh allocation, so that the old one is wiped.
                let mut grown = vec![0; (self.end + count).next_power_of_two()];
                grown[..self.end].copy_from_slice(&self.bytes[..self.end]);
                std::mem::replace(&mut self.bytes, grown).zeroize();
            }
        }
        &mut self.bytes[self.end..self.end + count]
    }

    fn add(&mut self, count: usize) {
        self.end += count;
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }
}

/// A connection that carries frames.
pub struct Link {
    stream: Stream,
    peer: String,
    incoming: Queue,
    outgoing: Queue,
    /// Longest frame that is accepted, header included.
    limit: usize,
    queued: u64,
    received: u64,
    closed: bool,
    progress: Instant,
}

impl core::fmt::Debug for Link {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Link({}, {} sent, {} received)", self.peer, self.queued, self.received)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.incoming.bytes.zeroize();
        self.outgoing.bytes.zeroize();
    }
}

impl Link {
    /// A link over a connected stream or an open line. `peer` is what errors call the other end.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn new(
        reactor: &mut Reactor,
        stream: impl Into<Stream>,
        peer: impl Into<String>,
    ) -> Result<Self, LinkError> {
        let (mut stream, peer) = (stream.into(), peer.into());
        stream
            .hasten()
            .and_then(|()| reactor.add_stream(&mut stream))
            .map_err(|source| LinkError::Io { peer: peer.clone(), source })?;
        let limit = HEADER + message::LONGEST;
        Ok(Self {
            stream,
            peer,
            incoming: Queue::default(),
            outgoing: Queue::default(),
            limit,
            queued: 0,
            received: 0,
            closed: false,
            progress: Instant::now(),
        })
    }

    /// Sets the longest frame that the other end may send, header included.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// What errors call the other end.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Bytes queued so far: all that this end ever sends.
    #[must_use]
    pub const fn bytes_sent(&self) -> u64 {
        self.queued
    }

    /// Bytes received so far.
    #[must_use]
    pub const fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Bytes that wait for the socket.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outgoing.filled().len()
    }

    /// What an error of the operating system means for this link.
    pub(super) fn failure(&self, source: io::Error) -> LinkError {
        let (peer, partial) = (self.peer.clone(), !self.incoming.filled().is_empty());
        if self.stream.is_gone(&source) {
            LinkError::Closed { peer, partial }
        } else {
            LinkError::Io { peer, source }
        }
    }

    /// Room for a frame of up to `count` bytes; [`Link::queue`] says how many were written.
    pub fn room(&mut self, count: usize) -> &mut [u8] {
        self.outgoing.room(count)
    }

    /// Queues the first `count` bytes of the last [`Link::room`].
    pub fn queue(&mut self, count: usize) {
        if self.waiting() == 0 {
            // Silence is measured from here.
            self.progress = Instant::now();
        }
        self.outgoing.add(count);
        self.queued += count as u64;
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        while self.waiting() > 0 {
            match self.stream.write(self.outgoing.filled()) {
                Ok(0) => return Err(LinkError::Closed { peer: self.peer.clone(), partial: false }),
                Ok(count) => {
                    self.outgoing.take(count);
                    self.progress = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failure(e)),
            }
        }
        Ok(())
    }

    /// Reads what has come, as far as there is room for it.
    ///
    /// # Errors
    /// The connection failed.
    pub fn fill(&mut self) -> Result<(), LinkError> {
        let most = self.limit + AHEAD;
        while !self.closed && self.incoming.filled().len() < most {
            let room = (most - self.incoming.filled().len()).min(AHEAD);
            match self.stream.read(self.incoming.room(room)) {
                Ok(0) => self.closed = true,
                Ok(count) => {
                    self.incoming.add(count);
                    self.received += count as u64;
                    self.progress = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // What came before a reset is still handed out.
                    if self.incoming.filled().is_empty() {
                        return Err(self.failure(e));
                    }
                    self.closed = true;
                }
            }
        }
        Ok(())
    }

    /// The next frame, if all of it has come; [`Link::consume`] removes it.
    ///
    /// # Errors
    /// It is longer than any may be, or the other end is gone.
    pub fn frame(&mut self) -> Result<Option<&[u8]>, LinkError> {
        let filled = self.incoming.filled();
        let Some(head) = filled.first_chunk::<HEADER>() else {
            return if self.closed {
                Err(LinkError::Closed { peer: self.peer.clone(), partial: !filled.is_empty() })
            } else {
                Ok(None)
            };
        };
        let found = HEADER + Header::decode(head).length as usize;
        if found > self.limit {
            return Err(LinkError::TooLong { peer: self.peer.clone(), found, limit: self.limit });
        }
        if filled.len() < found {
            return if self.closed {
                Err(LinkError::Closed { peer: self.peer.clone(), partial: true })
            } else {
                Ok(None)
            };
        }
        Ok(Some(&self.incoming.filled()[..found]))
    }

    /// Removes a frame of `count` bytes that [`Link::frame`] gave.
    pub fn consume(&mut self, count: usize) {
        self.incoming.take(count);
    }

    /// How long one may sleep before this link is to be looked at again.
    ///
    /// # Errors
    /// Nothing has come or gone for `timeout`.
    pub fn patience(&self, timeout: Duration) -> Result<Duration, LinkError> {
        let after = self.progress.elapsed();
        let left = timeout.checked_sub(after).filter(|left| !left.is_zero());
        let left = left.ok_or_else(|| LinkError::Silent { peer: self.peer.clone(), after })?;
        Ok(left.min(self.stream.patience()))
    }

    /// How long nothing has come or gone.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.progress.elapsed()
    }

    /// Begins to measure silence anew.
    pub fn touch(&mut self) {
        self.progress = Instant::now();
    }
}
