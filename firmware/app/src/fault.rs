//! Why an inference ended early. Each fault has a number that keeps its meaning over versions, for logs and
//! for those who read them.

use halfnet_core::endpoint::{Contradiction, EndpointError};
use halfnet_core::party::half::MaterialError;
use halfnet_core::party::{ErrorKind, SessionError};
use halfnet_core::wire::message::MessageError;

use crate::counter::CounterError;
use crate::link::Broken;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault {
    /// The link broke.
    #[error(transparent)]
    Link(#[from] Broken),
    /// The peer was silent for too long.
    #[error("the peer was silent for too long")]
    Silent,
    /// The peer announced a frame that the plan has no room for.
    #[error("the peer announced {found} bytes where a frame has at most {most}")]
    TooLong {
        /// Of the plan, header included.
        most: u32,
        /// Announced, header included.
        found: u32,
    },
    /// The peer sent another frame than the handshake asks for.
    #[error("the peer sent a frame that the handshake does not ask for: step {step}")]
    Message {
        /// Of the frame.
        step: u8,
    },
    /// The peer's message is malformed.
    #[error(transparent)]
    Malformed(MessageError),
    /// Pairing, plan or provisioning differ.
    #[error("the peer belongs to another pairing, plan or provisioning")]
    Disagreement,
    /// The peer acknowledged another counter or session.
    #[error("the peer acknowledged another counter or session")]
    Acknowledge,
    /// The conversation ended in a way that only other ends know of: P1's or a third client's.
    #[error("the conversation ended as none of a board's can")]
    Foreign,
    /// The counter's memory failed.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// The session refused a frame, or failed.
    #[error("{}", .0.kind)]
    Session(SessionError),
    /// The board lends less memory than the plan states.
    #[error("the board lends less memory than the plan states")]
    Memory,
    /// The material is for a third client, which a board does not serve.
    #[error("the material was dealt for a third client: a board serves P0 as the client")]
    Client,
}

impl From<EndpointError> for Fault {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Unexpected { found, .. } => Self::Message { step: found.step },
            EndpointError::Length { .. } => Self::Malformed(MessageError::Length),
            EndpointError::Malformed { source, .. } => Self::Malformed(source),
            EndpointError::Version => Self::Malformed(MessageError::Version),
            EndpointError::Disagreement { .. } => Self::Disagreement,
            EndpointError::Acknowledge { .. } => Self::Acknowledge,
            // No counter follows it, so it cannot be burned.
            EndpointError::Contradiction(Contradiction::LastCounter) => Self::Counter(CounterError::Burn),
            EndpointError::NotBurned { .. } => Self::Counter(CounterError::Kept),
            EndpointError::Session(error) => Self::Session(error),
            EndpointError::Misuse => Self::Session(SessionError { at: None, kind: ErrorKind::Misuse }),
            EndpointError::Memory => Self::Memory,
            EndpointError::Client => Self::Client,
            _ => Self::Foreign,
        }
    }
}

impl Fault {
    /// The number of the fault: hundreds tell where (1 link, 2 handshake, 3 counter, 4 session, 5 board).
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Link(_) => 101,
            Self::Silent => 102,
            Self::TooLong { .. } => 103,
            Self::Message { .. } => 201,
            Self::Malformed(MessageError::Length) => 202,
            Self::Malformed(MessageError::Version) => 203,
            Self::Malformed(MessageError::Field) => 204,
            Self::Disagreement => 205,
            Self::Acknowledge => 206,
            Self::Foreign => 207,
            Self::Counter(CounterError::Burn) => 301,
            Self::Counter(CounterError::Kept) => 302,
            Self::Session(SessionError { kind, .. }) => match kind {
                ErrorKind::Unexpected { .. } => 401,
                ErrorKind::Length { .. } => 402,
                ErrorKind::InputDiffers => 403,
                ErrorKind::Memory => 404,
                ErrorKind::Misuse => 405,
                ErrorKind::Plan => 406,
                ErrorKind::Mode => 410,
                ErrorKind::Material(MaterialError::Exhausted(_)) => 407,
                ErrorKind::Material(MaterialError::Bundle) => 408,
                ErrorKind::Material(MaterialError::Weights) => 409,
                // Internal, and what a later core may add.
                _ => 411,
            },
            Self::Memory => 501,
            Self::Client => 502,
        }
    }
}
