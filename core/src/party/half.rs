//! A party's half of the material: where its shares of correlations and weights come from.

use core::ops::Range;

use crate::error::Internal;
use crate::plan::{Role, Section};
use crate::prg::Exhausted;
use crate::ring::{Word, Words, WordsMut};
use crate::shape::Convolution;

/// The material failed: the seed's streams, or the bundle's or weights' storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MaterialError {
    /// A stream ended.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The bundle could not be read.
    #[error("the bundle could not be read to its end")]
    Bundle,
    /// The weights could not be read.
    #[error("a weight share is missing or has the wrong length")]
    Weights,
    /// Nobody's fault but this crate's.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Where in a section a chunk lies: P0 counts words of its stream, P1 packed bytes of its bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Words before it.
    pub words: u64,
    /// Packed bytes before it.
    pub bytes: u64,
}

/// A party's half of one inference's correlations.
pub trait Half {
    /// Whose half it is. A party's code is compiled for its role alone.
    const ROLE: Role;
    /// May it be a server of mode T? Where not, a session of mode T is refused, and its code left out.
    const TWO_SERVERS: bool = true;

    /// Comes once before a layer's sections are read. `sections` gives every section's length in the bundle,
    /// in order.
    fn begin_layer(&mut self, layer: u16, sections: &mut dyn Iterator<Item = (Section, u64)>);

    /// Fills `out` with the words at `position`, each of `bits` bits (higher bits are arbitrary), packed
    /// together in the bundle.
    ///
    /// # Errors
    /// The material failed.
    fn words<W: Word>(
        &mut self,
        section: Section,
        position: Position,
        bits: u8,
        out: &mut [W],
    ) -> Result<(), MaterialError>;

    /// As [`Half::words`], with a width for each word: those of pooled windows.
    ///
    /// # Errors
    /// The material failed.
    fn mixed_words(
        &mut self,
        section: Section,
        position: Position,
        bits: &[u8],
        out: &mut [u64],
    ) -> Result<(), MaterialError>;
}

/// A party's half where it is never one of two servers: mode T is refused, and its code left out.
#[derive(Debug)]
pub struct OneServer<H>(pub H);

impl<H: Half> Half for OneServer<H> {
    const ROLE: Role = H::ROLE;
    const TWO_SERVERS: bool = false;

    fn begin_layer(&mut self, layer: u16, sections: &mut dyn Iterator<Item = (Section, u64)>) {
        self.0.begin_layer(layer, sections);
    }

    fn words<W: Word>(
        &mut self,
        section: Section,
        position: Position,
        bits: u8,
        out: &mut [W],
    ) -> Result<(), MaterialError> {
        self.0.words(section, position, bits, out)
    }

    fn mixed_words(
        &mut self,
        section: Section,
        position: Position,
        bits: &[u8],
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        self.0.mixed_words(section, position, bits, out)
    }
}

/// One convolution of the network: a term of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TermId {
    /// Index of the layer in the network.
    pub layer: u16,
    /// Index of the term in the layer.
    pub term: u8,
}

/// A term and its input, which is complete.
#[derive(Clone, Copy)]
pub struct LinearTerm<'t> {
    /// Which term it is.
    pub id: TermId,
    /// What it does.
    pub geometry: &'t Convolution,
    /// The wire that it reads, as the party has it.
    pub input: Words<'t>,
}

/// Without the wire: it is a share, or masked.
impl core::fmt::Debug for LinearTerm<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LinearTerm").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A party's half of the model: its shares of weights (all of them, or none, in H) and how it multiplies by
/// them.
pub trait ModelHalf {
    /// Comes once before the tiles of a term.
    ///
    /// # Errors
    /// The material failed.
    fn prepare(&mut self, term: LinearTerm<'_>) -> Result<(), MaterialError>;

    /// out += input ⊗ \[Y\] for output elements `tile` of a term, modulo the word of `out`.
    ///
    /// # Errors
    /// The material failed.
    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError>;

    /// This party's share of a channel's c2, modulo 2^64 (its low L bits count).
    ///
    /// # Errors
    /// The material failed.
    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError>;
}
