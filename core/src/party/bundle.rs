//! P1's half: corrections from a bundle, weight shares (or, in H, weights) from its material.

use core::ops::Range;

use super::half::{Half, LinearTerm, MaterialError, ModelHalf, Position, TermId};
use crate::error::Internal;
use crate::gate::linear;
use crate::model::Integers;
use crate::packing::{Unpacker, packed_len};
use crate::plan::{Role, Section};
use crate::ring::{Word, WordsMut};
use crate::with_words;

/// Bytes of a bundle, at any offset of its body.
pub trait BundleSource {
    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// They cannot be read.
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), MaterialError>;
}

impl BundleSource for &[u8] {
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), MaterialError> {
        let start = usize::try_from(offset).map_err(|_| MaterialError::Bundle)?;
        let bytes = self.get(start..).and_then(|b| b.get(..out.len())).ok_or(MaterialError::Bundle)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}

/// Sections of one layer, at most: those of a tournament of ten rounds and five levels.
const MAX_SECTIONS: usize = 96;
/// Bytes read at once: a chunk of 64 elements' seven words of 64 bits.
const CHUNK_BYTES: usize = 64 * 8 * 8;

/// P1's correlations.
pub struct BundleHalf<S> {
    source: S,
    end: u64,
    sections: heapless::Vec<(Section, Range<u64>), MAX_SECTIONS>,
}

impl<S> core::fmt::Debug for BundleHalf<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BundleHalf(..)")
    }
}

impl<S: BundleSource> BundleHalf<S> {
    /// The half of one inference. The input's section comes first: `input_bytes` is
    /// [`crate::plan::cost::input_section_bytes`], 0 where P0 is the client.
    #[must_use]
    pub fn new(source: S, input_bytes: u64) -> Self {
        let mut sections = heapless::Vec::new();
        let _ = sections.push((Section::Sum, 0..input_bytes));
        Self { source, end: input_bytes, sections }
    }

    /// Reads bytes of a section; never the next section's.
    fn read(&mut self, section: Section, offset: u64, out: &mut [u8]) -> Result<(), MaterialError> {
        let (_, range) = self.sections.iter().find(|(s, _)| *s == section).ok_or(MaterialError::Bundle)?;
        let start = range.start.saturating_add(offset);
        if start.saturating_add(out.len() as u64) > range.end {
            return Err(MaterialError::Bundle);
        }
        self.source.read_at(start, out)
    }
}

impl<S: BundleSource> Half for BundleHalf<S> {
    const ROLE: Role = Role::Bundle;

    fn begin_layer(&mut self, _layer: u16, sections: &mut dyn Iterator<Item = (Section, u64)>) {
        self.sections.clear();
        for (section, bytes) in sections {
            // A list that does not fit leaves sections out, and reading one of those is an error.
            let _ = self.sections.push((section, self.end..self.end + bytes));
            self.end += bytes;
        }
    }

    fn words<W: Word>(
        &mut self,
        section: Section,
        position: Position,
        bits: u8,
        out: &mut [W],
    ) -> Result<(), MaterialError> {
        let mut buffer = [0; CHUNK_BYTES];
        let mut at = position.bytes;
        // A multiple of 64 elements is whole bytes.
        for part in out.chunks_mut(CHUNK_BYTES / 8) {
            let bytes = buffer.get_mut(..packed_len(part.len(), bits)).ok_or(MaterialError::Bundle)?;
            self.read(section, at, bytes)?;
            Unpacker::new(bytes).take(bits, part)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn mixed_words(
        &mut self,
        section: Section,
        position: Position,
        bits: &[u8],
        out: &mut [u64],
    ) -> Result<(), MaterialError> {
        if bits.len() != out.len() {
            return Err(Internal.into());
        }
        let total: u64 = bits.iter().map(|&b| u64::from(b)).sum();
        let mut buffer = [0; CHUNK_BYTES];
        let bytes = buffer.get_mut(..total.div_ceil(8) as usize).ok_or(MaterialError::Bundle)?;
        self.read(section, position.bytes, bytes)?;
        let mut unpacker = Unpacker::new(bytes);
        for (slot, &bits) in out.iter_mut().zip(bits) {
            *slot = unpacker.next(bits)?;
        }
        Ok(())
    }
}

/// Tensors of P1's half of a model, by term; the c2 of a layer has term [`super::seed::QUADRATIC`].
pub trait Tensors {
    /// The tensor, if there is one.
    fn tensor(&self, id: TermId) -> Option<Integers<'_>>;
}

/// P1's weights, multiplied with the portable loops.
#[derive(Debug)]
pub struct PortableModel<T>(pub T);

impl<T: Tensors> ModelHalf for PortableModel<T> {
    fn prepare(&mut self, _term: LinearTerm<'_>) -> Result<(), MaterialError> {
        Ok(())
    }

    fn convolve(
        &mut self,
        term: LinearTerm<'_>,
        tile: Range<usize>,
        out: WordsMut<'_>,
    ) -> Result<(), MaterialError> {
        let LinearTerm { id, geometry, input } = term;
        let weights =
            self.0.tensor(id).filter(|t| t.len() == geometry.weights()).ok_or(MaterialError::Weights)?;
        let (plane, fan_in) = (geometry.output().plane().max(1), geometry.fan_in());
        // In pieces of a few input channels, so that a piece of weights fits on the stack whatever the
        // fan-in.
        let kernel = usize::from(geometry.kernel_height) * usize::from(geometry.kernel_width);
        with_words!(WordsMut, out, out => {
            let mut rest = out;
            for channel in tile.start / plane..tile.end.div_ceil(plane) {
                let positions = linear::positions(&tile, channel, plane);
                let (part, after) = core::mem::take(&mut rest).split_at_mut_checked(positions.len()).ok_or(MaterialError::Weights)?;
                rest = after;
                let weight = |i: usize| Word::from_i64(weights.get(channel * fan_in + i));
                with_words!(Words, input, input => {
                    for in_channel in 0..geometry.group_channels() {
                        let weights = (in_channel * kernel..(in_channel + 1) * kernel).map(weight);
                        linear::convolve_plane(geometry, input, channel, in_channel, weights, positions.clone(), part)?;
                    }
                });
            }
        });
        Ok(())
    }

    fn quadratic(&mut self, layer: u16, channel: u16) -> Result<u64, MaterialError> {
        let tensor = self.0.tensor(TermId { layer, term: super::seed::QUADRATIC });
        let tensor = tensor.filter(|t| usize::from(channel) < t.len()).ok_or(MaterialError::Weights)?;
        Ok(tensor.get(usize::from(channel)) as u64)
    }
}
