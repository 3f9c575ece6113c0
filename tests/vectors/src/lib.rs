//! Known answers of `halfnet-core`, shared by the host's tests and by firmware: what a board computes is what
//! the host computes, word for word.
//!
//! A file is [`Vector`]s in postcard's encoding one after another, nothing between or behind them. [`read`]
//! walks them without allocation and [`check`] recomputes each with the core:
//!
//! ```
//! use halfnet_vectors::{Scratch, check, read};
//!
//! let (mut arena, mut channel, mut frame) = ([0; 2048], [0; 64], [0; 1024]);
//! for vector in read(halfnet_vectors::PRIMITIVES) {
//!     check(&vector?, Scratch { arena: &mut arena, channel: &mut channel, frame: &mut frame })?;
//! }
//! # Ok::<(), halfnet_vectors::Mismatch>(())
//! ```
//!
//! The files are written by `HALFNET_WRITE_VECTORS=1 cargo test -p halfnet-tests --test vectors`, which
//! computes what it can in another way than the core does. Without the variable the same test compares them
//! with what is committed: a change of any of them is a change of the protocol and needs a new version of the
//! wire.
#![no_std]
#![forbid(unsafe_code)]

mod gates;
mod primitives;
mod replay;

use halfnet_core::endpoint::EndpointError;
use halfnet_core::shape::{Convolution, Join};
use halfnet_core::wire::message::Identifier;
use serde::{Deserialize, Serialize};

pub use gates::MAX_ELEMENTS;

/// Streams, keys, packing, ring operations, masks of openings.
pub const PRIMITIVES: &[u8] = include_bytes!("../data/primitives.postcard");
/// Each gate's `evaluate` on small operands.
pub const GATES: &[u8] = include_bytes!("../data/gates.postcard");
/// P0's side of whole inferences with shared weights, P0 as the client.
pub const REPLAY_SHARED: &[u8] = include_bytes!("../data/replay_shared.postcard");
/// P0's side of whole inferences with held weights, P0 as the client.
pub const REPLAY_HELD: &[u8] = include_bytes!("../data/replay_held.postcard");

/// Numbers of 1, 2, 4 or 8 bytes each, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers<'a> {
    /// Bytes of one.
    pub width: u8,
    /// All of them.
    #[serde(borrow)]
    pub bytes: &'a [u8],
}

impl Numbers<'_> {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / usize::from(self.width.max(1))
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them; 0 beyond the end.
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        let width = usize::from(self.width.clamp(1, 8));
        let bytes = self.bytes.get(index * width..).unwrap_or(&[]).iter().take(width);
        bytes.enumerate().fold(0, |value, (i, &byte)| value | u64::from(byte) << (8 * i))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Keys that follow from one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// P0's seed.
    pub seed: [u8; 32],
    /// The pairing.
    pub pairing: Identifier,
    /// Hash of the plan.
    pub plan: [u8; 32],
    /// The model-provisioning identifier.
    pub provisioning: Identifier,
    /// The deal.
    pub deal: Identifier,
    /// The inference.
    pub counter: u64,
    /// A layer.
    pub layer: u16,
    /// Of P0's weight shares.
    pub model: [u8; 32],
    /// Of the inference.
    pub inference: [u8; 32],
    /// Of the layer in the inference.
    pub of_layer: [u8; 32],
}

/// P0's side of one inference, P0 as the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay<'a> {
    /// The plan's bytes: mode, release and memory are in it.
    #[serde(borrow)]
    pub plan: &'a [u8],
    /// P0's seed.
    pub seed: [u8; 32],
    /// The pairing.
    pub pairing: Identifier,
    /// The model-provisioning identifier.
    pub provisioning: Identifier,
    /// The deal.
    pub deal: Identifier,
    /// The inference.
    pub counter: u64,
    /// The picture, in integers of the input wire, each a signed byte.
    pub picture: &'a [u8],
    /// P1's frames, headers included, in order.
    pub received: &'a [u8],
    /// Bytes of P0's frames, headers included.
    pub sent: u32,
    /// BLAKE3 of P0's frames in order.
    pub sent_hash: [u8; 32],
    /// The answer, each an `i64`: the label, or the released logits.
    pub answer: Numbers<'a>,
}

