//! What the two parties keep: P0 its seed, P1 its half of the weights, read tensor by tensor.

use std::path::Path;

use halfnet_core::dealer::{split_tensor, tensors};
use halfnet_core::model::blob::{Kind, decode_body};
use halfnet_core::model::{Integers, Model};
use halfnet_core::party::half::TermId;
use halfnet_core::party::seed::{QUADRATIC, model_key, tensor_kind};
use halfnet_core::plan::{Mode, Plan};
use halfnet_core::prg::Key;
use halfnet_core::ring::WordKind;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file::{folder_of, read_sealed, sync_folder, write_sealed};
use super::{FileError, Public, SealedFile, SealedWriter};

/// Bytes of P1's header, at most.
const MAX_HEADER: u32 = 1 << 28;

/// P0's material.
#[derive(Debug)]
pub struct PartyZero {
    /// Identifiers and plan.
    pub public: Public,
    /// Everything of P0's follows from it.
    pub seed: Key,
}

#[derive(Serialize, Deserialize)]
struct PartyZeroBody {
    public: Public,
    seed: Zeroizing<[u8; 32]>,
}

impl PartyZero {
    /// Writes `party0.postcard`.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        write_sealed(
            path,
            Kind::PartyZero,
            &PartyZeroBody { public: self.public.clone(), seed: Zeroizing::new(*self.seed.expose()) },
        )
    }

    /// Reads `party0.postcard`.
    ///
    /// # Errors
    /// It cannot be read, is damaged or of another kind.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let body: PartyZeroBody = read_sealed(path, Kind::PartyZero)?;
        body.public.plan(path)?;
        Ok(Self { public: body.public, seed: Key::new(*body.seed) })
    }
}

/// One tensor of P1's material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorEntry {
    /// Layer.
    pub layer: u16,
    /// Term; [`QUADRATIC`] for the layer's c2.
    pub term: u8,
    /// Bits of an integer: 8, 16, 32 or 64.
    pub bits: u8,
    /// Integers.
    pub count: u32,
}

impl TensorEntry {
    const fn bytes(&self) -> u64 {
        self.count as u64 * (self.bits / 8) as u64
    }
}

#[derive(Serialize, Deserialize)]
struct PartyOneHeader {
    public: Public,
    tensors: Vec<TensorEntry>,
}

/// P1's material: the body is a header's length in 4 bytes, the header, and the tensors in [`tensors`]'
/// order, little-endian.
#[derive(Debug)]
pub struct PartyOne {
    /// Identifiers and plan.
    pub public: Public,
    tensors: Vec<(TensorEntry, u64)>,
    file: SealedFile,
}

impl PartyOne {
    /// Splits a model's weights and writes `party1.postcard`.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(
        path: &Path,
        public: &Public,
        plan: &Plan<'_>,
        model: &Model<'_>,
        seed: &Key,
    ) -> Result<(), FileError> {
        let mode = plan.header.options.mode;
        let parts: Vec<(TermId, Integers<'_>)> = tensors(model).collect();
        let words: Vec<WordKind> = plan.layers().map(|layer| layer.work(&plan.header.options).word).collect();
        let word =
            |id: &TermId| if id.term == QUADRATIC { WordKind::U64 } else { words[usize::from(id.layer)] };
        let entry = |(id, tensor): &(TermId, Integers<'_>)| TensorEntry {
            layer: id.layer,
            term: id.term,
            bits: if mode == Mode::Held { tensor.bits } else { 8 * word(id).bytes() as u8 },
            count: tensor.len() as u32,
        };
        let header = PartyOneHeader { public: public.clone(), tensors: parts.iter().map(entry).collect() };
        let header = postcard::to_allocvec(&header).map_err(|e| FileError::content(path, e.to_string()))?;
        let mut writer = SealedWriter::create(path, Kind::PartyOne)?;
        writer.append(&(header.len() as u32).to_le_bytes())?;
        writer.append(&header)?;
        let key = model_key(seed, &public.agreement(plan));
        for (id, tensor) in &parts {
            split_tensor(mode, word(id), &key, tensor_kind(id.layer, id.term), tensor, &mut writer)
                .map_err(|e| FileError::content(path, e.to_string()))?;
        }
        writer.finish()?;
        sync_folder(folder_of(path))
    }

    /// Opens `party1.postcard` and checks all of it, keeping the header alone in memory.
    ///
    /// # Errors
    /// It cannot be read, is damaged or of another kind.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = SealedFile::open(path, Kind::PartyOne)?;
        file.verify()?;
        let mut length = [0; 4];
        file.read_at(0, &mut length)?;
        let length = u32::from_le_bytes(length);
        if u64::from(length) + 4 > file.length() || length > MAX_HEADER {
            return Err(FileError::content(path, "the header is longer than the file"));
        }
        let mut bytes = vec![0; length as usize];
        file.read_at(4, &mut bytes)?;
        let header: PartyOneHeader =
            decode_body(&bytes).map_err(|source| FileError::Body { path: path.to_owned(), source })?;
        header.public.plan(path)?;
        let mut offset = 4 + u64::from(length);
        let mut placed = Vec::with_capacity(header.tensors.len());
        for entry in header.tensors {
            if !matches!(entry.bits, 8 | 16 | 32 | 64) {
                return Err(FileError::content(
                    path,
                    format!("a weight of {} bits: only 8, 16, 32 and 64 are known", entry.bits),
                ));
            }
            placed.push((entry, offset));
            offset += entry.bytes();
        }
        if offset != file.length() {
            return Err(FileError::content(
                path,
                format!("{offset} bytes of weights stated, {} there", file.length()),
            ));
        }
        Ok(Self { public: header.public, tensors: placed, file })
    }

    /// The entry of a tensor, if there is one.
    #[must_use]
    pub fn entry(&self, id: TermId) -> Option<TensorEntry> {
        self.find(id).map(|(entry, _)| entry)
    }

    fn find(&self, id: TermId) -> Option<(TensorEntry, u64)> {
        self.tensors.iter().find(|(entry, _)| (entry.layer, entry.term) == (id.layer, id.term)).copied()
    }

    /// Fills `out` with the bytes of `count` integers of a tensor from integer `first` on; returns the bits
    /// of one.
    ///
    /// # Errors
    /// There is no such tensor, it is shorter, or the disk fails.
    pub fn read(&self, id: TermId, first: usize, count: usize, out: &mut Vec<u8>) -> Result<u8, FileError> {
        let missing = || {
            FileError::content(
                self.file.path(),
                format!("the weights of layer {}, term {} are missing or cut", id.layer, id.term),
            )
        };
        let (entry, offset) = self.find(id).ok_or_else(missing)?;
        if first + count > entry.count as usize {
            return Err(missing());
        }
        let width = usize::from(entry.bits / 8);
        out.resize(count * width, 0);
        self.file.read_at(offset + (first * width) as u64, out)?;
        Ok(entry.bits)
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}
