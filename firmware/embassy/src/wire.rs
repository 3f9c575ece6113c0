//! A link whose driver is a task: two pipes between the task and the party.

use core::future::{Future, pending};
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_futures::select::select3;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_sync::signal::Signal;
use embassy_time::Instant;
use embedded_io_async::{Read, Write};
use halfnet_firmware::link::{Broken, Link};

/// Bytes that wait in each direction.
pub const CAPACITY: usize = 4096;
/// Bytes that a driver takes or gives at a time, at most: more than any packet of USB at full speed.
pub const PIECE: usize = 512;

/// What lies between a driver's task and the party.
pub struct Wire {
    /// To the peer.
    outgoing: Pipe<CriticalSectionRawMutex, CAPACITY>,
    /// From the peer.
    incoming: Pipe<CriticalSectionRawMutex, CAPACITY>,
    /// The connection has ended, and the party has not begun anew.
    lost: AtomicBool,
    /// The party begins anew.
    anew: Signal<CriticalSectionRawMutex, ()>,
}

impl core::fmt::Debug for Wire {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Wire(..)")
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

impl Wire {
    /// A wire that nobody holds yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            outgoing: Pipe::new(),
            incoming: Pipe::new(),
            lost: AtomicBool::new(false),
            anew: Signal::new(),
        }
    }

    /// Carries one connection's bytes in both directions until `reader` ends, either fails or `until` is
    /// done; then waits until the party has taken what had come and begins anew.
    ///
    /// `packet`: bytes given to `writer` at a time, at most [`PIECE`].
    pub async fn carry(
        &self,
        mut reader: impl Read,
        mut writer: impl Write,
        packet: usize,
        until: impl Future<Output = ()>,
    ) {
        let inward = async {
            let mut piece = [0; PIECE];
            while let Ok(count @ 1..) = reader.read(&mut piece).await {
                self.incoming.write_all(piece.get(..count).unwrap_or(&[])).await;
            }
        };
        let outward = async {
            let mut piece = [0; PIECE];
            let piece = &mut piece[..packet.clamp(1, PIECE)];
            loop {
                let count = self.outgoing.read(piece).await;
                if writer.write_all(piece.get(..count).unwrap_or(&[])).await.is_err() {
                    return;
                }
            }
        };
        select3(inward, outward, until).await;
        self.anew.reset();
        self.lost.store(true, Ordering::Release);
        self.anew.wait().await;
    }

    /// [`Wire::carry`] for a driver that has no other end than its own.
    pub async fn carry_to_the_end(&self, reader: impl Read, writer: impl Write, packet: usize) {
        self.carry(reader, writer, packet, pending()).await;
    }

    /// Has the connection ended, and was everything taken that had come?
    fn has_ended(&self) -> bool {
        // What came was in the pipe before `lost` was set.
        self.lost.load(Ordering::Acquire) && self.incoming.is_empty()
    }
}

/// The party's end of a wire.
#[derive(Clone, Copy, Debug)]
pub struct WireLink<'w>(pub &'w Wire);

