//! A link: bytes in both directions, at once, none of them waited for.
//!
//! Two parties that both write and only then read stop each other for good. So a link has no call that waits
//! for one direction: it takes what there is room for, gives what has come, and says what time it is, so that
//! silence can be told from slowness.

use embedded_io::{Read, ReadReady, Write, WriteReady};

/// The link broke: cable, socket or driver. What had come before is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("the link broke")]
pub struct Broken;

/// A full-duplex stream of bytes, and a clock.
pub trait Link {
    /// Takes as many bytes as there is room for now, perhaps none; gives their number.
    ///
    /// # Errors
    /// The link broke.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken>;

    /// Gives as many bytes as have come and fit, perhaps none.
    ///
    /// # Errors
    /// The link broke.
    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Broken>;

    /// Sleeps until something may have changed: at least a byte or a millisecond. Returning at once is
    /// allowed, and costs power alone.
    fn idle(&mut self);

    /// Milliseconds since some moment, wrapping.
    fn milliseconds(&mut self) -> u32;

    /// Gives up after a fault, and says whether the next byte begins something new: a connection is dropped,
    /// so that the peer notices too, and the next one is waited for. A line cannot do that: on it only quiet
    /// tells the end.
    fn restart(&mut self) -> bool {
        false
    }
}

/// A clock that links without one of their own are given.
pub trait Clock {
    /// Milliseconds since some moment, wrapping.
    fn milliseconds(&mut self) -> u32;
}

/// Any port of `embedded-io` that can say whether it is ready, as a link.
#[derive(Debug)]
pub struct Port<P, C> {
    port: P,
    clock: C,
}

impl<P, C> Port<P, C> {
    /// A link over `port`.
    pub const fn new(port: P, clock: C) -> Self {
        Self { port, clock }
    }
}

impl<P: Read + ReadReady + Write + WriteReady, C: Clock> Link for Port<P, C> {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut sent = 0;
        while sent < bytes.len() && self.port.write_ready().map_err(|_| Broken)? {
            match self.port.write(bytes.get(sent..).unwrap_or(&[])).map_err(|_| Broken)? {
                0 => break,
                count => sent += count,
            }
        }
        Ok(sent)
    }

    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        let mut received = 0;
        while received < out.len() && self.port.read_ready().map_err(|_| Broken)? {
            match self.port.read(out.get_mut(received..).unwrap_or(&mut [])).map_err(|_| Broken)? {
                0 => break,
                count => received += count,
            }
        }
        Ok(received)
    }

    fn idle(&mut self) {
        core::hint::spin_loop();
    }

    fn milliseconds(&mut self) -> u32 {
        self.clock.milliseconds()
    }
}
