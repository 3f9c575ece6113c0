//! Why a process ended.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use halfnet_core::board::BoardError;
use halfnet_core::error::ModelError;
use halfnet_core::model::blob::DecodeError;
use halfnet_core::party::SessionError;
use halfnet_core::party::half::MaterialError;
use halfnet_core::plan::Role;
use halfnet_core::wire::message::MessageError;
use thiserror::Error;

use crate::party::entropy::EntropyError;
use crate::party::link::{DriveError, LinkError};
use crate::party::material::FileError;
use crate::party::model::WeightError;
use crate::party::store::StoreError;

/// The byte of a [`halfnet_core::wire::message::Code::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The other party knows no such request.
    UnknownRequest = 1,
    /// P1 has no bundle left.
    NoBundle = 2,
    /// The parties are not connected, or do not agree.
    Parties = 3,
    /// The inference was begun and failed: its counter is spent.
    Aborted = 4,
    /// The request came twice, or something else than a request.
    BadRequest = 5,
}

impl Reason {
    /// The reason of a byte.
    #[must_use]
    pub const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::UnknownRequest),
            2 => Some(Self::NoBundle),
            3 => Some(Self::Parties),
            4 => Some(Self::Aborted),
            5 => Some(Self::BadRequest),
            _ => None,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::UnknownRequest => {
                "the other party did not get this request: are both addresses of one pair?"
            }
            Self::NoBundle => "no bundle is left: the dealer must deal more",
            Self::Parties => "the two parties are not connected or do not agree",
            Self::Aborted => "the inference failed after it had begun; its counter is spent, ask again",
            Self::BadRequest => "the request was malformed or came twice",
        }
    }
}

/// Where an inference stood when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The parties tell each other that they have burned the counter.
    Acknowledge,
    /// The client gets shares of A and sends E.
    Input,
    /// The parties walk the plan.
    Layers,
    /// The client gets the output.
    Output,
}

impl Stage {
    /// What stands before an error that does not name layer and step itself.
    const fn prefix(self, source: &ProcessError) -> &'static str {
        match (source, self) {
            (ProcessError::Drive(_), _) | (_, Self::Layers) => "",
            (_, Self::Acknowledge) => "before the first layer, at the acknowledgements: ",
            (_, Self::Input) => "before the first layer, at the client's input: ",
            (_, Self::Output) => "behind the last layer, at the client's output: ",
        }
    }
}

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
    /// A connection, outside an inference.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An inference.
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
    /// A message of the handshake is malformed.
    #[error("{peer} sent a malformed message: {source}")]
    Message {
        /// Who.
        peer: String,
        /// What is wrong.
        source: MessageError,
    },
    /// The parties' files do not belong together.
    #[error(
        "the two parties' files do not belong together: their {what} differs. Use party0 and party1 of one dealing"
    )]
    Disagreement {
        /// Pairing, plan or provisioning.
        what: &'static str,
    },
    /// The peer speaks another version.
    #[error("the peer speaks another protocol version: run the same release on both sides")]
    Version,
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
    /// The peer's acknowledgement is not of this inference.
    #[error("the peer acknowledged counter {found} where {expected} was agreed{}: it may have been restored from a backup", if found == expected { ", but in another session" } else { "" })]
    Acknowledge {
        /// Agreed.
        expected: u64,
        /// Acknowledged.
        found: u64,
    },
    /// P0's reply contradicts itself.
    #[error("the peer's reply makes no sense: {0}")]
    Reply(&'static str),
    /// P1's proposal cannot be accepted.
    #[error("the peer's proposal makes no sense: {0}")]
    Proposal(&'static str),
    /// P0 does not know a client's request.
    #[error("the other party knows no such request: the client must ask both parties")]
    UnknownRequest,
    /// A client failed during an inference.
    #[error("the client: {0}")]
    ClientLink(LinkError),
    /// After the burn.
    #[error("inference {counter} ended early and its counter and bundle are spent: {}{source}", stage.prefix(source))]
    Spent {
        /// The counter.
        counter: u64,
        /// Where it stood.
        stage: Stage,
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
    /// A party told its client that it failed.
    #[error("{who} refused: {}", reason.map_or("for a reason that this version does not know", |r| r.text()))]
    Refused {
        /// Which party.
        who: String,
        /// Why.
        reason: Option<Reason>,
    },
    /// The parties told the client different things.
    #[error("the parties do not agree on this inference: {what} differs. Nothing was sent")]
    PartiesDiffer {
        /// What.
        what: &'static str,
    },
    /// A mask came a second time.
    #[error(
        "the parties offered a mask that was used before (counter {counter}); a second input under it would show the first. Nothing was sent"
    )]
    MaskReused {
        /// The counter.
        counter: u64,
    },
    /// A message of the wrong length.
    #[error("{who} sent {found} bytes of {what} where {expected} are possible")]
    WrongLength {
        /// Who.
        who: String,
        /// What.
        what: &'static str,
        /// Expected.
        expected: usize,
        /// Found.
        found: usize,
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

impl From<SessionError> for ProcessError {
    fn from(e: SessionError) -> Self {
        Self::Drive(DriveError::Session(e))
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
            Self::Link(error)
            | Self::ClientLink(error)
            | Self::Drive(DriveError::Link { source: error, .. }) => link(error),
            Self::Spent { source, .. } => source.is_peer_gone(),
            Self::TooFew { .. } => true,
            _ => false,
        }
    }

    /// Marks an error as one that came after the burn.
    pub(super) fn after_burn(counter: u64, stage: Stage) -> impl FnOnce(Self) -> Self {
        move |source| Self::Spent { counter, stage, source: Box::new(source) }
    }
}
