//! Exit codes, decided here and nowhere else.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use super::advice::Advised;
use crate::check::predict::PredictError;
use crate::check::transcript::TranscriptError;
use crate::check::trial::TrialError;
use crate::network::data::DataError;
use crate::network::float::FloatError;
use crate::network::import::ImportError;
use crate::party::entropy::EntropyError;
use crate::party::kernel::KernelError;
use crate::party::link::DriveError;
use crate::party::material::FileError;
use crate::party::process::ProcessError;
use halfnet_core::board::BoardError;
use halfnet_core::endpoint::EndpointError;
use halfnet_core::error::ModelError;
use halfnet_core::model::blob::DecodeError;
use halfnet_core::party::{ErrorKind, SessionError};

/// The exit codes, as `--help` lists them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  success
  1  the machine failed: a file could not be written, no memory, no kernel; or the program contradicts itself: please report that
  2  the command line is wrong
  3  bad input: a model, weights, a picture or a data set is missing, damaged or does not fit
  4  the peer: gone, silent, or not following the protocol
  5  material: party files, bundles or the dealer's state are missing, damaged, spent or of another pairing
  6  an address cannot be used: port taken, not loopback, not reachable
  7  a check failed: an answer differs from the reference, or two transcripts differ
  130  stopped by a signal";

/// The exit code after a signal.
pub(super) const STOPPED: u8 = 130;

/// What failed, by whose fault.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Ours, or the machine's.
    Machine(Box<dyn Error>),
    /// This program's own: what cannot be.
    Internal(String),
    /// The command line's.
    Usage(String),
    /// A model, weights, a picture or a data set.
    Input(Box<dyn Error>),
    /// The other end of a link.
    Peer(Box<dyn Error>),
    /// Party files, bundles, the dealer's state.
    Material(Box<dyn Error>),
    /// An address that cannot be used.
    Address(Box<dyn Error>),
    /// An answer is not what it must be.
    Check(String),
    /// A signal.
    Stopped(Box<dyn Error>),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Machine(_) | Self::Internal(_) => 1,
            Self::Usage(_) => 2,
            Self::Input(_) => 3,
            Self::Peer(_) => 4,
            Self::Material(_) => 5,
            Self::Address(_) => 6,
            Self::Check(_) => 7,
            Self::Stopped(_) => STOPPED,
        }
    }

    /// A file that could not be written.
    pub(crate) fn write(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Machine(Box::new(Inaccessible { verb: "write", path: path.into(), source }))
    }

    /// A file that could not be read.
    pub(crate) fn read(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Input(Box::new(Inaccessible { verb: "read", path: path.into(), source }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(error) | Self::Input(error) | Self::Peer(error) => error.fmt(f),
            Self::Material(error) | Self::Address(error) | Self::Stopped(error) => error.fmt(f),
            Self::Internal(text) | Self::Usage(text) | Self::Check(text) => f.write_str(text),
        }
    }
}

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {source}", path.display())]
struct Inaccessible {
    verb: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

macro_rules! input {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Input(Box::new(error))
            }
        }
    )*};
}
input!(FloatError, DecodeError);

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Name { .. } => Self::Usage(error.to_string()),
            error => Self::Input(error.advised().into()),
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::Input(error.advised().into())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        ProcessError::from(error).into()
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self::Machine(Box::new(error))
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        match error {
            // What was asked for on the command line does not go together, or not with this model.
            ModelError::Role | ModelError::ReleaseBits | ModelError::Memory => Self::Usage(error.to_string()),
            error => Self::Input(Box::new(error)),
        }
    }
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        use ProcessError as E;
        /// Whose fault it is; after the burn, whose the cause was.
        fn kind(error: &ProcessError) -> fn(String) -> Failure {
            match error {
                E::Spent { source, .. } => kind(source),
                E::Internal(_)
                | E::Drive(DriveError::Endpoint {
                    source:
                        EndpointError::Memory
                        | EndpointError::Client
                        | EndpointError::Misuse
                        | EndpointError::NotBurned { .. }
                        | EndpointError::Session(SessionError {
                            kind:
                                ErrorKind::Internal(_) | ErrorKind::Memory | ErrorKind::Misuse | ErrorKind::Plan,
                            ..
                        }),
                    ..
                }) => Failure::Internal,
                E::Drive(DriveError::Endpoint { source: EndpointError::Disagreement { .. }, .. }) => {
                    |e| Failure::Material(e.into())
                }
                E::Client(_) | E::TestSeed { .. } | E::Entropy(EntropyError::TestSeed(_)) => Failure::Usage,
                E::Board(BoardError::Mode | BoardError::Client) => Failure::Usage,
                // The material was read and the plan decoded before.
                E::Board(_) => Failure::Internal,
                E::Plan(ModelError::Role | ModelError::ReleaseBits | ModelError::Memory) => Failure::Usage,
                E::Model { .. } | E::Picture { .. } | E::Normalisation { .. } | E::Plan(_) => {
                    |e| Failure::Input(e.into())
                }
                E::Listen { .. }
                | E::Connect { .. }
                | E::Line { .. }
                | E::Plaintext { .. }
                | E::TestMaterial { .. } => |e| Failure::Address(e.into()),
                E::File(_)
                | E::Store(_)
                | E::Weights(_)
                | E::Deal { .. }
                | E::OtherModel { .. }
                | E::OldCounter { .. }
                | E::NoCounters { .. } => |e| Failure::Material(e.into()),
                E::Stopped => |e| Failure::Stopped(e.into()),
                E::Entropy(_) | E::System(_) => |e| Failure::Machine(e.into()),
                _ => |e| Failure::Peer(e.into()),
            }
        }
        kind(&error)(error.advised())
    }
}

impl From<PredictError> for Failure {
    fn from(error: PredictError) -> Self {
        Self::Material(Box::new(error))
    }
}

impl From<TranscriptError> for Failure {
    fn from(error: TranscriptError) -> Self {
        match error {
            TranscriptError::File(_) => Self::Machine(Box::new(error)),
            error => Self::Input(Box::new(error)),
        }
    }
}

impl From<TrialError> for Failure {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Model(error) => error.into(),
            TrialError::Plan(error) => error.into(),
            TrialError::Process(error) => error.into(),
            TrialError::Predict(error) => error.into(),
            TrialError::NoPictures { .. } => Self::Usage(error.to_string()),
            error => Self::Machine(Box::new(error)),
        }
    }
}

/// What clap found: help and version are a success, everything else is a usage error.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // A closed terminal leaves nobody to tell.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Tells the user what failed.
pub(crate) fn report(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("halfnet: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help() {
        let failures = [
            Failure::Machine("".into()),
            Failure::Internal(String::new()),
            Failure::Usage(String::new()),
            Failure::Input("".into()),
            Failure::Peer("".into()),
            Failure::Material("".into()),
            Failure::Address("".into()),
            Failure::Check(String::new()),
            Failure::Stopped("".into()),
        ];
        // A line that goes on is indented further.
        let listed: Vec<u8> = HELP
            .lines()
            .skip(1)
            .filter(|line| !line.starts_with("     "))
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        let mut codes: Vec<u8> = std::iter::once(0).chain(failures.iter().map(Failure::code)).collect();
        // The machine's faults and the program's own.
        codes.dedup();
        assert_eq!(listed, codes);
    }
}
