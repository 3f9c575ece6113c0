//! Sealed files: written atomically, read whole or in parts, checked by streaming.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use halfnet_core::dealer::Sink;
use halfnet_core::error::ModelError;
use halfnet_core::model::blob::{self, BlobError, DecodeError, ENVELOPE_BYTES, Kind, MAGIC, VERSION};
use halfnet_core::party::half::MaterialError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pending::Pending;

/// Bytes hashed at once when a file is checked.
const CHECK_BYTES: usize = 1 << 17;
/// Only the owner may read what is secret.
pub(super) const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// What is wrong with a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The envelope is damaged or of another kind.
    #[error("{}: {source}", path.display())]
    Blob {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BlobError,
    },
    /// The body is not what the envelope says.
    #[error("{}: {source}", path.display())]
    Body {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
    /// The body is well-encoded but contradicts itself.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The plan inside is none.
    #[error("{}: the plan inside is not well-formed: {source}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ModelError,
    },
    /// Something is there that must not be overwritten.
    #[error("{} exists already: dealing over it would break its pairing. Name another folder, or add bundles to that pairing", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Two processes would use one part of it twice.
    #[error("another process uses this material ({}): end it first, since nothing in it may be used twice", path.display())]
    InUse {
        /// The file or folder.
        path: PathBuf,
    },
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn blob(path: &Path) -> impl FnOnce(BlobError) -> Self {
        let path = path.to_owned();
        move |source| Self::Blob { path, source }
    }

    pub(crate) fn content(path: &Path, reason: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), reason: reason.into() }
    }
}

/// Makes a folder's entries (a rename, a new file, a removal) survive a crash.
///
/// # Errors
/// The operating system refuses.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|f| f.sync_all()).map_err(FileError::io("synchronise folder", folder))
}

/// The folder that a file lies in.
#[must_use]
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes one sealed file of unknown length: the envelope is filled in at the end.
///
/// Dropped before [`SealedWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct SealedWriter {
    pending: Pending,
    hasher: blake3::Hasher,
    length: u64,
    kind: Kind,
}

impl SealedWriter {
    /// Begins `target`, which stays as it is until [`SealedWriter::finish`].
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(target: &Path, kind: Kind) -> Result<Self, FileError> {
        let mode = if kind == Kind::Plan { PUBLIC_MODE } else { SECRET_MODE };
        let mut pending = Pending::create(target, mode)?;
        pending.file.write_all(&[0; ENVELOPE_BYTES]).map_err(FileError::io("write", &pending.temporary))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind as u8]);
        hasher.update(&VERSION.to_le_bytes());
        Ok(Self { pending, hasher, length: 0, kind })
    }

    /// Adds to the body.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.pending.file.write_all(bytes).map_err(FileError::io("write", &self.pending.temporary))
    }

    /// Adds the envelope, synchronises the file and puts it in its place. The folder is synchronised by the
    /// caller, once for all files.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(mut self) -> Result<(), FileError> {
        let mut envelope = [0; ENVELOPE_BYTES];
        let hash = self.hasher.finalize();
        let parts: [&[u8]; 5] =
            [&MAGIC, &[self.kind as u8], &VERSION.to_le_bytes(), &self.length.to_le_bytes(), hash.as_bytes()];
        for (slot, byte) in envelope.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        let file = &mut self.pending.file;
        let written = file
            .flush()
            .and_then(|()| file.get_mut().seek(SeekFrom::Start(0)))
            .and_then(|_| file.get_mut().write_all(&envelope));
        written.map_err(FileError::io("write", &self.pending.target))?;
        self.pending.place()
    }
}

impl Sink for SealedWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), MaterialError> {
        self.append(bytes).map_err(|_| MaterialError::Bundle)
    }
}

