//! The whole exchange of an inference, sans-io, from the first byte to the answer.
//!
//! * [`proposer`] — P1: proposes a counter that it has a bundle for.
//! * [`acceptor`] — P0: accepts or refuses it; alone, as its own client, or for a third one.
//! * [`client`] — a third client, who talks to both parties.
//!
//! An endpoint takes frames and gives frames and [`Event`]s. It has no clock, no entropy, no disk and no
//! transport: it works in memory that the caller lends, draws nonces from the caller's [`Nonces`], names the
//! [`Phase`] that it is in, so that the caller can set deadlines, and says with an event when something has to
//! be done that only the caller can do. The order "burned durably, then said" is the endpoint's: nothing that
//! follows a burn leaves before the caller has said that it is done.
//!
//! ```text
//!      P1, Proposer                                      P0, Acceptor
//!  Event::Propose ── propose() ──▶ Hello  ─────────────▶ Event::Request, if a third client asked
//!                                                        Event::Burn ── the counter, durably ── burned()
//!  Event::Burn ── the bundle, durably ◀──── Accepted ◀── Reply
//!  burned() ─────────────────▶ Acknowledge ◀───────────▶ Acknowledge
//!                          what passes with the client, then a Session's frames
//!  Event::Done                                           Event::Done
//! ```
//!
//! The caller's loop is the same for all three: answer [`Event`]s, call `poll_transmit` until it gives nothing,
//! hand frames to `handle_frame` while `can_receive` says so. A frame is what its header says, whole; where a
//! stream of bytes is cut into frames, `longest_frame` bounds what may come next. What carries the frames is no
//! matter of the endpoint's: a socket, a serial line, an encrypted channel.

pub mod acceptor;
pub mod client;
mod error;
mod inference;
mod nonces;
pub mod proposer;

pub use acceptor::Acceptor;
pub use client::ThirdClient;
pub use error::{Contradiction, EndpointError, Part};
pub use nonces::Nonces;
pub use proposer::Proposer;

use crate::party::input::Input;
use crate::plan::{Plan, Role, Step};
use crate::wire::frame::{HEADER, Header};
use crate::wire::message::{self, Code, Identifier, Reason};

/// An end of the conversation: where a frame comes from, or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Who {
    /// P0, the seed party.
    Seed,
    /// P1, the bundle party.
    Bundle,
    /// A third client.
    Client,
}

impl Who {
    /// A party's end.
    #[must_use]
    pub const fn party(role: Role) -> Self {
        match role {
            Role::Seed => Self::Seed,
            Role::Bundle => Self::Bundle,
        }
    }
}

impl core::fmt::Display for Who {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Seed => "P0",
            Self::Bundle => "P1",
            Self::Client => "the client",
        })
    }
}

/// What an endpoint waits for, so that its caller can say how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Phase {
    /// P1's proposal, or P0's reply: nothing is burned. P0 may wait for a proposal as long as it likes.
    Handshake,
    /// The caller, who answers an [`Event`].
    Caller,
    /// The peer's word that it has burned the counter too.
    Acknowledge,
    /// Shares of A to a third client and E from it.
    Input,
    /// The walk over the plan.
    Layers,
    /// The words of the output, to the client.
    Output,
    /// Nothing: the inference is done.
    Finished,
    /// Nothing: an error ended it.
    Failed,
}

/// Something that the caller has to do or to know. It stands until it has been dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// P1: choose the lowest counter that there is a bundle for, and call [`Proposer::propose`].
    Propose {
        /// P0 refused the last one: every bundle below this is of no use any more.
        below: Option<u64>,
    },
    /// P0 with third clients: does one of them wait under this name? Call [`Acceptor::answer_request`]; until
    /// then P1 waits.
    Request(Identifier),
    /// Burn this counter, and for P1 its bundle, durably; then call `burned`. If that fails, drop the endpoint:
    /// nothing has been said.
    Burn {
        /// Of the bundle.
        deal: Identifier,
        /// To be burned, with everything below it.
        counter: u64,
    },
    /// A third client: E is ready under the mask of this deal and counter. If another E ever left under it,
    /// stop here; else remember this hash of E and call [`ThirdClient::send_masked`].
    Masked {
        /// Of the mask.
        deal: Identifier,
        /// Of the mask.
        counter: u64,
        /// BLAKE3 of E, packed.
        hash: [u8; 32],
    },
    /// The peer was refused, and has been told why if that is for it to know. The endpoint has ended.
    Refused(EndpointError),
    /// The inference is done; P0 as the client and a third client have the answer.
    Done,
}

/// What all three ends have in common, for whoever moves their frames.
pub trait Endpoint {
    /// What the caller has to do or to know.
    #[must_use]
    fn event(&self) -> Option<Event>;

    /// What is waited for.
    #[must_use]
    fn phase(&self) -> Phase;

    /// The next frame for another end, if one is ready: its length in `out`, which holds
    /// [`longest_between_parties`], [`longest_to_client`] or [`longest_from_client`] bytes.
    ///
    /// # Errors
    /// `out` is too short, the material failed, or an error has ended the conversation.
    #[must_use = "a frame that is not sent stops the inference"]
    fn poll_transmit(&mut self, to: Who, out: &mut [u8]) -> Result<Option<usize>, EndpointError>;

