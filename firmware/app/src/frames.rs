//! Frames over a link, within two buffers that the board lends.

use halfnet_core::wire::frame::{HEADER, Header};

use crate::fault::Fault;
use crate::link::Link;

/// Milliseconds of quiet after which a line is taken for drained.
const QUIET: u32 = 50;

/// The two directions of a link, frame by frame.
#[derive(Debug)]
pub struct Frames<'a> {
    outgoing: &'a mut [u8],
    /// Bytes of the frame in `outgoing` that have left, and its length.
    sent: usize,
    length: usize,
    incoming: &'a mut [u8],
    filled: usize,
    /// When a byte came or went last.
    progress: u32,
    /// What was moved since the beginning of an inference: sent, received.
    moved: [u32; 2],
}

impl<'a> Frames<'a> {
    /// Frames of at most the buffers' lengths.
    pub const fn new(outgoing: &'a mut [u8], incoming: &'a mut [u8]) -> Self {
        Self { outgoing, sent: 0, length: 0, incoming, filled: 0, progress: 0, moved: [0; 2] }
    }

    /// Bytes sent and received since [`Frames::count`].
    #[must_use]
    pub const fn moved(&self) -> [u32; 2] {
        self.moved
    }

    /// Begins to count bytes.
    pub const fn count(&mut self) {
        self.moved = [0; 2];
    }

    /// Room for the next frame, or none while one is leaving.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        (self.sent == self.length).then_some(&mut *self.outgoing)
    }

    /// The frame written into [`Frames::room`] is to leave.
    pub const fn queue(&mut self, length: usize) {
        (self.sent, self.length) = (0, length);
    }

    /// Has everything left?
    #[must_use]
    pub const fn is_flushed(&self) -> bool {
        self.sent == self.length
    }

    /// Begins to measure silence anew.
    pub fn touch(&mut self, link: &mut impl Link) {
        self.progress = link.milliseconds();
    }

    /// For how many milliseconds nothing has moved.
    pub fn silence(&self, link: &mut impl Link) -> u32 {
        link.milliseconds().wrapping_sub(self.progress)
    }

    /// Moves bytes in both directions, as many as can move now; says whether any did.
    ///
    /// # Errors
    /// The link broke.
    pub fn poll(&mut self, link: &mut impl Link) -> Result<bool, Fault> {
        let sent = link.send(self.outgoing.get(self.sent..self.length).unwrap_or(&[]))?;
        self.sent += sent;
        // One frame at a time: what follows waits in the link.
        let end = match self.incoming.first_chunk::<HEADER>() {
            Some(head) if self.filled >= HEADER => HEADER + Header::decode(head).length as usize,
            _ => HEADER,
        };
        let received = match self.incoming.get_mut(self.filled..end) {
            Some(room) => link.receive(room)?,
            None => 0,
        };
        self.filled += received;
        let moved = sent + received > 0;
        if moved {
            let [out, into] = &mut self.moved;
            (*out, *into) = (out.wrapping_add(sent as u32), into.wrapping_add(received as u32));
            self.progress = link.milliseconds();
        }
        Ok(moved)
    }

    /// The frame that has come, header included, if it is whole. It stays until [`Frames::consume`].
    ///
    /// # Errors
    /// The peer announced a longer one than the buffer holds.
    pub fn frame(&self) -> Result<Option<&[u8]>, Fault> {
        let Some(head) = self.incoming.first_chunk::<HEADER>().filter(|_| self.filled >= HEADER) else {
            return Ok(None);
        };
        let end = HEADER + Header::decode(head).length as usize;
        if end > self.incoming.len() {
            return Err(Fault::TooLong { most: self.incoming.len() as u32, found: end as u32 });
        }
        Ok(if self.filled >= end { self.incoming.get(..end) } else { None })
    }

    /// The frame has been used.
    pub const fn consume(&mut self) {
        self.filled = 0;
    }

    /// Is a frame under way?
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.filled > 0
    }

    /// Forgets everything, and what the peer still sends: until the next connection, or, on a line, until it
    /// has been quiet, since a stream of bytes has no other mark of where the next frame begins.
    pub fn resynchronise(&mut self, link: &mut impl Link) {
        (self.sent, self.length, self.filled) = (0, 0, 0);
        if link.restart() {
            return;
        }
        let mut last = link.milliseconds();
        while link.milliseconds().wrapping_sub(last) < QUIET {
            match link.receive(self.incoming) {
                Ok(0) => link.idle(),
                Ok(_) => last = link.milliseconds(),
                // A broken link has nothing more to say.
                Err(_) => return,
            }
        }
    }
}