/// One known answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "read one at a time, never kept")]
pub enum Vector<'a> {
    /// Words `first ..` of the stream of `kind` under `key`.
    Stream {
        /// Key.
        key: [u8; 32],
        /// Kind.
        kind: u64,
        /// Words before the first.
        first: u64,
        /// The words.
        #[serde(borrow)]
        words: Numbers<'a>,
    },
    /// Keys from a seed.
    Keys(Keys),
    /// `values`, the low `bits` bits of each, as packed bytes.
    Packing {
        /// Bits of a value.
        bits: u8,
        /// Values below 2^bits.
        values: Numbers<'a>,
        /// Bytes.
        packed: &'a [u8],
    },
    /// Operations of the narrowest word that holds Z_bits, reduced to it.
    Ring {
        /// b.
        bits: u8,
        /// First operand.
        a: u64,
        /// Second operand.
        b: u64,
        /// a + b.
        sum: u64,
        /// a − b.
        difference: u64,
        /// a · b.
        product: u64,
        /// a's signed representative.
        signed: i64,
    },
    /// A mask and its part above the cut.
    Mask {
        /// Mutual, or by turns.
        mutual: bool,
        /// What it is made of.
        uniform: u64,
        /// n.
        opened_bits: u8,
        /// f.
        shift: u8,
        /// What is added to the value.
        added: u64,
        /// R.
        high: u64,
        /// R_0 and R_1.
        lifted: [u64; 2],
    },
    /// Output elements `first ..` of input ⊗ weights, modulo the word of `weights`.
    Convolution {
        /// Geometry.
        geometry: Convolution,
        /// The whole input.
        input: Numbers<'a>,
        /// All weights.
        weights: Numbers<'a>,
        /// First element of the tile.
        first: u32,
        /// The tile.
        out: Numbers<'a>,
    },
    /// Output elements `first ..` of a residual · 2^shift.
    JoinShift {
        /// Geometry.
        geometry: Join,
        /// Left shift.
        shift: u8,
        /// The whole input.
        input: Numbers<'a>,
        /// First element of the tile.
        first: u32,
        /// The tile.
        out: Numbers<'a>,
    },
    /// A party's share of p(y) and a mask.
    Polynomial {
        /// n.
        opened_bits: u8,
        /// C of each element.
        opened: Numbers<'a>,
        /// The party's share of c2, element by element.
        c2: Numbers<'a>,
        /// β_0, β_1, γ_0, γ_1 of every element.
        words: Numbers<'a>,
        /// The share.
        out: Numbers<'a>,
    },
    /// A party's share of s · y, and of a mask where there are six words an element.
    Relu {
        /// n.
        opened_bits: u8,
        /// Is it P1?
        holds_public: bool,
        /// C of each element.
        opened: Numbers<'a>,
        /// t, a bit an element.
        signs: u64,
        /// ρ, R_0, R_1, ρ·R_0, ρ·R_1 (and the mask) of every element.
        words: Numbers<'a>,
        /// The share.
        out: Numbers<'a>,
    },
    /// A party's 64 comparisons, from leaves to t.
    Comparison {
        /// n.
        opened_bits: u8,
        /// Bits of a chunk asked for.
        chunk: u8,
        /// Is it P1?
        holds_public: bool,
        /// Bit planes of C.
        opened: Numbers<'a>,
        /// The party's leaf planes.
        leaves: Numbers<'a>,
        /// Its planes of the tree, level by level.
        masks: Numbers<'a>,
        /// What the peer opens, level by level.
        received: Numbers<'a>,
        /// What the party opens, level by level.
        sent: Numbers<'a>,
        /// The party's share of t.
        sign: u64,
    },
    /// A party's shares of the winner of a pair over its loser.
    Tournament {
        /// b.
        ring_bits: u8,
        /// Is it P1?
        holds_public: bool,
        /// C, t and D.
        opened: [u64; 3],
        /// ρ, R_0, R_1, ρ·R_0, ρ·R_1.
        share: [u64; 5],
        /// a and ρ·a, from the second round.
        choice: Option<(u64, u64)>,
        /// Share of s · d.
        value: u64,
        /// Share of s · δ.
        index: u64,
    },
    /// An inference.
    Replay(Replay<'a>),
}

/// What a vector says that the core does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The file is none of vectors.
    #[error("the file of vectors is damaged or of another version")]
    Encoding,
    /// A vector has operands that are longer than [`MAX_ELEMENTS`], or that do not fit each other.
    #[error("the operands of a vector do not fit each other")]
    Operands,
    /// Something was computed otherwise.
    #[error("{what} differs from the known answer, first at {at}")]
    Differs {
        /// What.
        what: &'static str,
        /// Index of the first difference.
        at: usize,
    },
    /// The endpoint of a replay failed.
    #[error("the replayed inference failed: {0}")]
    Endpoint(#[from] EndpointError),
    /// The memory lent is too short.
    #[error("the scratch memory is too short: {what} needs {needed}")]
    Scratch {
        /// Which part.
        what: &'static str,
        /// Its length.
        needed: usize,
    },
}

/// Memory that a check works in. Gates need `arena` for [`gates::MAX_ELEMENTS`]-sized operands; a replay says
/// what it needs.
#[derive(Debug)]
pub struct Scratch<'a> {
    /// A session's arena, or operands of gates: at least 2,048 words.
    pub arena: &'a mut [u64],
    /// Weights of one output channel.
    pub channel: &'a mut [u64],
    /// One frame.
    pub frame: &'a mut [u8],
}

/// The vectors of a file, in order; ends after the first error.
pub fn read(file: &[u8]) -> impl Iterator<Item = Result<Vector<'_>, Mismatch>> {
    let mut rest = file;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(rest) {
            Ok((vector, after)) => {
                rest = after;
                Some(Ok(vector))
            }
            Err(_) => {
                rest = &[];
                Some(Err(Mismatch::Encoding))
            }
        }
    })
}

/// Recomputes one vector with the core.
///
/// # Errors
/// The first difference, or operands that make no sense; never a panic.
pub fn check(vector: &Vector<'_>, scratch: Scratch<'_>) -> Result<(), Mismatch> {
    match vector {
        Vector::Replay(replay) => replay::check(replay, scratch),
        Vector::Stream { .. }
        | Vector::Keys(_)
        | Vector::Packing { .. }
        | Vector::Ring { .. }
        | Vector::Mask { .. } => primitives::check(vector),
        _ => gates::check(vector, scratch.arena),
    }
}

/// Compares what was computed with what is known.
fn compare(
    what: &'static str,
    computed: impl Iterator<Item = u64>,
    known: impl Iterator<Item = u64>,
) -> Result<(), Mismatch> {
    match computed.zip(known).position(|(a, b)| a != b) {
        Some(at) => Err(Mismatch::Differs { what, at }),
        None => Ok(()),
    }
}

/// One word of each.
fn equal<T: PartialEq>(what: &'static str, computed: T, known: T) -> Result<(), Mismatch> {
    if computed == known { Ok(()) } else { Err(Mismatch::Differs { what, at: 0 }) }
}
