//! What to type against an error: the library says what is wrong, in words that hold for any program that uses
//! it; which flag or command helps is said here and nowhere else.

use std::error::Error;

use halfnet_core::board::BoardError;
use halfnet_core::endpoint::EndpointError;
use halfnet_core::party::{ErrorKind, SessionError};

use crate::network::data::DataError;
use crate::network::import::ImportError;
use crate::party::link::DriveError;
use crate::party::material::FileError;
use crate::party::process::{ClientError, ProcessError};
use crate::party::store::StoreError;

/// An error that the command line can help against.
pub(super) trait Advised: Error {
    /// What to type, where there is something.
    fn advice(&self) -> Option<&'static str>;

    /// The error's text, then the advice in brackets.
    fn advised(&self) -> String {
        self.advice().map_or_else(|| self.to_string(), |advice| format!("{self} ({advice})"))
    }
}

impl Advised for ProcessError {
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Spent { source, .. } => source.advice(),
            Self::Plaintext { .. } => Some("--insecure-plaintext accepts it"),
            Self::TestMaterial { .. } => {
                Some("leave --insecure-test-seed out, and deal without it, to leave this machine")
            }
            Self::TestSeed { dealt: true } => Some("--insecure-test-seed HEX, as when it was dealt"),
            Self::TestSeed { dealt: false } => Some("without --insecure-test-seed"),
            Self::NoCounters { .. } => Some("halfnet deal --model FILE --out DIR"),
            Self::File(FileError::Exists { .. }) => {
                Some("halfnet deal --more N --state dealer.postcard adds bundles")
            }
            Self::Store(StoreError::Empty { .. }) => Some("halfnet deal --more N --state dealer.postcard"),
            Self::Client(ClientError::SeedParty) => {
                Some("give the pictures to `infer --material party0.postcard`")
            }
            Self::Client(ClientError::Nobody) => Some("leave --clients out"),
            Self::Client(ClientError::Third) => Some(
                "run `party --role 0 --clients ADDR` and give the picture to `infer --plan FILE --p0 ADDR --p1 ADDR`",
            ),
            Self::Client(ClientError::NoAddress) => Some("--clients ADDR"),
            Self::Board(BoardError::Mode)
            | Self::Drive(DriveError::Endpoint {
                source: EndpointError::Session(SessionError { kind: ErrorKind::Mode, .. }),
                ..
            }) => Some("deal with --mode s or --mode h"),
            Self::Board(BoardError::Client) => Some("leave --pictures out, or deal with --client p0"),
            _ => None,
        }
    }
}

impl Advised for DataError {
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoFolder => Some("give --data DIR"),
            Self::Missing { .. } => Some("give --data DIR, the folder above it"),
            Self::TooLarge { .. } => Some("give a --limit"),
            _ => None,
        }
    }
}

impl Advised for ImportError {
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Data(error) => error.advice(),
            Self::Widths { .. } => Some("--bits N"),
            _ => None,
        }
    }
}
