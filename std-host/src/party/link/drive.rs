//! Moves a sans-io session over a link: the few lines between the core and the operating system.

use std::time::Duration;

use halfnet_core::party::half::{Half, ModelHalf};
use halfnet_core::party::session::{Input, Session};
use halfnet_core::party::{ErrorKind, SessionError};
use halfnet_core::plan::Step;
use thiserror::Error;

use super::{Link, LinkError, Reactor, Trace};

/// Bytes that may wait for the socket before the session is asked for more: about a layer of a large network.
const WAITING: usize = 1 << 20;

/// How long to wait, and how long a frame may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After so long without a byte the peer is taken for gone.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30) }
    }
}

/// Why a run ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DriveError {
    /// The link, while the walk stood somewhere.
    #[error("{}: {source}", place(*at))]
    Link {
        /// Layer and step.
        at: Option<(u16, Step)>,
        /// What.
        source: LinkError,
    },
    /// The session: the peer misbehaved, or the material failed.
    #[error("{}: {}", place(.0.at), .0.kind)]
    Session(SessionError),
}

fn place(at: Option<(u16, Step)>) -> String {
    at.map_or_else(
        || "before the first layer".to_owned(),
        |(layer, step)| format!("in layer {layer}, step {step:?}"),
    )
}

impl From<SessionError> for DriveError {
    fn from(e: SessionError) -> Self {
        Self::Session(e)
    }
}

/// Runs a session to its end. `input` is the picture, where this party is the client.
///
/// Frames are sent as soon as they are ready and taken as soon as they are wanted; a frame that comes early
/// waits in the link, which reads ahead by a frame at most.
///
/// # Errors
/// The peer left, was silent or misbehaved, or the material failed. The error says in which layer and step.
pub fn drive<H: Half, M: ModelHalf, I: Input>(
    session: &mut Session<'_, '_, H, M>,
    mut input: Option<&mut I>,
    link: &mut Link,
    reactor: &mut Reactor,
    limits: &Limits,
    trace: &mut Trace,
) -> Result<(), DriveError> {
    let longest = session.plan().header.longest_frame;
    link.set_limit(longest[H::ROLE.peer().index()] as usize);
    link.touch();
    let own = longest[H::ROLE.index()] as usize;
    loop {
        let mut moved = false;
        if link.waiting() < WAITING {
            let room = link.room(own);
            let mut length = match input.as_deref_mut() {
                Some(input) => session.transmit_input(input, room)?,
                None => None,
            };
            if length.is_none() {
                input = None;
                length = session.poll_transmit(room)?;
            }
            if let Some(length) = length {
                trace.frame(true, &room[..length]);
                link.queue(length);
                moved = true;
            }
        }
        let at = session.at();
        let failed = |source| DriveError::Link { at, source };
        link.flush().map_err(failed)?;
        if session.is_finished() {
            if link.waiting() == 0 {
                trace.mark(session.at().map(|(layer, _)| layer));
                return Ok(());
            }
        } else if session.can_receive() {
            let frame = match link.frame().map_err(failed)? {
                None => {
                    link.fill().map_err(failed)?;
                    link.frame().map_err(failed)?
                }
                frame => frame,
            };
            if let Some(frame) = frame {
                trace.mark(at.map(|(layer, _)| layer));
                session.handle_frame(frame)?;
                trace.frame(false, frame);
                let length = frame.len();
                link.consume(length);
                moved = true;
            }
        }
        if !moved {
            link.fill().map_err(failed)?;
            let arrived =
                session.can_receive() && !session.is_finished() && link.frame().map_err(failed)?.is_some();
            if link.waiting() == 0 && !arrived && !session.is_finished() && !session.can_receive() {
                // Nothing to send, nothing to wait for: a fault of ours, never a reason to hang.
                return Err(SessionError { at, kind: ErrorKind::Misuse }.into());
            }
            if !arrived {
                link.wait(reactor, limits.timeout).map_err(failed)?;
            }
        }
    }
}