/// Writes a whole sealed file and synchronises its folder.
///
/// # Errors
/// The disk is full or fails.
pub(crate) fn write_sealed(target: &Path, kind: Kind, value: &impl Serialize) -> Result<(), FileError> {
    let body = zeroize::Zeroizing::new(
        postcard::to_allocvec(value).map_err(|e| FileError::content(target, e.to_string()))?,
    );
    let mut writer = SealedWriter::create(target, kind)?;
    writer.append(&body)?;
    writer.finish()?;
    sync_folder(folder_of(target))
}

/// Reads a whole sealed file.
///
/// # Errors
/// It cannot be read, is damaged or of another kind.
pub(crate) fn read_sealed<T: for<'de> Deserialize<'de>>(path: &Path, kind: Kind) -> Result<T, FileError> {
    let bytes = zeroize::Zeroizing::new(std::fs::read(path).map_err(FileError::io("read", path))?);
    let body = blob::open(&bytes, kind).map_err(FileError::blob(path))?;
    blob::decode_body(body).map_err(|source| FileError::Body { path: path.to_owned(), source })
}

/// A sealed file read in parts.
#[derive(Debug)]
pub struct SealedFile {
    file: File,
    path: PathBuf,
    kind: Kind,
    hash: [u8; 32],
    length: u64,
}

impl SealedFile {
    /// Opens a file and checks its envelope, all but the hash.
    ///
    /// # Errors
    /// It cannot be read, its envelope is damaged or of another kind, or the file is cut or extended.
    pub fn open(path: &Path, kind: Kind) -> Result<Self, FileError> {
        let file = File::open(path).map_err(FileError::io("open", path))?;
        let size = file.metadata().map_err(FileError::io("read", path))?.len();
        let mut head = [0; ENVELOPE_BYTES];
        let present = usize::try_from(size).unwrap_or(usize::MAX).min(ENVELOPE_BYTES);
        file.read_exact_at(&mut head[..present], 0).map_err(FileError::io("read", path))?;
        // The core checks the envelope of an empty body; what remains is the length.
        let refused = |source| FileError::Blob { path: path.to_owned(), source };
        if present < ENVELOPE_BYTES {
            return Err(refused(BlobError::TooShort { found: present }));
        }
        match blob::open(&head, kind) {
            Ok(_) | Err(BlobError::Cut { .. } | BlobError::Hash) => {}
            Err(other) => return Err(refused(other)),
        }
        let (rest, hash) =
            head.split_last_chunk::<32>().ok_or_else(|| refused(BlobError::TooShort { found: present }))?;
        let stated = rest.last_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
        let body = size - ENVELOPE_BYTES as u64;
        if stated > body {
            return Err(refused(BlobError::Cut { stated, present: body }));
        }
        if stated < body {
            return Err(refused(BlobError::Trailing { extra: body - stated }));
        }
        Ok(Self { file, path: path.to_owned(), kind, hash: *hash, length: body })
    }

    /// Checks the hash, in pieces.
    ///
    /// # Errors
    /// The file is damaged or cannot be read.
    pub fn verify(&self) -> Result<(), FileError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[self.kind as u8]);
        hasher.update(&VERSION.to_le_bytes());
        let mut piece = vec![0; CHECK_BYTES];
        let mut at = 0;
        while at < self.length {
            let count = CHECK_BYTES.min(usize::try_from(self.length - at).unwrap_or(CHECK_BYTES));
            self.read_at(at, &mut piece[..count])?;
            hasher.update(&piece[..count]);
            at += count as u64;
        }
        if *hasher.finalize().as_bytes() == self.hash {
            Ok(())
        } else {
            Err(FileError::Blob { path: self.path.clone(), source: BlobError::Hash })
        }
    }

    /// Bytes of the body.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Where the file lies (or lay, when it was opened).
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `out` with the body's bytes from `offset` on.
    ///
    /// # Errors
    /// The body ends before, or the disk fails.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), FileError> {
        self.file
            .read_exact_at(out, ENVELOPE_BYTES as u64 + offset)
            .map_err(FileError::io("read", &self.path))
    }
}