    /// May a frame of another end be handed over now? If not, it waits.
    #[must_use]
    fn can_receive(&self, from: Who) -> bool;

    /// Bytes of the longest frame that may come next from another end, header included.
    #[must_use]
    fn longest_frame(&self, from: Who) -> usize;

    /// Takes a whole frame.
    ///
    /// # Errors
    /// It is not the one that comes next, is malformed, refuses or contradicts what was said, or the material
    /// failed: the conversation has ended.
    fn handle_frame(&mut self, from: Who, frame: &[u8]) -> Result<(), EndpointError>;

    /// Layer and step of the walk, while it is on.
    #[must_use]
    fn at(&self) -> Option<(u16, Step)>;
}

/// What is known of an inference once its counter is burned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The counter that is spent.
    pub counter: u64,
    /// The session: new in every conversation.
    pub session: Identifier,
    /// The third client's request that is served; zeros where P0 is the client.
    pub request: Identifier,
    /// Exchanges between the parties since the burn; the acknowledgements are one.
    pub rounds: u32,
    /// Bytes of the frames given out since the handshake, to both other ends.
    pub bytes_sent: u64,
}

/// What an inference is lent by its caller.
#[derive(Debug)]
pub struct Lent<'p, 'm, M> {
    /// The plan.
    pub plan: Plan<'p>,
    /// The party's half of the weights: P1's a [`crate::party::bundle::PortableModel`], or a faster one; P0's a
    /// [`crate::party::seed::SeedModel`], in H [`crate::party::seed::NoModel`].
    pub model: M,
    /// [`Plan::arena_words`] words; wiped when the inference ends.
    pub arena: &'m mut [u64],
}

/// In the place of a picture, where the party is not its own client.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPicture;

impl Input for NoPicture {
    const IS_CLIENT: bool = false;

    fn elements(&self) -> usize {
        0
    }

    fn read(&mut self, _first: usize, _out: &mut [i32]) {}
}

/// Bytes of the longest frame that a party sends the other, header included: room for `poll_transmit`.
#[must_use]
pub fn longest_between_parties(plan: &Plan<'_>, sender: Role) -> usize {
    (plan.header.longest_frame[sender.index()] as usize).max(HEADER + message::LONGEST)
}

/// Bytes of the longest frame that a party sends a third client, header included.
#[must_use]
pub fn longest_to_client(plan: &Plan<'_>) -> usize {
    HEADER + (message::MASK + client::packed_input(plan)).max(client::packed_output(plan)).max(1)
}

/// Bytes of the longest frame that a third client sends, header included.
#[must_use]
pub fn longest_from_client(plan: &Plan<'_>) -> usize {
    HEADER + client::packed_input(plan).max(message::REQUEST)
}

/// Bytes of the longest frame that may come before the counter is burned on both sides, header included.
const fn longest_before(from: Who) -> usize {
    HEADER + if matches!(from, Who::Client) { message::REQUEST } else { message::LONGEST }
}

/// Writes a message as a frame; gives its length.
///
/// # Errors
/// `out` is too short.
pub fn write_message(code: Code, payload: &[u8], out: &mut [u8]) -> Result<usize, EndpointError> {
    let length = HEADER + payload.len();
    let frame = out.get_mut(..length).ok_or(EndpointError::Memory)?;
    let (head, body) = frame.split_at_mut(HEADER);
    head.copy_from_slice(&message::header(code, 0, payload.len() as u32).encode());
    body.copy_from_slice(payload);
    Ok(length)
}

/// Tells a third client that nothing will come of its request; gives the frame's length.
///
/// # Errors
/// `out` is too short.
pub fn write_refusal(reason: Reason, out: &mut [u8]) -> Result<usize, EndpointError> {
    write_message(Code::Failed, &[reason as u8], out)
}

/// Reads a third client's request: its name for it.
///
/// # Errors
/// The frame is something else.
pub fn read_request(frame: &[u8]) -> Result<Identifier, EndpointError> {
    let payload = read_message(Who::Client, Code::Request, frame)?;
    let length = EndpointError::Length {
        from: Who::Client,
        expected: message::REQUEST as u32,
        found: payload.len() as u32,
    };
    payload.try_into().map_err(|_| length)
}

/// The header and the payload of a whole frame.
fn split(from: Who, frame: &[u8]) -> Result<(Header, &[u8]), EndpointError> {
    let whole = frame.split_first_chunk::<HEADER>().map(|(head, payload)| (Header::decode(head), payload));
    whole.filter(|(header, payload)| header.length as usize == payload.len()).ok_or(EndpointError::Length {
        from,
        expected: HEADER as u32,
        found: frame.len() as u32,
    })
}

/// The payload of a frame that has to be this message.
fn read_message(from: Who, expected: Code, frame: &[u8]) -> Result<&[u8], EndpointError> {
    let (found, payload) = split(from, frame)?;
    if found == message::header(expected, 0, found.length) {
        Ok(payload)
    } else {
        Err(EndpointError::Unexpected { from, found, expected })
    }
}
