//! Why a conversation ended early, and whose fault it was.

use super::Who;
use crate::party::SessionError;
use crate::wire::frame::Header;
use crate::wire::message::{Agreement, Code, MessageError, Reason};

/// A part of what two parties have to have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Part {
    /// The pairing: the party files were made at different times.
    Pairing,
    /// The provisioning: the weights were split anew in between.
    Provisioning,
    /// The plan.
    Plan,
}

impl Part {
    /// The first part in which two agreements differ.
    #[must_use]
    pub fn difference(a: &Agreement, b: &Agreement) -> Option<Self> {
        if a.pairing != b.pairing {
            Some(Self::Pairing)
        } else if a.provisioning != b.provisioning {
            Some(Self::Provisioning)
        } else if a.plan != b.plan {
            Some(Self::Plan)
        } else {
            None
        }
    }
}

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Pairing => "pairing",
            Self::Provisioning => "provisioning of weights",
            Self::Plan => "plan",
        })
    }
}

/// How a message contradicts itself or what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Contradiction {
    /// P0 answers an invitation with no question.
    #[error("it answers an invitation with no question")]
    Idle,
    /// P0 disagrees with what is equal.
    #[error("it disagrees with what is equal")]
    Disagreement,
    /// P0 calls a counter old that is not below its next.
    #[error("it calls a counter old that is not below its next")]
    OldCounter,
    /// P0 accepts a counter below its next.
    #[error("it accepts a counter below its next")]
    Accepted,
    /// P1 proposes the last counter there is: no counter follows it, so it cannot be burned.
    #[error("it proposes the last counter there is, which is never dealt")]
    LastCounter,
    /// The parties told a third client of different requests.
    #[error("the parties contradict each other: the request differs")]
    Request,
    /// The parties told a third client of different deals.
    #[error("the parties contradict each other: the deal differs")]
    Deal,
    /// The parties told a third client of different counters.
    #[error("the parties contradict each other: the counter differs")]
    Counter,
    /// The parties told a third client of different sessions.
    #[error("the parties contradict each other: the session differs")]
    Session,
}

/// Why a conversation ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EndpointError {
    /// The other end's: a frame that is not the expected message.
    #[error(
        "{from} sent a frame (layer {}, step {}, {} bytes) where {expected:?} was expected",
        found.layer, found.step, found.length
    )]
    Unexpected {
        /// Who sent it.
        from: Who,
        /// What came.
        found: Header,
        /// What should have come.
        expected: Code,
    },
    /// The other end's: a message of another length than the plan states.
    #[error("{from} sent {found} bytes where {expected} are due")]
    Length {
        /// Who sent it.
        from: Who,
        /// Bytes due.
        expected: u32,
        /// Bytes that came.
        found: u32,
    },
    /// The other end's: a malformed message.
    #[error("{from}: {source}")]
    Malformed {
        /// Who sent it.
        from: Who,
        /// What is wrong with it.
        source: MessageError,
    },
    /// The ends speak different versions of the protocol.
    #[error("the peer speaks another protocol version: run the same release on both sides")]
    Version,
    /// The parties' files do not belong together.
    #[error("the parties' files do not belong together: their {what} differs")]
    Disagreement {
        /// The first part that differs.
        what: Part,
    },
    /// The other end's: it contradicts itself.
    #[error("the peer contradicts itself: {0}")]
    Contradiction(Contradiction),
    /// P0 knows no client of this request.
    #[error("P0 has no client of this request")]
    UnknownRequest,
    /// The other end's: it acknowledged another counter, or another session.
    #[error("the peer acknowledged counter {found}, or another session, where counter {expected} was burned")]
    Acknowledge {
        /// Burned here.
        expected: u64,
        /// Acknowledged there.
        found: u64,
    },
    /// The caller's: its counter does not stand behind what it says to have burned.
    #[error("counter {burned} was to be burned, but the next that the store would accept is {next}")]
    NotBurned {
        /// To be burned.
        burned: u64,
        /// What the store says.
        next: u64,
    },
    /// The session refused a frame, or failed.
    #[error("{}", .0.kind)]
    Session(#[from] SessionError),
    /// A party refused a third client's request.
    #[error("{by} refused the request: {}", reason.map_or("it gives no reason that this release knows", Reason::text))]
    Refused {
        /// Who refused.
        by: Who,
        /// Why, if this release knows the reason.
        reason: Option<Reason>,
    },
    /// The caller's: a picture of another size than the plan's input.
    #[error("the picture has {found} elements, the plan takes {expected}")]
    Picture {
        /// Elements of the plan's input.
        expected: u32,
        /// Elements of the picture.
        found: u32,
    },
    /// The caller's: the memory lent is shorter than the plan states.
    #[error("the memory lent is shorter than the plan states")]
    Memory,
    /// The caller's: the plan's client is another than this endpoint serves.
    #[error("the plan was made for another client than this endpoint serves")]
    Client,
    /// The caller's: called when nothing is to be done.
    #[error("the endpoint was called out of turn")]
    Misuse,
}