impl Link for WireLink<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        if self.0.has_ended() {
            return Err(Broken);
        }
        // A full pipe is no error.
        Ok(if bytes.is_empty() { 0 } else { self.0.outgoing.try_write(bytes).unwrap_or(0) })
    }

    fn receive(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        if self.0.has_ended() {
            return Err(Broken);
        }
        Ok(if out.is_empty() { 0 } else { self.0.incoming.try_read(out).unwrap_or(0) })
    }

    fn idle(&mut self) {
        // The driver's interrupts come when they come; all that sleeping would save is power, which a board
        // on a cable has.
        core::hint::spin_loop();
    }

    fn milliseconds(&mut self) -> u32 {
        Instant::now().as_millis() as u32
    }

    fn restart(&mut self) -> bool {
        // While the peer holds the port open, this is a line.
        let lost = self.0.lost.load(Ordering::Acquire);
        if lost {
            self.0.incoming.clear();
            self.0.outgoing.clear();
            self.0.lost.store(false, Ordering::Release);
            self.0.anew.signal(());
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;
    use std::vec::Vec;

    use embassy_futures::{block_on, join::join, yield_now};
    use embedded_io_async::ErrorType;

    use super::*;

    /// A peer that says `says` in pieces and then leaves, or never does.
    struct Peer<'p> {
        says: &'p [u8],
        stays: bool,
    }

    impl ErrorType for Peer<'_> {
        type Error = Infallible;
    }

    impl Read for Peer<'_> {
        async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
            yield_now().await;
            if self.says.is_empty() && self.stays {
                pending::<()>().await;
            }
            let count = out.len().min(self.says.len()).min(7);
            let (now, rest) = self.says.split_at(count);
            out[..count].copy_from_slice(now);
            self.says = rest;
            Ok(count)
        }
    }

    /// Keeps what it is given, and how long the pieces were.
    #[derive(Default)]
    struct Ear(Vec<u8>, usize);

    impl ErrorType for Ear {
        type Error = Infallible;
    }

    impl Write for Ear {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            self.0.extend_from_slice(bytes);
            self.1 = self.1.max(bytes.len());
            Ok(bytes.len())
        }

        async fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    fn noise(count: usize) -> Vec<u8> {
        (0..count).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    /// Takes what comes until the link breaks, and begins anew.
    async fn drain(link: &mut WireLink<'_>) -> Vec<u8> {
        let (mut came, mut bytes) = (Vec::new(), [0; 100]);
        while let Ok(count) = link.receive(&mut bytes) {
            came.extend_from_slice(&bytes[..count]);
            yield_now().await;
        }
        assert_eq!((link.receive(&mut bytes), link.send(&[])), (Err(Broken), Err(Broken)), "it stays broken");
        assert!(link.restart(), "the next byte is another connection's");
        came
    }

    #[test]
    fn everything_that_came_is_taken_before_the_link_breaks() {
        let (wire, says) = (Wire::new(), noise(3 * CAPACITY));
        let mut link = WireLink(&wire);
        let peer = Peer { says: &says, stays: false };
        let ((), came) = block_on(join(wire.carry_to_the_end(peer, Ear::default(), PIECE), drain(&mut link)));
        assert_eq!(came, says);
        assert_eq!((link.receive(&mut [0]), link.send(&[1])), (Ok(0), Ok(1)));
        assert!(!link.restart(), "nothing was lost since");
    }

    #[test]
    fn what_is_sent_leaves_whole_in_packets() {
        let (wire, says) = (Wire::new(), noise(2 * CAPACITY + 5));
        let mut ear = Ear::default();
        let mut link = WireLink(&wire);
        let sending = async {
            let mut left = says.as_slice();
            while !left.is_empty() {
                left = &left[link.send(left).unwrap()..];
                yield_now().await;
            }
            while !wire.outgoing.is_empty() {
                yield_now().await;
            }
        };
        let telling = async {
            while !wire.lost.load(Ordering::Acquire) {
                yield_now().await;
            }
            assert!(WireLink(&wire).restart());
        };
        block_on(join(wire.carry(Peer { says: &[], stays: true }, &mut ear, 63, sending), telling));
        assert_eq!(ear.0, says);
        assert_eq!(ear.1, 63);
    }

    #[test]
    fn nothing_of_a_broken_connection_reaches_the_next() {
        let wire = Wire::new();
        let mut link = WireLink(&wire);
        let gone = async {
            wire.carry(Peer { says: b"late", stays: true }, Ear::default(), PIECE, yield_now()).await;
        };
        let mut came = Vec::new();
        block_on(join(gone, async {
            while !wire.lost.load(Ordering::Acquire) {
                yield_now().await;
            }
            assert_eq!(link.send(b"for nobody"), Ok(10), "there is still something to be read");
            came = drain(&mut link).await;
        }));
        assert_eq!(came, b"late");
        let mut ear = Ear::default();
        let ((), rest) = block_on(join(
            wire.carry_to_the_end(Peer { says: b"new", stays: false }, &mut ear, PIECE),
            drain(&mut link),
        ));
        assert_eq!((rest.as_slice(), ear.0.as_slice()), (b"new".as_slice(), b"".as_slice()));
    }
}
