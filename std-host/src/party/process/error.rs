//! Why a process ended.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use halfnet_core::board::BoardError;
use halfnet_core::endpoint::{EndpointError, Phase};
use halfnet_core::error::ModelError;
use halfnet_core::model::blob::DecodeError;
use halfnet_core::party::half::MaterialError;
use halfnet_core::plan::Role;
use thiserror::Error;

use crate::party::entropy::EntropyError;
use crate::party::link::{DriveError, LinkError};
use crate::party::material::FileError;
use crate::party::model::WeightError;
use crate::party::store::StoreError;

/// Who the client is, as the material says, against what this process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// P0 brings the pictures itself.
    #[error("this material was dealt for P0 as the client: no other client's pictures are classified")]
    SeedParty,
    /// As [`ClientError::SeedParty`], but an address for clients was named.
    #[error(
        "this material was dealt for P0 as the client: there is nobody to come to an address for clients"
    )]
    Nobody,
    /// A third client brings the pictures.
    #[error("this material was dealt for a third client: pictures come from it, not from P0")]
    Third,
    /// A third client comes to both parties, and none knows where.
    #[error("clients of this material come to both parties: name the address that they come to")]
    NoAddress,
}

/// Why a process ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bundle store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Weights.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// Entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A connection, before anything is burned.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A conversation.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The model.
    #[error("{path}: {source}")]
    Model {
        /// The file.
        path: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// No plan fits the model and the options.
    #[error("no plan can be made of this model with these options: {0}")]
    Plan(ModelError),
    /// Dealing failed.
    #[error("the bundle of counter {counter} could not be dealt: {source}")]
    Deal {
        /// The counter.
        counter: u64,
        /// What is wrong.
        source: MaterialError,
    },
    /// The model is not the one dealt before.
    #[error(
        "{path} is not the model that this pairing was dealt from: give the same file, or deal a new pairing"
    )]
    OtherModel {
        /// The file.
        path: String,
    },
    /// A test seed where none was used, or the reverse.
    #[error("a pairing dealt under a test seed stays one, and no other becomes one: {}", if *dealt { "give its test seed again" } else { "leave the test seed out" })]
    TestSeed {
        /// Was the pairing dealt under one?
        dealt: bool,
    },
    /// The pairing's counters are all dealt.
    #[error("no counters are left for {count} bundles more: deal a new pairing")]
    NoCounters {
        /// Bundles wanted.
        count: u64,
    },
    /// A board would refuse this material.
    #[error(transparent)]
    Board(BoardError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", if source.kind() == io::ErrorKind::AddrInUse { " (another process uses this port: stop it or name another)" } else { "" })]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The address cannot be reached.
    #[error("cannot connect to {who} at {address}: {source}")]
    Connect {
        /// Who should be there.
        who: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The line cannot be opened.
    #[error("cannot open the line {}: {source}{}", path.display(), if source.kind() == io::ErrorKind::PermissionDenied { " (serial devices are for the group dialout)" } else { "" })]
    Line {
        /// A serial device or a socket in the file system.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system, otherwise.
    #[error("the operating system failed: {0}")]
    System(#[from] io::Error),
    /// An address that is not this machine's, without encryption.
    #[error(
        "{address} is not loopback and links are not encrypted yet: use a tunnel, or accept that all travels in the clear"
    )]
    Plaintext {
        /// The address.
        address: SocketAddr,
    },
    /// Test material beyond this machine.
    #[error(
        "{address} is not loopback, and a test seed was given here or when this material was dealt: anybody can know its masks"
    )]
    TestMaterial {
        /// The address.
        address: SocketAddr,
    },
    /// The plan's client is another.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// All of P1's bundles are below P0's counter.
    #[error(
        "P0 has burned every counter below {next}, and all bundles here were below it ({dropped} dropped: they were used before, or P1 was restored from a backup). Deal more"
    )]
    OldCounter {
        /// P0's next.
        next: u64,
        /// Bundles dropped.
        dropped: usize,
    },
    /// After the burn.
    #[error("inference {counter} ended early and its counter and bundle are spent: {source}")]
    Spent {
        /// The counter.
        counter: u64,
        /// Why.
        source: Box<ProcessError>,
    },
    /// The peer left before the wanted number of inferences.
    #[error("the peer left after {done} of {wanted} inferences")]
    TooFew {
        /// Done.
        done: u64,
        /// Wanted.
        wanted: u64,
    },
    /// A client is used after an inference of its ended early.
    #[error(
        "an earlier question of this client ended early, and what the parties still say of it would be taken for the next answer: connect again"
    )]
    ClientEnded,
    /// A mask came a second time.
    #[error(
        "the parties offered a mask that was used before (counter {counter}); a second input under it would show the first. Nothing was sent"
    )]
    MaskReused {
        /// The counter.
        counter: u64,
    },
    /// A picture of the wrong size.
    #[error("the picture has {found} pixels, the model takes {expected}")]
    Picture {
        /// Expected.
        expected: usize,
        /// Found.
        found: usize,
    },
    /// A model that does not say how every channel becomes integers.
    #[error("the model normalises {found} channels of a picture's {expected}: import it again")]
    Normalisation {
        /// Channels of the input.
        expected: usize,
        /// Normalisations stated.
        found: usize,
    },
    /// A child process.
    #[error("the process of {role:?} ended early: {reason}")]
    Child {
        /// Whose.
        role: Role,
        /// What it said.
        reason: String,
    },
    /// What cannot be, whatever anybody gave this program.
    #[error("internal, please report this: {0}")]
    Internal(String),
    /// Told to stop.
    #[error("stopped")]
    Stopped,
}

/// What ends a conversation between two moves of its frames.
impl From<EndpointError> for ProcessError {
    fn from(source: EndpointError) -> Self {
        Self::Drive(DriveError::Endpoint { phase: Phase::Caller, source })
    }
}

impl ProcessError {
    /// Did this process end because the other end of a link had ended before? Then the cause is there.
    #[must_use]
    pub fn is_peer_gone(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        let link = |error: &LinkError| match error {
            LinkError::Closed { .. } => true,
            LinkError::Io { source, .. } => {
                matches!(source.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
            }
            _ => false,
        };
        match self {
            Self::Link(error) | Self::Drive(DriveError::Link { source: error, .. }) => link(error),
            Self::Spent { source, .. } => source.is_peer_gone(),
            Self::TooFew { .. } => true,
            _ => false,
        }
    }

    /// What ended a conversation in which this party has burned the counter `spent`.
    pub(super) fn ended(spent: Option<u64>) -> impl Fn(DriveError) -> Self {
        move |error| match (spent, error) {
            (Some(counter), error) => Self::Spent { counter, source: Box::new(Self::Drive(error)) },
            (None, DriveError::Link { source, .. }) => Self::Link(source),
            (None, error) => Self::Drive(error),
        }
    }

    /// The event that an endpoint has for its caller is none that this one can deal with: a fault of ours.
    pub(super) fn out_of_turn() -> Self {
        EndpointError::Misuse.into()
    }

    /// What an endpoint ended the conversation with.
    #[must_use]
    pub fn endpoint(&self) -> Option<EndpointError> {
        match self {
            Self::Drive(DriveError::Endpoint { source, .. }) => Some(*source),
            Self::Spent { source, .. } => source.endpoint(),
            _ => None,
        }
    }
}
