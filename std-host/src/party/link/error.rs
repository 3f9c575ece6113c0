//! Why an endpoint's frames moved no further.

use halfnet_core::endpoint::{Contradiction, EndpointError, Phase, Who};
use halfnet_core::party::SessionError;
use halfnet_core::plan::Step;
use halfnet_core::wire::message::Reason;
use thiserror::Error;

use super::LinkError;

/// Why a conversation ended early, and where it stood.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DriveError {
    /// A link failed.
    #[error("{}{}{source}", place(*phase, *at), if *who == Who::Client { "the client: " } else { "" })]
    Link {
        /// What the endpoint waited for.
        phase: Phase,
        /// Layer and step.
        at: Option<(u16, Step)>,
        /// Who is at the link's other end.
        who: Who,
        /// What.
        source: LinkError,
    },
    /// The endpoint ended it: another end misbehaved, or the material failed.
    #[error("{}{}", place(*phase, session_place(source)), explain(source))]
    Endpoint {
        /// What the endpoint waited for.
        phase: Phase,
        /// What.
        source: EndpointError,
    },
}

const fn session_place(error: &EndpointError) -> Option<(u16, Step)> {
    if let EndpointError::Session(SessionError { at, .. }) = error { *at } else { None }
}

/// What stands before an error; nothing before the burn, where there is no inference yet.
fn place(phase: Phase, at: Option<(u16, Step)>) -> String {
    match (phase, at) {
        (Phase::Handshake | Phase::Caller | Phase::Failed, _) => String::new(),
        (Phase::Acknowledge, _) => "before the first layer, at the acknowledgements: ".to_owned(),
        (Phase::Input, _) => "before the first layer, at the client's input: ".to_owned(),
        (Phase::Layers, None) => "before the first layer: ".to_owned(),
        (Phase::Layers, Some((layer, step))) => format!("in layer {layer}, step {step:?}: "),
        (Phase::Output, _) => "behind the last layer, at the client's output: ".to_owned(),
        (Phase::Finished, _) => "behind the last layer: ".to_owned(),
    }
}

/// The error in the words of who runs a process: with what to do about it, where something can be done.
fn explain(error: &EndpointError) -> String {
    match error {
        EndpointError::Malformed { from, source } => format!("{from} sent a malformed message: {source}"),
        EndpointError::Disagreement { what } => format!(
            "the two parties' files do not belong together: their {what} differs. Use party0 and party1 of one dealing"
        ),
        EndpointError::Contradiction(contradiction) => match contradiction {
            Contradiction::LastCounter => format!("the peer's proposal makes no sense: {contradiction}"),
            Contradiction::Request
            | Contradiction::Deal
            | Contradiction::Counter
            | Contradiction::Session => format!("{contradiction}. Nothing was sent"),
            _ => format!("the peer's reply makes no sense: {contradiction}"),
        },
        EndpointError::UnknownRequest => {
            "the other party knows no such request: the client must ask both parties".to_owned()
        }
        EndpointError::Acknowledge { expected, found } => format!(
            "the peer acknowledged counter {found} where {expected} was agreed{}: it may have been restored from a backup",
            if found == expected { ", but in another session" } else { "" }
        ),
        EndpointError::Refused { by, reason } => format!(
            "{by} refused: {}",
            reason.map_or("for a reason that this version does not know", Reason::text)
        ),
        other => other.to_string(),
    }
}
