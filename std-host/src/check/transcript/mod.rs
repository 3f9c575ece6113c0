//! Transcripts: every frame of one inference under a test seed, in a file, and where two such files first
//! differ.
//!
//! A transcript is text, a JSON object a line: the head with the plan, then the frames in the order of
//! sending. Who holds one and the test seed knows everything; that is why only runs under a test seed are
//! recorded.

mod diff;
mod place;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use halfnet_core::plan::{Options, Plan, Role};
use halfnet_core::wire::frame::{HEADER, Header};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use diff::{Difference, Element, TranscriptDiff, diff};

use crate::check::inspection::{client_name, mode_name, release_name};
use crate::check::rehearsal::{Frame, Recorder, Rehearsal, Sender};
use crate::check::trial::TrialError;
use crate::party::material::{FileError, write_secret};

/// Version of the file.
const VERSION: u16 = 1;

/// What is wrong with a transcript.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TranscriptError {
    /// It cannot be read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is none of a transcript.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Two transcripts that have no frames in common.
    #[error("the two transcripts are of different plans ({0}): frames of one have no place in the other")]
    Plans(String),
}

/// The first line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the file.
    pub halfnet_transcript: u16,
    /// Name of the network.
    pub model: String,
    /// BLAKE3 of the model's file.
    pub model_hash: String,
    /// Mode, as on the command line.
    pub mode: String,
    /// Client, as on the command line.
    pub client: String,
    /// Release, as on the command line.
    pub release: String,
    /// The counter of the inference.
    pub counter: u64,
    /// What was released.
    pub answer: Vec<i64>,
    /// The plan's bytes.
    #[serde(with = "hexadecimal")]
    pub plan: Vec<u8>,
}

/// A line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `P0`, `P1` or `client`.
    pub from: String,
    /// `null` for what is outside the layers.
    pub layer: Option<u16>,
    /// What the frame is.
    pub step: String,
    /// The byte that names the step on the wire.
    pub code: u8,
    /// Which tile of the step.
    pub tile: u16,
    /// The payload.
    #[serde(with = "hexadecimal")]
    pub payload: Vec<u8>,
}

/// One recorded inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// Of what.
    pub head: Head,
    /// Its frames, in the order of sending.
    pub lines: Vec<Line>,
}

/// Runs one inference under a test seed and keeps every frame.
///
/// # Shapes
/// `pixels`: the model's input, bytes in (channel, row, column) order.
///
/// # Errors
/// The options do not fit the model, the picture has another size, the seed is none, or a session ended
/// early.
pub fn record(
    model: &[u8],
    options: Options,
    pixels: &[u8],
    test_seed: &str,
) -> Result<Transcript, TrialError> {
    let mut rehearsal = Rehearsal::new(model, options, 1, Some(test_seed))?;
    let mut recorder = Recorder::default();
    let run = rehearsal.run(pixels, &mut recorder)?;
    let plan = Plan::decode(rehearsal.plan_bytes())?;
    let head = Head {
        halfnet_transcript: VERSION,
        model: plan.header.model.name.to_owned(),
        model_hash: blake3::hash(model).to_hex().to_string(),
        mode: mode_name(options.mode).to_owned(),
        client: client_name(options.client).to_owned(),
        release: release_name(options.release),
        counter: run.counter,
        answer: run.answer,
        plan: rehearsal.plan_bytes().to_vec(),
    };
    Ok(Transcript {
        head,
        lines: recorder.frames.into_iter().filter_map(|frame| line(&plan, &frame)).collect(),
    })
}

fn line(plan: &Plan<'_>, frame: &Frame) -> Option<Line> {
    let (head, payload) = frame.bytes.split_first_chunk::<HEADER>()?;
    let header = Header::decode(head);
    let from = match frame.from {
        Sender::Party(Role::Seed) => "P0",
        Sender::Party(Role::Bundle) => "P1",
        Sender::Client => "client",
    };
    Some(Line {
        from: from.to_owned(),
        layer: (usize::from(header.layer) < usize::from(plan.header.layers)).then_some(header.layer),
        step: place::name(plan, &header),
        code: header.step,
        tile: header.tile,
        payload: payload.to_vec(),
    })
}

impl Transcript {
    /// Writes the file, for its owner alone.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&self, path: &Path) -> Result<(), TranscriptError> {
        Ok(write_secret(path, |out| {
            let mut put = |text: serde_json::Result<String>| {
                text.map_err(std::io::Error::from).and_then(|text| writeln!(out, "{text}"))
            };
            put(serde_json::to_string(&self.head))?;
            self.lines.iter().try_for_each(|line| put(serde_json::to_string(line)))
        })?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or a line is none of a transcript.
    pub fn read(path: &Path) -> Result<Self, TranscriptError> {
        let failed = |source| TranscriptError::Io { action: "read", path: path.to_owned(), source };
        let wrong =
            |line: usize, reason: String| TranscriptError::Line { path: path.to_owned(), line, reason };
        let mut text = BufReader::new(std::fs::File::open(path).map_err(failed)?).lines();
        let first = text.next().transpose().map_err(failed)?.unwrap_or_default();
        let head: Head =
            serde_json::from_str(&first).map_err(|e| wrong(1, format!("no head of a transcript: {e}")))?;
        if head.halfnet_transcript != VERSION {
            return Err(wrong(
                1,
                format!("version {} of a transcript, this program reads {VERSION}", head.halfnet_transcript),
            ));
        }
        Plan::decode(&head.plan).map_err(|e| wrong(1, format!("the plan inside is not well-formed: {e}")))?;
        let mut lines = Vec::new();
        for (index, line) in text.enumerate() {
            let line = line.map_err(failed)?;
            lines.push(serde_json::from_str(&line).map_err(|e| wrong(index + 2, e.to_string()))?);
        }
        Ok(Self { head, lines })
    }
}

impl From<FileError> for TrialError {
    fn from(error: FileError) -> Self {
        Self::Process(error.into())
    }
}

/// Bytes as hexadecimal digits.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = bytes
            .iter()
            .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]].map(char::from));
        serializer.serialize_str(&digits.collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let digit =
            |byte: u8| char::from(byte).to_digit(16).ok_or_else(|| D::Error::custom("not hexadecimal"));
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(D::Error::custom("an odd number of hexadecimal digits"));
        }
        pairs.iter().map(|[high, low]| Ok((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
    }
}
