//! Links: frames over TCP or a serial line, full duplex on one thread.
//!
//! * [`Link`] is one connection: bytes wait in a queue until the socket takes them, frames are handed out
//!   when they are whole, and no call blocks. A frame that is longer than the plan allows is refused before
//!   it is buffered.
//! * [`Reactor`] is the one place where a thread sleeps: until any of its sockets can go on.
//! * [`drive()`] moves the frames of a sans-io endpoint over its links.

mod connection;
mod drive;
mod error;
mod line;
mod reactor;
mod trace;

pub use connection::{Link, LinkError};
pub use drive::{End, Limits, advance, drive};
pub use error::DriveError;
pub use line::{Stream, open_line};
pub use reactor::{Listener, Reactor, connect};
pub use trace::{LayerTrace, Trace};
